//! What only the management API shows: bindings, the policies in force, what kind of exchange a foreign one is. Reads alone.
//!
//! The address may hold a user and a password: `http://user:password@host:15672`. The user needs the tag `management`.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Url, redirect};
use serde_json::Value;

use super::names::Names;
use super::topology::{self, Bound};
use crate::bus::BusError;
use crate::bus::plan::{PlannedBinding, Reach};
use crate::doctor::Finding;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at what AMQP does not show.
///
/// # Errors
/// `Misconfigured` when an address or the name cannot be right. An API that does not answer is a finding.
pub async fn examine(
    management_url: &str,
    amqp_url: &str,
    name: &str,
    bound: Bound,
    reach: &Reach,
) -> Result<Vec<Finding>, BusError> {
    let wrong = |_| BusError::Misconfigured("the address is not like http://user:password@host:15672".to_owned());
    let base = Url::parse(management_url).map_err(wrong)?;
    let vhost = super::read_url(amqp_url)?.vhost;
    let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
    let client = client.map_err(|error| BusError::Misconfigured(error.to_string()))?;
    let api = Api { client, base, vhost };
    let mut findings = Vec::new();
    if let Err(why) = look(&api, &Names::new(name)?, bound, reach, &mut findings).await {
        let advice = "mend --management-url, or give its user the tag `management`";
        findings.push(Finding::warning("broker", format!("the management API does not answer: {why}"), advice));
    }
    Ok(findings)
}

struct Api {
    client: Client,
    base: Url,
    vhost: String,
}

impl Api {
    /// What is at a path; `None` if nothing is.
    async fn get(&self, parts: &[&str]) -> Result<Option<Value>, String> {
        let parts: Vec<String> = parts.iter().map(|it| utf8_percent_encode(it, NON_ALPHANUMERIC).to_string()).collect();
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/api/{}", parts.join("/"))).map_err(|error| error.to_string())?;
        let without_url = |error: reqwest::Error| error.without_url().to_string();
        let response = self.client.get(url).send().await.map_err(without_url)?;
        match response.status().as_u16() {
            200 => response.json().await.map(Some).map_err(without_url),
            404 => Ok(None),
            status => Err(format!("it answered {status}")),
        }
    }
}

async fn look(
    api: &Api,
    names: &Names,
    bound: Bound,
    reach: &Reach,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let overview = api.get(&["overview"]).await?.unwrap_or_default();
    let version = overview["rabbitmq_version"].as_str().unwrap_or("?");
    findings.push(Finding::ok("broker", format!("the management API answers for RabbitMQ {version}")));
    let Some(tap) = api.get(&["queues", &api.vhost, names.tap.as_str()]).await? else { return Ok(()) };
    tap_in_force(&tap, topology::tap_arguments(names, bound), findings);
    let bindings = api.get(&["queues", &api.vhost, names.tap.as_str(), "bindings"]).await?.unwrap_or_default();
    let has = |all: &Value, wanted: &PlannedBinding| {
        let is = |it: &Value| it["source"] == wanted.source.as_str() && it["routing_key"] == wanted.key.as_str();
        all.as_array().is_some_and(|all| all.iter().any(is))
    };
    for wanted in super::plan::own_bindings(names, reach) {
        let all = if wanted.queue == names.tap.as_str() {
            bindings.clone()
        } else {
            api.get(&["queues", &api.vhost, &wanted.queue, "bindings"]).await?.unwrap_or_default()
        };
        let area = if wanted.source == names.retry_exchange.as_str() { "retries" } else { "tap" };
        let what = format!("{} → {} by `{}`", wanted.source, wanted.queue, wanted.key);
        findings.push(if has(&all, &wanted) {
            Finding::ok(area, format!("bound: {what}"))
        } else {
            Finding::problem(area, format!("not bound: {what}"), "apply what `escrow rabbit plan` prints")
        });
    }
    let watching = super::plan::watching(names, reach);
    for wanted in &reach.watched {
        let Some(exchange) = api.get(&["exchanges", &api.vhost, &wanted.exchange]).await? else { continue };
        watched(&exchange, &wanted.exchange, findings);
        let missing: Vec<String> = watching
            .iter()
            .filter(|it| it.source == wanted.exchange && !has(&bindings, it))
            .map(|it| format!("`{}`", it.key))
            .collect();
        findings.push(if missing.is_empty() {
            Finding::ok("watched", format!("{} is bound to the tap", wanted.exchange))
        } else {
            let what = format!("{} is not bound to the tap by {}", wanted.exchange, missing.join(", "));
            Finding::problem(
                "watched",
                what,
                "start `escrow serve`, take `escrow rabbit unbind` back, or apply the plan",
            )
        });
    }
    Ok(())
}

/// What policies make of the tap: a policy's `overflow` counts more than the argument, and of limits the lowest counts.
fn tap_in_force(tap: &Value, arguments: Vec<(&'static str, Value)>, findings: &mut Vec<Finding>) {
    let name = tap["name"].as_str().unwrap_or_default();
    for (argument, wanted) in arguments {
        if tap["arguments"][argument] != wanted {
            let what = format!("{name} has {argument} {}, and should have {wanted}", tap["arguments"][argument]);
            findings.push(Finding::problem("tap", what, "stop Escrow, delete it once it is empty, and start again"));
        }
    }
    let policy = &tap["effective_policy_definition"];
    let by = ["policy", "operator_policy"].map(|it| tap[it].as_str().unwrap_or("none"));
    let by = format!("policy {}, operator policy {}", by[0], by[1]);
    let overflow = policy["overflow"].as_str().or(tap["arguments"]["x-overflow"].as_str()).unwrap_or("drop-head");
    findings.push(if overflow == "drop-head" {
        Finding::ok("tap", format!("in force, {name} drops its oldest when it is full ({by})"))
    } else {
        Finding::problem(
            "tap",
            format!(
                "in force, {name} does {overflow} when it is full ({by}): the services' own publishes would be nacked"
            ),
            "apply the policy of `escrow rabbit plan`, or keep that policy off escrow's names, now",
        )
    });
    for (key, what) in [
        ("message-ttl", "messages are dropped from it by age"),
        ("expires", "it is deleted while nobody reads it"),
        ("delivery-limit", "messages are dropped from it when Escrow dies with them in hand"),
    ] {
        if let Some(limit) = policy.get(key) {
            let what = format!("a policy sets {key} {limit} on {name}: {what} ({by})");
            findings.push(Finding::problem("tap", what, "apply the policy of `escrow rabbit plan`"));
        }
    }
}

fn watched(exchange: &Value, name: &str, findings: &mut Vec<Finding>) {
    if exchange["auto_delete"] == true {
        findings.push(Finding::warning(
            "watched",
            format!("{name} is auto-delete: if the tap's binding is its last, taking that away deletes it"),
            "bind something else to it before `escrow rabbit unbind`",
        ));
    }
    if let Some(alternate) = exchange["arguments"]["alternate-exchange"].as_str() {
        findings.push(Finding::warning(
            "watched",
            format!("{name} has the alternate exchange {alternate}, which gets nothing the tap is bound for"),
            "give `keys` in the definition, so that the tap is bound for the events it needs alone",
        ));
    }
}
