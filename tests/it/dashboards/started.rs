//! A program that ends with the test, however that ends: its guard reads from a pipe that closes then.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

const GUARD: &str = r#""$@" & pid=$!; read -r _; kill "$pid" 2>/dev/null; wait "$pid""#;

pub struct Started(Child);

impl Started {
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard", program]).args(arguments);
        // The demo takes a broker where one is named, and exporters where one is wanted: not those of who runs the tests.
        command.env_remove("AMQP_URL").env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self(command.spawn().expect("`sh` starts"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// An address of this machine that is free now.
pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").to_string()
}
