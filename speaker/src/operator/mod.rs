//! `speaker operator`: brings about the installation that a MetalLB resource asks for, and keeps it.
//!
//! One process leads, by Lease ([`crate::leader`]). What objects there should be is [`speaker_core::deploy`]'s; [`desk`] compares that with what
//! is there and says what to do next, and [`hands`] does it. What it writes, when, and how it takes over and goes is in
//! `docs/operator.md`; the resource and its conditions are MetalLB's (`docs/metallb.md`). Grants no rights to anybody, and knows nothing of pools,
//! services or nodes.

mod board;
mod desk;
mod follow;
mod hands;
mod run;
mod settings;

pub(crate) use run::run;
pub(crate) use settings::{OperatorArgs, Settings};
