//! The filter as a stream, above TLS, and the runtime that lets the client library take such a stream.
//!
//! The client library takes only the streams of its runtime's reactor. So it is given a runtime of two parts: tokio to run on,
//! and a reactor whose streams are filtered. The reactor itself never connects in Escrow; the socket is opened in `connect`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_compat::Compat;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use lapin::AsyncTcpStream;
use tokio::net::TcpStream;

use super::Filter;

/// The current tokio runtime, with filtered streams.
pub(in crate::bus::rabbitmq) fn runtime() -> Runtime<RuntimeParts<Tokio, Filtering>> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Filtering(Tokio::current())))
}

/// A reactor whose streams are filtered.
#[derive(Clone, Debug)]
pub(in crate::bus::rabbitmq) struct Filtering(Tokio);

impl Reactor for Filtering {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::Error::new(io::ErrorKind::Unsupported, "only sockets this program opened are read"))
    }

    fn sleep(&self, dur: Duration) -> Self::Sleep {
        self.0.sleep(dur)
    }

    fn interval(&self, dur: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(dur)
    }

    fn tcp_connect_addr(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(addr);
        async move { Ok(Wire::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// What is read from the broker, filtered; what is written, as it is.
pub(in crate::bus::rabbitmq) struct Wire {
    stream: AsyncTcpStream<Compat<TcpStream>>,
    filter: Filter,
}

impl Wire {
    pub(in crate::bus::rabbitmq) fn new(stream: AsyncTcpStream<Compat<TcpStream>>) -> Self {
        Self { stream, filter: Filter::default() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, filter } = self.get_mut();
        loop {
            let given = filter.give(buf);
            if given > 0 || buf.is_empty() {
                return Poll::Ready(Ok(given));
            }
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
            // Nothing: the stream has ended, and what was held back was no frame.
            let clean = filter.feed(&buf[..read]);
            if clean > 0 || read == 0 {
                return Poll::Ready(Ok(clean));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}
