//! The access file: who may come in.
//!
//! ```yaml
//! tokens:
//!   - name: ada                     # goes into the journal as who acted
//!     role: operator                # viewer, operator, admin or sender
//!     sagas: [order, return]        # left out: all
//!     expires: 2027-01-01T00:00:00Z # left out: never
//!     sha256: 5f70bf18a0…           # as `escrow token new` gave it
//! oidc:                             # people behind an identity provider; left out: none
//!   issuer: https://login.example.org
//!   audience: escrow
//!   jwks_url: https://login.example.org/keys
//!   name: email                     # the claim that goes into the journal; left out: sub
//!   groups: /groups                 # where the groups stand in the claims; this when left out
//!   roles:                          # the first that fits counts
//!     - { group: escrow-admins, role: admin }
//!     - { group: order-team, role: operator, sagas: [order] }
//! ```
//!
//! The file is read again while Escrow runs, so a token is taken away without a restart. One that cannot be read changes nothing:
//! the tokens known before stay, and the log says what is wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

use super::oidc::{Provider, Settings};
use super::role::Role;
use super::scope::Scope;
use super::token::Digest;
use crate::saga::time::Moment;

/// Between two looks at the file; a token that was taken out is refused after at most this long.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Most tokens: each is looked at for every call.
const TOKENS_MAX: usize = 1_000;

/// Most sagas a token is kept to: lists are read saga by saga.
pub(super) const SAGAS_MAX: usize = 32;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// One who may come in.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub role: Role,
    pub scope: Scope,
    expires: Option<Moment>,
    digest: Digest,
}

/// Everyone who may come in.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    pub provider: Option<Arc<Provider>>,
}

/// Why an access file cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    #[error("{file} cannot be read; name the file with --access")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file}: {why}")]
    Mistaken { file: String, why: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    tokens: Vec<WrittenToken>,
    #[serde(default)]
    oidc: Option<Settings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    name: String,
    role: String,
    #[serde(default)]
    sagas: Option<Vec<String>>,
    #[serde(default)]
    expires: Option<String>,
    sha256: String,
}

impl Book {
    /// What a text says.
    ///
    /// # Errors
    /// What is wrong, and of which token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if written.tokens.is_empty() && written.oidc.is_none() {
            return Err("it lets nobody in; `escrow token new` makes a token and the lines for it".to_owned());
        }
        if written.tokens.len() > TOKENS_MAX {
            return Err(format!("it has more than {TOKENS_MAX} tokens"));
        }
        let mut names = BTreeSet::new();
        let mut digests = BTreeSet::new();
        let mut entries = Vec::with_capacity(written.tokens.len());
        for token in written.tokens {
            let entry = entry(token)?;
            if !names.insert(entry.name.clone()) {
                return Err(format!("two tokens are called `{}`: the journal could not tell them apart", entry.name));
            }
            if !digests.insert(entry.digest.hex()) {
                return Err(format!("token `{}` has the `sha256` of another", entry.name));
            }
            entries.push(entry);
        }
        let provider = written.oidc.map(Provider::new).transpose()?.map(Arc::new);
        Ok(Self { entries, provider })
    }

    /// Goes on with the provider there was, if it is the same: its keys are known.
    fn keep_provider_of(&mut self, before: &Self) {
        if let (Some(provider), Some(known)) = (&self.provider, &before.provider)
            && known.is_of(provider.settings())
        {
            self.provider = Some(Arc::clone(known));
        }
    }

    /// Who shows this token, unless it has expired. Every entry is looked at, so the time taken says nothing about any.
    pub fn find(&self, shown: &str, now: Moment) -> Option<&Entry> {
        let digest = Digest::of(shown)?;
        let mut found = None;
        for entry in &self.entries {
            if entry.digest.is(&digest) {
                found = Some(entry);
            }
        }
        found.filter(|entry| entry.expires.is_none_or(|expires| now < expires))
    }
}

fn entry(token: WrittenToken) -> Result<Entry, String> {
    let WrittenToken { name, role, sagas, expires, sha256 } = token;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.trim() != name || name.chars().any(char::is_control) {
        return Err(format!("a name is one line of 1 to {NAME_BYTES_MAX} bytes; `{}` is not", name.escape_debug()));
    }
    let wrong = |why: &str| format!("token `{name}`: {why}");
    let role = Role::from_word(&role)
        .ok_or_else(|| wrong(&format!("`{role}` is no role; there is viewer, operator, admin and sender")))?;
    let digest = Digest::parse(&sha256).ok_or_else(|| {
        wrong("`sha256` is 64 hexadecimal digits, as `escrow token new` gives them; the token itself never stands here")
    })?;
    let expires = match expires {
        Some(text) => Some(
            Moment::parse(&text)
                .ok_or_else(|| wrong(&format!("`expires: {text}` is no time; write it like 2027-01-01T00:00:00Z")))?,
        ),
        None => None,
    };
    let scope = match sagas {
        None => Scope::All,
        Some(sagas) if sagas.is_empty() => return Err(wrong("`sagas` names none; leave it out for all")),
        Some(sagas) if sagas.len() > SAGAS_MAX => {
            return Err(wrong(&format!("`sagas` names more than {SAGAS_MAX}")));
        }
        Some(_) if role == Role::Sender => {
            return Err(wrong("an event goes to every saga that names it, so a sender cannot be kept to `sagas`"));
        }
        Some(sagas) => sagas.into_iter().collect(),
    };
    Ok(Entry { name, role, scope, expires, digest })
}

/// A file, with what it said last.
#[derive(Debug)]
pub struct Kept {
    file: PathBuf,
    book: RwLock<Arc<Book>>,
    /// Of the text that was last looked at, followed or not.
    looked_at: RwLock<[u8; 32]>,
}

