//! What stands between the socket and the client library: frames it could not read are made readable, with the original kept.
//!
//! The client library drops the whole connection over one frame it cannot read, and ends the process over a table nested deeply
//! enough; the broker then delivers the same message again, for ever. It takes texts of AMQP to be UTF-8, as the standard says,
//! but RabbitMQ passes on whatever a service wrote. So each frame that brings a message is looked at first, pass by pass:
//!
//! ```text
//!   socket ─▶ TLS ─▶ bytes ─▶ Filter ──clean: the same bytes, in place────────────────────▶ client library
//!                               └─────not: rewritten, and the message says what of it is no text ─▶
//! ```
//!
//! | frame | looked at | where it is not readable |
//! |---|---|---|
//! | deliver, get-ok, return | exchange, routing key, … | bad bytes written as `\xNN`; the raw ones go into the header frame that follows |
//! | content header | properties, header table | bad texts likewise; values of a header that cannot be read become void; one more header, [`MARK`], says which and keeps the raw bytes |
//! | channel and connection closed, blocked, consumer cancelled | the broker's words | bad bytes written as `\xNN` (the broker cuts its words at 255 bytes, also within a character) |
//! | message bodies, heartbeats, every other method | nothing | – |
//!
//! Clean frames are never copied, bodies are skipped by their length, and only a frame that is still incomplete is held back. A
//! stream that is no AMQP is passed on as it is from there on: the client library says so better. Nothing here waits or fails.

mod fields;
mod rewrite;
mod stream;

use std::collections::BTreeMap;

pub use self::rewrite::MARK;
use self::rewrite::{Place, Verdict};
pub(super) use self::rewrite::{Remark, remark};
pub(super) use self::stream::{Wire, runtime};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;
/// Kind, channel, size.
const HEAD_BYTES: usize = 7;
/// Class and number of a method.
const NAME_BYTES: usize = 4;
/// The largest frame that is held back until it is whole. RabbitMQ agrees on 128 KiB; what is larger by this much is no AMQP.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Looks at everything that comes from the broker on one connection, in order.
#[derive(Debug, Default)]
pub struct Filter {
    /// Bytes of a frame nobody looks at that are still to come.
    passing: usize,
    /// The beginning of a frame that has to be looked at whole.
    held: Vec<u8>,
    /// What goes out before anything else, and how much of it has gone.
    ready: Vec<u8>,
    given: usize,
    /// Deliveries whose place is no text, by channel, until their header comes.
    places: BTreeMap<u16, Place>,
    /// It is no AMQP any more.
    lost: bool,
}

/// How a look at some bytes ended.
enum Stop {
    /// All of them may go on.
    End,
    /// A frame begins that has to be looked at and is not whole.
    Incomplete,
    /// A frame of this many bytes has to be replaced by others.
    Replaced(usize, Vec<u8>),
}

/// What the first bytes of a frame say of it.
enum Kind {
    /// Too few bytes to tell.
    Unknown,
    NoFrame,
    /// Of no interest; whole size.
    Passing(usize),
    /// To be looked at; whole size.
    Interesting(usize),
}

impl Filter {
    /// Takes what was read next. As many bytes from its beginning as this returns go on as they are; the rest is kept, and comes
    /// out of [`give`](Self::give), which must have been emptied before.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            let held = std::mem::take(&mut self.held);
            self.work_off(held);
            return 0;
        }
        let (clean, stop) = self.look(bytes);
        match stop {
            Stop::End => {}
            Stop::Incomplete => self.held.extend_from_slice(&bytes[clean..]),
            Stop::Replaced(taken, by) => {
                self.ready.extend_from_slice(&by);
                self.work_off(bytes[clean + taken..].to_vec());
            }
        }
        clean
    }

    /// Writes what is kept for the client library to the beginning of `into`; answers how much.
    pub fn give(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.ready[self.given..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
        }
        count
    }

    /// As `feed`, but with everything that may go on put into `ready`.
    fn work_off(&mut self, bytes: Vec<u8>) {
        let mut rest = bytes.as_slice();
        loop {
            let (clean, stop) = self.look(rest);
            self.ready.extend_from_slice(&rest[..clean]);
            match stop {
                Stop::End => return,
                Stop::Incomplete if clean == 0 && rest.len() == bytes.len() => {
                    self.held = bytes;
                    return;
                }
                Stop::Incomplete => {
                    self.held = rest[clean..].to_vec();
                    return;
                }
                Stop::Replaced(taken, by) => {
                    self.ready.extend_from_slice(&by);
                    rest = &rest[clean + taken..];
                }
            }
        }
    }

    /// Looks frame by frame; answers how many bytes may go on, and what stopped it.
    fn look(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut at = 0;
        loop {
            if self.lost {
                return (bytes.len(), Stop::End);
            }
            let passing = self.passing.min(bytes.len() - at);
            self.passing -= passing;
            at += passing;
            let rest = &bytes[at..];
            match kind(rest) {
                _ if rest.is_empty() => return (at, Stop::End),
                Kind::Unknown => return (at, Stop::Incomplete),
                Kind::NoFrame => self.lost = true,
                Kind::Passing(size) => self.passing = size,
                Kind::Interesting(size) if rest.len() < size => return (at, Stop::Incomplete),
                Kind::Interesting(size) if rest[size - 1] != END => self.lost = true,
                Kind::Interesting(size) => match self.verdict(&rest[..size]) {
                    Verdict::Clean => at += size,
                    Verdict::Replace(frame) => return (at, Stop::Replaced(size, frame)),
                },
            }
        }
    }

    fn verdict(&mut self, frame: &[u8]) -> Verdict {
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let payload = &frame[HEAD_BYTES..frame.len() - 1];
        let rewritten = if frame[0] == HEADER {
            rewrite::header(payload, self.places.remove(&channel))
        } else {
            rewrite::method(payload).map(|(payload, place)| {
                if let Some(place) = place {
                    self.places.insert(channel, place);
                }
                payload
            })
        };
        let Some(payload) = rewritten else { return Verdict::Clean };
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        Verdict::Replace([&frame[..3], &size, &payload, &[END]].concat())
    }
}

fn kind(bytes: &[u8]) -> Kind {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        return match bytes.first() {
            Some(&(METHOD | HEADER | BODY | HEARTBEAT)) | None => Kind::Unknown,
            Some(_) => Kind::NoFrame,
        };
    };
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let whole = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(HEAD_BYTES + 1);
    match head[0] {
        _ if whole > FRAME_BYTES_MAX => Kind::NoFrame,
        BODY | HEARTBEAT => Kind::Passing(whole),
        HEADER => Kind::Interesting(whole),
        METHOD => match bytes[HEAD_BYTES..].first_chunk::<NAME_BYTES>() {
            _ if whole < HEAD_BYTES + NAME_BYTES + 1 => Kind::NoFrame,
            None => Kind::Unknown,
            Some(name) if fields::of_method(*name).is_some() => Kind::Interesting(whole),
            Some(_) => Kind::Passing(whole),
        },
        _ => Kind::NoFrame,
    }
}

#[cfg(test)]
mod tests;
