//! Values to SQLite's places: a list is a JSON array, bulk input one JSON array of rows with bytes in hexadecimal.
//!
//! One statement for all rows is what makes SQLite fast here: every statement costs a hand-over to the driver's thread.

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use crate::saga::journal::hex;
use crate::saga::time::Moment;
use crate::store::statement::{Bind, Column, Rows, Sql};

/// The statement with everything bound.
///
/// # Errors
/// Text with a NUL character: SQLite's JSON would silently end it there, and two ids could become one.
pub fn query(sql: Sql, binds: Vec<Bind>, now: Moment) -> Result<Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
    binds.into_iter().try_fold(sqlx::query(sql.sqlite), |query, bind| {
        Ok(match bind {
            Bind::Text(value) => query.bind(checked(value)?),
            Bind::OptText(value) => query.bind(value.map(checked).transpose()?),
            Bind::Int(value) => query.bind(value),
            Bind::OptInt(value) => query.bind(value),
            Bind::Bool(value) => query.bind(value),
            Bind::Bytes(value) => query.bind(value),
            Bind::Texts(values) => query.bind(json(&vec![Column::Text(values)], false)?),
            Bind::Rows(columns) => query.bind(json(&columns, true)?),
            Bind::Now => query.bind(now.0),
        })
    })
}

fn checked(text: String) -> Result<String, sqlx::Error> {
    if text.contains('\0') {
        return Err(sqlx::Error::InvalidArgument("text must not contain a NUL character".to_owned()));
    }
    Ok(text)
}

/// `[["a",1],["b",2]]`, or `["a","b"]` when not `nested`.
fn json(columns: &Rows, nested: bool) -> Result<String, sqlx::Error> {
    let rows = columns.first().map_or(0, Column::len);
    let mut text = String::from("[");
    for row in 0..rows {
        text.push_str(if row > 0 { "," } else { "" });
        text.push_str(if nested { "[" } else { "" });
        for (at, column) in columns.iter().enumerate() {
            text.push_str(if at > 0 { "," } else { "" });
            write_cell(&mut text, column, row)?;
        }
        text.push_str(if nested { "]" } else { "" });
    }
    text.push(']');
    Ok(text)
}

fn write_cell(text: &mut String, column: &Column, row: usize) -> Result<(), sqlx::Error> {
    match column {
        Column::Text(cells) => write_text(text, Some(&cells[row])),
        Column::OptText(cells) => write_text(text, cells[row].as_deref()),
        Column::Int(cells) => {
            text.push_str(&cells[row].to_string());
            Ok(())
        }
        Column::OptInt(cells) => {
            text.push_str(&cells[row].map_or_else(|| "null".to_owned(), |cell| cell.to_string()));
            Ok(())
        }
        Column::Bytes(cells) => write_text(text, Some(&hex(&cells[row]))),
        Column::OptBytes(cells) => write_text(text, cells[row].as_ref().map(|cell| hex(cell)).as_deref()),
    }
}

fn write_text(text: &mut String, cell: Option<&str>) -> Result<(), sqlx::Error> {
    if cell.is_some_and(|cell| cell.contains('\0')) {
        return Err(sqlx::Error::InvalidArgument("text must not contain a NUL character".to_owned()));
    }
    text.push_str(&serde_json::to_string(&cell).map_err(|error| sqlx::Error::Encode(Box::new(error)))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_json() {
        let columns = vec![
            Column::Text(vec!["a\"b".to_owned(), "ü\n".to_owned()]),
            Column::OptInt(vec![Some(-7), None]),
            Column::OptBytes(vec![Some(vec![0, 255]), None]),
        ];
        assert_eq!(json(&columns, true).unwrap(), r#"[["a\"b",-7,"00ff"],["ü\n",null,null]]"#);
        assert_eq!(json(&vec![Column::Text(vec!["a".to_owned(), "b".to_owned()])], false).unwrap(), r#"["a","b"]"#);
        assert_eq!(json(&vec![Column::Int(Vec::new())], true).unwrap(), "[]");
        assert!(json(&vec![Column::Text(vec!["a\0b".to_owned()])], true).is_err());
    }
}
