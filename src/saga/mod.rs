//! The pure core: what a saga is, where one order stands, and what follows from an input.
pub mod batch;
pub mod brake;
pub mod catalog;
pub mod cloudevent;
pub mod decide;
pub mod definition;
pub mod expression;
pub mod input;
pub mod journal;
pub mod machine;
pub mod migration;
pub mod order;
pub mod outgoing;
pub mod parse;
pub mod schema;
pub mod status;
pub mod time;
