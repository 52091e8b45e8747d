//! What one caller may use at once, and how often it may ask.
//!
//! ```text
//!   rate      a bucket that fills with PER_SECOND and holds BURST: a page that opens asks a dozen questions at once
//!   at once   a semaphore for calls in hand, one for live streams
//! ```
//!
//! By caller, not by address: behind a proxy everybody has the same one. Attempts without a valid token are the exception, and are
//! counted by address. In memory and for this replica alone; losing it forgives a little.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Calls a second one caller may make over time. A page with everything open makes two.
const PER_SECOND: f64 = 100.0;

/// Calls at once after a pause.
const BURST: f64 = 300.0;

/// Calls in hand for one caller: a script that does more at once does not get faster.
const CALLS_MAX: usize = 64;

/// Calls in hand altogether; the database serves far fewer at once.
const CALLS_OF_ALL_MAX: usize = 512;

/// Calls in hand of those who need show no token: probes, and the files of the page.
const CALLS_OF_STRANGERS_MAX: usize = 64;

/// Live streams of one caller: a browser has one or two for each window.
const STREAMS_MAX: usize = 32;

/// Wrong tokens a second from one address, and at once. Nobody guesses 256 bits; this keeps logs and processor quiet.
const WRONG_PER_SECOND: f64 = 2.0;
const WRONG_BURST: f64 = 20.0;

/// Callers and addresses remembered. Whoever comes when it is full finds everybody's count begun anew.
const REMEMBERED_MAX: usize = 10_000;

/// Why a call is not served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too often.
    TooOften,
    /// Too many in hand.
    TooMany,
}

/// What fills over time and is drawn from.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    drops: f64,
    at: Instant,
}

impl Bucket {
    fn full(burst: f64, at: Instant) -> Self {
        Self { drops: burst, at }
    }

    fn draw(&mut self, now: Instant, per_second: f64, burst: f64) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.drops = (self.drops + since * per_second).min(burst);
        self.at = now;
        let is_there = self.drops >= 1.0;
        if is_there {
            self.drops -= 1.0;
        }
        is_there
    }
}

/// What one caller uses.
#[derive(Debug)]
pub struct Share {
    bucket: Mutex<Bucket>,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Share {
    fn new(now: Instant) -> Self {
        Self {
            bucket: Mutex::new(Bucket::full(BURST, now)),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// A place for a live stream, given back when it is dropped.
    pub fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

/// A call in hand.
#[derive(Debug)]
pub struct InHand(#[expect(dead_code, reason = "given back when dropped")] Vec<OwnedSemaphorePermit>);

/// What all callers use.
#[derive(Debug)]
pub struct Shares {
    callers: Mutex<HashMap<String, Arc<Share>>>,
    wrong: Mutex<HashMap<IpAddr, Bucket>>,
    calls: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            callers: Mutex::default(),
            wrong: Mutex::default(),
            calls: Arc::new(Semaphore::new(CALLS_OF_ALL_MAX)),
            strangers: Arc::new(Semaphore::new(CALLS_OF_STRANGERS_MAX)),
        }
    }
}

impl Shares {
    /// The share of a caller.
    pub fn of(&self, caller: &str, now: Instant) -> Arc<Share> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut callers);
        Arc::clone(callers.entry(caller.to_owned()).or_insert_with(|| Arc::new(Share::new(now))))
    }

    /// Takes a call in hand; without a share only the sum of all is looked at.
    ///
    /// # Errors
    /// Not now.
    pub fn begin(&self, share: Option<&Share>, now: Instant) -> Result<InHand, Refusal> {
        let mut places = Vec::with_capacity(2);
        if let Some(share) = share {
            let mut bucket = share.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            if !bucket.draw(now, PER_SECOND, BURST) {
                return Err(Refusal::TooOften);
            }
            places.push(Arc::clone(&share.calls).try_acquire_owned().map_err(|_| Refusal::TooMany)?);
        }
        places.push(Arc::clone(&self.calls).try_acquire_owned().map_err(|_| Refusal::TooMany)?);
        Ok(InHand(places))
    }

    /// Takes a call in hand that needs no token. These have places of their own: however many there are, callers keep theirs.
    ///
    /// # Errors
    /// Not now.
    pub fn begin_of_stranger(&self) -> Result<InHand, Refusal> {
        let place = Arc::clone(&self.strangers).try_acquire_owned().map_err(|_| Refusal::TooMany)?;
        Ok(InHand(vec![place]))
    }

    /// Whether this address may show a wrong token once more.
    pub fn may_be_wrong(&self, address: IpAddr, now: Instant) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut wrong);
        let bucket = wrong.entry(address).or_insert_with(|| Bucket::full(WRONG_BURST, now));
        bucket.draw(now, WRONG_PER_SECOND, WRONG_BURST)
    }
}

fn make_room<K: Eq + Hash, V>(remembered: &mut HashMap<K, V>) {
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_who_asks_too_often_waits_and_the_others_do_not() {
        let (shares, now) = (Shares::default(), Instant::now());
        let (ada, bob) = (shares.of("ada", now), shares.of("bob", now));
        let asked = (0..1_000).take_while(|_| shares.begin(Some(&ada), now).is_ok()).count();
        assert_eq!(asked, 300);
        assert_eq!(shares.begin(Some(&ada), now).err(), Some(Refusal::TooOften));
        assert!(shares.begin(Some(&bob), now).is_ok());
        // The same share, whoever fetches it.
        assert!(Arc::ptr_eq(&ada, &shares.of("ada", now)));
        let later = now + Duration::from_millis(100);
        assert_eq!((0..100).take_while(|_| shares.begin(Some(&ada), later).is_ok()).count(), 10);
    }

    #[test]
    fn calls_in_hand_and_streams_are_bounded_by_caller_and_altogether() {
        let (shares, now) = (Shares::default(), Instant::now());
        let ada = shares.of("ada", now);
        let mut held: Vec<InHand> = (0..CALLS_MAX).map(|_| shares.begin(Some(&ada), now).unwrap()).collect();
        assert_eq!(shares.begin(Some(&ada), now).err(), Some(Refusal::TooMany));
        held.pop();
        held.push(shares.begin(Some(&ada), now).unwrap());
        held.extend((CALLS_MAX..CALLS_OF_ALL_MAX).map(|_| shares.begin(None, now).unwrap()));
        assert_eq!(shares.begin(Some(&shares.of("bob", now)), now).err(), Some(Refusal::TooMany));
        let streams: Vec<_> = (0..STREAMS_MAX).map(|_| ada.stream().unwrap()).collect();
        assert!(ada.stream().is_none());
        drop(streams);
        assert!(ada.stream().is_some());
    }

    #[test]
    fn wrong_tokens_are_counted_by_address() {
        let (shares, now) = (Shares::default(), Instant::now());
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert_eq!((0..100).take_while(|_| shares.may_be_wrong(one, now)).count(), 20);
        assert!(shares.may_be_wrong(other, now));
        assert!(shares.may_be_wrong(one, now + Duration::from_secs(1)));
    }
}
