//! TLS for the API: a certificate and its key, from files that are read again when they change.
//!
//! Whoever renews certificates writes new files and needs to tell nobody. Files that do not fit together (half of a renewal, say)
//! change nothing: what was served before is served on, and the log says what is wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What HTTP is spoken, as clients are told in the handshake.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why certificates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read")]
    Unreadable { file: String, source: io::Error },
    #[error("{file}: {why}")]
    Mistaken { file: String, why: String },
}

/// A certificate that is served.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    served: RustlsConfig,
    /// Of the files that were looked at last, served or not.
    looked_at: Mutex<[u8; 32]>,
}

impl Tls {
    /// Reads a chain of certificates and its key, in PEM.
    ///
    /// # Errors
    /// They cannot be read, or do not fit together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (config, seen) = read(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            served: RustlsConfig::from_config(Arc::new(config)),
            looked_at: Mutex::new(seen),
        })
    }

    pub(super) fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// Looks at the files again and again, until `shutdown`. Connections that stand keep the certificate they began with.
    pub async fn follow(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// Looks at the files once.
    pub fn look(&self) {
        match read(&self.certificate, &self.key) {
            Ok((config, seen)) => {
                if self.is_news(seen) {
                    self.served.reload_from_config(Arc::new(config));
                    tracing::info!(file = %self.certificate.display(), "a new certificate is served");
                }
            }
            Err(error) => {
                let what = Sha256::digest(error.to_string().as_bytes()).into();
                if self.is_news(what) {
                    tracing::error!(%error, "the new certificate cannot be served; the one before stays");
                }
            }
        }
    }

    fn is_news(&self, seen: [u8; 32]) -> bool {
        let mut last = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, seen) != seen
    }
}

fn read(certificate: &Path, key: &Path) -> Result<(ServerConfig, [u8; 32]), TlsError> {
    let bytes = |file: &Path| {
        std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.display().to_string(), source })
    };
    let mistaken = |file: &Path, why: &dyn std::fmt::Display| TlsError::Mistaken {
        file: file.display().to_string(),
        why: why.to_string(),
    };
    let (chain_text, key_text) = (bytes(certificate)?, bytes(key)?);
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(&chain_text)
        .collect::<Result<_, _>>()
        .map_err(|error| mistaken(certificate, &format!("it is no PEM: {error:?}")))?;
    if chain.is_empty() {
        return Err(mistaken(certificate, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_text)
        .map_err(|_| mistaken(key, &"it holds no private key in PEM without a password"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| mistaken(certificate, &format!("certificate and key cannot be served together: {error}")))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|it| it.to_vec()).collect();
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(&chain_text));
    hash.update(Sha256::digest(&key_text));
    Ok((config, hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(folder.join("tls.crt"), &chain).unwrap();
        std::fs::write(folder.join("tls.key"), &key).unwrap();
        (chain, key)
    }

    #[test]
    fn new_files_are_served_and_half_a_renewal_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        assert!(matches!(Tls::read(&certificate, &key), Err(TlsError::Unreadable { .. })));
        files(folder.path(), "one.example");
        let tls = Tls::read(&certificate, &key).unwrap();
        let first = tls.served().get_inner();
        tls.look();
        assert!(Arc::ptr_eq(&first, &tls.served().get_inner()), "nothing changed");
        let old_key = std::fs::read(&key).unwrap();
        let (_, new_key) = files(folder.path(), "two.example");
        std::fs::write(&key, old_key).unwrap();
        tls.look();
        assert!(Arc::ptr_eq(&first, &tls.served().get_inner()), "the key is of another certificate");
        std::fs::write(&key, new_key).unwrap();
        tls.look();
        assert!(!Arc::ptr_eq(&first, &tls.served().get_inner()));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let (chain, _) = files(folder.path(), "one.example");
        std::fs::write(&key, &chain).unwrap();
        assert!(Tls::read(&certificate, &key).unwrap_err().to_string().contains("no private key"));
        std::fs::write(&certificate, "").unwrap();
        assert!(Tls::read(&certificate, &key).unwrap_err().to_string().contains("no certificate"));
    }
}
