//! Where the texts are in a method, and how long everything is in a table. A look only: nothing is built, nothing recurses
//! without a bound.

/// Deepest nesting of tables and arrays in a header. Real ones have three levels (`x-death`); the client library reads them
/// recursively, on a thread with a small stack.
pub(super) const NESTING_MAX: usize = 32;

/// One argument of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Bytes(usize),
    /// The broker's words, or a name of Escrow's own.
    Text,
    Exchange,
    RoutingKey,
}

/// The arguments of a method that brings a text somebody else wrote; `None` for all others.
pub(super) fn of_method(name: [u8; 4]) -> Option<&'static [Field]> {
    use Field::{Bytes, Exchange, RoutingKey, Text};
    Some(match name {
        [0, 60, 0, 60] => &[Text, Bytes(9), Exchange, RoutingKey],
        [0, 60, 0, 71] => &[Bytes(9), Exchange, RoutingKey, Bytes(4)],
        [0, 60, 0, 50] => &[Bytes(2), Text, Exchange, RoutingKey],
        [0, 60, 0, 30] => &[Text, Bytes(1)],
        [0, 20, 0, 40] | [0, 10, 0, 50] => &[Bytes(2), Text, Bytes(4)],
        [0, 10, 0, 60] => &[Text],
        _ => return None,
    })
}

/// What is left to read of a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'b>(pub(super) &'b [u8]);

impl<'b> Cursor<'b> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A short string.
    pub(super) fn short(&mut self) -> Option<&'b [u8]> {
        let size = usize::from(self.take(1)?[0]);
        self.take(size)
    }

    /// A long string, or the inside of a table or an array.
    pub(super) fn long(&mut self) -> Option<&'b [u8]> {
        let size = u32::from_be_bytes(*self.take(4)?.first_chunk()?);
        self.take(usize::try_from(size).ok()?)
    }

    /// A value of a table: whether the client library reads it. `None` where its length cannot be told.
    pub(super) fn value(&mut self, depth: usize) -> Option<bool> {
        let size = match self.take(1)?[0] {
            b'S' | b'x' => return self.long().map(|_| true),
            b'A' => return self.long().map(|inside| is_readable_array(inside, depth + 1)),
            b'F' => return self.long().map(|inside| is_readable_table(inside, depth + 1)),
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            _ => return None,
        };
        self.take(size).map(|_| true)
    }
}

pub(super) fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn is_readable_array(inside: &[u8], depth: usize) -> bool {
    let mut rest = Cursor(inside);
    if depth > NESTING_MAX {
        return false;
    }
    while !rest.0.is_empty() {
        if rest.value(depth) != Some(true) {
            return false;
        }
    }
    true
}

fn is_readable_table(inside: &[u8], depth: usize) -> bool {
    let mut rest = Cursor(inside);
    if depth > NESTING_MAX {
        return false;
    }
    while !rest.0.is_empty() {
        if !rest.short().is_some_and(is_text) || rest.value(depth) != Some(true) {
            return false;
        }
    }
    true
}
