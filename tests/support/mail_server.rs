//! A mail server of a few lines: takes mail in the clear and remembers it. It offers no TLS.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Listens until the test ends.
#[derive(Clone)]
pub struct MailServer {
    /// `127.0.0.1:port`
    pub address: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    mails: Mutex<Vec<String>>,
    /// So many mails are put off.
    busy: AtomicU32,
    /// Every word a client said outside of a mail.
    words: Mutex<Vec<String>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner: Arc<Inner> = Arc::default();
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, Arc::clone(&serving)));
            }
        });
        Self { address, inner }
    }

    /// Puts the next mails off.
    pub fn put_off(&self, mails: u32) {
        self.inner.busy.store(mails, Ordering::SeqCst);
    }

    /// What was taken so far.
    pub fn mails(&self) -> Vec<String> {
        self.inner.mails.lock().unwrap().clone()
    }

    /// What clients said.
    pub fn words(&self) -> Vec<String> {
        self.inner.words.lock().unwrap().clone()
    }
}

async fn talk(stream: TcpStream, inner: Arc<Inner>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test ESMTP\r\n").await.ok()?;
    while let Some(line) = lines.next_line().await.ok()? {
        inner.words.lock().unwrap().push(line.clone());
        let answer = match line.split(' ').next().unwrap_or_default().to_uppercase().as_str() {
            "EHLO" | "HELO" => "250-test\r\n250 8BITMIME\r\n",
            "MAIL" if is_busy(&inner) => "451 come again\r\n",
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await.ok()?.filter(|line| line != ".") {
                    mail.push_str(&line);
                    mail.push('\n');
                }
                inner.mails.lock().unwrap().push(mail);
                "250 taken\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await.ok()?;
                return None;
            }
            "STARTTLS" => "502 not here\r\n",
            _ => "250 fine\r\n",
        };
        write.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}

fn is_busy(inner: &Inner) -> bool {
    inner.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
