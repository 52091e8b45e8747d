//! The live stream: every journal entry as a server-sent event, from where the client left off.
//!
//! ```text
//!   nudge (or a second without one) ──▶ journal_since(position) ──▶ filter ──▶ id: position / event: kind / data: entry
//! ```
//!
//! The journal is the truth and a nudge only wakes: an entry written by another replica is found by looking. A client that
//! comes back with `Last-Event-ID` misses nothing and gets nothing twice. Streams end when Escrow stops.
//!
//! With `pulse=true` a client is only told that something was journaled, at most once a second: a screen that shows sums reads them
//! again then, whatever the traffic.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::audit::{self, EntryView};
use super::filter::step_names;
use super::problem::{Kind, Problem, ProblemBody, unknown};
use super::query::Params;
use super::state::ApiState;
use crate::store::{JournalFilter, JournalRow, Page};

/// A comment this often keeps proxies from closing a quiet stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Without a nudge the journal is looked at this often: other replicas write it too.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After a failed look the next one waits this long.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Between two pulses.
const PULSE_EVERY: Duration = Duration::from_secs(1);

/// A stream somebody showed a token for ends after this long, so that the token is looked at again. Clients come back by themselves.
const KNOWN_FOR: Duration = Duration::from_mins(5);

/// Entries read at once.
const ENTRIES_AT_ONCE: usize = 500;

