//! What an operator sees: log, metrics, health.
//!
//! [`log`] is the one subscriber of the process.

pub(crate) mod log;
