//! A database of one test, of either kind, and a way past the store: as someone with the database's password has it.

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::postgres;

/// A database, removed with its files when the test ends.
pub struct Database {
    pub url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("escrow.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub async fn postgres() -> Self {
        Self { url: postgres::shared().database().await, _folder: None }
    }

    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }

    /// Runs SQL past the store.
    pub async fn raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut conn = self.url.parse::<sqlx::postgres::PgConnectOptions>()?.connect().await?;
            conn.execute(sqlx::raw_sql(sql)).await?;
            conn.close().await
        } else {
            let mut conn = self.url.parse::<sqlx::sqlite::SqliteConnectOptions>()?.connect().await?;
            conn.execute(sqlx::raw_sql(sql)).await?;
            conn.close().await
        }
    }

    /// The text lines that SQL gives.
    pub async fn lines(&self, sql: &str, column: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
            let mut conn = options.connect().await.unwrap();
            let rows = sqlx::raw_sql(sql).fetch_all(&mut conn).await.unwrap();
            rows.iter().map(|row| row.get(column)).collect()
        } else {
            let options: sqlx::sqlite::SqliteConnectOptions = self.url.parse().unwrap();
            let mut conn = options.connect().await.unwrap();
            let rows = sqlx::raw_sql(sql).fetch_all(&mut conn).await.unwrap();
            rows.iter().map(|row| row.get(column)).collect()
        }
    }
}
