//! One message under one `read`: resolves selectors, walking the body at most once for all of them together.

use std::cell::OnceCell;

use super::frame::Frame;
use super::message::Message;
use super::select::Found;
use crate::saga::definition::{OrderIdFrom, Preset, Read, Saga, Selector};

/// A place found by a pointer.
type Place<'r> = (&'r str, Option<Found<'r>>);

pub(super) struct Reader<'r, 'd> {
    pub(super) message: &'r Message<'d>,
    pub(super) read: &'r Read,
    pub(super) saga: &'r Saga,
    places: OnceCell<Result<Vec<Place<'r>>, String>>,
}

impl<'r, 'd> Reader<'r, 'd> {
    pub(super) fn new(saga: &'r Saga, read: &'r Read, message: &'r Message<'d>) -> Self {
        Self { message, read, saga, places: OnceCell::new() }
    }

    /// What the preset makes of the message.
    ///
    /// # Errors
    /// It is not what the preset says; in words.
    pub(super) fn frame(&self) -> Result<&'r Frame<'d>, &'r str> {
        self.message.frame(self.read.preset).as_ref().map_err(String::as_str)
    }

    /// The first selector that finds something.
    ///
    /// # Errors
    /// None does, and one of them could not look because the message is not what it should be; in words.
    pub(super) fn first(&self, selectors: &'r [Selector]) -> Result<Option<Found<'r>>, String> {
        let mut problem = None;
        for selector in selectors {
            match self.find(selector) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(unreadable) => {
                    problem.get_or_insert(unreadable);
                }
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// The name of the event: by the definition's selectors, else the preset's; of several names of one type, the first that
    /// the saga uses.
    ///
    /// # Errors
    /// As [`first`](Self::first); or what is wrong with the name.
    pub(super) fn event(&self) -> Result<Option<String>, Unnamed> {
        if !self.read.event.is_empty() {
            let found = self.first(&self.read.event).map_err(Unnamed::Unreadable)?;
            return found.map(Found::name).transpose().map_err(Unnamed::Bad);
        }
        let types = &self.frame().map_err(|problem| Unnamed::Unreadable(problem.to_owned()))?.types;
        let used = types.iter().find(|name| self.saga.roles.contains_key(*name)).or(types.first());
        used.map(|name| Found::Text(name).name()).transpose().map_err(Unnamed::Bad)
    }

    /// The value that names the order; a CloudEvent's subject where the definition does not say.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub(super) fn order_id(&self, selectors: &'r [Selector]) -> Result<Option<Found<'r>>, String> {
        if selectors.is_empty() && self.read.preset == Some(Preset::CloudEvents) {
            return self.frame().map_err(str::to_owned)?.find_in_rest("/subject");
        }
        self.first(selectors)
    }

    fn find(&self, selector: &'r Selector) -> Result<Option<Found<'r>>, String> {
        let delivery = self.message.delivery;
        let some_text = |text: &'r str| (!text.is_empty()).then_some(Found::Text(text));
        self.message.readable(selector)?;
        match selector {
            Selector::Pointer(pointer) => self.in_payload(pointer),
            Selector::Envelope(pointer) => self.frame().map_err(str::to_owned)?.find_in_rest(pointer),
            Selector::RoutingKey => Ok(some_text(&delivery.routing_key)),
            Selector::RoutingKeyWord(number) => {
                let word = number.checked_sub(1).and_then(|ix| delivery.routing_key.split('.').nth(ix));
                Ok(word.and_then(some_text))
            }
            Selector::Exchange => Ok(some_text(&delivery.exchange)),
            Selector::Header(name) => Ok(self.header(name)),
            Selector::Property(name) => Ok(delivery.envelope.properties.get(name).and_then(Found::given)),
        }
    }

    /// A header by its name; over HTTP, whatever its case.
    fn header(&self, name: &str) -> Option<Found<'r>> {
        let delivery = self.message.delivery;
        let headers = &delivery.envelope.headers;
        let any_case = || headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = headers.get(name).or_else(|| if delivery.is_http() { any_case() } else { None });
        value.and_then(Found::given)
    }

    fn in_payload(&self, pointer: &str) -> Result<Option<Found<'r>>, String> {
        let places = self.places.get_or_init(|| {
            let pointers = self.pointers();
            let found = self.frame().map_err(str::to_owned)?.find(&pointers)?;
            Ok(pointers.into_iter().zip(found).collect())
        });
        let places = places.as_ref().map_err(Clone::clone)?;
        Ok(places.iter().find(|(of, _)| *of == pointer).and_then(|(_, found)| *found))
    }

    /// Every pointer into the payload that this saga may ask for.
    fn pointers(&self) -> Vec<&'r str> {
        let order_id = match &self.read.order_id {
            OrderIdFrom::Message(selectors) => selectors.as_slice(),
            OrderIdFrom::Arrival => &[],
        };
        let parts = self.saga.steps.iter().flat_map(|step| &step.by);
        let attributes = self.saga.attributes.iter().flat_map(|(_, selectors)| selectors);
        let selectors = self.read.event.iter().chain(order_id).chain(&self.read.id).chain(parts).chain(attributes);
        selectors
            .filter_map(|selector| match selector {
                Selector::Pointer(pointer) => Some(pointer.as_str()),
                Selector::Envelope(_)
                | Selector::RoutingKey
                | Selector::RoutingKeyWord(_)
                | Selector::Exchange
                | Selector::Header(_)
                | Selector::Property(_) => None,
            })
            .collect()
    }
}

/// Why a message has no event name.
pub(super) enum Unnamed {
    Unreadable(String),
    /// What the name is, to be said after "is".
    Bad(&'static str),
}
