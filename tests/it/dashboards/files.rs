//! What starts everything together, as far as it can be held against the repository without starting it: what is mounted is
//! there, what is named is defined.

use std::collections::BTreeSet;

use serde_json::Value;

use super::folder;

fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(folder(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    value[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The host of `scheme://host:port/…` or `host:port`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split([':', '/']).next().unwrap_or(rest)
}

#[test]
fn what_compose_mounts_is_there_and_what_it_names_is_defined() {
    let compose = yaml("docker-compose.yml");
    let services = names(&compose["services"]);
    for wanted in ["postgres", "rabbitmq", "escrow", "services", "prometheus", "alertmanager", "grafana", "jaeger"] {
        assert!(services.contains(wanted), "{wanted} is not among {services:?}");
    }
    let volumes = names(&compose["volumes"]);
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(service["image"].is_string(), "{name} has no image");
        for mount in texts(service, "volumes") {
            let source = mount.split(':').next().unwrap();
            let is_there = if source.starts_with('.') { folder(source).exists() } else { volumes.contains(source) };
            assert!(is_there, "{name} mounts {source}, which is not there");
        }
        for port in texts(service, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
        for other in names(&service["depends_on"]) {
            assert!(services.contains(other), "{name} waits for {other}, which is not there");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            if let Some(url) = value.as_str().filter(|value| value.contains("://")) {
                assert!(services.contains(host(url)), "{name}: {variable} names {}, which is no service", host(url));
            }
        }
    }
}

#[test]
fn prometheus_and_grafana_ask_services_that_are_there_and_read_files_that_are_mounted() {
    let compose = yaml("docker-compose.yml");
    let services = names(&compose["services"]);
    let prometheus = yaml("dashboards/prometheus/prometheus.yml");
    let scraped = prometheus["scrape_configs"].as_array().unwrap();
    let told = prometheus["alerting"]["alertmanagers"].as_array().unwrap();
    for config in scraped.iter().chain(told) {
        for target in config["static_configs"].as_array().unwrap().iter().flat_map(|it| texts(it, "targets")) {
            assert!(services.contains(host(target)), "{target} is no service");
        }
    }
    let mounts = |service: &str| texts(&compose["services"][service], "volumes");
    for file in texts(&prometheus, "rule_files") {
        let at = format!("/etc/prometheus/{file}:ro");
        assert!(mounts("prometheus").iter().any(|mount| mount.ends_with(&at)), "{file} is not mounted");
    }
    let sources = yaml("dashboards/grafana/provisioning/datasources/escrow.yml");
    for source in sources["datasources"].as_array().unwrap() {
        let url = source["url"].as_str().unwrap();
        assert!(services.contains(host(url)), "{url} is no service");
    }
    let boards = yaml("dashboards/grafana/provisioning/dashboards/escrow.yml");
    let path = boards["providers"][0]["options"]["path"].as_str().unwrap();
    for board in ["overview.json", "internals.json"] {
        let mount = format!("./dashboards/grafana/{board}:{path}/{board}:ro");
        assert!(mounts("grafana").contains(&mount.as_str()), "{mount} is not there");
    }
}

#[test]
fn every_alert_is_tested_and_every_rule_of_alertmanager_names_alerts_that_are_there() {
    let rules = yaml("dashboards/prometheus/escrow-rules.yml");
    let alerts: BTreeSet<_> =
        rules["groups"][0]["rules"].as_array().unwrap().iter().map(|it| it["alert"].as_str()).collect();
    let tests = std::fs::read_to_string(folder("dashboards/prometheus/escrow-rules-test.yml")).unwrap();
    let routing = std::fs::read_to_string(folder("dashboards/alertmanager/alertmanager.yml")).unwrap();
    for alert in alerts.iter().copied().map(Option::unwrap) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "nobody tests {alert}");
    }
    let named = routing.split(|it: char| !it.is_ascii_alphanumeric()).filter(|it| it.starts_with("Escrow"));
    for alert in named.filter(|it| *it != "Escrow") {
        assert!(alerts.contains(&Some(alert)), "Alertmanager has a rule for {alert}, which is no alert");
    }
}
