//! Deciding a batch: which order each input finds, and that one input's trouble stays its own. Pure, over a store that is a
//! few maps; the messages are read as the running program reads them.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test there")]

mod arrival;
mod coverage;
mod identity;
mod lanes;
mod migrating;
mod placing;
mod splitting;
mod stage;
mod trouble;
