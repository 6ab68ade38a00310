//! Any line at the control socket. What is understood is understood again when it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vrrp_user::api::Request;

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let text = serde_json::to_string(&request).expect("a request can be written");
        assert_eq!(serde_json::from_str::<Request>(&text).expect("and read"), request);
    }
});
