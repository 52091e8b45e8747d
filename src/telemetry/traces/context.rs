//! `traceparent`: how a message says which trace it belongs to (W3C Trace Context), and links made of it.

use std::collections::HashSet;

pub use opentelemetry::trace::SpanContext;
use opentelemetry::trace::{Link, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::SpanLinks;

/// Links of one span: a large batch names some of its messages, not all.
pub const LINKS_MAX: usize = 128;

/// The header, which is the same name everywhere.
pub const HEADER: &str = "traceparent";

/// Reads `00-<trace>-<span>-<flags>`; `None` for what is not one, and for ids of zeros.
pub fn read(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|it| it.is_ascii_hexdigit());
    // A later version may say more after these; version 0 may not, and ff is none.
    let is_known =
        is_hex(version, 2) && !version.eq_ignore_ascii_case("ff") && (version != "00" || parts.next().is_none());
    if !is_known || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Links to these, each once, and no more than [`LINKS_MAX`].
pub fn links(contexts: impl IntoIterator<Item = SpanContext>) -> SpanLinks {
    let mut links = SpanLinks::default();
    let mut seen = HashSet::new();
    for context in contexts {
        if !seen.insert((context.trace_id(), context.span_id())) {
            continue;
        }
        if links.links.len() < LINKS_MAX {
            links.links.push(Link::with_context(context));
        } else {
            links.dropped_count += 1;
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_what_the_standard_allows_is_read() {
        let context = read(GOOD).expect("it is right");
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled() && context.is_remote());
        assert!(read("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more").is_some(), "a later version");
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn links_are_each_once_and_bounded() {
        let context = |n: usize| read(&format!("00-{n:032x}-00f067aa0ba902b7-01")).expect("it is right");
        let many = links((1..=LINKS_MAX + 7).chain(1..=3).map(context));
        assert_eq!((many.links.len(), many.dropped_count), (LINKS_MAX, 7));
    }
}
