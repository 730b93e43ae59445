//! What an operator sees: log, metrics, health.
//!
//! [`log`] is the one subscriber of the process; [`Figures`] and [`Facts`] are plain values that whoever runs the speaker
//! fills in, and [`http`] serves them on loopback as metrics and health; [`events`] writes events about objects to an API server. Knows nothing of where a figure comes from.

pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod log;
mod metrics;
mod process;

pub(crate) use figures::{Figures, PoolFigures, VipFigures};
pub(crate) use health::Facts;
