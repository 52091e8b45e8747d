//! How single values are read from what was typed, and what is said where they cannot be.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use crate::saga::time::Span;

pub fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; write it like 127.0.0.1:8080"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

pub fn duration(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(Span::as_std)
}

pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 10_000.0 => Ok(rate),
        _ => Err("a number of orders a second, more than 0 and at most 10000".to_owned()),
    }
}

/// Queue names are short strings, and `escrow.lost.NAME` must fit.
pub fn tap_name(text: &str) -> Result<String, String> {
    let is_name = (1..=100).contains(&text.len())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'));
    if is_name { Ok(text.to_owned()) } else { Err("1 to 100 letters, digits, `-`, `_` or `.`".to_owned()) }
}

pub fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => 0,
    };
    let number = digits.parse::<usize>().ok().and_then(|it| it.checked_mul(factor));
    match number {
        Some(number) if number > 0 || factor == 1 => Ok(number),
        _ => Err("a size like 65536, 512KiB or 1MiB".to_owned()),
    }
}

pub fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like customer=4711".to_owned()),
    }
}

/// Seconds between two looks, from one to a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let plain = text.parse::<u64>().ok().map(Duration::from_secs);
    let read = plain.map_or_else(|| duration(text), Ok)?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
    if bounds.contains(&read) { Ok(read) } else { Err("from 1 second to 24h".to_owned()) }
}
