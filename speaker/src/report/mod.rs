//! What an operator sees: log, metrics, health.
//!
//! [`log`] is the one subscriber of the process; [`Figures`] and [`Facts`] are plain values that whoever runs the speaker
//! fills in, and [`http`] serves them as metrics and health, [`secure`] metrics to whom the API server lets read them. In a cluster an
//! operator also looks at objects:
//! [`events`] writes events about them, [`config_state`] what is wrong with the configuration, both no longer than [`leave`] lets
//! them. Knows nothing of where a figure comes from.

pub(crate) mod config_state;
pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod leave;
pub(crate) mod log;
mod metrics;
pub(crate) mod own_pod;
mod process;
pub(crate) mod retry;
pub(crate) mod secure;

pub(crate) use figures::{
    ApiFigures, BfdFigures, BgpFigures, Figures, MemberFigures, PoolFigures, VipFigures,
};
pub(crate) use health::{Check, Facts};
pub(crate) use metrics::{ControllerFigures, WebhookFigures};
