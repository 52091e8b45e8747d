//! Answers come from an index: the plans of the very statements the store runs, over many orders.

use escrow::saga::order::Status;
use escrow::store::OrderFilter;

use super::Bed;

/// Enough that a scan is never the cheaper plan.
const ORDERS: u32 = 60_000;

async fn fill(bed: &Bed) {
    let (series, bytes) = if bed.is_postgres() {
        (format!("generate_series(1, {ORDERS}) AS n (n)"), "'\\x00'::bytea")
    } else {
        (
            format!(
                "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ORDERS}) SELECT n FROM s)"
            ),
            "x'00'",
        )
    };
    let uuid = if bed.is_postgres() { "md5(order_id)::uuid" } else { "order_id" };
    let state = r#"{"life":{"status":"running"},"steps":[]}"#;
    // One order in a thousand is stuck, one in a hundred running; the rest is history.
    bed.raw(&format!(
        "INSERT INTO orders (order_id, saga, version, status, state, seen, attributes, next_due, waiting, waiting_since,
             reason, created_at, updated_at, sequence, head, duplicates)
         SELECT 'o' || n, CASE n % 3 WHEN 0 THEN 'order' ELSE 'other' END, 1,
             CASE WHEN n % 1000 = 0 THEN 'stuck' WHEN n % 100 = 0 THEN 'running' ELSE 'completed' END, '{state}', {bytes}, '{{}}',
             CASE WHEN n % 100 = 0 THEN n END, CASE WHEN n % 100 = 0 THEN 'payment' ELSE '' END, n,
             CASE WHEN n % 1000 = 0 THEN 'timed_out' END, n, n, 1, {bytes}, 0
         FROM {series};
         INSERT INTO order_attributes (name, value, created_at, saga, order_id)
         SELECT 'customer', 'c' || (created_at % 500), created_at, saga, order_id FROM orders;
         INSERT INTO journal (saga, order_id, sequence, at, kind, body, hash)
         SELECT saga, order_id, 1, created_at, CASE WHEN created_at % 100 = 0 THEN 'command' ELSE 'event' END, '{{}}', {bytes}
         FROM orders;
         INSERT INTO incidents (id, episode, cause, saga, status, count, peak, first_at, last_at, opened_at, samples, why)
         SELECT order_id, 1, 'timed_out', saga, CASE WHEN created_at % 1000 = 0 THEN 'open' ELSE 'resolved' END, 1, 1, 1, 1,
             created_at, '[]', '' FROM orders;
         INSERT INTO bulk_actions (id, ask, state, total, created_at, next_at)
         SELECT {uuid}, '{{}}', CASE WHEN created_at % 1000 = 0 THEN 'running' ELSE 'done' END, 1, created_at, 1 FROM orders;
         INSERT INTO quarantine (at, reason, detail, exchange, routing_key, envelope, body, body_bytes, resolved)
         SELECT created_at, 'unreadable', '', '', '', '{{}}', {bytes}, 1, CASE WHEN created_at % 1000 <> 0 THEN 'dropped' END FROM orders;
         ANALYZE"
    ))
    .await
    .unwrap();
}

/// The statement of these files, with values for its places.
fn statement(bed: &Bed, files: &[&str], postgres: &[&str], sqlite: &[&str]) -> String {
    let (dialect, mark, values) = if bed.is_postgres() { ("postgres", '$', postgres) } else { ("sqlite", '?', sqlite) };
    let folder = format!("{}/src/store/sql/{dialect}", env!("CARGO_MANIFEST_DIR"));
    let text: String =
        files.iter().map(|file| std::fs::read_to_string(format!("{folder}/{file}.sql")).expect(file)).collect();
    // The highest first, so that $1 does not eat the beginning of $12.
    let filled = values.iter().enumerate().rev();
    filled.fold(text, |text, (at, value)| text.replace(&format!("{mark}{}", at + 1), value))
}

/// Places of the list statements: the branch, a cursor in the middle, an empty filter, the limit.
fn list_values(bed: &Bed, branch: (&str, &str)) -> Vec<String> {
    let (a, b) = branch;
    let branch = if bed.is_postgres() {
        vec![format!("ARRAY['{a}']"), format!("ARRAY['{b}']")]
    } else {
        vec![format!("'[[\"{a}\",\"{b}\"]]'")]
    };
    let (none, pairs) = if bed.is_postgres() { ("ARRAY[]::text[]", 2) } else { ("'[]'", 1) };
    let mut values = branch;
    values.extend(["50000", "'order'", "'o50000'", none, none, none, none, "NULL", "NULL"].map(str::to_owned));
    values.extend(vec![none.to_owned(); pairs]);
    values.push("51".to_owned());
    values
}

fn list_statements(bed: &Bed) -> Vec<(&'static str, String)> {
    let branches = [
        ("list_by_id", ("o500", "")),
        ("list_by_status", ("order", "completed")),
        ("list_by_waiting", ("payment", "")),
        ("list_by_reason", ("timed_out", "")),
        ("list_by_attribute", ("customer", "c7")),
    ];
    let both = branches.into_iter().flat_map(|(by, branch)| {
        let values = list_values(bed, branch);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let list = statement(bed, &["list_columns", by, "list_filter", "list_page"], &values, &values);
        let count = ["count_columns", by, "list_filter", "list_page", "count_end"];
        [(by, list), (by, statement(bed, &count, &values, &values))]
    });
    both.collect()
}

