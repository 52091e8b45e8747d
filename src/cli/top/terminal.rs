//! The terminal while the board is on it: another screen, without a cursor, keys unread by the shell.
//!
//! Dropping it gives everything back, and so does a panic, before its message is written: on the other screen nobody would see it.

use std::io::{Write as _, stdout};

use anstyle::{AnsiColor, Style};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::frame::{Line, Tone};

/// The terminal, taken.
pub struct Terminal {
    has_colour: bool,
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// It is none, or it went away; it is as it was before.
    pub fn open(has_colour: bool) -> std::io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        enable_raw_mode()?;
        // From here on dropping it gives it back.
        let terminal = Self { has_colour };
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    /// Shows these lines and nothing else. They must fit.
    ///
    /// # Errors
    /// It went away.
    pub fn draw(&mut self, lines: &[Line]) -> std::io::Result<()> {
        let mut out = stdout().lock();
        execute!(out, MoveTo(0, 0))?;
        for (number, line) in lines.iter().enumerate() {
            let end = if number + 1 == lines.len() { "" } else { "\r\n" };
            let style = style(line.tone, self.has_colour);
            write!(out, "{style}{}{style:#}\x1b[K{end}", line.text)?;
        }
        execute!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was. A terminal that is gone needs nothing back.
fn give_back() {
    let _ = execute!(stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

fn style(tone: Tone, has_colour: bool) -> Style {
    let colour = |colour: AnsiColor| if has_colour { Style::new().fg_color(Some(colour.into())) } else { Style::new() };
    match tone {
        Tone::Plain => Style::new(),
        Tone::Heading => Style::new().bold(),
        Tone::Good => colour(AnsiColor::Green),
        Tone::Busy => colour(AnsiColor::Yellow),
        Tone::Bad => colour(AnsiColor::Red),
        Tone::Chosen => Style::new().invert(),
    }
}