/// Follows the journal.
#[utoipa::path(get, path = "/v1/stream", tag = "journal",
    params(
        ("saga" = Option<String>, Query, description = "Only this saga"),
        ("order_id" = Option<String>, Query, description = "Only orders with this id"),
        ("order" = Option<String>, Query, description = "The same as `order_id`"),
        ("step" = Option<String>, Query, description = "Only entries that are about this step or change it"),
        ("pulse" = Option<bool>, Query,
            description = "Instead of entries, an event `pulse` at most once a second while there are new ones; takes no filter"),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this position"),
    ),
    responses(
        (status = 200, description = "Server-sent events: `id` is the position, `event` the kind, `data` the entry",
            body = EntryView, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn follow_journal(
    state: ApiState,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let wanted = Wanted::read(&state, &uri)?;
    let places = places(&state)?;
    let nudges = state.desk.nudges();
    let after = match headers.get("last-event-id") {
        Some(value) => value.to_str().ok().and_then(|it| it.trim().parse().ok()).ok_or_else(|| {
            Problem::new(Kind::BadHeader, "`Last-Event-ID` is the id of an event of this stream: a number")
        })?,
        None => newest(&state).await?,
    };
    let follower = Follower {
        state,
        wanted,
        nudges,
        after,
        ready: VecDeque::new(),
        looked_at: None,
        until: places.1,
        _places: places.0,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// A place among all streams and one among the caller's own; and until when he may have them.
fn places(state: &ApiState) -> Result<(Vec<OwnedSemaphorePermit>, Option<Instant>), Problem> {
    let full = || Problem::new(Kind::Unavailable, "too many live streams are open; close one");
    let mut places = vec![state.stream_places.clone().try_acquire_owned().map_err(|_| full())?];
    let Some(share) = &state.share else { return Ok((places, None)) };
    places.push(share.stream().ok_or_else(full)?);
    Ok((places, Some(Instant::now() + KNOWN_FOR)))
}

/// The position of the newest entry; 0 while there is none.
async fn newest(state: &ApiState) -> Result<i64, Problem> {
    let page = Page { limit: 1, cursor: None };
    let listed = state.query.journal(JournalFilter::default(), page).await?;
    Ok(listed.items.first().map_or(0, |row| row.position))
}

/// Which entries a client asked for.
#[derive(Debug, Default)]
struct Wanted {
    saga: Option<String>,
    order_id: Option<String>,
    step: Option<String>,
    /// Not the entries, only that there are some.
    pulse: bool,
}

impl Wanted {
    fn read(state: &ApiState, uri: &Uri) -> Result<Self, Problem> {
        let params = Params::read(uri, &["saga", "order_id", "order", "step", "pulse"], None)?;
        let catalog = state.desk.catalog();
        let saga = params.saga(&catalog)?;
        let step = params.text("step").map(str::to_owned);
        let known = step_names(&catalog, saga.as_slice());
        if let Some(name) = &step
            && !known.contains(name.as_str())
        {
            return Err(Problem::parameter("step", unknown("step", name, known)));
        }
        let order_id = params.text("order_id").or_else(|| params.text("order")).map(str::to_owned);
        let pulse = params.flag("pulse")?;
        if pulse && (saga.is_some() || order_id.is_some() || step.is_some()) {
            return Err(Problem::parameter(
                "pulse",
                "a pulse is of the whole journal: leave `saga`, `order` and `step` out",
            ));
        }
        Ok(Self { saga, order_id, step, pulse })
    }

    fn takes(&self, row: &JournalRow) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == row.key.saga)
            && self.order_id.as_ref().is_none_or(|order_id| *order_id == row.key.order_id)
    }

    fn takes_entry(&self, entry: &EntryView) -> bool {
        self.step.as_ref().is_none_or(|step| {
            entry.step.as_ref() == Some(step) || entry.changes.iter().any(|change| change.step == *step)
        })
    }
}

/// One open stream.
struct Follower {
    state: ApiState,
    wanted: Wanted,
    nudges: watch::Receiver<u64>,
    after: i64,
    ready: VecDeque<Event>,
    /// When a pulse was last looked for.
    looked_at: Option<Instant>,
    /// When it ends by itself.
    until: Option<Instant>,
    /// Given back when the stream ends.
    _places: Vec<OwnedSemaphorePermit>,
}

impl Follower {
    /// The next event; `None` once Escrow stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.state.shutdown.is_cancelled() || self.until.is_some_and(|until| until <= Instant::now()) {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.wanted.pulse && !self.rest().await {
                return None;
            }
            self.nudges.mark_unchanged();
            let pause = match self.look().await {
                Ok(0) => LOOK_EVERY,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(?error, "a live stream could not read the journal");
                    BACK_OFF
                }
            };
            tokio::select! {
                () = self.state.shutdown.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
                _ = self.nudges.changed(), if pause == LOOK_EVERY && self.nudges.has_changed().is_ok() => {}
            }
        }
    }

    /// Reads what came since; gives how many entries there were, wanted or not.
    async fn look(&mut self) -> Result<usize, Problem> {
        if self.wanted.pulse {
            return self.look_for_any().await;
        }
        let rows = self.state.query.journal_since(self.after, ENTRIES_AT_ONCE).await?;
        let catalog = self.state.desk.catalog();
        for row in &rows {
            self.after = row.position;
            if !self.wanted.takes(row) {
                continue;
            }
            let entry = match audit::entry(&catalog, row) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(%error, "a journal entry cannot be shown");
                    continue;
                }
            };
            if self.wanted.takes_entry(&entry) {
                let event = Event::default().id(row.position.to_string()).event(row.kind.word());
                self.ready.push_back(event.data(serde_json::to_string(&entry).unwrap_or_default()));
            }
        }
        Ok(rows.len())
    }

    /// One event for all that came since, however many; its id is the newest of them.
    async fn look_for_any(&mut self) -> Result<usize, Problem> {
        let newest = newest(&self.state).await?;
        if newest <= self.after {
            return Ok(0);
        }
        self.after = newest;
        self.ready.push_back(Event::default().id(newest.to_string()).event("pulse").data("{}"));
        Ok(1)
    }

    /// Waits until the next look for a pulse is due; false once Escrow stops.
    async fn rest(&mut self) -> bool {
        let since = self.looked_at.map_or(PULSE_EVERY, |at| at.elapsed());
        let is_on = tokio::select! {
            () = self.state.shutdown.cancelled() => false,
            () = tokio::time::sleep(PULSE_EVERY.saturating_sub(since)) => true,
        };
        self.looked_at = Some(Instant::now());
        is_on
    }
}