fn other_statements(bed: &Bed) -> Vec<(&'static str, String)> {
    let journal = ["50000", "7", "NULL", "ARRAY['command']", "NULL", "0", "60000", "51"];
    let mut lite = journal;
    lite[3] = "'[\"command\"]'";
    let range = ["59900", "60000", "100"];
    let audit = ["'order'", "'o3'", "0", "10"];
    vec![
        ("journal", statement(bed, &["journal", "journal_page"], &journal, &lite)),
        ("acts", statement(bed, &["journal", "journal_acts_only", "journal_page"], &journal, &lite)),
        ("since", statement(bed, &["journal_since"], &range, &range)),
        ("audit", statement(bed, &["audit"], &audit, &audit)),
        (
            "due",
            statement(
                bed,
                &["due_orders"],
                &["ARRAY['order']", "ARRAY[5000]::bigint[]", "10"],
                &["'[[\"order\",5000]]'", "10"],
            ),
        ),
        ("next", statement(bed, &["next_due"], &["7::bigint"], &["7"])),
        ("sagas", statement(bed, &["known_sagas"], &[], &[])),
        ("open incidents", statement(bed, &["incident_columns", "open_incidents"], &[], &[])),
        ("incidents", {
            let rest = ["50000", "'o7'", "1", "NULL", "NULL", "51"];
            let postgres = [&["ARRAY['open','resolved']"], &rest[..]].concat();
            let lite = [&["'[\"open\",\"resolved\"]'"], &rest[..]].concat();
            statement(bed, &["incident_columns", "list_incidents"], &postgres, &lite)
        }),
        ("actions", {
            let values = ["50000", "'6f2d1b9c-0000-4000-8000-000000000000'", "NULL", "51"];
            statement(bed, &["list_bulks"], &values, &values)
        }),
        ("quarantine growth", statement(bed, &["quarantine_growth"], &["59000", "100"], &["59000", "100"])),
        ("waits", statement(bed, &["known_waits"], &[], &[])),
        ("stuck for", statement(bed, &["known_reasons"], &[], &[])),
        ("stuck", statement(bed, &["stuck_groups"], &[], &[])),
        ("reasons", statement(bed, &["quarantine_reasons"], &[], &[])),
        ("waiting", statement(bed, &["count_waiting"], &[], &[])),
        (
            "lock",
            statement(
                bed,
                &["lock_orders"],
                &["ARRAY['order','order']", "ARRAY['o3','o6']"],
                &["'[[\"order\",\"o3\"]]'"],
            ),
        ),
    ]
}

/// Whether a line of a plan reads a whole table.
fn scans(bed: &Bed, line: &str) -> bool {
    if bed.is_postgres() {
        return line.contains("Seq Scan");
    }
    // A scan that goes by an index names it after the table.
    let mut words = line.split(' ');
    let tables = [
        "o",
        "j",
        "a",
        "i",
        "n",
        "held",
        "orders",
        "journal",
        "order_attributes",
        "incidents",
        "quarantine",
        "bulk_actions",
    ];
    words.next() == Some("SCAN") && words.next().is_some_and(|it| tables.contains(&it)) && words.next().is_none()
}

pub async fn lists_never_scan_a_table(bed: Bed) {
    fill(&bed).await;
    for (name, sql) in list_statements(&bed).into_iter().chain(other_statements(&bed)) {
        let plan = if bed.is_postgres() {
            bed.lines(&format!("EXPLAIN {sql}"), "QUERY PLAN").await
        } else {
            bed.lines(&format!("EXPLAIN QUERY PLAN {sql}"), "detail").await
        };
        let text = plan.join("\n");
        assert!(!plan.iter().any(|line| scans(&bed, line)), "{name} scans:\n{text}");
        let index = ["Index", "INDEX", "PRIMARY KEY"].iter().any(|word| text.contains(word));
        assert!(index, "{name} uses no index:\n{text}");
        if bed.is_postgres() && name.starts_with("list_by") && !sql.contains("counted") {
            let analyzed = bed.lines(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"), "QUERY PLAN").await;
            let most = analyzed.iter().filter(|line| line.contains("Index")).filter_map(|line| actual_rows(line)).max();
            assert!(most.is_some_and(|rows| rows < 1_000), "{name} reads too much:\n{}", analyzed.join("\n"));
        }
    }
}

pub async fn counts_are_exact_up_to_ten_thousand_and_estimated_beyond(bed: Bed) {
    fill(&bed).await;
    let of = |statuses| OrderFilter { statuses, ..OrderFilter::default() };
    assert_eq!(bed.store.count_orders(of(vec![Status::Running])).await.unwrap(), 540);
    let all = bed.store.count_orders(OrderFilter::default()).await.unwrap();
    assert!((40_000..80_000).contains(&all), "{all} of {ORDERS}");
    let counts = bed.store.count_by_status().await.unwrap();
    assert_eq!(counts.iter().map(|it| it.count).sum::<u64>(), u64::from(ORDERS));
}

/// The number in `(actual rows=51 loops=1)`.
fn actual_rows(line: &str) -> Option<u64> {
    let (_, after) = line.split_once("(actual rows=")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
