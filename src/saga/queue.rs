//! What a passive look at a service's queue found, and how that is said.
//!
//! A queue does not tell why an answer has not come, but it narrows it down: nobody is there to read, readers are behind, or
//! what came was taken. Facts as the broker counts them; a look consumes, declares and changes nothing.
//!
//! ```text
//!   no such queue           ▶ missing         somebody reads, messages ready   ▶ backlog
//!   cannot be seen          ▶ forbidden       somebody reads, nothing ready    ▶ consumed (and no answer seen)
//!   nobody reads            ▶ no_consumer
//! ```

use super::time::{Moment, Span};

/// A look is repeated every few seconds while anybody waits; what is older than this may long be otherwise.
const GOOD_FOR: Span = Span::from_secs(30);

/// Longest piece of the broker's own text that is repeated.
const BROKER_CHARS_MAX: usize = 120;

/// What one queue was like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFinding {
    pub queue: String,
    /// By the database's clock, just before the look.
    pub at: Moment,
    pub what: Found,
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no such queue.
    Missing,
    /// The broker does not show it: this user has no right to it, it is exclusive to another connection, or its node is down.
    Forbidden {
        /// In the broker's words.
        why: String,
    },
    /// Nobody reads it.
    NoConsumer {
        /// Ready to be delivered.
        messages: u64,
    },
    /// It is read, and messages wait in it.
    Backlog { messages: u64, consumers: u64 },
    /// It is read, and nothing is ready: what came was taken.
    Consumed { consumers: u64 },
}

impl Found {
    /// What the broker's two counts mean. Messages in a consumer's hands are not among those ready.
    pub fn counted(messages: u64, consumers: u64) -> Self {
        match (messages, consumers) {
            (messages, 0) => Self::NoConsumer { messages },
            (0, consumers) => Self::Consumed { consumers },
            (messages, consumers) => Self::Backlog { messages, consumers },
        }
    }

    /// The word the API uses.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Forbidden { .. } => "forbidden",
            Self::NoConsumer { .. } => "no_consumer",
            Self::Backlog { .. } => "backlog",
            Self::Consumed { .. } => "consumed",
        }
    }

    /// Messages ready to be delivered, where the queue could be seen.
    pub fn messages(&self) -> Option<u64> {
        match self {
            Self::Missing | Self::Forbidden { .. } => None,
            Self::NoConsumer { messages } | Self::Backlog { messages, .. } => Some(*messages),
            Self::Consumed { .. } => Some(0),
        }
    }

    /// Who reads it, where it could be seen.
    pub fn consumers(&self) -> Option<u64> {
        match self {
            Self::Missing | Self::Forbidden { .. } => None,
            Self::NoConsumer { .. } => Some(0),
            Self::Backlog { consumers, .. } | Self::Consumed { consumers } => Some(*consumers),
        }
    }

    /// Whether the broker refused the look, which costs it a channel each time.
    pub fn is_refusal(&self) -> bool {
        self.messages().is_none()
    }

    /// Whether a message may be sent again to this queue: its readers are there and have nothing else to do. Any other would only
    /// get a copy of what it still holds.
    pub fn can_take(&self) -> bool {
        match self {
            Self::Consumed { .. } => true,
            Self::Missing | Self::Forbidden { .. } | Self::NoConsumer { .. } | Self::Backlog { .. } => false,
        }
    }

    /// "queue inventory has no consumer and 312 messages"
    pub fn words(&self, queue: &str) -> String {
        match self {
            Self::Missing => format!("queue {queue} does not exist"),
            Self::Forbidden { why } => format!("queue {queue} cannot be seen ({})", short(why)),
            Self::NoConsumer { messages } => {
                format!("queue {queue} has no consumer and {}", count(*messages, "message"))
            }
            Self::Backlog { messages, consumers } => {
                let (messages, consumers) = (count(*messages, "message"), count(*consumers, "consumer"));
                format!("queue {queue} has a backlog of {messages} for {consumers}")
            }
            Self::Consumed { consumers } => {
                let consumers = count(*consumers, "consumer");
                format!("queue {queue} is consumed without an answer ({consumers}, no messages ready)")
            }
        }
    }
}

