//! Where and for whom the API is served: settled before anything starts, so that a mistake is a message and not a door left open.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::HttpConfig;
use crate::http::access::Access;
use crate::http::access::book::Kept;
use crate::http::limits::Hosts;
use crate::http::serving::Serving;
use crate::http::tls::Tls;

/// Where and for whom the API is served.
#[derive(Debug, Default)]
pub struct Doorway {
    pub access: Arc<Access>,
    pub serving: Serving,
}

impl Doorway {
    /// What the settings say.
    ///
    /// # Errors
    /// A file cannot be followed, an address is taken, or strangers could reach an Escrow that asks nobody who he is.
    pub fn of(listen: SocketAddr, config: HttpConfig) -> anyhow::Result<Self> {
        let is_loopback = listen.ip().is_loopback();
        let book = config.access.as_deref().map(Kept::read).transpose()?;
        if book.is_none() && !is_loopback {
            anyhow::bail!(
                "others can reach {listen}, and no token is known: name an access file with --access (`escrow token new` \
                 makes a token and the lines for it), or listen on 127.0.0.1"
            );
        }
        let tls = config.tls.map(|(certificate, key)| Tls::read(&certificate, &key)).transpose()?;
        if tls.is_none() && !is_loopback {
            tracing::warn!(%listen, "tokens travel in clear text here, unless something in front of Escrow speaks TLS");
        }
        let bind = |address: SocketAddr| {
            TcpListener::bind(address).with_context(|| format!("cannot serve metrics on {address}"))
        };
        let metrics = config.metrics_listen.map(bind).transpose()?;
        let hosts = Hosts::of(is_loopback, config.hosts);
        Ok(Self { access: Arc::new(Access::new(book, hosts, tls.is_some())), serving: Serving { tls, metrics } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_serves_strangers_without_tokens() {
        let refused = Doorway::of("0.0.0.0:8080".parse().unwrap(), HttpConfig::default()).unwrap_err().to_string();
        assert!(refused.contains("--access") && refused.contains("escrow token new"), "{refused}");
        for address in ["127.0.0.1:0", "[::1]:0", "127.8.8.8:1"] {
            assert!(Doorway::of(address.parse().unwrap(), HttpConfig::default()).unwrap().access.is_open());
        }
        for address in ["[::]:0", "192.0.2.1:80", "[::ffff:127.0.0.1]:0"] {
            assert!(Doorway::of(address.parse().unwrap(), HttpConfig::default()).is_err(), "{address}");
        }
    }

    #[test]
    fn an_access_file_opens_any_address_and_closes_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.yaml");
        let config = || HttpConfig { access: Some(file.clone()), ..HttpConfig::default() };
        let public: SocketAddr = "0.0.0.0:0".parse().unwrap();
        assert!(Doorway::of(public, config()).unwrap_err().to_string().contains("cannot be read"));
        std::fs::write(&file, "tokens: []").unwrap();
        assert!(Doorway::of(public, config()).unwrap_err().to_string().contains("nobody"));
        let digest = crate::http::access::token::make().unwrap().1.hex();
        std::fs::write(&file, format!("tokens: [{{ name: a, role: admin, sha256: {digest} }}]")).unwrap();
        for address in [public, "127.0.0.1:0".parse().unwrap()] {
            assert!(!Doorway::of(address, config()).unwrap().access.is_open());
        }
    }
}
