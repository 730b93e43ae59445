//! `speaker controller`: gives the load balancers of a cluster their addresses, and writes them into their statuses.
//!
//! One process leads, by Lease ([`crate::leader`]). It alone follows objects, from fresh lists on; the pure allocator decides
//! ([`desk`], [`pools`]), and [`clerk`] carries requests out while the Lease lets it and nobody else allocates
//! ([`takeover`]). Every process answers the API server's questions about resources ([`crate::webhook`]). What it writes, when, and
//! what keeps two writers apart is in `docs/controller.md`; the rules are MetalLB's (`docs/metallb.md`, "Allocation"). Nothing here knows of nodes or of how an address is announced.

mod board;
mod brief;
mod clerk;
mod desk;
mod gossip;
mod outbox;
mod pools;
mod run;
mod settings;
mod stock;
mod takeover;
mod tell;

pub(crate) use run::run;
pub(crate) use settings::{ControllerArgs, Settings};
