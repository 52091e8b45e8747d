//! What the board remembers between two pictures: which order is chosen, whether it is open, and whether Escrow answers. Pure.
//!
//! The choice sticks to the order, not to its place: a list that moves under a person's finger opens the wrong one.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::looker::{Chosen, Picture, key};

/// Orders a page key moves over.
const PAGE: isize = 10;

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Stay,
    Leave,
}

/// The board.
pub struct Board {
    pub address: String,
    /// `None` before the first answer.
    pub picture: Option<Picture>,
    /// Why there is no newer picture.
    pub away: Option<String>,
    chosen: Option<Chosen>,
    is_open: bool,
}

impl Board {
    pub fn new(address: String) -> Self {
        Self { address, picture: None, away: None, chosen: None, is_open: false }
    }

    /// A board of one picture, with nothing chosen.
    pub fn of(picture: Picture, address: String) -> Self {
        Self { picture: Some(picture), ..Self::new(address) }
    }

    /// Takes a new picture.
    pub fn show(&mut self, picture: Picture) {
        self.away = None;
        let is_there = |chosen: &Chosen| picture.orders.iter().any(|order| key(order) == *chosen);
        // An open order stays open, wherever it has gone.
        if !self.is_open && !self.chosen.as_ref().is_some_and(is_there) {
            let place = self.place().min(picture.orders.len().saturating_sub(1));
            self.chosen = picture.orders.get(place).map(key);
        }
        self.picture = Some(picture);
    }

    /// Nothing new came.
    pub fn is_away(&mut self, why: &str) {
        self.away = Some(why.to_owned());
    }

    /// The place of the chosen order in the list.
    pub fn place(&self) -> usize {
        let orders = self.picture.iter().flat_map(|picture| &picture.orders);
        orders.into_iter().position(|order| Some(key(order)) == self.chosen).unwrap_or(0)
    }

    /// The chosen order.
    #[cfg(test)]
    fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_ref()
    }

    /// The order to be shown by itself.
    pub fn open(&self) -> Option<Chosen> {
        self.chosen.clone().filter(|_| self.is_open)
    }

    /// Answers a key.
    pub fn key(&mut self, event: KeyEvent) -> Answer {
        if event.kind == KeyEventKind::Release {
            return Answer::Stay;
        }
        let last = isize::MAX / 2;
        match event.code {
            KeyCode::Char('c' | 'd') if event.modifiers.contains(KeyModifiers::CONTROL) => return Answer::Leave,
            KeyCode::Char('q') => return Answer::Leave,
            KeyCode::Char('j') | KeyCode::Down => self.step(1),
            KeyCode::Char('k') | KeyCode::Up => self.step(-1),
            KeyCode::PageDown => self.step(PAGE),
            KeyCode::PageUp => self.step(-PAGE),
            KeyCode::Char('g') | KeyCode::Home => self.step(-last),
            KeyCode::Char('G') | KeyCode::End => self.step(last),
            KeyCode::Enter => self.is_open = !self.is_open && self.chosen.is_some(),
            KeyCode::Esc | KeyCode::Backspace => self.is_open = false,
            _ => {}
        }
        Answer::Stay
    }

    fn step(&mut self, by: isize) {
        let Some(picture) = &self.picture else { return };
        let place = self.place().saturating_add_signed(by).min(picture.orders.len().saturating_sub(1));
        self.chosen = picture.orders.get(place).map(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picture(ids: &[&str]) -> Picture {
        Picture {
            orders: ids.iter().map(|id| json!({"saga": "order", "order_id": id})).collect(),
            ..Picture::default()
        }
    }

    fn press(board: &mut Board, codes: &[KeyCode]) -> Answer {
        codes.iter().fold(Answer::Stay, |_, code| board.key(KeyEvent::from(*code)))
    }

    #[test]
    fn the_choice_moves_with_the_keys_and_sticks_to_its_order() {
        let mut board = Board::new(String::new());
        press(&mut board, &[KeyCode::Down, KeyCode::Enter]);
        assert_eq!((board.chosen(), board.open()), (None, None), "nothing is there yet");
        board.show(picture(&["1", "2", "3"]));
        press(&mut board, &[KeyCode::Char('j'), KeyCode::Down, KeyCode::Down]);
        assert_eq!(board.place(), 2);
        press(&mut board, &[KeyCode::Char('k')]);
        board.show(picture(&["0", "1", "2", "3"]));
        assert_eq!((board.place(), board.chosen().unwrap().1.as_str()), (2, "2"));
        board.show(picture(&["0", "1"]));
        assert_eq!(board.chosen().unwrap().1, "1", "it is gone; the one in its place");
        press(&mut board, &[KeyCode::End]);
        assert_eq!(board.place(), 1);
        press(&mut board, &[KeyCode::Char('g')]);
        assert_eq!(board.place(), 0);
    }

    #[test]
    fn enter_opens_the_chosen_order_and_it_stays_open_until_it_is_closed() {
        let mut board = Board::of(picture(&["1", "2"]), String::new());
        board.show(picture(&["1", "2"]));
        press(&mut board, &[KeyCode::Down, KeyCode::Enter]);
        board.show(picture(&["1"]));
        assert_eq!(board.open().unwrap().1, "2");
        press(&mut board, &[KeyCode::Esc]);
        assert_eq!(board.open(), None);
    }

    #[test]
    fn q_and_control_c_leave() {
        let mut board = Board::new(String::new());
        assert_eq!(press(&mut board, &[KeyCode::Char('c')]), Answer::Stay);
        assert_eq!(board.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Answer::Leave);
        assert_eq!(press(&mut board, &[KeyCode::Char('q')]), Answer::Leave);
    }
}
