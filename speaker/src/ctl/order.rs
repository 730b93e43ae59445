//! What an operator can want of the session with one BGP peer.

use clap::Subcommand;
use std::pin::Pin;
use std::sync::Arc;

/// What is to become of the session with a peer.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub(crate) enum PeerOrder {
    /// End the session with a peer, and have none until `resume`
    ///
    /// The peer is told so at once (CEASE 6/2, Administrative Shutdown, as a hard reset where it would keep the routes else) and drops the routes of this node;
    /// it is not warned of that before, as it is by `speaker ctl drain`. Other peers notice nothing, and BFD goes on. The session
    /// stays paused, through changes of its configuration and through drains, until `speaker ctl bgp resume PEER`, until this speaker starts anew, or until the
    /// BGPPeer is deleted or does not select this node any more.
    Pause {
        /// The name of its BGPPeer
        #[arg(value_name = "PEER")]
        peer: String,
        /// What the peer is told, 1 to 128 bytes (RFC 9003)
        #[arg(long, value_name = "TEXT", default_value = "paused by the operator", value_parser = text)]
        say: String,
    },
    /// Have a session with a paused peer again, at once
    Resume {
        /// The name of its BGPPeer
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

impl PeerOrder {
    /// The BGPPeer that it is about.
    pub(crate) fn peer(&self) -> &str {
        match self {
            Self::Pause { peer, .. } | Self::Resume { peer } => peer,
        }
    }
}

/// Ends when an order is obeyed, or with why it is not.
pub(crate) type Obeyed = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Has orders obeyed.
pub(crate) type PeerOrders = Arc<dyn Fn(PeerOrder) -> Obeyed + Send + Sync>;

/// Words that fit into a shutdown communication.
///
/// # Errors
/// When there are none, or too many.
pub(super) fn text(said: &str) -> Result<String, String> {
    match said.len() {
        1..=TEXT_BYTES_MAX => Ok(said.to_owned()),
        length => Err(format!("{length} bytes, not 1 to {TEXT_BYTES_MAX}")),
    }
}

/// RFC 9003 allows 255, but peers that know only its predecessor take no more.
const TEXT_BYTES_MAX: usize = 128;
