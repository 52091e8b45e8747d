//! Values to PostgreSQL's places: a list is an array, bulk input one array for each column.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::store::statement::{Bind, Column, Sql};

/// The statement with everything bound.
pub fn query(sql: Sql, binds: Vec<Bind>) -> Query<'static, Postgres, PgArguments> {
    binds.into_iter().fold(sqlx::query(sql.postgres), |query, bind| match bind {
        Bind::Text(value) => query.bind(value),
        Bind::OptText(value) => query.bind(value),
        Bind::Int(value) => query.bind(value),
        Bind::OptInt(value) => query.bind(value),
        Bind::Bool(value) => query.bind(value),
        Bind::Bytes(value) => query.bind(value),
        Bind::Texts(values) => query.bind(values),
        Bind::Rows(columns) => columns.into_iter().fold(query, |query, column| match column {
            Column::Text(cells) => query.bind(cells),
            Column::OptText(cells) => query.bind(cells),
            Column::Int(cells) => query.bind(cells),
            Column::OptInt(cells) => query.bind(cells),
            Column::Bytes(cells) => query.bind(cells),
            Column::OptBytes(cells) => query.bind(cells),
        }),
        Bind::Now => query,
    })
}
