//! Any list of the API: a page, or all pages to the end.
//!
//! People get a page and are told that there is more. Lines and spreadsheets are for programs, which want all of it unless they ask
//! for a part; they are written page by page, so a list may be longer than memory.

use std::io::ErrorKind;

use super::args::{Format, PageArgs};
use super::client::Client;
use super::failure::{FAILURE, Failure};
use super::output::{self, Output, Said, Shape};

/// Text kept before it is written, while pages follow.
const WRITTEN_FROM_BYTES: usize = 1 << 20;

/// Which list, and how it looks.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    pub parts: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    /// The field of the answer that holds the rows.
    pub name: &'a str,
    pub shape: &'a Shape,
}

impl Listing<'_> {
    /// Shows it: once, or again and again.
    pub async fn show(&self, client: &Client, page: &PageArgs, output: Output) -> Result<Said, Failure> {
        page.watch.follow(output, async || self.look(client, page, output).await).await
    }

    async fn look(&self, client: &Client, page: &PageArgs, output: Output) -> Result<Said, Failure> {
        let is_for_programs = matches!(output.format, Format::Jsonl | Format::Csv);
        if !is_for_programs {
            let rows = client.list(self.parts, self.query, self.name, page).await?;
            return Ok(output.rows(&rows, self.shape));
        }
        let is_part = page.limit.is_some() || page.cursor.is_some();
        let page = PageArgs { all: page.all || !is_part, ..page.clone() };
        let mut said = Said::default();
        let mut cursor = page.cursor.clone();
        let mut is_first = true;
        loop {
            let rows = client.page(self.parts, self.query, self.name, &page, cursor.as_deref()).await?;
            said.text += &output.page(&rows.items, self.shape, is_first);
            is_first = false;
            if !page.all || rows.next_cursor.is_none() {
                said.note = output::more(&rows);
                return Ok(said);
            }
            cursor = rows.next_cursor;
            if said.text.len() >= WRITTEN_FROM_BYTES && output.is_stdout() && page.watch.watch.is_none() {
                match output::write(&std::mem::take(&mut said.text)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Said::default()),
                    Err(error) => {
                        return Err(Failure::new(
                            FAILURE,
                            "unwritable",
                            format!("the answer cannot be written: {error}"),
                        ));
                    }
                }
            }
        }
    }
}
