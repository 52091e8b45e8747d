//! Which names a browser may call this server by.
//!
//! A page of a stranger can make its own name point to 127.0.0.1 and so, to the browser, be of the same origin as an Escrow that
//! listens there without tokens. The name it used stands in `Host`: what is none of ours is refused.

use axum::http::uri::Authority;
use axum::http::{Request, header};

/// The names that are answered to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any: whoever calls has to show a token that no stranger's page has.
    #[default]
    Any,
    /// The names of this machine itself, and these.
    Loopback(Vec<String>),
}

impl Hosts {
    /// What fits an address that is listened on: by loopback the machine's own names and those named; elsewhere those named, or
    /// any where none is.
    pub fn of(is_loopback: bool, named: Vec<String>) -> Self {
        if is_loopback || !named.is_empty() { Self::Loopback(named) } else { Self::Any }
    }

    /// Whether a request calls the server by one of them; the name it used where not.
    ///
    /// # Errors
    /// The name, or nothing where the request has none that can be read.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), String> {
        let Self::Loopback(named) = self else { return Ok(()) };
        let host = host(request).ok_or_else(String::new)?;
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback());
        if is_loopback || named.iter().any(|name| name.eq_ignore_ascii_case(&host)) { Ok(()) } else { Err(host) }
    }
}

/// The name a request calls the server by, without the port and in lower case.
pub fn host<B>(request: &Request<B>) -> Option<String> {
    let authority = match request.headers().get(header::HOST) {
        // A name has no user before it.
        Some(value) => value.to_str().ok().filter(|it| !it.contains('@'))?.parse::<Authority>().ok()?,
        None => request.uri().authority()?.clone(),
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, host: &str) -> Result<(), String> {
        hosts.check(&Request::get("/").header("host", host).body(()).unwrap())
    }

    #[test]
    fn loopback_answers_to_its_own_names_and_those_that_are_named() {
        let hosts = Hosts::of(true, vec!["escrow.example.org".to_owned()]);
        for own in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "Escrow.example.org",
        ] {
            assert_eq!(check(&hosts, own), Ok(()), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", "[::2]"] {
            assert!(check(&hosts, foreign).is_err(), "{foreign}");
        }
        for broken in ["", "a b", "user@localhost:x"] {
            assert!(check(&hosts, broken).is_err(), "{broken}");
        }
        assert!(hosts.check(&Request::get("/").body(()).unwrap()).is_err(), "no name at all");
        assert_eq!(
            hosts.check(&Request::get("http://localhost/").body(()).unwrap()),
            Ok(()),
            "HTTP/2 has it in the address"
        );
    }

    #[test]
    fn elsewhere_any_name_will_do_until_some_are_named() {
        assert_eq!(Hosts::of(false, vec![]), Hosts::Any);
        let hosts = Hosts::of(false, vec!["escrow.example.org".to_owned()]);
        assert_eq!(
            (check(&hosts, "escrow.example.org:443"), check(&hosts, "x.example")),
            (Ok(()), Err("x.example".to_owned()))
        );
    }
}
