//! `--watch`: the same look again and again, until it is stopped.
//!
//! On a terminal each picture takes the place of the one before, cut to what fits; elsewhere they are written one after the
//! other, so that a file or a program gets them all. An Escrow that is away for a while ends nothing: that is said, and it is
//! asked again. Being stopped (Ctrl-C, SIGTERM, a reader that went away) is how a watch ends well.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::args::{Format, WatchArgs};
use super::failure::{FAILURE, Failure, UNAVAILABLE};
use super::output::{self, Output, Said, plain, terminal_size};

impl WatchArgs {
    /// What `ask` has to say: once, or over and over.
    pub async fn follow(
        self,
        output: Output,
        ask: impl AsyncFnMut() -> Result<Said, Failure>,
    ) -> Result<Said, Failure> {
        let Some(every) = self.watch else {
            let mut ask = ask;
            return ask().await;
        };
        if output.format == Format::Csv {
            return Err(Failure::usage("what changes is no one table").with_hint("with --watch say -o jsonl"));
        }
        tokio::select! {
            ended = repeat(every, output, ask, output::write) => ended,
            () = stopped() => Ok(Said::default()),
        }
    }
}

/// Asks and writes, again and again; ends when nobody reads any more, or when asking again would not help.
async fn repeat(
    every: Duration,
    output: Output,
    mut ask: impl AsyncFnMut() -> Result<Said, Failure>,
    mut write: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<Said, Failure> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drawn = 0;
    loop {
        ticks.tick().await;
        let text = match ask().await {
            Ok(said) => said.text,
            Err(failure) if failure.exit == UNAVAILABLE && output.is_terminal() => {
                format!("{}; trying again\n", plain(&failure.message))
            }
            Err(failure) if failure.exit == UNAVAILABLE => {
                output.failure(&failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let written = if output.is_terminal() {
            let (width, height) = terminal_size();
            let picture = fitted(&text, usize::from(width), usize::from(height));
            let over = if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\r") };
            drawn = picture.len();
            let lines: String = picture.iter().flat_map(|line| [line.as_str(), "\x1b[K\n"]).collect();
            write(&format!("{over}{lines}\x1b[J"))
        } else {
            let gap = if output.format == Format::Table && drawn > 0 { "\n" } else { "" };
            drawn = 1;
            write(&format!("{gap}{text}"))
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Said::default()),
            Err(error) => {
                return Err(Failure::new(FAILURE, "unwritable", format!("the answer cannot be written: {error}")));
            }
        }
    }
}

/// The lines that fit a terminal; the last row stays free, and one says how much is missing.
fn fitted(text: &str, width: usize, height: usize) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1).max(1);
    let is_cut = all.len() > room;
    let kept = if is_cut { room - 1 } else { all.len() };
    let mut lines: Vec<String> = all[..kept].iter().map(|line| cut(line, width)).collect();
    if is_cut {
        lines.push(cut(&format!("… {} more lines", all.len() - kept), width));
    }
    lines
}

/// Text no wider than `width` columns; `…` says that something is missing.
pub fn cut(text: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |letter: &char| {
        let wide = letter.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    if width == 0 { String::new() } else { kept + "…" }
}

/// Resolves when the process is told to end.
pub async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut int), Ok(mut term), Ok(mut hup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFTEN: Duration = Duration::from_millis(1);

    /// What is written until the reader goes away after `count` pieces.
    async fn written(output: Output, count: usize, ask: impl AsyncFnMut() -> Result<Said, Failure>) -> Vec<String> {
        let mut pieces = Vec::new();
        let ended = repeat(OFTEN, output, ask, |text| {
            if pieces.len() == count {
                return Err(ErrorKind::BrokenPipe.into());
            }
            pieces.push(text.to_owned());
            Ok(())
        });
        assert_eq!(ended.await, Ok(Said::default()), "a reader that has seen enough is no failure");
        pieces
    }

    #[tokio::test]
    async fn off_a_terminal_every_look_is_appended_and_an_escrow_that_is_away_is_asked_again() {
        let mut looks = 0;
        let ask = async || {
            looks += 1;
            if looks == 2 {
                Err(Failure::new(UNAVAILABLE, "unavailable", "away"))
            } else {
                Ok(Said::text(format!("{looks}\n")))
            }
        };
        assert_eq!(written(Output::plain(Format::Jsonl), 3, ask).await, ["1\n", "3\n", "4\n"]);
        let ask = async || Ok(Said::text("table\n".to_owned()));
        assert_eq!(written(Output::plain(Format::Table), 2, ask).await, ["table\n", "\ntable\n"]);
    }

    #[tokio::test]
    async fn on_a_terminal_each_picture_takes_the_place_of_the_last() {
        let mut looks = 0;
        let ask = async || {
            looks += 1;
            if looks == 2 {
                Err(Failure::new(UNAVAILABLE, "unavailable", "away\u{1b}[2J"))
            } else {
                Ok(Said::text("a\nb\n".to_owned()))
            }
        };
        let pieces = written(Output::on_terminal(Format::Table, 80), 3, ask).await;
        assert_eq!(
            pieces,
            [
                "a\x1b[K\nb\x1b[K\n\x1b[J",
                "\x1b[2A\raway\\u{1b}[2J; trying again\x1b[K\n\x1b[J",
                "\x1b[1A\ra\x1b[K\nb\x1b[K\n\x1b[J"
            ]
        );
    }

    #[tokio::test]
    async fn what_asking_again_does_not_mend_ends_the_watch() {
        let missing = Failure::new(super::super::failure::NOT_FOUND, "not_found", "no such order");
        let ended = repeat(OFTEN, Output::plain(Format::Table), async || Err(missing.clone()), |_| Ok(())).await;
        assert_eq!(ended, Err(missing.clone()));
        let watch = WatchArgs { watch: Some(OFTEN) };
        let csv = watch.follow(Output::plain(Format::Csv), async || Ok(Said::default())).await;
        assert_eq!(csv.unwrap_err().exit, super::super::failure::USAGE);
        let once =
            WatchArgs::default().follow(Output::plain(Format::Csv), async || Ok(Said::text("x".to_owned()))).await;
        assert_eq!(once.unwrap().text, "x");
    }

    #[test]
    fn a_picture_is_cut_to_the_terminal_and_says_so() {
        assert_eq!(fitted("one\ntwo\nthree\nfour\n", 80, 4), ["one", "two", "… 2 more lines"]);
        assert_eq!(fitted("one\ntwo\n", 80, 3), ["one", "two"]);
        assert_eq!(
            (cut("abcdef", 4), cut("漢字漢字", 5), cut("ab", 2), cut("ab", 0)),
            ("abc…".to_owned(), "漢字…".to_owned(), "ab".to_owned(), String::new())
        );
    }
}
