//! One environment of the matrix: a virtual host, a database, the services, and one or two replicas of the program.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::ExchangeDeleteOptions;
use serde_json::json;

use super::points::{Death, Way};
use super::scenario::{self, SAGAS, Services};
use crate::support::database::Database;
use crate::support::escrow::{Escrow, PATIENCE};
use crate::support::rabbitmq;
use crate::support::services::Service;

/// A victim that has not died by then may not have the tap: far longer than any step takes.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(15);
/// The stored watermark, once it is past every gap that was recorded.
const STORED_WATERMARK: &str = "SELECT CAST(watermark AS text) AS past FROM taps WHERE name = 'escrow.tap.default' \
     AND watermark > coalesce((SELECT max(made_at) FROM doubts WHERE kind = 'gap'), 0)";
/// Nothing listens there.
const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/none";

pub const TAP: &str = "escrow.tap.default";

/// An environment with everything that was done in it.
pub struct Stage {
    url: String,
    pub database: Database,
    /// The replica that dies.
    victim: Escrow,
    /// The replica that takes over; without one the victim is started again.
    standby: Option<Escrow>,
    pub service: Service,
    pub services: Services,
    /// The names of all sets of orders.
    pub sets: Vec<String>,
    pub letters: Vec<String>,
    pub closed: Vec<String>,
    poisoned: u32,
    texts: u32,
}

impl Stage {
    /// Everything is there and ready, the program runs, and one order is held back.
    pub async fn new(database: Database, replicas: usize) -> Self {
        let url = rabbitmq::shared().vhost().url();
        let escrow = || Escrow::with_sagas(&SAGAS, &database.url, &url);
        let services = Services::start(&url).await;
        let service = Service::connect(&url).await;
        let (victim, standby) = (escrow(), (replicas > 1).then(escrow));
        let nothing = || Vec::new();
        let stage = Self {
            victim,
            standby,
            service,
            services,
            sets: nothing(),
            letters: nothing(),
            closed: nothing(),
            poisoned: 0,
            texts: 0,
            url,
            database,
        };
        stage.alive().run().await;
        stage.database.raw(&refusing(stage.database.is_postgres())).await.unwrap();
        stage.bound().await;
        stage.services.hear_tellings(&stage.url).await;
        scenario::event(&stage.service, "doubt_exchange", "DoubtSecond", "held").await;
        let held = || async {
            let order = stage.alive().get("/v1/sagas/doubt/orders/held").await?;
            (order["stuck"]["reason"] == "unproven" || order["status"] == "stuck").then_some(())
        };
        stage.alive().until("the order without a beginning is held back", held).await;
        stage
    }

    /// The replica that survives.
    pub fn alive(&self) -> &Escrow {
        self.standby.as_ref().unwrap_or(&self.victim)
    }

    async fn bound(&self) {
        self.alive()
            .until("everything is bound", async || {
                let status = self.alive().get("/v1/status").await?;
                let sagas = status["sagas"].as_array()?;
                sagas.iter().all(|saga| saga["saga"] == "odd" || !saga["watermark"].is_null()).then_some(())
            })
            .await;
    }

    /// Runs without deaths, and all there is to hear is heard.
    pub async fn recover(&self) {
        self.victim.kill_9();
        if self.standby.is_none() {
            self.victim.start();
        }
        self.alive().ready().await;
        self.services.hear_tellings(&self.url).await;
        let began = Mutex::new(None);
        let caught_up = "the tap is read, and all that was before is known";
        self.alive()
            .until(caught_up, async || {
                let status = self.alive().get("/v1/status").await?;
                if status["bus"]["consuming"] != true {
                    return None;
                }
                let now = status["now"].as_str()?.to_owned();
                let began = began.lock().unwrap().get_or_insert(now).clone();
                // The stored one too, and past every gap: only what comes after a canary from then is surely in none.
                let began_at = began.parse::<jiff::Timestamp>().unwrap().as_microsecond();
                let past = self.database.lines(STORED_WATERMARK, "past").await.pop()?.parse::<i64>().ok()?;
                (status["as_of"].as_str()? > began.as_str() && past > began_at).then_some(())
            })
            .await;
    }

