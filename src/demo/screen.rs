//! Where the picture goes: drawn in place on a terminal, or as a line now and then where output is read later.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tokio::time::Instant;

use super::summary::{Line, Snapshot, Tone, one_line, render};

/// A terminal that does not tell its size.
const WIDTH_DEFAULT: u16 = 80;
const HEIGHT_DEFAULT: u16 = 24;
/// Between two lines where nothing can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Standard output, as the demo uses it.
pub struct Screen {
    is_terminal: bool,
    /// Lines of the picture that stands there now.
    drawn: usize,
    said_at: Option<Instant>,
}

impl Screen {
    /// The screen as it is now.
    pub fn open() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), drawn: 0, said_at: None }
    }

    /// How often a new picture is worth its while.
    pub fn refresh_every(&self) -> Duration {
        if self.is_terminal { Duration::from_millis(250) } else { Duration::from_millis(500) }
    }

    /// Says something that stays.
    pub fn say(&mut self, lines: &[Line]) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&paint(line));
            text.push('\n');
        }
        self.drawn = 0;
        put(&text);
    }

    /// Shows the picture in the place of the one before.
    pub fn show(&mut self, snapshot: &Snapshot) {
        if !self.is_terminal {
            let due = self.said_at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
            if due {
                self.said_at = Some(Instant::now());
                put(&format!("{}\n", one_line(snapshot)));
            }
            return;
        }
        let (width, height) = crossterm::terminal::size().unwrap_or((WIDTH_DEFAULT, HEIGHT_DEFAULT));
        // The last row stays free: a newline there would scroll the picture away from its place.
        let lines = render(snapshot, usize::from(width), usize::from(height).saturating_sub(1));
        let mut text = String::from("\x1b[?25l");
        text.push_str(&self.back_to_the_top());
        for line in &lines {
            text.push_str(&paint(line));
            text.push_str("\x1b[K\n");
        }
        // What is left of a longer picture.
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        put(&text);
    }

    /// Takes the picture away, for the last words.
    pub fn clear(&mut self) {
        if self.is_terminal {
            put(&format!("{}\x1b[J\x1b[?25h", self.back_to_the_top()));
        }
        self.drawn = 0;
    }

    fn back_to_the_top(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r", self.drawn) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            put("\x1b[?25h");
        }
    }
}

/// Writes and flushes. A reader that went away is no reason to stop following orders.
fn put(text: &str) {
    let mut out = anstream::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written {
        tracing::debug!(%error, "nobody reads what the demo says");
    }
}

fn paint(line: &Line) -> String {
    use std::fmt::Write as _;
    line.0.iter().fold(String::new(), |mut painted, (tone, text)| {
        let style = style(*tone);
        // Writing to a string does not fail.
        let _ = write!(painted, "{style}{text}{style:#}");
        painted
    })
}

fn style(tone: Tone) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match tone {
        Tone::Plain => Style::new(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Heading => Style::new().bold(),
        Tone::Good => colour(AnsiColor::Green),
        Tone::Busy => colour(AnsiColor::Yellow),
        Tone::Bad => colour(AnsiColor::Red),
    }
}
