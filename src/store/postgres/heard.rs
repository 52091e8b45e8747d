//! Whether the server says anything at all, asked over a line of its own.
//!
//! ```text
//!   Escrow ── "do you speak TLS?" ──▶ server        the first thing of the protocol a server has a word for
//!          ◀────── one byte ─────                  before any login, and from one that refuses logins too
//! ```
//!
//! A statement may take long, and nothing is wrong; a line on which packets are dropped never says that it is gone, and the driver
//! sets no keepalive. So the one is told from the other by asking somewhere else. It takes no place among the server's connections.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One way there and back, and the making of the connection: far more than any line takes on which Escrow is of use.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// `SSLRequest`: its length, and the number that stands for it.
const QUESTION: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Where a server is asked; nowhere, for one behind a socket of this machine, which is never silent.
#[derive(Clone, Debug)]
pub struct Ear {
    place: Option<(String, u16)>,
}

impl Ear {
    pub fn of(options: &PgConnectOptions) -> Self {
        let is_here = options.get_socket().is_some() || options.get_host().starts_with('/');
        Self { place: (!is_here).then(|| (options.get_host().to_owned(), options.get_port())) }
    }

    /// Whether it answers. A refused or closed connection is no answer: a server that cannot be reached anew does not answer what it
    /// was asked before either.
    pub async fn hears(&self) -> bool {
        let Some((host, port)) = &self.place else { return true };
        let asking = async {
            let mut line = TcpStream::connect((host.as_str(), *port)).await?;
            line.write_all(&QUESTION).await?;
            line.read(&mut [0]).await
        };
        tokio::time::timeout(ANSWER_LIMIT, asking).await.is_ok_and(|asked| matches!(asked, Ok(1)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn ear() -> (TcpListener, Ear) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Ear::of(&PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port)))
    }

    #[tokio::test]
    async fn a_byte_is_an_answer() {
        let (listener, ear) = ear().await;
        let answering = tokio::spawn(async move {
            let (mut line, _) = listener.accept().await.unwrap();
            let mut asked = [0; 8];
            line.read_exact(&mut asked).await.unwrap();
            line.write_all(b"N").await.unwrap();
            asked
        });
        assert!(ear.hears().await);
        assert_eq!(answering.await.unwrap(), QUESTION);
    }

    #[tokio::test]
    async fn silence_a_close_and_a_refusal_are_none() {
        let (listener, ear) = ear().await;
        assert!(!ear.hears().await, "it is connected, and nobody speaks");
        let closing = tokio::spawn(async move {
            for _ in 0..2 {
                drop(listener.accept().await.unwrap());
            }
        });
        assert!(!ear.hears().await);
        closing.await.unwrap();
        assert!(!ear.hears().await);
    }

    #[tokio::test]
    async fn a_socket_of_this_machine_is_always_heard() {
        let options = PgConnectOptions::new_without_pgpass();
        assert!(Ear::of(&options.clone().host("/nowhere")).hears().await);
        assert!(Ear::of(&options.socket("/nowhere")).hears().await);
    }
}
