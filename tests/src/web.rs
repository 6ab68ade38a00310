//! A web server that says on which host it runs.

use std::fs;
use std::time::Duration;

use crate::{Error, Host, Process, Result};

/// A running nginx on port 81 that answers every request with its host's name.
#[derive(Debug)]
pub struct WebServer {
    _process: Process,
}

impl WebServer {
    /// Port on which it listens.
    pub const PORT: u16 = 81;

    /// Starts it, and waits until it answers.
    pub fn start(host: &Host) -> Result<Self> {
        let dir = host.dir("nginx")?;
        let (dir, port, name) = (dir.display().to_string(), Self::PORT, host.name());
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {dir}/{what};\n"))
            .concat();
        let conf = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nlock_file {dir}/lock;\nerror_log stderr;\n\
             events {{ worker_connections 512; }}\n\
             http {{\naccess_log off;\n{temp}\
             server {{\nlisten {port};\nlisten [::]:{port};\nlocation / {{ return 200 \"{name}\\n\"; }}\n}}\n}}\n"
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
