//! The dashboards as values, and what must hold for each panel of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::folder;

/// What Grafana puts in place of its variables, for this test.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "10s"), ("$__range", "2m"), ("$__interval", "5s"), ("$saga", ".*")];

/// Panels of Grafana that show data, and what they are called in its files.
const KINDS: [&str; 4] = ["stat", "timeseries", "table", "heatmap"];

pub struct Board {
    pub name: &'static str,
    pub document: Value,
}

#[derive(Debug)]
pub struct Query {
    #[expect(dead_code, reason = "shown when it has no data")]
    pub panel: String,
    pub expression: String,
}

pub fn boards() -> Vec<Board> {
    let read = |name| {
        let text = std::fs::read_to_string(folder("dashboards/grafana").join(name)).unwrap();
        Board { name, document: serde_json::from_str(&text).unwrap() }
    };
    ["overview.json", "internals.json"].map(read).into()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

impl Board {
    fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.document, "panels").iter().filter(|panel| panel["type"] != "row")
    }

    /// Every query, with values for the variables.
    pub fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value| {
            let title = format!("{}: {}", self.name, panel["title"].as_str().unwrap_or("?"));
            let expressions: Vec<String> = list(panel, "targets").iter().map(expression).collect();
            expressions.into_iter().map(move |expression| Query { panel: title.clone(), expression })
        };
        self.panels().flat_map(of_panel).collect()
    }
}

fn expression(target: &Value) -> String {
    let text = target["expr"].as_str().expect("a query").to_owned();
    let text = VARIABLES.iter().fold(text, |text, (variable, value)| text.replace(variable, value));
    assert!(!text.contains('$'), "a variable nobody knows: {text}");
    text
}

fn complain_about(panel: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            complaints.push(format!("{}: {what}", panel["title"]));
        }
    };
    let says = |value: &Value, least: usize| value.as_str().is_some_and(|text| text.len() >= least);
    let defaults = &panel["fieldConfig"]["defaults"];
    must(KINDS.iter().any(|kind| panel["type"] == *kind), "is of a kind this test does not know");
    must(says(&panel["title"], 4), "has no title");
    must(says(&panel["description"], 20), "has no description");
    must(says(&defaults["unit"], 1), "has no unit");
    must(!list(&defaults["thresholds"], "steps").is_empty(), "has no thresholds");
    must(defaults["thresholds"]["steps"][0]["value"].is_null(), "has thresholds without a beginning");
    must(!list(panel, "targets").is_empty(), "asks nothing");
    for target in list(panel, "targets") {
        must(target["datasource"]["uid"] == "${datasource}", "names a data source that only one Grafana has");
        must(says(&target["legendFormat"], 1), "has a line without a name");
    }
    let references: BTreeSet<_> = list(panel, "targets").iter().map(|it| it["refId"].to_string()).collect();
    must(references.len() == list(panel, "targets").len(), "has two queries of one name");
    for link in list(defaults, "links") {
        must(link["url"].as_str().is_some_and(|url| url.starts_with("${escrow}/")), "links to somewhere else");
        must(says(&link["title"], 4), "has a link without words");
    }
    complaints
}

/// The cells of Grafana's grid of 24 columns that a panel lies on.
fn cells(panel: &Value) -> impl Iterator<Item = (u64, u64)> {
    let at = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
    let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
    assert!(x + w <= 24, "{} is wider than the page", panel["title"]);
    (x..x + w).flat_map(move |column| (y..y + h).map(move |row| (column, row)))
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_when_that_is_bad() {
    for board in boards() {
        let complaints: Vec<_> = board.panels().flat_map(complain_about).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", board.name);
        let panels = list(&board.document, "panels");
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
        assert_eq!(ids.len(), panels.len(), "{}: two panels of one id", board.name);
        let mut taken = BTreeSet::new();
        for (panel, cell) in panels.iter().flat_map(|panel| cells(panel).map(move |cell| (panel, cell))) {
            assert!(taken.insert(cell), "{}: {} lies on another panel", board.name, panel["title"]);
        }
    }
}

#[test]
fn the_dashboards_have_the_same_variables_and_lead_to_each_other_and_to_escrow() {
    for board in boards() {
        let document = &board.document;
        let variables: Vec<_> = list(&document["templating"], "list").iter().map(|it| it["name"].as_str()).collect();
        assert_eq!(variables, [Some("datasource"), Some("saga"), Some("escrow")], "{}", board.name);
        let saga = &document["templating"]["list"][1];
        assert_eq!((saga["multi"].as_bool(), saga["includeAll"].as_bool()), (Some(true), Some(true)));
        assert_eq!(saga["allValue"], ".*");
        let others: Vec<_> = list(document, "links").iter().filter_map(|link| link["url"].as_str()).collect();
        let other = if board.name == "overview.json" { "/d/escrow-internals" } else { "/d/escrow-overview" };
        assert_eq!(others, [other, "${escrow}"], "{}", board.name);
        assert!(document["uid"].as_str().is_some_and(|uid| uid.starts_with("escrow-")));
    }
    let overview = boards().swap_remove(0);
    let links = overview.panels().flat_map(|panel| list(&panel["fieldConfig"]["defaults"], "links"));
    let to_orders = links.filter(|link| link["url"].as_str().is_some_and(|url| url.contains("/orders?saga=")));
    assert!(to_orders.count() >= 8, "numbers lead to the orders behind them");
}