    /// Lets the victim die this death. With a standby, the victim has everything in hand when it dies, and the standby takes over.
    pub async fn die(&mut self, death: &Death) {
        let began = Instant::now();
        self.prepare(death).await;
        self.victim.kill_9();
        self.start_victim(death);
        self.hand_over(death).await;
        let mut handed_over = Instant::now();
        let (mut tries, pause) = (0, Duration::from_millis(if death.way.is_cheap() { 300 } else { 1500 }));
        while !self.has_died(death) {
            assert!(began.elapsed() < PATIENCE, "{} was not reached\n{}", death.at(), self.victim.log_tail());
            if began.elapsed() > pause * tries {
                self.bring_about(death).await;
                tries += 1;
            }
            if handed_over.elapsed() > HAND_OVER_AGAIN {
                // The standby was there again before the victim had asked for the tap.
                self.hand_over(death).await;
                handed_over = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if death.way == Way::ExchangeAppears {
            self.delete_exchange(scenario::FLICKER).await;
        }
    }

    fn has_died(&self, death: &Death) -> bool {
        let Some(status) = self.victim.ended() else { return false };
        let at = death.at();
        assert_eq!(status.signal(), Some(9), "{at}: it ended by itself\n{}", self.victim.log_tail());
        true
    }

    fn start_victim(&self, death: &Death) {
        let broker = match death.way {
            Way::NoBroker => Some(NO_BROKER),
            Way::HttpAlone => None,
            _ => Some(self.url.as_str()),
        };
        self.victim.start_as(broker, &[("ESCROW_CRASH_AT", &death.at())]);
    }

    /// Once the victim runs, the standby dies and comes again: the victim has the tap.
    async fn hand_over(&self, death: &Death) {
        let Some(standby) = &self.standby else { return };
        if matches!(death.way, Way::NoBroker | Way::HttpAlone) {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while self.victim.get("/readyz").await.is_none() {
            if self.victim.ended().is_some() {
                return;
            }
            assert!(Instant::now() < deadline, "{}: it is not ready\n{}", death.at(), self.victim.log_tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        standby.kill_9();
        standby.start();
    }

    /// What must be so before the victim starts.
    async fn prepare(&mut self, death: &Death) {
        match death.way {
            Way::FirstOverHttp => {
                self.database.raw("DELETE FROM taps WHERE name = 'http:letter'").await.unwrap();
            }
            Way::NewText => {
                self.texts += 1;
                let text = format!("# {} times\n{}", self.texts, SAGAS[0].1);
                std::fs::write(self.victim.sagas().join("order.yaml"), text).unwrap();
            }
            Way::ExchangeAppears => self.delete_exchange(scenario::FLICKER).await,
            _ => {}
        }
    }

    /// Does what leads to the step, once more.
    async fn bring_about(&mut self, death: &Death) {
        match death.way {
            Way::Orders => self.orders(&death.at()).await,
            Way::Refused => {
                self.poisoned += 1;
                let ids = ["fine", "poison", "fine too"].map(|id| format!("{id} {}", self.poisoned));
                for id in &ids {
                    scenario::event(&self.service, "odd_exchange", "OddSeen", id).await;
                }
            }
            Way::Unread => scenario::unreadable(&self.service).await,
            Way::Note => drop(act(&self.victim, "doubt", "held", "note").await),
            Way::Bulk => {
                let filter = json!({"saga": "doubt", "order_id": "held"});
                let ask = json!({"filter": filter, "action": "note", "reason": "the test"});
                self.victim.try_post("/v1/actions", &[JSON], &ask).await;
            }
            Way::Close => self.close_one().await,
            Way::Drop => {
                scenario::unreadable(&self.service).await;
                self.drop_quarantined(&self.victim).await;
            }
            Way::FirstOverHttp | Way::NoBroker => self.letter().await,
            Way::ExchangeAppears => self.flicker().await,
            Way::NoOwnExchange => {
                self.delete_exchange("escrow").await;
                self.orders(&death.at()).await;
            }
            Way::TapGone => {
                self.service.delete_queue(TAP).await;
            }
            Way::SetBack => {
                let back = "UPDATE taps SET watermark = watermark - 60000000 WHERE name = 'escrow.tap.default'";
                self.database.raw(back).await.unwrap();
            }
            Way::NewText | Way::HttpAlone => {}
        }
    }

    /// One order of each kind.
    pub async fn orders(&mut self, name: &str) {
        let number = u32::try_from(self.sets.len()).unwrap();
        let name = format!("{}.{number}", name.replace(':', "-"));
        scenario::orders(&self.service, &name, number).await;
        self.sets.push(name);
    }

    /// An order over HTTP, as far as it gets.
    async fn letter(&mut self) {
        let order_id = format!("letter-{}", self.letters.len());
        for event in ["LetterWritten", "LetterPosted"] {
            post_event(&self.victim, event, &order_id).await;
        }
        self.letters.push(order_id);
    }

    async fn close_one(&mut self) {
        let order_id = format!("closed-{}", self.closed.len());
        post_event(&self.victim, "LetterWritten", &order_id).await;
        act(&self.victim, "letter", &order_id, "close").await;
        self.closed.push(order_id);
    }

    pub async fn drop_quarantined(&self, escrow: &Escrow) -> Option<usize> {
        let listed = escrow.get("/v1/quarantine?limit=500").await?;
        let messages = listed["messages"].as_array()?;
        for message in messages {
            let path = format!("/v1/quarantine/{}/drop", message["id"]);
            escrow.try_post(&path, &[JSON], &json!({"reason": "made by the test"})).await;
        }
        Some(messages.len())
    }

    async fn flicker(&self) {
        // Each long enough for a look.
        self.delete_exchange(scenario::FLICKER).await;
        self.wait_or_death(Duration::from_secs(3)).await;
        self.service.exchange(scenario::FLICKER, ExchangeKind::Fanout).await;
        self.wait_or_death(Duration::from_secs(3)).await;
    }

    async fn wait_or_death(&self, pause: Duration) {
        let deadline = Instant::now() + pause;
        while Instant::now() < deadline && self.victim.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn delete_exchange(&self, name: &str) {
        let call = self.service.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
        call.await.expect("it is deleted, or was not there");
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const CLOUD_EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");

/// Whether the event was taken.
pub async fn post_event(escrow: &Escrow, event: &str, order_id: &str) -> bool {
    let event = json!({"specversion": "1.0", "type": event, "source": "/post", "subject": order_id, "id": format!("{event}-{order_id}")});
    escrow.try_post("/v1/events", &[CLOUD_EVENT], &event).await.is_some_and(|(status, _)| status == 202)
}

/// An action of a person, once.
pub async fn act(escrow: &Escrow, saga: &str, order_id: &str, action: &str) -> Option<u16> {
    let key = uuid::Uuid::new_v4().to_string();
    let path = format!("/v1/sagas/{saga}/orders/{order_id}/actions");
    let body = json!({"action": action, "reason": "the test"});
    Some(escrow.try_post(&path, &[JSON, ("idempotency-key", &key)], &body).await?.0)
}

/// What makes the database refuse the orders that are poison.
fn refusing(is_postgres: bool) -> String {
    let table = "CREATE TABLE refused (order_id text CHECK (order_id NOT LIKE 'poison%'));";
    let trigger = if is_postgres {
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO refused VALUES (NEW.order_id); RETURN NEW; END $$;\
         CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.order_id LIKE 'poison%') EXECUTE FUNCTION refuse();"
    } else {
        "CREATE TRIGGER refuse BEFORE INSERT ON orders WHEN NEW.order_id LIKE 'poison%' BEGIN INSERT INTO refused VALUES (NEW.order_id); END;"
    };
    format!("{table}{trigger}")
}
