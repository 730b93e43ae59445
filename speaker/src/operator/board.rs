//! Health of the operator: whether its loop turns, and whether its webhook is served.

use crate::drive::clock::Stamp;
use crate::replica;
use crate::report::Check;
use crate::report::http;
use crate::webhook::Webhooks;
use anyhow::Result;
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
        vec![
            replica::turns(&self.turned, TURN_MAX_S),
            self.webhooks.check(),
        ]
    }

    fn live(&self) -> Vec<Check> {
        vec![replica::turns(&self.turned, TURN_MAX_S)]
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