impl Kept {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or says nothing that can be followed.
    pub fn read(file: &Path) -> Result<Self, BookError> {
        let (text, book) = read(file)?;
        Ok(Self { file: file.to_owned(), book: RwLock::new(Arc::new(book)), looked_at: RwLock::new(hash(&text)) })
    }

    /// What it said last.
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the file again and again, until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// Looks at the file once. Each text is followed, or complained about, one time.
    pub fn look(&self) {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if self.is_news([0; 32]) {
                    tracing::error!(%error, file = %self.file.display(),
                        "the access file cannot be read; the tokens known before stay");
                }
                return;
            }
        };
        if !self.is_news(hash(&text)) {
            return;
        }
        match Book::parse(&text) {
            Ok(mut book) => {
                book.keep_provider_of(&self.book());
                let tokens = book.entries.len();
                *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
                tracing::info!(tokens, file = %self.file.display(), "the access file was read again");
            }
            Err(why) => {
                tracing::error!(why, file = %self.file.display(),
                    "the access file has a mistake; the tokens known before stay");
            }
        }
    }

    fn is_news(&self, seen: [u8; 32]) -> bool {
        let mut last = self.looked_at.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, seen) != seen
    }
}

fn read(file: &Path) -> Result<(String, Book), BookError> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| BookError::Unreadable { file: name(), source })?;
    let book = Book::parse(&text).map_err(|why| BookError::Mistaken { file: name(), why })?;
    Ok((text, book))
}

fn hash(text: &str) -> [u8; 32] {
    sha2::Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::super::token::make;
    use super::*;

    const NOW: Moment = Moment(1_800_000_000_000_000);

    #[test]
    fn a_token_lets_in_until_it_expires() {
        let ((ada, ada_digest), (bob, bob_digest)) = (make().unwrap(), make().unwrap());
        let expires = (NOW + crate::saga::time::Span::from_secs(60)).rfc3339();
        let text = format!(
            "tokens:\n  - {{ name: ada, role: operator, sagas: [order], sha256: {} }}\n  - {{ name: bob, role: viewer, expires: \"{expires}\", sha256: {} }}\n",
            ada_digest.hex(),
            bob_digest.hex()
        );
        let book = Book::parse(&text).unwrap();
        let found = book.find(&ada, NOW).unwrap();
        assert_eq!(
            (found.name.as_str(), found.role, &found.scope),
            ("ada", Role::Operator, &["order"].into_iter().collect())
        );
        assert_eq!(book.find(&bob, NOW).map(|it| it.name.as_str()), Some("bob"));
        assert!(book.find(&bob, NOW + crate::saga::time::Span::from_secs(60)).is_none());
        assert!(book.find(&make().unwrap().0, NOW).is_none());
        // What stands in the file opens nothing.
        assert!(book.find(&ada_digest.hex(), NOW).is_none());
        assert!(!format!("{book:?}").contains(&ada_digest.hex()));
    }

    #[test]
    fn mistakes_are_named() {
        let (digest, other) = (make().unwrap().1.hex(), make().unwrap().1.hex());
        let one = |fields: &str| format!("tokens:\n  - {{ {fields} }}\n");
        for (text, part) in [
            ("tokens: []\n".to_owned(), "nobody"),
            (
                "oidc: { issuer: i, audience: a, jwks_url: http://x, roles: [{ group: g, role: admin }] }".to_owned(),
                "https",
            ),
            ("oidc: { issuer: i, audience: a, jwks_url: https://x, roles: [] }".to_owned(), "say something"),
            (one(&format!("name: a, role: root, sha256: {digest}")), "`root` is no role"),
            (one("name: a, role: viewer, sha256: hunter2"), "64 hexadecimal digits"),
            (one(&format!("name: \"a\\nb\", role: viewer, sha256: {digest}")), "one line"),
            (one(&format!("name: a, role: viewer, sagas: [], sha256: {digest}")), "leave it out"),
            (one(&format!("name: a, role: sender, sagas: [order], sha256: {digest}")), "sender"),
            (one(&format!("name: a, role: viewer, expires: soon, sha256: {digest}")), "no time"),
            (one(&format!("name: a, rolle: viewer, sha256: {digest}")), "rolle"),
            (
                format!(
                    "{}  - {{ name: a, role: admin, sha256: {other} }}\n",
                    one(&format!("name: a, role: viewer, sha256: {digest}"))
                ),
                "two tokens",
            ),
            (
                format!(
                    "{}  - {{ name: b, role: admin, sha256: {digest} }}\n",
                    one(&format!("name: a, role: viewer, sha256: {digest}"))
                ),
                "of another",
            ),
        ] {
            let why = Book::parse(&text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn a_file_is_followed_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.yaml");
        let ((ada, ada_digest), (bob, bob_digest)) = (make().unwrap(), make().unwrap());
        let line = |name: &str, digest: &Digest| {
            format!("tokens:\n  - {{ name: {name}, role: viewer, sha256: {} }}\n", digest.hex())
        };
        assert!(matches!(Kept::read(&file), Err(BookError::Unreadable { .. })));
        std::fs::write(&file, line("ada", &ada_digest)).unwrap();
        let kept = Kept::read(&file).unwrap();
        std::fs::write(&file, "tokens: [").unwrap();
        kept.look();
        assert!(kept.book().find(&ada, NOW).is_some());
        std::fs::write(&file, line("bob", &bob_digest)).unwrap();
        kept.look();
        assert!(kept.book().find(&ada, NOW).is_none() && kept.book().find(&bob, NOW).is_some());
        std::fs::remove_file(&file).unwrap();
        kept.look();
        assert!(kept.book().find(&bob, NOW).is_some());
    }
}
