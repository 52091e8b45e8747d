//! The dashboards and rules, against a Prometheus that watches a demo in which things go wrong.
//!
//! ```text
//!   escrow demo ◀──scrapes── prometheus ◀──every query of every panel── this test
//! ```

mod boards;
mod files;
mod started;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use boards::{Query, boards};
use started::Started;

/// The demo's outage comes ten seconds after its beginning and lasts a quarter of a minute; what follows takes another.
const PATIENCE: Duration = Duration::from_mins(6);

/// A folder of this repository.
pub fn folder(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

struct Prometheus {
    url: String,
    client: reqwest::Client,
    _server: Started,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// A server that scrapes `target` every second and follows the rules of this repository.
    fn watching(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = self::folder("dashboards/prometheus/escrow-rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\n\
             scrape_configs: [{{ job_name: escrow, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let address = started::free_address();
        let data = folder.path().join("data");
        let server = Started::new(
            "prometheus",
            &[
                &format!("--config.file={}", file.display()),
                &format!("--storage.tsdb.path={}", data.display()),
                &format!("--web.listen-address={address}"),
                "--log.level=warn",
            ],
        );
        Self { url: format!("http://{address}"), client: reqwest::Client::new(), _server: server, _folder: folder }
    }

    /// The answer's `data`; `None` while there is none.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let asked = self.client.get(format!("{}{path}", self.url)).query(parameters).send().await.ok()?;
        let answer: Value = asked.json().await.ok()?;
        assert_ne!(answer["errorType"], "bad_data", "{parameters:?}: {}", answer["error"]);
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    /// Whether a query has a series whose value is a number.
    async fn has_data(&self, query: &str) -> bool {
        let Some(data) = self.ask("/api/v1/query", &[("query", query)]).await else { return false };
        let is_number = |value: &Value| value.as_str().is_some_and(|it| it.parse::<f64>().is_ok_and(f64::is_finite));
        data["result"].as_array().is_some_and(|series| series.iter().any(|one| is_number(&one["value"][1])))
    }
}

/// Asks until every query had data at some time; what never had any is named.
async fn all_have_data(prometheus: &Prometheus, mut queries: Vec<Query>) {
    let deadline = Instant::now() + PATIENCE;
    while !queries.is_empty() {
        let mut without = Vec::new();
        for query in queries {
            if !prometheus.has_data(&query.expression).await {
                without.push(query);
            }
        }
        queries = without;
        assert!(Instant::now() < deadline, "never any data for {queries:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Every rule was evaluated, and none of them failed.
async fn all_rules_are_well(prometheus: &Prometheus) {
    let deadline = Instant::now() + PATIENCE;
    let text = std::fs::read_to_string(folder("dashboards/prometheus/escrow-rules.yml")).unwrap();
    let written = text.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
    loop {
        let data = prometheus.ask("/api/v1/rules", &[]).await.unwrap_or_default();
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        let health: BTreeMap<_, _> =
            rules.iter().map(|it| (it["name"].to_string(), it["health"].to_string())).collect();
        assert!(!health.values().any(|it| it == "\"err\""), "{rules:#?}");
        if health.len() == written && health.values().all(|it| it == "\"ok\"") {
            return;
        }
        assert!(Instant::now() < deadline, "{written} rules are written, and these are known: {health:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn every_query_of_every_panel_returns_data_from_a_demo() {
    let address = started::free_address();
    let escrow = env!("CARGO_BIN_EXE_escrow");
    let _demo = Started::new(escrow, &["demo", "--listen", &address, "--rate", "10"]);
    let prometheus = Prometheus::watching(&address);
    let queries: Vec<Query> = boards().iter().flat_map(boards::Board::queries).collect();
    assert!(queries.len() > 40, "{} queries", queries.len());
    all_have_data(&prometheus, queries).await;
    // And that is no demo in which all goes well.
    let faults = [
        "sum(escrow_emissions_total{kind=\"retry\"}) > 0",
        "sum(escrow_emissions_total{kind=\"compensation\", result=\"confirmed\"}) > 0",
        "sum(escrow_step_duration_seconds_count{outcome=\"timed_out\"}) > 0",
        "sum(escrow_order_duration_seconds_count{outcome=\"compensated\"}) > 0",
        "sum(escrow_events_total{result=\"duplicate\"}) > 0",
        "sum(escrow_deadlines_fired_total) > 0",
    ];
    let seen = faults.map(|fault| Query { panel: "faults".to_owned(), expression: fault.to_owned() });
    all_have_data(&prometheus, seen.into()).await;
    all_rules_are_well(&prometheus).await;
    let sagas = prometheus.ask("/api/v1/label/saga/values", &[("match[]", "escrow_orders")]).await;
    assert_eq!(sagas, Some(serde_json::json!(["order"])), "what the variable of the dashboards offers");
    let firing = prometheus.ask("/api/v1/query", &[("query", "ALERTS{alertname=\"EscrowHeartbeat\"}")]).await.unwrap();
    assert_eq!(firing["result"].as_array().map(Vec::len), Some(1));
}

/// What a checking program says; it has to be content.
fn check(program: &str, arguments: &[&str], folder: &str) {
    let output = Command::new(program).args(arguments).current_dir(self::folder(folder)).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_and_alertmanager_take_their_files_and_the_alerts_say_what_they_should() {
    check("promtool", &["check", "rules", "escrow-rules.yml"], "dashboards/prometheus");
    check("promtool", &["test", "rules", "escrow-rules-test.yml"], "dashboards/prometheus");
    check("promtool", &["check", "config", "prometheus.yml"], "dashboards/prometheus");
    check("amtool", &["check-config", "alertmanager.yml"], "dashboards/alertmanager");
}
