//! TLS to the broker, to the database and to people, with the names checked: by an authority of the test's own.
//!
//! ```text
//!   escrow ──amqps──▶ terminator ──▶ the tests' RabbitMQ          client ──https──▶ escrow
//!          ──TLS────▶ terminator ──▶ the tests' PostgreSQL
//! ```
//!
//! The terminators stand where a server's own TLS would: the handshake, and whose name is in the certificate, are the same.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client, Url};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::support::escrow::Escrow;
use super::support::{postgres, rabbitmq};

const SAGA: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
";

/// Who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (chain, key) = self.sign(name);
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }

    /// A client that trusts nobody else.
    fn client(&self) -> Client {
        let certificate = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        Client::builder().tls_certs_only([certificate]).build().unwrap()
    }
}

/// Speaks TLS on a port of its own, and plainly with the server at `upstream`; gives the port.
async fn terminate(acceptor: TlsAcceptor, upstream: SocketAddr, is_postgres: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if is_postgres {
                    // PostgreSQL is asked for TLS first, and says that it can.
                    let mut asked = [0; 8];
                    client.read_exact(&mut asked).await.ok()?;
                    assert_eq!(asked[4..], 80_877_103_u32.to_be_bytes(), "somebody speaks without TLS");
                    client.write_all(b"S").await.ok()?;
                }
                let mut client = acceptor.accept(client).await.ok()?;
                let mut server = TcpStream::connect(upstream).await.ok()?;
                copy_bidirectional(&mut client, &mut server).await.ok()
            });
        }
    });
    port
}

/// The same address over TLS, by name.
async fn over_tls(url: &str, scheme: &str, acceptor: TlsAcceptor) -> Url {
    let plain = Url::parse(url).unwrap();
    let upstream: SocketAddr = format!("127.0.0.1:{}", plain.port().unwrap()).parse().unwrap();
    let port = terminate(acceptor, upstream, scheme == "postgres").await;
    let rest = url.split_once("://").unwrap().1;
    let mut secure = Url::parse(&format!("{scheme}://{rest}")).unwrap();
    secure.set_host(Some("localhost")).unwrap();
    secure.set_port(Some(port)).unwrap();
    secure
}

fn verified(mut url: Url, authority: &str) -> String {
    url.query_pairs_mut().append_pair("sslmode", "verify-full").append_pair("sslrootcert", authority);
    url.to_string()
}

#[tokio::test]
async fn broker_database_and_people_are_reached_over_tls_and_a_new_certificate_is_served() {
    let (ours, theirs) = (Authority::make(), Authority::make());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let authority = file("ca.pem", &ours.pem);
    let vhost = rabbitmq::shared().vhost();
    let amqp = over_tls(&vhost.limited_url(), "amqps", ours.acceptor("localhost")).await.to_string();
    let database = over_tls(&postgres::shared().database().await, "postgres", ours.acceptor("localhost")).await;
    let (chain, key) = ours.sign("localhost");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_escrow"))
        .args(["token", "new", "--name", "ada", "--role", "viewer", "-o", "json"])
        .output()
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let access = json!({"tokens": [made["entry"]]}).to_string();
    let escrow = Escrow::new(SAGA, &verified(database, &authority), &amqp)
        .with("SSL_CERT_FILE", &authority)
        .with("ESCROW_TLS_CERT", &file("tls.crt", &chain))
        .with("ESCROW_TLS_KEY", &file("tls.key", &key))
        .with("ESCROW_ACCESS", &file("access.yaml", &access));
    escrow.start();
    let url = |path: &str| escrow.url(path).replace("http://127.0.0.1", "https://localhost");
    let client = ours.client();
    escrow
        .until("broker and database are connected", async || {
            Some(client.get(url("/readyz")).send().await.ok()?.status()).filter(reqwest::StatusCode::is_success)
        })
        .await;
    let status = client.get(url("/v1/status")).bearer_auth(made["token"].as_str().unwrap()).send().await.unwrap();
    let status: serde_json::Value = status.json().await.unwrap();
    assert_eq!(status["bus"]["consuming_connected"], true, "{status}");
    assert_eq!(client.get(url("/v1/status")).send().await.unwrap().status(), 401);
    assert!(theirs.client().get(url("/livez")).send().await.is_err(), "another authority did not sign it");
    assert!(Client::new().get(url("/livez").replace("https", "http")).send().await.is_err(), "only TLS is spoken");

    let (chain, key) = theirs.sign("localhost");
    file("tls.crt", &chain);
    file("tls.key", &key);
    escrow.until("the new certificate is served", async || theirs.client().get(url("/livez")).send().await.ok()).await;
    assert_eq!(escrow.terminate(), Some(0));
}

#[tokio::test]
async fn a_server_whose_certificate_is_of_another_name_or_authority_is_not_talked_to() {
    let (ours, theirs) = (Authority::make(), Authority::make());
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem").display().to_string();
    std::fs::write(&authority, &ours.pem).unwrap();
    let (plain_amqp, plain_database) = (rabbitmq::shared().vhost().limited_url(), postgres::shared().database().await);
    for acceptor in [ours.acceptor("elsewhere.example"), theirs.acceptor("localhost")] {
        let database = over_tls(&plain_database, "postgres", acceptor.clone()).await;
        let refused = Escrow::new(SAGA, &verified(database, &authority), &plain_amqp);
        refused.start();
        let ended = refused.until("it ends", async || refused.ended()).await;
        assert!(!ended.success(), "{}", refused.log_text());
        assert!(refused.log_text().contains("ertificate"), "{}", refused.log_text());

        let amqp = over_tls(&plain_amqp, "amqps", acceptor).await.to_string();
        let waiting = Escrow::new(SAGA, &plain_database, &amqp).with("SSL_CERT_FILE", &authority);
        waiting.start();
        waiting.unready().await;
        waiting.until("the log says why", async || waiting.log_text().contains("ertificate").then_some(())).await;
        let status = waiting.get("/v1/status").await.unwrap();
        assert_eq!(status["bus"]["consuming_connected"], false, "{status}");
        assert_eq!(waiting.terminate(), Some(0));
    }
}
