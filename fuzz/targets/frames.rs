//! What comes from the broker: frames before the client library, and headers and properties after it.
//!
//! Holds: whatever the pieces, the same comes out; a header frame of any content is readable afterwards; what a message came with
//! is the same after it was stored as text and read back.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use escrow::bus::rabbitmq::frames::Filter;
use escrow::bus::rabbitmq::{to_envelope, to_properties};
use escrow::bus::{Envelope, UNREADABLE};

const HEADER: u8 = 2;
const END: u8 = 0xCE;
/// Class, weight, size of the body, flags.
const CONTENT_BYTES: usize = 14;

pub fn run(data: &[u8]) {
    let mut stream = data;
    let piece = usize::from(super::byte(&mut stream)) + 1;
    assert_eq!(filtered(stream, piece), filtered(stream, usize::MAX), "pieces of {piece} bytes");
    header(stream);
}

/// The same bytes as the content of a header frame.
fn header(content: &[u8]) {
    if content.len() < CONTENT_BYTES {
        return;
    }
    let size = u32::try_from(content.len()).unwrap().to_be_bytes();
    let frame = [&[HEADER, 0, 1][..], &size, content, &[END]].concat();
    let readable = filtered(&frame, usize::MAX);
    assert!(readable.len() <= frame.len().max(4_096), "{} bytes became {}", frame.len(), readable.len());
    let (rest, read) = parse_frame(readable.as_slice()).expect("the client library reads it");
    assert!(rest.is_empty());
    let AMQPFrame::Header(1, header) = read else { panic!("it was a header") };
    let envelope = to_envelope(&header.properties);
    let stored = serde_json::to_string(&envelope).unwrap();
    let mut back: Envelope = serde_json::from_str(&stored).expect("what is stored can be read");
    let sent = to_properties(&back).expect("what came can be sent");
    if back.properties.remove(UNREADABLE).is_none() {
        // Not by value: no number equals itself when it is none. A table without entries is none.
        let came = format!("{:?}", header.properties).replace("headers: Some(FieldTable({}))", "headers: None");
        assert_eq!(format!("{sent:?}"), came);
    }
}

fn filtered(stream: &[u8], piece: usize) -> Vec<u8> {
    let (mut filter, mut out, mut buffer) = (Filter::default(), Vec::new(), vec![0; 4_096]);
    for part in stream.chunks(piece) {
        out.extend_from_slice(&part[..filter.feed(part)]);
        loop {
            match filter.give(&mut buffer) {
                0 => break,
                given => out.extend_from_slice(&buffer[..given]),
            }
        }
    }
    out
}
