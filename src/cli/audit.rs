//! `escrow audit verify`: reads every trail from the database, folds it, and holds it against what is stored.
//!
//! Needs no running Escrow, and trusts none.

use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::failure::{FAILURE, Failure, NOT_FOUND, UNAVAILABLE};
use super::output::{Output, Said, at, plain};
use super::start::Start;
use crate::saga::brake::trail_of;
use crate::saga::order::OrderKey;
use crate::store::{Query, StoreError};

/// Keys read at once.
const KEYS_AT_ONCE: usize = 500;

/// Runs the command; 1 when any trail does not hold.
pub async fn verify(args: VerifyArgs, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    let store = program.open(args.database.database_url).await?;
    let verified = walk(store.as_ref(), args.saga.as_deref()).await;
    store.close().await;
    let verified = verified?;
    match args.saga {
        Some(saga) if verified.orders == 0 => {
            Err(Failure::new(NOT_FOUND, "not_found", format!("there is no order of saga `{saga}`")))
        }
        Some(_) | None => Ok(verified.say(output)),
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    pub orders: u64,
    pub entries: u64,
    pub broken: Vec<Value>,
}

impl Verified {
    fn sentence(&self) -> String {
        let said = format!("{} entries of {} orders", self.entries, self.orders);
        match self.broken.len() {
            0 => format!("{said}: every trail holds"),
            1 => format!("{said} hold; 1 trail does not"),
            many => format!("{said} hold; {many} trails do not"),
        }
    }

    /// Verifies one trail: an order's, or that of what was changed about a saga.
    async fn trail(&mut self, store: &(impl Query + ?Sized), key: &OrderKey) -> Result<(), Failure> {
        let broken = match store.verify(key.clone()).await {
            Ok(Ok(entries)) => {
                self.entries += entries;
                None
            }
            Ok(Err(broken)) => Some(broken.to_string()),
            Err(StoreError::Corrupt(why)) => Some(why),
            Err(error) => return Err(unreadable(error)),
        };
        if let Some(why) = broken {
            tracing::warn!(order = %plain(&key.to_string()), why, "a trail does not hold");
            self.broken.push(json!({"saga": key.saga, "order_id": key.order_id, "why": why}));
        }
        Ok(())
    }

    /// The answer: what does not hold, and how much was looked at.
    pub fn say(&self, output: Output) -> Said {
        let all = json!({"orders": self.orders, "entries": self.entries, "broken": self.broken});
        let text = output.report(&all, &self.broken, &["saga", "order_id", "why"], || {
            let broken = self.broken.iter().map(|it| {
                plain(&format!("broken: {}/{}: {}", at(it, "/saga"), at(it, "/order_id"), at(it, "/why"))) + "\n"
            });
            broken.collect::<String>() + &self.sentence() + "\n"
        });
        Said { text, note: None, exit: if self.broken.is_empty() { 0 } else { FAILURE } }
    }
}

/// Verifies every order, and what was changed about the sagas themselves; of one saga or all.
pub async fn walk(store: &(impl Query + ?Sized), saga: Option<&str>) -> Result<Verified, Failure> {
    let mut verified = Verified::default();
    for (name, _) in store.saga_states().await.map_err(unreadable)? {
        if saga.is_none_or(|saga| saga == name) {
            verified.trail(store, &trail_of(&name)).await?;
        }
    }
    // Keys come by id first, so those of one saga are anywhere among the others.
    let mut after: Option<OrderKey> = None;
    loop {
        let keys = store.keys_after(after.clone(), KEYS_AT_ONCE).await.map_err(unreadable)?;
        for key in keys.iter().filter(|key| saga.is_none_or(|saga| saga == key.saga)) {
            verified.orders += 1;
            verified.trail(store, key).await?;
        }
        match keys.into_iter().last() {
            Some(last) => after = Some(last),
            None => return Ok(verified),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function to map errors with")]
fn unreadable(error: StoreError) -> Failure {
    let exit = match error {
        StoreError::Unavailable(_) => UNAVAILABLE,
        StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::BadCursor | StoreError::Unsupported(_) => FAILURE,
    };
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Failure::new(exit, "database", format!("{error}{source}"))
}
