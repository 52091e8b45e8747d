//! Asks the API for what the board shows.
//!
//! Orders come newest first, and the board wants those that have waited longest: it asks for orders whose wait is older than some
//! age, and goes up and down a ladder of ages until the answer is short and not empty. Then these are all of that age, and the
//! oldest is among them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rates::{PerMinute, Rates, Sample};
use crate::cli::args::PageArgs;
use crate::cli::client::{Client, Rows};
use crate::cli::failure::{Failure, NOT_FOUND};
use crate::cli::output::at;
use crate::cli::why;
use crate::saga::time::Moment;

/// Incidents asked for; the largest come first.
const INCIDENTS: u32 = 10;
/// Orders asked for at once.
const ORDERS: u32 = 100;
/// Deadlines shown.
const DUE_SHOWN: usize = 5;

/// Ages of waits, from any to very old.
const AGES: [Option<&str>; 9] =
    [None, Some("10s"), Some("1m"), Some("10m"), Some("1h"), Some("6h"), Some("1d"), Some("7d"), Some("30d")];

/// An order by saga and id.
pub type Chosen = (String, String);

/// What there is to see at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub status: Value,
    pub incidents: Vec<Value>,
    pub has_more_incidents: bool,
    /// Those stuck and those waiting, what stands longest first.
    pub orders: Vec<Value>,
    /// Those whose next deadline comes first.
    pub due: Vec<Value>,
    pub per_minute: Option<PerMinute>,
    /// The order that is open, as `escrow order why` has it.
    pub open: Option<Value>,
}

impl Picture {
    /// As programs read it.
    pub fn value(&self) -> Value {
        let per_minute = self.per_minute.map(|it| json!({"in": it.received, "out": it.sent}));
        json!({"status": self.status, "incidents": self.incidents, "per_minute": per_minute, "due": self.due, "orders": self.orders})
    }

    /// The database's clock when it was made.
    pub fn now(&self) -> Option<Moment> {
        Moment::parse(&at(&self.status, "/now"))
    }
}

/// Looks again and again.
pub struct Looker {
    client: Client,
    rates: Rates,
    /// Place in [`AGES`].
    rung: usize,
}

impl Looker {
    pub fn new(client: Client) -> Self {
        Self { client, rates: Rates::default(), rung: 0 }
    }

    /// Whom it asks.
    pub fn address(&self) -> String {
        self.client.address().to_owned()
    }

    /// Only counts, for the rates.
    pub async fn count(&mut self) {
        if let Ok(status) = self.client.get(&["v1", "status"], &[]).await {
            self.count_at(&status).await;
        }
    }

    async fn count_at(&mut self, status: &Value) {
        let Some(now) = Moment::parse(&at(status, "/now")) else { return };
        let text = self.client.text(&["metrics"]).await.unwrap_or_default();
        if let Some(sample) = Sample::read(now, &text) {
            self.rates.add(sample);
        }
    }

    /// Everything as it is now.
    pub async fn look(&mut self, open: Option<&Chosen>) -> Result<Picture, Failure> {
        let status = self.client.get(&["v1", "status"], &[]).await?;
        self.count_at(&status).await;
        let client = &self.client;
        let page = PageArgs::first(INCIDENTS);
        let incidents = client.list(&["v1", "incidents"], &[], "incidents", &page);
        let open = async {
            let Some((saga, order_id)) = open else { return Ok(None) };
            match why::look(client, saga, order_id).await {
                Ok(known) => Ok(Some(known)),
                Err(failure) if failure.exit == NOT_FOUND => Ok(None),
                Err(failure) => Err(failure),
            }
        };
        let (incidents, stuck, moving, open) =
            tokio::try_join!(incidents, self.orders("stuck", None), self.orders("running,compensating", None), open)?;
        let waiting = self.longest_waits().await?;
        let mut all = BTreeMap::new();
        for order in stuck.items.iter().chain(&waiting) {
            all.insert(key(order), order.clone());
        }
        let mut orders: Vec<Value> = all.values().cloned().collect();
        orders.sort_by(|left, right| since(left).cmp(&since(right)).then_with(|| key(left).cmp(&key(right))));
        all.extend(moving.items.into_iter().map(|order| (key(&order), order)));
        let mut due: Vec<Value> = all.into_values().filter(|order| !order["next"].is_null()).collect();
        due.sort_by(by_next);
        due.truncate(DUE_SHOWN);
        Ok(Picture {
            status,
            has_more_incidents: incidents.next_cursor.is_some(),
            incidents: incidents.items,
            orders,
            due,
            per_minute: self.rates.per_minute(),
            open,
        })
    }

    async fn orders(&self, status: &str, older_than: Option<&str>) -> Result<Rows, Failure> {
        let mut query = vec![("status", status)];
        query.extend(older_than.map(|age| ("older_than", age)));
        self.client.list(&["v1", "orders"], &query, "orders", &PageArgs::first(ORDERS)).await
    }

    async fn longest_waits(&mut self) -> Result<Vec<Value>, Failure> {
        let mut came_down = false;
        loop {
            let rows = self.orders("running,compensating,stuck", AGES[self.rung]).await?;
            let is_cut = rows.next_cursor.is_some();
            if rows.items.is_empty() && self.rung > 0 {
                came_down = true;
                self.rung -= 1;
            } else if is_cut && !came_down && self.rung + 1 < AGES.len() {
                self.rung += 1;
            } else {
                return Ok(rows.items);
            }
        }
    }
}

/// Saga and id.
pub fn key(order: &Value) -> Chosen {
    (at(order, "/saga"), at(order, "/order_id"))
}

/// Since when it stands as it does: stuck, or waiting.
pub fn since(order: &Value) -> Moment {
    let pointers = ["/stuck/since", "/waiting_on/0/since", "/created_at"];
    pointers.into_iter().find_map(|pointer| Moment::parse(&at(order, pointer))).unwrap_or(Moment(i64::MAX))
}

fn by_next(left: &Value, right: &Value) -> Ordering {
    let next = |order: &Value| Moment::parse(&at(order, "/next/at"));
    next(left).cmp(&next(right)).then_with(|| key(left).cmp(&key(right)))
}
