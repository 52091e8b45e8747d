use amq_protocol::frame::{AMQPFrame, parse_frame};
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &size, payload, &[END]].concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn deliver(channel: u16, exchange: &[u8], key: &[u8]) -> Vec<u8> {
    let arguments = [&[0, 60, 0, 60][..], &short(b"tag"), &7_u64.to_be_bytes(), &[1], &short(exchange), &short(key)];
    frame(METHOD, channel, &arguments.concat())
}

fn header(channel: u16, flags: u16, values: &[u8]) -> Vec<u8> {
    let content = [&[0, 60, 0, 0][..], &2_u64.to_be_bytes(), &flags.to_be_bytes(), values];
    frame(HEADER, channel, &content.concat())
}

fn with_headers(entries: &[u8]) -> Vec<u8> {
    header(1, 1 << 13, &long(entries))
}

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [short(name), value.to_vec()].concat()
}

/// What the client library reads of `bytes` when they come in pieces of at most `piece`.
fn filtered(bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut filter, mut out, mut buffer) = (Filter::default(), Vec::new(), vec![0; piece.min(4_096)]);
    for part in bytes.chunks(piece) {
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

/// The frames of a stream, as the client library reads them.
fn frames(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("the client library reads it");
        bytes = rest;
        frames.push(frame);
    }
    frames
}

fn headers(frame: &AMQPFrame) -> &FieldTable {
    let AMQPFrame::Header(_, header) = frame else { panic!("no header: {frame:?}") };
    header.properties.headers().as_ref().unwrap()
}

fn only_header(stream: &[u8]) -> AMQPFrame {
    frames(&filtered(stream, usize::MAX)).pop().unwrap()
}

fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(b"V".to_vec(), |inner, _| [b"A".to_vec(), long(&inner)].concat())
}

#[test]
fn clean_frames_are_the_same_bytes_in_place() {
    let table = [entry(b"n", b"S\0\0\0\x01\xff"), entry("é".as_bytes(), &nested(fields::NESTING_MAX))].concat();
    let stream = [
        deliver(1, b"orders", "käse".as_bytes()),
        with_headers(&table),
        frame(BODY, 1, b"\xff\xfe"),
        frame(HEARTBEAT, 0, b""),
        frame(METHOD, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ]
    .concat();
    let mut filter = Filter::default();
    assert_eq!(filter.feed(&stream), stream.len());
    assert_eq!(frames(&stream).len(), 5, "and the client library reads them");
}

#[test]
fn a_place_that_is_no_text_is_shown_and_its_bytes_come_with_the_message() {
    let stream =
        [deliver(3, b"a\xff", b"caf\xe9"), deliver(4, b"x", b"y"), header(4, 0, b""), header(3, 0, b"")].concat();
    let frames = frames(&filtered(&stream, usize::MAX));
    let AMQPFrame::Method(3, lapin::protocol::AMQPClass::Basic(lapin::protocol::basic::AMQPMethod::Deliver(deliver))) =
        &frames[0]
    else {
        panic!("no delivery: {frames:?}")
    };
    assert_eq!((deliver.exchange.as_str(), deliver.routing_key.as_str()), (r"a\xff", r"caf\xe9"));
    let remark = remark(headers(&frames[3])).unwrap();
    assert_eq!(remark.parts, ["exchange", "routing_key"]);
    assert!(remark.raw.contains(&("routing_key", b"caf\xe9")) && remark.raw.contains(&("exchange", b"a\xff")));
    assert!(
        matches!(&frames[2], AMQPFrame::Header(4, header) if header.properties.headers().is_none()),
        "not the other's"
    );
}

#[test]
fn what_is_readable_of_the_properties_and_headers_stays() {
    let table =
        [entry(b"good", b"S\0\0\0\x01x"), entry(b"caf\xe9", b"t\x01"), entry(b"deep", &nested(10_000))].concat();
    let values = [short(b"text/\xff"), long(&table), vec![2], short(b"m\xe9")].concat();
    let stream = header(1, (1 << 15) | (1 << 13) | (1 << 12) | (1 << 7), &values);
    let frame = only_header(&stream);
    let AMQPFrame::Header(1, header) = &frame else { panic!("no header") };
    let properties = &header.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), r"text/\xff");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), r"m\xe9");
    assert_eq!(*properties.delivery_mode(), Some(2));
    // A header frame as large as this one has no room for its headers and the original: the original is kept.
    let remark = remark(headers(&frame)).unwrap();
    assert_eq!(remark.parts, ["property:content_type", "property:message_id", "headers"]);
    assert_eq!(remark.raw[0].0, "properties");

    let small = [entry(b"good", b"S\0\0\0\x01x"), entry(b"caf\xe9", b"t\x01"), entry(b"deep", &nested(40))].concat();
    let frame = only_header(&with_headers(&small));
    let table = headers(&frame).inner();
    assert_eq!(table["good"], AMQPValue::LongString("x".into()));
    assert_eq!(table[r"caf\xe9"], AMQPValue::Boolean(true));
    assert_eq!(table["deep"], AMQPValue::Void);
    let found = super::remark(headers(&frame)).unwrap();
    assert_eq!(found.parts, [r"header:caf\xe9", "header:deep"]);
    assert_eq!(found.raw, [("properties", [&(1_u16 << 13).to_be_bytes()[..], &long(&small)].concat().as_slice())]);
}

