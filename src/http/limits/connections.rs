//! How many connections are held at once.
//!
//! Each costs a file descriptor and its buffers, whether it says something or not; a client that opens thousands and says nothing
//! must not take the last one. What comes when all are taken is closed at once, and so is one whose client reads nothing of its
//! answer for long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Connections at once. Most systems let a process have 1024 files open without being asked, and the database needs some.
const CONNECTIONS_MAX: usize = 768;

/// Longest a client may take no byte of what is sent to it.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Lets so many connections in.
#[derive(Clone, Debug)]
pub struct Bounded {
    places: Arc<Semaphore>,
    read_within: Duration,
}

impl Default for Bounded {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), read_within: READ_WITHIN }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Placed;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Placed, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (place, read_within) = (Arc::clone(&self.places).try_acquire_owned(), self.read_within);
        Box::pin(async move {
            let place = place.map_err(|_| io::Error::other("too many connections are open"))?;
            stream.set_nodelay(true)?;
            Ok((Placed { stream, read_within, stalled: None, _place: place }, service))
        })
    }
}

/// A connection that has a place, and gives it back when it is closed.
#[derive(Debug)]
pub struct Placed<S = TcpStream> {
    stream: S,
    read_within: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Placed<S> {
    /// What writing came to, or that the client has taken nothing for too long.
    fn patient<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let within = self.read_within;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patient(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patient(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.patient(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.patient(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_off_and_one_that_reads_slowly_is_not() {
        let place = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let placed = |stream| Placed { stream, read_within: READ_WITHIN, stalled: None, _place: place() };
        let (near, far) = tokio::io::duplex(8);
        let error = placed(near).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);

        let (near, mut far) = tokio::io::duplex(8);
        let reader = tokio::spawn(async move {
            let mut all = [0; 64];
            for piece in all.chunks_mut(8) {
                tokio::time::sleep(READ_WITHIN / 2).await;
                far.read_exact(piece).await.unwrap();
            }
        });
        placed(near).write_all(&[0; 64]).await.unwrap();
        reader.await.unwrap();
    }
}
