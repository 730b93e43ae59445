//! Health of the operator: whether its loop turns, and whether its webhook is served.

use crate::drive::clock::{Stamp, now};
use crate::report::Check;
use crate::report::http;
use crate::webhook::Webhooks;
use anyhow::Result;
use speaker_proto::Time;
use std::net::SocketAddr;
use std::sync::Arc;

/// What health is made from.
#[derive(Clone)]
pub(super) struct Board {
    /// When the leader's loop turned last; it begins once this process leads.
    pub(super) turned: Stamp,
    webhooks: Webhooks,
}

impl Board {
    pub(super) fn new(webhooks: Webhooks) -> Self {
        Self {
            turned: Stamp::default(),
            webhooks,
        }
    }

    /// A replica that does not lead serves the webhook as well.
    fn ready(&self) -> Vec<Check> {
        let ok = *self.webhooks.ready.borrow();
        let why = match ok {
            true => "served and trusted, or not wanted",
            false => "no certificate that the API server trusts is served yet",
        };
        let mut checks = self.live();
        checks.push(Check {
            name: "webhooks",
            ok,
            why: why.to_owned(),
        });
        checks
    }

    /// Living is what a restart could mend; the API server does not come into it.
    fn live(&self) -> Vec<Check> {
        let last = self.turned.last();
        let age_s = now().since(last).ns() / 1_000_000_000;
        let (ok, why) = match last > Time::default() {
            true => (age_s < TURN_MAX_S, format!("it turned {age_s} s ago")),
            false => (true, "it begins when this operator leads".to_owned()),
        };
        vec![Check {
            name: "turns",
            ok,
            why,
        }]
    }
}

/// Serves health where it is wanted, until it fails.
///
/// # Errors
/// When the port cannot be had, or serving fails.
pub(super) async fn serve(address: Option<SocketAddr>, board: Board) -> Result<()> {
    let Some(address) = address else {
        return std::future::pending().await;
    };
    let (live, ready) = (board.clone(), board);
    let live = Arc::new(move || live.live());
    let ready = Arc::new(move || ready.ready());
    http::checks(address, live, ready).await?.await
}

/// Each request of a turn takes 10 s at most, and an object three of them.
const TURN_MAX_S: u64 = 60;
