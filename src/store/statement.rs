//! Statements, what is bound to them, and the rows they give: the same words for both dialects.
//!
//! A statement is two `.sql` files of one name. What is bound has the same order in both; only bulk input differs, because the
//! dialects differ: PostgreSQL takes one array for each column (`unnest`), SQLite one JSON text (`json_each`).
//!
//! ```text
//!   sql!("insert_journal")  +  [Rows(saga…, order_id…, sequence…)]  ──▶  PostgreSQL  unnest($1::text[], $2::text[], $3::bigint[])
//!                                                                  └──▶  SQLite      json_each(?1): [["order","101",1], …]
//! ```

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::StoreError;

/// One statement in both dialects.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    pub postgres: &'static str,
    pub sqlite: &'static str,
}

/// The statement of these files, one after the other.
macro_rules! sql {
    ($($name:literal),+ $(,)?) => {
        $crate::store::statement::Sql {
            postgres: concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/postgres/", $name, ".sql"))),+),
            sqlite: concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/sqlite/", $name, ".sql"))),+),
        }
    };
}
pub(super) use sql;

/// What is bound to one place of a statement.
#[derive(Clone, Debug)]
pub enum Bind {
    Text(String),
    OptText(Option<String>),
    Int(i64),
    OptInt(Option<i64>),
    Bool(bool),
    Bytes(Vec<u8>),
    /// A list to be compared with; PostgreSQL's `text[]`, SQLite's JSON array.
    Texts(Vec<String>),
    /// Bulk input.
    Rows(Rows),
    /// The process's clock for SQLite; nothing for PostgreSQL, whose statements ask the server. Always last.
    Now,
}

/// Bulk input, column by column; all columns have the same length.
pub type Rows = Vec<Column>;

/// One column of bulk input.
#[derive(Clone, Debug)]
pub enum Column {
    Text(Vec<String>),
    OptText(Vec<Option<String>>),
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Bytes(Vec<Vec<u8>>),
    OptBytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::OptText(cells) => cells.len(),
            Self::Int(cells) => cells.len(),
            Self::OptInt(cells) => cells.len(),
            Self::Bytes(cells) => cells.len(),
            Self::OptBytes(cells) => cells.len(),
        }
    }
}

/// Columns out of rows: `columns!(rows; Text(|row| …), Int(|row| …))`.
macro_rules! columns {
    ($rows:expr; $($kind:ident($cell:expr)),+ $(,)?) => {
        vec![$($crate::store::statement::Column::$kind($rows.iter().map($cell).collect())),+]
    };
}
pub(super) use columns;

/// One row of an answer.
#[derive(Debug)]
pub enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not there or not of this type.
    pub fn get<'r, T>(&'r self, column: &str) -> Result<T, StoreError>
    where
        T: Decode<'r, Postgres> + Type<Postgres> + Decode<'r, Sqlite> + Type<Sqlite>,
    {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
        .map_err(|error| StoreError::Corrupt(format!("column `{column}`: {error}")))
    }
}
