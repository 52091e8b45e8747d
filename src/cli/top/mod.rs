//! `escrow top`: a live board of incidents, orders, what is due and what has waited longest.
//!
//! ```text
//!   task: looker ──asks the API──▶ picture ──channel──▶ board ──frame (pure)──▶ terminal
//!                    ▲                                    ▲
//!                    └──────── which order is open ───────┴──── keys
//! ```
//!
//! Keys are answered at once, however long the API takes. Off a terminal there is one frame and no board. However it ends (a key, a
//! signal, a panic), the terminal is as it was before.

mod board;
mod frame;
mod looker;
mod rates;
mod terminal;

use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};

use self::board::{Answer, Board};
use self::looker::{Chosen, Looker, Picture};
use self::terminal::Terminal;
use super::args::Format;
use super::client::Client;
use super::failure::{FAILURE, Failure, UNAVAILABLE};
use super::output::{Output, Said, terminal_size};
use super::watch::stopped;

/// Between the two counts that make the rates of a single frame.
const COUNT_FOR: Duration = Duration::from_secs(1);

/// Pictures made and not yet shown; the board wants the newest only.
const PICTURES_AHEAD: usize = 1;

/// Runs the command.
pub async fn run(client: Client, every: Duration, output: Output) -> Result<Said, Failure> {
    if output.format == Format::Csv {
        return Err(Failure::usage("a board is no table").with_hint("say -o json, or `escrow order list -o csv`"));
    }
    let mut looker = Looker::new(client);
    if output.is_terminal() && output.format == Format::Table {
        return live(looker, every, output).await;
    }
    looker.count().await;
    tokio::time::sleep(COUNT_FOR).await;
    let picture = looker.look(None).await?;
    let value = picture.value();
    Ok(output.one(&value, |_| frame::whole(&Board::of(picture, looker.address()))))
}

/// The board, until it is left.
async fn live(looker: Looker, every: Duration, output: Output) -> Result<Said, Failure> {
    let opened = Terminal::open(output.has_colour());
    let mut terminal =
        opened.map_err(|error| Failure::new(FAILURE, "terminal", format!("the terminal cannot be used: {error}")))?;
    let mut board = Board::new(looker.address());
    let (pictures, mut news) = mpsc::channel(PICTURES_AHEAD);
    let (choose, chosen) = watch::channel(None);
    let looking = tokio::spawn(keep_looking(looker, every, chosen, pictures));
    let ended = show(&mut board, &mut terminal, &mut news, &choose).await;
    looking.abort();
    drop(terminal);
    ended.map(|()| Said::default())
}

async fn keep_looking(
    mut looker: Looker,
    every: Duration,
    mut chosen: watch::Receiver<Option<Chosen>>,
    pictures: mpsc::Sender<Result<Picture, Failure>>,
) {
    loop {
        let open = chosen.borrow_and_update().clone();
        let picture = looker.look(open.as_ref()).await;
        if pictures.send(picture).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            changed = chosen.changed() => if changed.is_err() { return },
        }
    }
}

async fn show(
    board: &mut Board,
    terminal: &mut Terminal,
    news: &mut mpsc::Receiver<Result<Picture, Failure>>,
    choose: &watch::Sender<Option<Chosen>>,
) -> Result<(), Failure> {
    let mut keys = EventStream::new();
    let mut has_keys = true;
    let stop = stopped();
    tokio::pin!(stop);
    loop {
        let (width, height) = terminal_size();
        let lines = frame::fitted(board, usize::from(width), usize::from(height));
        let drawn = terminal.draw(&lines);
        drawn.map_err(|error| Failure::new(FAILURE, "terminal", format!("the terminal went away: {error}")))?;
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            event = keys.next(), if has_keys => match event {
                Some(Ok(Event::Key(key))) => match board.key(key) {
                    Answer::Leave => return Ok(()),
                    Answer::Stay => drop(choose.send_if_modified(|open| {
                        let now = board.open();
                        let is_new = *open != now;
                        *open = now;
                        is_new
                    })),
                },
                Some(Ok(_)) => {}
                // Without a keyboard it can still be looked at.
                Some(Err(_)) | None => has_keys = false,
            },
            picture = news.recv() => match picture {
                Some(Ok(picture)) => board.show(picture),
                Some(Err(failure)) if failure.exit == UNAVAILABLE => board.is_away(&failure.message),
                Some(Err(failure)) => return Err(failure),
                None => return Err(Failure::new(FAILURE, "board", "the board stopped looking")),
            },
        }
    }
}