#[test]
fn what_follows_a_value_of_unknown_length_may_be_any_header() {
    let table = [entry(b"good", b"t\x00"), entry(b"odd", b"Zabc"), entry(b"lost", b"t\x00")].concat();
    let frame = only_header(&with_headers(&table));
    assert_eq!(headers(&frame).inner()["good"], AMQPValue::Boolean(false));
    assert_eq!(remark(headers(&frame)).unwrap().parts, ["headers"]);
}

#[test]
fn a_service_cannot_write_the_mark_itself() {
    let frame = only_header(&with_headers(&entry(MARK.as_bytes(), b"F\0\0\0\0")));
    let found = remark(headers(&frame)).unwrap();
    assert_eq!(found.parts, [format!("header:{MARK}")]);
    assert_eq!(found.raw[0].0, "properties");
}

#[test]
fn the_brokers_words_may_be_cut_within_a_character() {
    let words = ["NOT_FOUND - no exchange '", &"é".repeat(115)].concat();
    let closed = [&[0, 20, 0, 40, 1, 148][..], &short(&words.as_bytes()[..254]), &[0, 40, 0, 10]].concat();
    let frames = frames(&filtered(&frame(METHOD, 1, &closed), usize::MAX));
    assert!(matches!(frames[0], AMQPFrame::Method(1, _)));
}

#[test]
fn a_rewritten_frame_is_no_larger_than_it_was_or_than_any_may_be() {
    for count in [1, 100, 3_000] {
        let table: Vec<u8> =
            (0..count).flat_map(|n| entry(format!("h{n}\u{e9}").as_bytes(), b"S\0\0\0\x02\xe9\xe9")).collect();
        let table = [table, entry(b"\xff", &nested(33))].concat();
        let stream = with_headers(&table);
        let out = filtered(&stream, usize::MAX);
        assert!(out.len() <= stream.len().max(4_096), "{} bytes became {}", stream.len(), out.len());
        let frame = frames(&out).pop().unwrap();
        assert!(!remark(headers(&frame)).unwrap().raw[0].1.is_empty());
    }
}

#[test]
fn a_stream_that_is_no_amqp_goes_through_as_it_is() {
    for stream in
        [&b"AMQP\x00\x00\x09\x01"[..], b"HTTP/1.1 400 Bad Request\r\n", b"\x01\x00\x01\xff\xff\xff\xff\x00\x3c\x00\x3c"]
    {
        assert_eq!(filtered(stream, 3), stream);
    }
    let broken = [deliver(1, b"x", b"y"), b"\x02\0\0\0\0\0\x01zz more".to_vec(), deliver(1, b"\xff", b"y")].concat();
    assert_eq!(filtered(&broken, usize::MAX), broken);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![Just(b"orders".to_vec()), prop::collection::vec(any::<u8>(), 0..40)];
    let value = prop_oneof![
        text.clone().prop_map(|text| [b"S".to_vec(), long(&text)].concat()),
        (0..50_usize).prop_map(nested),
        prop::collection::vec(any::<u8>(), 1..6),
        Just(b"t\x01".to_vec()),
    ];
    let table = prop::collection::vec((text.clone(), value), 0..4)
        .prop_map(|entries| entries.into_iter().flat_map(|(name, value)| entry(&name, &value)).collect::<Vec<u8>>());
    prop_oneof![
        (1..3_u16, text.clone(), text.clone()).prop_map(|(channel, exchange, key)| deliver(channel, &exchange, &key)),
        (1..3_u16, text, table.clone()).prop_map(|(channel, id, table)| {
            header(channel, (1 << 13) | (1 << 7), &[long(&table), short(&id)].concat())
        }),
        (1..3_u16, any::<u16>(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(channel, flags, values)| header(channel, flags & !3, &values)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|body| frame(BODY, 1, &body)),
    ]
}

proptest! {
    #[test]
    fn every_frame_is_readable_afterwards_in_whatever_pieces_it_comes(
        stream in prop::collection::vec(any_frame(), 0..6),
        piece in 1..200_usize,
    ) {
        let stream = stream.concat();
        let whole = filtered(&stream, usize::MAX);
        frames(&whole);
        prop_assert_eq!(filtered(&stream, piece), whole);
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same(stream in prop::collection::vec(any::<u8>(), 0..200), piece in 1..20_usize) {
        let mut filter = Filter::default();
        let clean = filter.feed(&stream);
        prop_assert!(clean <= stream.len());
        prop_assert_eq!(filtered(&stream, piece), filtered(&stream, usize::MAX));
    }
}
