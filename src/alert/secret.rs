//! A value nobody may read in a log: an address with a key in it, a password.
//!
//! It shows itself as `…`. Whoever sends it asks for it by name ([`Secret::expose`]), and answers of receivers are cleaned of it
//! before they are shown ([`Secret::hide_in`]): some repeat what they were given.

use std::fmt;

/// Shorter values are words; taking them out of a text would only garble it.
const HIDDEN_BYTES_MIN: usize = 6;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the value.
    pub fn hide_in(&self, text: &str) -> String {
        if self.0.len() < HIDDEN_BYTES_MIN { text.to_owned() } else { text.replace(&self.0, "…") }
    }

    /// Scheme, host and port, where it is an address: enough to know which one is meant.
    pub fn host(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_nothing_but_the_host() {
        let address = Secret::new("https://ada:s3cret@hooks.example.org:8443/services/T0/B0/xyz?token=1");
        assert_eq!(format!("{address:?}"), "…");
        assert_eq!(address.host(), "https://hooks.example.org:8443");
        let key = Secret::new("R0UT1NGKEY");
        assert_eq!(key.hide_in("no such key: R0UT1NGKEY."), "no such key: ….");
        assert_eq!(Secret::new("on").hide_in("on hold"), "on hold");
    }
}