impl QueueFinding {
    /// Half a sentence about it.
    pub fn words(&self) -> String {
        self.what.words(&self.queue)
    }

    /// Whether it is young enough to be told.
    pub fn is_fresh(&self, now: Moment) -> bool {
        now.since(self.at) <= GOOD_FOR
    }
}

fn count(number: u64, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// The first sentence of the broker's text, on one line and not too long.
fn short(text: &str) -> String {
    let text = text.split(". ").next().unwrap_or(text);
    let mut clean: String =
        text.chars().take(BROKER_CHARS_MAX).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if text.chars().count() > BROKER_CHARS_MAX {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_its_word_its_counts_and_its_words() {
        let forbidden = Found::Forbidden { why: "ACCESS_REFUSED\nfor user 'escrow'".to_owned() };
        for (found, word, messages, consumers, words) in [
            (Found::Missing, "missing", None, None, "queue inventory does not exist"),
            (forbidden, "forbidden", None, None, "queue inventory cannot be seen (ACCESS_REFUSED for user 'escrow')"),
            (
                Found::counted(312, 0),
                "no_consumer",
                Some(312),
                Some(0),
                "queue inventory has no consumer and 312 messages",
            ),
            (Found::counted(0, 0), "no_consumer", Some(0), Some(0), "queue inventory has no consumer and no messages"),
            (
                Found::counted(1, 2),
                "backlog",
                Some(1),
                Some(2),
                "queue inventory has a backlog of 1 message for 2 consumers",
            ),
            (
                Found::counted(0, 1),
                "consumed",
                Some(0),
                Some(1),
                "queue inventory is consumed without an answer (1 consumer, no messages ready)",
            ),
        ] {
            assert_eq!((found.word(), found.messages(), found.consumers()), (word, messages, consumers));
            assert_eq!(found.words("inventory"), words);
            assert_eq!(found.can_take(), word == "consumed", "{words}");
        }
    }

    #[test]
    fn what_a_broker_says_is_cut_and_an_old_finding_is_not_told() {
        let long = Found::Forbidden { why: "x".repeat(10_000) };
        assert!(long.words("q").chars().count() < 200);
        let talkative =
            Found::Forbidden { why: "RESOURCE_LOCKED - locked queue 'q' in vhost '/'. It could be that".to_owned() };
        assert_eq!(talkative.words("q"), "queue q cannot be seen (RESOURCE_LOCKED - locked queue 'q' in vhost '/')");
        let finding = QueueFinding { queue: "q".to_owned(), at: Moment(0), what: Found::Missing };
        assert!(finding.is_fresh(Moment(0) + GOOD_FOR) && !finding.is_fresh(Moment(0) + Span::from_secs(31)));
    }

    #[test]
    fn what_the_broker_refuses_to_show_is_a_refusal_and_what_it_counts_is_none() {
        let forbidden = Found::Forbidden { why: String::new() };
        let all = [Found::Missing, forbidden, Found::counted(0, 0), Found::counted(1, 1), Found::counted(0, 1)];
        assert_eq!(all.map(|found| found.is_refusal()), [true, true, false, false, false]);
        let finding = QueueFinding { queue: "stock".to_owned(), at: Moment(0), what: Found::Missing };
        assert_eq!(finding.words(), "queue stock does not exist");
    }

    #[test]
    fn only_what_was_cut_ends_in_dots() {
        let words = |chars: usize| short(&"x".repeat(chars));
        assert_eq!(words(BROKER_CHARS_MAX), "x".repeat(BROKER_CHARS_MAX));
        assert_eq!(words(BROKER_CHARS_MAX + 1), "x".repeat(BROKER_CHARS_MAX) + "…");
        assert_eq!(words(BROKER_CHARS_MAX - 1), "x".repeat(BROKER_CHARS_MAX - 1));
    }
}
