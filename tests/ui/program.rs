//! The program under the page: `escrow demo`, on a port it found itself; or `escrow serve` alone, where a test wants to be the only one who
//! publishes.
//!
//! It runs until it is dropped, the demo with its services. What a test wants to be there besides, it puts in as any client would: by events
//! over HTTP, and by actions.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::PATIENCE;

/// Each has two events.
const ORDERS_AT_ONCE: usize = 250;

/// A choreography over HTTP alone. A refusal needs a person at once, so an order is stuck as soon as a test wants it.
const REFUSABLE: &str = "saga: order
version: 1
watch: [{ http: { read: { preset: cloudevents } } }]
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: PaymentProcessed
    failed: PaymentDeclined
    on_failure: alert
    within: 7d
    retry: { times: 1, every: 1m, to: { exchange: payments } }
";

/// A running Escrow.
pub struct Program {
    process: Child,
    /// Database and definition; goes with it.
    _folder: Option<tempfile::TempDir>,
    /// `http://127.0.0.1:PORT`
    pub origin: String,
    client: reqwest::Client,
}

impl Program {
    /// Starts it and waits until it says where it is.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more orders: of those an outage hits, more have to be turned back than the brake lets pass, so it holds the others
    /// until a person decides.
    pub fn start_busy() -> Self {
        Self::start_with(&["--rate", "15"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_escrow"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("NO_COLOR", "1")
            .env_remove("AMQP_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let said = process.stdout.take().expect("its output is piped");
        let (tell, told) = mpsc::channel();
        // Reads on until the end: a full pipe would stop the program.
        std::thread::spawn(move || read_on(said, &tell));
        let origin = told.recv_timeout(PATIENCE);
        let mut program = Self { process, _folder: None, origin: String::new(), client: reqwest::Client::new() };
        program.origin = origin.expect("it says where its API is");
        program
    }

    /// An Escrow without services and without a broker: nothing happens but what the test says. The orders of its saga are stuck once
    /// their payment is declined.
    pub async fn serve() -> Self {
        let folder = tempfile::Builder::new().prefix("escrow-ui-").tempdir().unwrap();
        let file = folder.path().join("order.yaml");
        std::fs::write(&file, REFUSABLE).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(env!("CARGO_BIN_EXE_escrow"))
            .args(["serve", "--listen", &address, "--sagas"])
            .arg(&file)
            .arg("--database-url")
            .arg(format!("sqlite://{}", folder.path().join("escrow.db").display()))
            .current_dir(folder.path())
            .env_remove("AMQP_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let origin = format!("http://{address}");
        let program = Self { process, _folder: Some(folder), origin, client: reqwest::Client::new() };
        super::until("the API answers", async || {
            let answer = program.client.get(format!("{}/livez", program.origin)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        program
    }

    /// Orders that are stuck, of a program that [serves](Self::serve): placed, and their payment declined.
    pub async fn decline(&self, orders: std::ops::Range<usize>) {
        for from in orders.clone().step_by(ORDERS_AT_ONCE) {
            let until = orders.end.min(from + ORDERS_AT_ONCE);
            let events = (from..until).flat_map(|order| {
                ["OrderPlaced", "PaymentDeclined"].map(|name| {
                    json!({"specversion": "1.0", "type": name, "id": format!("{name} {order}"), "source": "/tests",
                        "subject": order.to_string(), "data": {}})
                })
            });
            let batch: Vec<Value> = events.collect();
            let call = self.client.post(format!("{}/v1/events", self.origin));
            let call =
                call.header("content-type", "application/cloudevents-batch+json").body(Value::from(batch).to_string());
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap());
        }
    }

    /// What the API answers.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.origin)).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Posts JSON, which is to succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(format!("{}{path}", self.origin)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "POST {path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// Gives Escrow events about one order, each a name and a message id.
    pub async fn tell(&self, order_id: &str, events: &[(&str, String)]) {
        let event = |(name, id): &(&str, String)| {
            json!({"specversion": "1.0", "type": name, "id": id, "source": "/tests", "subject": order_id,
                "data": {"customer": "Ada", "amount": 12.5}})
        };
        let batch: Vec<Value> = events.iter().map(event).collect();
        let call = self.client.post(format!("{}/v1/events", self.origin));
        let call =
            call.header("content-type", "application/cloudevents-batch+json").body(Value::from(batch).to_string());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap());
    }

    /// An event nobody can place: it goes to quarantine.
    pub async fn tell_unplaced(&self) {
        let event = json!({"specversion": "1.0", "type": "PaymentProcessed", "id": "lost", "source": "/tests",
            "data": {"note": "<b>no order id</b>"}});
        let call = self.client.post(format!("{}/v1/events", self.origin));
        let answer = call.header("content-type", "application/cloudevents+json").body(event.to_string()).send().await;
        assert_eq!(answer.unwrap().status().as_u16(), 202);
    }

    /// An order that is stuck and stays so: a payment that cannot be placed may be its own, so Escrow does not turn it back by itself.
    /// Takes as long as the demo's wait for a payment.
    pub async fn doubt(&self, order_id: &str) {
        self.tell(order_id, &[("OrderPlaced", "placed".to_owned())]).await;
        self.tell_unplaced().await;
        let stuck = |it: &Value| (it["status"] == "stuck").then_some(());
        self.until("the order is stuck", &format!("/v1/sagas/order/orders/{order_id}"), stuck).await;
    }

    /// Waits until `poll` finds something in what `path` answers.
    pub async fn until<T>(&self, what: &str, path: &str, poll: impl Fn(&Value) -> Option<T>) -> T {
        super::until(what, async || poll(&self.get(path).await)).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells the first address that is said, and reads the rest away.
fn read_on(said: impl Read, tell: &mpsc::Sender<String>) {
    for line in BufReader::new(said).lines() {
        let Ok(line) = line else { return };
        if let Some((_, rest)) = line.split_once("http://") {
            let address: String =
                rest.chars().take_while(|it| it.is_ascii_digit() || matches!(it, '.' | ':')).collect();
            let _ = tell.send(format!("http://{address}"));
        }
    }
}
