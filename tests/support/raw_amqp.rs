//! A publisher that writes AMQP 0-9-1 frames by hand, for what no well-behaved client would send: strings that are no UTF-8,
//! tables nested a hundred deep, unknown field types. The broker looks at little of it and passes it on.
//!
//! ```text
//!   frame = kind:1 channel:2 size:4 payload 0xCE        method = class:2 number:2 arguments
//! ```

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use lapin::uri::AMQPUri;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;
/// What is agreed on with the broker: its own default.
const FRAME_BYTES_MAX: u32 = 131_072;
/// Frame head and end.
const FRAME_BYTES_AROUND: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection with one confirming channel.
pub struct RawPublisher(TcpStream);

impl RawPublisher {
    pub fn connect(url: &str) -> Self {
        let uri: AMQPUri = url.parse().expect("the URL is right");
        let stream =
            TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).expect("the broker is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut publisher = Self(stream);
        publisher.0.write_all(b"AMQP\x00\x00\x09\x01").expect("it is written");
        publisher.expect((10, 10));
        let user = &uri.authority.userinfo;
        let plain = long(format!("\0{}\0{}", user.username, user.password).as_bytes());
        publisher.method(0, (10, 11), &[table(&[]), short(b"PLAIN"), plain, short(b"en_US")].concat());
        publisher.expect((10, 30));
        // One channel, no heartbeats.
        let tuned = [&[0, 1][..], &FRAME_BYTES_MAX.to_be_bytes(), &[0, 0]].concat();
        publisher.method(0, (10, 31), &tuned);
        publisher.method(0, (10, 40), &[short(uri.vhost.as_bytes()), short(b""), vec![0]].concat());
        publisher.expect((10, 41));
        publisher.method(1, (20, 10), &short(b""));
        publisher.expect((20, 11));
        publisher.method(1, (85, 10), &[0]);
        publisher.expect((85, 11));
        publisher
    }

    /// Publishes, and waits until the broker has taken it, or says why it closes the connection or the channel. `properties` are flags and values as they go over the wire.
    pub fn publish(&mut self, exchange: &[u8], key: &[u8], properties: &[u8], body: &[u8]) -> Result<(), String> {
        self.method(1, (60, 40), &[&[0, 0][..], &short(exchange), &short(key), &[0]].concat());
        let size = u64::try_from(body.len()).expect("it fits");
        self.frame(HEADER, 1, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), properties].concat());
        for part in body.chunks(usize::try_from(FRAME_BYTES_MAX).expect("it fits") - FRAME_BYTES_AROUND) {
            self.frame(BODY, 1, part);
        }
        self.answer((60, 80))
    }

    fn expect(&mut self, method: (u16, u16)) {
        self.answer(method).expect("the broker goes on");
    }

    fn answer(&mut self, wanted: (u16, u16)) -> Result<(), String> {
        let (method, arguments) = self.read();
        match method {
            method if method == wanted => Ok(()),
            (10, 50) | (20, 40) => {
                let words = &arguments[3..3 + usize::from(arguments[2])];
                Err(format!("the broker closed it: {}", String::from_utf8_lossy(words)))
            }
            other => panic!("the broker said {other:?} where {wanted:?} was due"),
        }
    }

    fn method(&mut self, channel: u16, (class, number): (u16, u16), arguments: &[u8]) {
        let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.frame(METHOD, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
        let frame = [&[kind][..], &channel.to_be_bytes(), &size, payload, &[END]].concat();
        self.0.write_all(&frame).expect("it is written");
    }

    /// The next method the broker sends.
    fn read(&mut self) -> ((u16, u16), Vec<u8>) {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).expect("the broker answers");
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut payload = vec![0; usize::try_from(size).expect("it fits") + 1];
            self.0.read_exact(&mut payload).expect("the frame is whole");
            if head[0] == METHOD {
                payload.pop();
                let arguments = payload.split_off(4);
                let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                return ((number(0), number(2)), arguments);
            }
        }
    }
}

/// A short string.
pub fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("at most 255 bytes")][..], bytes].concat()
}

/// A long string, table or array: its length in front.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("it fits").to_be_bytes()[..], bytes].concat()
}

/// A table of names and values; a value is a letter and what follows it.
pub fn table(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    long(&entries.iter().flat_map(|(name, value)| [short(name), value.clone()].concat()).collect::<Vec<u8>>())
}

/// A long string as a value of a table.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    [b"S".to_vec(), long(bytes)].concat()
}
