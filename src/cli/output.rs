//! How answers are written: tables that fit a terminal, whole text elsewhere, or JSON and CSV with the API's own names.
//!
//! Whatever comes from messages may hold escape sequences: every control character of it is shown, none is obeyed.

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::args::Format;
use super::client::Rows;
use super::failure::{FAILURE, Failure};
use super::spreadsheet;

/// What a command has to say once it is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// For stdout.
    pub text: String,
    /// For stderr.
    pub note: Option<String>,
    pub exit: u8,
}

impl Said {
    /// An answer, and nothing wrong.
    pub fn text(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: Format,
    is_terminal: bool,
    /// Columns of the terminal.
    width: Option<u16>,
    is_stdout: bool,
}

/// One column: its heading, and how a row fills it.
pub type Column = (&'static str, fn(&Value) -> String);

/// How the rows of a list look: to people, and in a spreadsheet, where `stuck.reason` is what is nested.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub columns: &'static [Column],
    pub fields: &'static [&'static str],
}

impl Output {
    pub fn new(format: Format) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self { format, is_terminal, width: is_terminal.then(|| terminal_size().0), is_stdout: true }
    }

    /// Whether a person looks at a terminal.
    pub fn is_terminal(self) -> bool {
        self.is_terminal
    }

    /// Whether it goes to this program's own output, where what is long may be written piece by piece.
    pub fn is_stdout(self) -> bool {
        self.is_stdout
    }

    /// Columns there are; `None` where nothing has to fit.
    pub fn width(self) -> Option<usize> {
        self.width.map(usize::from)
    }

    /// Whether what people read may be coloured.
    pub fn has_colour(self) -> bool {
        self.is_terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
    }

    /// As it is written to a file.
    #[cfg(test)]
    pub fn plain(format: Format) -> Self {
        Self { format, is_terminal: false, width: None, is_stdout: false }
    }

    /// As it is written to a terminal of this width.
    #[cfg(test)]
    pub fn on_terminal(format: Format, width: u16) -> Self {
        Self { format, is_terminal: true, width: Some(width), is_stdout: false }
    }

    /// One thing; `table` says how it looks to people.
    pub fn one(self, value: &Value, table: impl FnOnce(&Value) -> String) -> Said {
        Said::text(match self.format {
            Format::Table => table(value),
            Format::Json => pretty(value),
            Format::Jsonl => lines(std::slice::from_ref(value)),
            Format::Csv => spreadsheet::record(value, self.is_terminal),
        })
    }

    /// A report made of rows: whole as JSON, a row a line, or as people read it.
    pub fn report(self, whole: &Value, rows: &[Value], fields: &[&str], table: impl FnOnce() -> String) -> String {
        match self.format {
            Format::Table => table(),
            Format::Json => pretty(whole),
            Format::Jsonl => lines(rows),
            Format::Csv => spreadsheet::records(rows, fields, true, self.is_terminal),
        }
    }

    /// A list. Nothing found is an empty list, and no failure.
    pub fn rows(self, rows: &Rows, shape: &Shape) -> Said {
        let text = match self.format {
            Format::Table => self.table(&rows.items, shape.columns),
            Format::Json => pretty(&Value::Array(rows.items.clone())),
            Format::Jsonl | Format::Csv => self.page(&rows.items, shape, true),
        };
        Said { text, note: more(rows), exit: 0 }
    }

    /// A page of a list whose pages are written one after the other.
    pub fn page(self, rows: &[Value], shape: &Shape, is_first: bool) -> String {
        match self.format {
            Format::Csv => spreadsheet::records(rows, shape.fields, is_first, self.is_terminal),
            Format::Table | Format::Json | Format::Jsonl => lines(rows),
        }
    }

    /// Rows under headings: fitted to a terminal, whole elsewhere.
    pub fn table(self, rows: &[Value], columns: &[Column]) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        table.set_header(columns.iter().map(|(heading, _)| *heading));
        for row in rows {
            table.add_row(columns.iter().map(|(_, fill)| plain(&fill(row))));
        }
        format!("{}\n", table.trim_fmt())
    }

    /// Says on stderr how far something is, to people alone.
    pub fn progress(self, text: &str) {
        if self.format == Format::Table {
            eprintln!("{}", plain(text));
        }
    }

    /// Says on stderr what went wrong.
    pub fn failure(self, failure: &Failure) {
        match self.format {
            Format::Table => {
                // Lines are ours (findings have several); what stands in them may be anybody's.
                let lines: Vec<String> = failure.message.lines().map(plain).collect();
                eprintln!("error: {}", lines.join("\n"));
                for fault in failure.details.as_array().into_iter().flatten().skip(1) {
                    eprintln!("  {}: {}", plain(&at(fault, "/pointer")), plain(&at(fault, "/detail")));
                }
                if let Some(hint) = &failure.hint {
                    eprintln!("hint: {}", plain(hint));
                }
            }
            Format::Json | Format::Jsonl | Format::Csv => eprintln!("{}", json(&failure.json().to_string())),
        }
    }
}

/// What is said where a list goes on.
pub fn more(rows: &Rows) -> Option<String> {
    rows.next_cursor.as_ref().map(|cursor| format!("there are more: --cursor {cursor}, or --all"))
}

/// Columns and rows of the terminal; a usual one where it does not say.
pub fn terminal_size() -> (u16, u16) {
    let told = crossterm::terminal::size().ok().filter(|(width, height)| *width > 0 && *height > 0);
    told.unwrap_or((80, 24))
}

/// Writes to stdout, at once.
pub fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Writes an answer and gives the exit code. A reader that has seen enough is no failure.
pub fn print(said: &Said) -> u8 {
    let written = write(&said.text);
    if let Some(note) = &said.note {
        eprintln!("{}", plain(note));
    }
    match written {
        Ok(()) => said.exit,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => said.exit,
        Err(error) => {
            eprintln!("error: the answer cannot be written: {error}");
            FAILURE
        }
    }
}

/// One JSON value a line.
pub fn lines(rows: &[Value]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let _ = writeln!(text, "{}", json(&row.to_string()));
        text
    })
}

/// JSON as people read it.
pub fn pretty(value: &Value) -> String {
    format!("{}\n", json(&format!("{value:#}")))
}

/// JSON with what a terminal might obey written as JSON escapes: JSON itself demands that of the first 32 letters only. Such
/// letters stand nowhere but in texts, so it means the same.
fn json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, it| {
        if it != '\n' && is_obeyed(it) {
            let _ = write!(shown, "\\u{:04x}", u32::from(it));
        } else {
            shown.push(it);
        }
        shown
    })
}

/// Control characters, and everything that turns the direction of writing.
fn is_obeyed(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Headings on the left, values on the right; empty values are left out.
pub fn card(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0);
    lines.iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut text, (heading, value)| {
        let _ = writeln!(text, "{heading:width$}  {}", plain(value));
        text
    })
}

/// The value at `pointer` as text; nothing for null and what is not there.
pub fn at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        Some(Value::Object(fields)) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// A time without the fractions nobody reads in a table.
pub fn when(value: &Value, pointer: &str) -> String {
    let text = at(value, pointer);
    match text.split_once('.') {
        Some((seconds, _)) if text.ends_with('Z') => format!("{seconds}Z"),
        _ => text,
    }
}

/// Text with every control character, and everything that turns the direction of writing, shown as an escape.
pub fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, it| {
        if is_obeyed(it) {
            shown.extend(it.escape_default());
        } else {
            shown.push(it);
        }
        shown
    })
}
