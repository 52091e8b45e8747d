//! Answers as comma-separated values, for spreadsheets and scripts: a header, then a record for each row, quoted by RFC 4180.
//!
//! A spreadsheet runs a cell that begins like a formula, and what stands in the cells may be anybody's: such a cell gets an
//! apostrophe in front, which spreadsheets do not show. What is nested becomes columns by its path (`stuck.reason`); lists of
//! plain values become one cell.

use serde_json::Value;

use super::output::plain;

/// Rows under a header of these fields. `is_terminal`: control characters are shown and not obeyed.
pub fn records(rows: &[Value], fields: &[&str], has_header: bool, is_terminal: bool) -> String {
    let header = has_header.then(|| fields.iter().map(|&field| field.to_owned()).collect());
    let cells = rows.iter().map(|row| fields.iter().map(|field| cell(find(row, field))).collect());
    write(header.into_iter().chain(cells), is_terminal)
}

/// One thing: its fields as the header, their values as the only record.
pub fn record(value: &Value, is_terminal: bool) -> String {
    let mut pairs = Vec::new();
    flatten("", value, &mut pairs);
    let (header, cells): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    write([header, cells].into_iter(), is_terminal)
}

fn write(records: impl Iterator<Item = Vec<String>>, is_terminal: bool) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for record in records {
        let cells = record.iter().map(|text| harmless(text, is_terminal));
        // Writing to memory does not fail, and flexible records have no wrong length.
        let _ = writer.write_record(cells);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Text that no spreadsheet takes for a formula.
fn harmless(text: &str, is_terminal: bool) -> String {
    let shown = if is_terminal { plain(text) } else { text.to_owned() };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{shown}") } else { shown }
}

fn find<'a>(row: &'a Value, field: &str) -> &'a Value {
    field.split('.').fold(row, |value, name| &value[name])
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|it| !it.is_object() && !it.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn flatten(path: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() || path.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, pairs);
            }
        }
        other => pairs.push((if path.is_empty() { "value".to_owned() } else { path.to_owned() }, cell(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a reader of RFC 4180 makes of it.
    fn read(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn whatever_stands_in_a_cell_comes_back_and_is_no_formula() {
        let nasty = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a,b", "say \"hi\"", "two\nlines", "", "\u{1b}[2J"];
        let rows: Vec<Value> = nasty.iter().map(|text| json!({"id": text, "n": -1})).collect();
        let records = read(&records(&rows, &["id", "n"], true, false));
        assert_eq!(records[0], ["id", "n"]);
        for (record, text) in records[1..].iter().zip(nasty) {
            let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert_eq!(record[0], if is_formula { format!("'{text}") } else { text.to_owned() });
            assert_eq!(record[1], "'-1");
        }
        assert_eq!(records.len(), nasty.len() + 1);
    }

    #[test]
    fn a_terminal_gets_no_control_characters_but_the_ends_of_lines() {
        let text = records(&[json!({"id": "\u{1b}[2J\n\u{202e}\r"})], &["id"], true, true);
        assert_eq!(text, "id\n\\u{1b}[2J\\n\\u{202e}\\r\n");
    }

    #[test]
    fn an_empty_list_is_its_header() {
        assert_eq!(records(&[], &["saga", "stuck.reason"], true, false), "saga,stuck.reason\n");
        assert_eq!(records(&[], &["saga"], false, false), "");
    }

    #[test]
    fn what_is_nested_becomes_columns_by_its_path() {
        let order = json!({"stuck": {"reason": "timed_out"}, "steps": [{"step": "a"}], "unproven": ["gap", "inferred"], "x": {}});
        assert_eq!(
            read(&record(&order, false)),
            [
                vec!["steps", "stuck.reason", "unproven", "x"],
                vec![r#"[{"step":"a"}]"#, "timed_out", "gap, inferred", "{}"]
            ]
        );
        assert_eq!(read(&records(&[order], &["stuck.reason", "none.at.all"], false, false)), [["timed_out", ""]]);
    }
}
