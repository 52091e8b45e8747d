//! What is fuzzed: one function for each place where bytes of strangers come in. Each panics where a promise is broken.
//!
//! The programs of cargo-fuzz and `tests/fuzz`, which replays the corpus in every run of the tests, share these files.
#![allow(dead_code, reason = "each program of cargo-fuzz runs one of them")]
#![allow(clippy::unwrap_used, reason = "a panic is what is looked for")]

pub mod definition;
pub mod expression;
pub mod frames;
pub mod http;
pub mod journal;
pub mod message;
pub mod stored;

/// Takes the next field of an input: a byte says how long it is.
fn field<'d>(rest: &mut &'d [u8]) -> &'d [u8] {
    let Some((&size, after)) = rest.split_first() else { return &[] };
    let (field, after) = after.split_at(usize::from(size).min(after.len()));
    *rest = after;
    field
}

/// The next byte of an input; zero where there is none.
fn byte(rest: &mut &[u8]) -> u8 {
    let Some((&byte, after)) = rest.split_first() else { return 0 };
    *rest = after;
    byte
}
