//! The API, called as a client calls it, over a store and a desk that are plain values.

mod access;
mod actions;
mod desk;
mod fixtures;
mod incidents;
mod limits;
mod openapi;
mod orders;
mod others;
mod page;
mod reading;
mod stream;
pub(crate) mod support;
mod why;
