//! Answers come from an index: the plans of the very statements the store runs, over many orders.

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

pub async fn lists_never_scan_a_table(bed: Bed) {
    fill(&bed).await;
    let none = "ARRAY[]::text[]";
    let list = |branch: (&str, &str)| {
        let postgres = [
            format!("ARRAY['{}']", branch.0),
            format!("ARRAY['{}']", branch.1),
            "50000".into(),
            "'order'".into(),
            "'o50000'".into(),
            none.into(),
            none.into(),
            none.into(),
            none.into(),
            "NULL".into(),
            "NULL".into(),
            none.into(),
            none.into(),
            "51".into(),
        ];
        let sqlite = [
            format!("'[[\"{}\",\"{}\"]]'", branch.0, branch.1),
            "50000".into(),
            "'order'".into(),
            "'o50000'".into(),
            "'[]'".into(),
            "'[]'".into(),
            "'[]'".into(),
            "'[]'".into(),
            "NULL".into(),
            "NULL".into(),
            "'[]'".into(),
            "51".into(),
        ];
        (postgres, sqlite)
    };
    let mut statements = Vec::new();
    for (by, branch) in [
        ("list_by_id", ("o500", "")),
        ("list_by_status", ("order", "completed")),
        ("list_by_waiting", ("payment", "")),
        ("list_by_reason", ("timed_out", "")),
        ("list_by_attribute", ("customer", "c7")),
    ] {
        let (postgres, sqlite) = list(branch);
        let values = (postgres.each_ref().map(String::as_str), sqlite.each_ref().map(String::as_str));
        let files: [&[&str]; 2] = [
            &["list_columns", by, "list_filter", "list_page"],
            &["count_columns", by, "list_filter", "list_page", "count_end"],
        ];
        for files in files {
            statements.push((by, statement(&bed, files, &values.0, &values.1)));
        }
    }
    let journal = ["50000", "7", "NULL", "ARRAY['command']", "NULL", "0", "60000", "51"];
    let mut lite = journal;
    lite[3] = "'[\"command\"]'";
    let one: [(&str, &[&str], &[&str], &[&str]); 9] = [
        ("journal", &["journal", "journal_page"], &journal, &lite),
        ("acts", &["journal", "journal_acts_only", "journal_page"], &journal, &lite),
        ("since", &["journal_since"], &["59900", "60000", "100"], &["59900", "60000", "100"]),
        ("audit", &["audit"], &["'order'", "'o3'", "0", "10"], &["'order'", "'o3'", "0", "10"]),
        ("due", &["due_orders"], &["ARRAY['order']", "ARRAY[5000]::bigint[]", "10"], &["'[[\"order\",5000]]'", "10"]),
        ("next", &["next_due"], &["7::bigint"], &["7"]),
        ("sagas", &["known_sagas"], &[], &[]),
        ("waits", &["known_waits"], &[], &[]),
        ("lock", &["lock_orders"], &["ARRAY['order','order']", "ARRAY['o3','o6']"], &["'[[\"order\",\"o3\"]]'"]),
    ];
    for (name, files, postgres, sqlite) in one {
        statements.push((name, statement(&bed, files, postgres, sqlite)));
    }
    for (name, sql) in statements {
        let plan = if bed.is_postgres() {
            bed.lines(&format!("EXPLAIN {sql}"), "QUERY PLAN").await
        } else {
            bed.lines(&format!("EXPLAIN QUERY PLAN {sql}"), "detail").await
        };
        for line in &plan {
            let scan = if bed.is_postgres() {
                line.contains("Seq Scan") && !line.contains("pg_")
            } else {
                let mut words = line.split(' ');
                let tables = ["o", "j", "a", "held", "orders", "journal", "order_attributes"];
                words.next() == Some("SCAN")
                    && words.next().is_some_and(|it| tables.contains(&it))
                    && words.next().is_none()
            };
            assert!(!scan, "{name} scans:\n{}", plan.join("\n"));
        }
        let uses_index =
            plan.iter().any(|line| line.contains("Index") || line.contains("INDEX") || line.contains("PRIMARY KEY"));
        assert!(uses_index, "{name} uses no index:\n{}", plan.join("\n"));
        if bed.is_postgres() && name.starts_with("list_by") {
            let analyzed = bed.lines(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"), "QUERY PLAN").await;
            let most = analyzed.iter().filter(|line| line.contains("Index")).filter_map(|line| actual_rows(line)).max();
            assert!(most.is_some_and(|rows| rows < 1_000), "{name} reads too much:\n{}", analyzed.join("\n"));
        }
    }
}

/// The number in `(actual rows=51 loops=1)`.
fn actual_rows(line: &str) -> Option<u64> {
    let (_, after) = line.split_once("(actual rows=")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
