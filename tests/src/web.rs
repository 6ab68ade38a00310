//! A web server that says on which host it runs, and has something that takes long to download.

use std::fs::{self, File};
use std::time::Duration;

use crate::{Error, Host, Process, Result};

/// Bytes to download, and in a second: it is not done before the test is.
const DOWNLOAD: u64 = 64 << 20;
const RATE: &str = "400k";

/// A running nginx on port 81 that answers every request with its host's name, but for [`WebServer::DOWNLOAD`].
#[derive(Debug)]
pub struct WebServer {
    _process: Process,
}

impl WebServer {
    /// Port on which it listens.
    pub const PORT: u16 = 81;
    /// The path of what it sends for minutes, some kilobytes every 20 ms.
    pub const DOWNLOAD: &str = "/download";

    /// Starts it, and waits until it answers.
    pub fn start(host: &Host) -> Result<Self> {
        let dir = host.dir("nginx")?;
        let (dir, port, name) = (dir.display().to_string(), Self::PORT, host.name());
        let download = File::create(format!("{dir}{}", Self::DOWNLOAD));
        download.and_then(|file| file.set_len(DOWNLOAD)).map_err(Error::io("make a download"))?;
        let long = format!(
            "location {} {{ root {dir}; sendfile on; sendfile_max_chunk 8k; limit_rate {RATE}; }}",
            Self::DOWNLOAD
        );
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {dir}/{what};\n"))
            .concat();
        let conf = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nlock_file {dir}/lock;\nerror_log stderr;\n\
             events {{ worker_connections 512; }}\n\
             http {{\naccess_log off;\n{temp}\
             server {{\nlisten {port};\nlisten [::]:{port};\n{long}\nlocation / {{ return 200 \"{name}\\n\"; }}\n}}\n}}\n"
        );
        fs::write(format!("{dir}/conf"), conf).map_err(Error::io("write nginx.conf"))?;
        let mut process = host.spawn(
            "nginx",
            "nginx",
            &["-e", "stderr", "-p", &dir, "-c", &format!("{dir}/conf")],
        )?;
        host.lab().wait_until(Duration::from_secs(10), "nginx answers", || {
            if let Some(status) = process.ended()? {
                let log = process.log().text();
                return Err(Error::Unexpected(format!("nginx ended, {status}: {log}")));
            }
            Ok(crate::fetch(host.namespace(), "127.0.0.1").ok())
        })?;
        Ok(Self { _process: process })
    }
}
