//! What can be typed about where and for whom the API is served, and after `escrow token`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::address;
use crate::config::HttpConfig;
use crate::http::access::role::Role;
use crate::saga::time::Moment;

#[derive(Debug, Args)]
pub struct ServingArgs {
    /// Who may come in: a file of tokens. Needed to listen on anything but loopback
    #[arg(long, env = "ESCROW_ACCESS")]
    access: Option<PathBuf>,
    /// A name this Escrow is reached by, beside localhost; may be given again
    #[arg(long = "allow-host", env = "ESCROW_ALLOW_HOSTS", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Speak TLS with this chain of certificates, in PEM; read again when it changes
    #[arg(long, env = "ESCROW_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, env = "ESCROW_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve metrics and health here too, without a token
    #[arg(long, env = "ESCROW_METRICS_LISTEN", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
}

impl ServingArgs {
    pub fn into_config(self) -> HttpConfig {
        let given = |file: Option<PathBuf>| file.filter(|file| !file.as_os_str().is_empty());
        HttpConfig {
            access: given(self.access),
            hosts: self.hosts.into_iter().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect(),
            tls: given(self.tls_cert).zip(given(self.tls_key)),
            metrics_listen: self.metrics_listen,
        }
    }
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: it is shown once, with the lines that let it in
    New(NewToken),
}

#[derive(Debug, Args)]
pub struct NewToken {
    /// Who will use it; goes into the journal as who acted
    #[arg(long)]
    pub name: String,
    /// What it may do: viewer, operator, admin or sender
    #[arg(long, value_parser = role)]
    pub role: Role,
    /// Sagas it is kept to, separated by commas; left out: all
    #[arg(long, value_delimiter = ',')]
    pub sagas: Vec<String>,
    /// When it ends, like 2027-01-01T00:00:00Z; left out: never
    #[arg(long, value_parser = moment)]
    pub expires: Option<Moment>,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| "a role is viewer, operator, admin or sender".to_owned())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text).ok_or_else(|| "write it like 2027-01-01T00:00:00Z".to_owned())
}
