//! One session with one peer: the finite state machine of RFC 4271 §8 with its timers, as a [`crate::Machine`].
//!
//! The driver owns sockets: it dials when told, hands in the bytes it read, writes the bytes it is given and says how far it came.
//! The machine knows no socket, no BFD packet, no service; routes come as a whole table ([`crate::bgp::Routes`]) and are compared with
//! what the peer was told (`rib`). Two connections may exist at once, one dialled and one accepted, until the collision rule of
//! RFC 4271 §6.8 leaves one.
//!
//! What it costs: the bytes of unfinished messages of each connection, [`IN_FLIGHT_MAX`] bytes that the socket has not taken, and
//! shared tables.

mod cause;
mod collide;
mod connection;
mod dial;
mod established;
mod machine;
mod open;
mod receive;
mod settings;
mod status;
mod stop;
mod timers;

#[cfg(test)]
mod tests;

pub use cause::{Cause, Words};
pub use machine::Session;
pub use settings::{CONNECT_RETRY, Graceful, PeerAsn, Settings};
pub use status::{Counters, Messages, Negotiated, State, Status};

use crate::bgp::Routes;
use crate::{Span, Time};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Bytes that may be given to the driver and not yet to the socket; beyond it routes wait in the table, where they cost nothing. 16 full
/// messages keep any socket busy between two turns of a driver.
pub const IN_FLIGHT_MAX: usize = 16 * 4096;
/// After [`Output::Close`] the driver may take so long to write what it was given before; then it closes in any case.
pub const CLOSE_FLUSH: Span = Span::s(1);
/// A drain announces its routes with GRACEFUL_SHUTDOWN for so long, so that routers find better ones (RFC 8326 §4.1).
pub const DRAIN_ANNOUNCE: Span = Span::s(5);
/// Then it has withdrawn them for so long before the session ends, so that no router forwards by an old table.
pub const DRAIN_WITHDRAW: Span = Span::s(2);

/// Which of the two connections that a peer may have with us.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// We dialled.
    Dialled,
    /// The peer dialled, and the driver accepted.
    Accepted,
}

/// What routes of each family name as next hop: the local addresses of the session, and of its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NextHops {
    /// For IPv4 routes, unless they go with an IPv6 next hop (RFC 8950).
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 routes, and for IPv4 routes by RFC 8950: a global address, or the link-local one where there is no other.
    pub v6: Option<Ipv6Addr>,
    /// The link-local address of the session's interface, sent beside the global one to a peer on the same subnet (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// Where a session begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// How the peer is configured.
    pub settings: Settings,
    /// This process follows another one that announced the same: R in the first session (RFC 4724 §4.1).
    pub is_restarting: bool,
    /// The data plane of the process before was adopted: F in the first session (RFC 4724 §4.1).
    pub kept_forwarding: bool,
    /// For jitter; any number.
    pub seed: u64,
    /// When.
    pub now: Time,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin to dial, and to take what is accepted (ManualStart). Harmless when begun.
    Start,
    /// End the session for good; [`Output::Stopped`] says when that is done. A second stop replaces the first.
    Stop(Stop),
    /// The operator wants no session: CEASE 6/2 with this text, and none until [`Input::Resume`].
    Pause(String),
    /// The operator wants the session again.
    Resume,
    /// End the session and begin anew at once.
    Reset(Reset),
    /// The dialled connection stands, or one was accepted. While an accepted one is there already, a further one is answered by
    /// [`Output::Refuse`], which means the new one, or [`Output::Close`], which means the old one.
    Connected {
        /// Which.
        side: Side,
        /// What routes are to name on it.
        next_hops: NextHops,
    },
    /// Dialling failed, in words.
    ConnectFailed(String),
    /// Bytes came, in order. What has come is handed in before time is let pass, else a peer may be taken for dead that spoke.
    Received(Side, Vec<u8>),
    /// The socket took so many of the bytes that were given.
    Written(Side, usize),
    /// The connection broke or the peer closed it, in words.
    Closed(Side, String),
    /// BFD lost the peer (RFC 5882 §4.3). The loss ends the session, but for one that the peer caused by making its own BFD session anew
    /// just after this session came up.
    BfdDown {
        /// The peer's discriminator is not the one of before.
        is_peer_anew: bool,
        /// The detection time of the BFD session.
        detection: Span,
    },
    /// BFD has the peer up (RFC 5882 §4.3): where the next dial is waited for, or one is under way, it is dialled at once.
    BfdUp,
    /// What the peer is to be told.
    Routes {
        /// All of it.
        routes: Arc<Routes>,
        /// Everything that is to be announced is known: End-of-RIB may follow. Stays true once it was.
        is_complete: bool,
    },
    /// How the peer is configured now. What the session cannot take live ends it with CEASE 6/6 and begins it anew.
    Settings(Box<Settings>),
}

/// How to end a session for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Another process is about to follow on this node. A peer that keeps routes (RFC 4724) sees its connection close without a word,
    /// any other is drained and told CEASE 6/4.
    Restart,
    /// This node is to lose its traffic first: GRACEFUL_SHUTDOWN (RFC 8326), withdrawal, CEASE 6/2 with this text of at most 128
    /// bytes (RFC 9003).
    Drain(String),
    /// The peer is no longer configured: CEASE 6/3 at once.
    Deconfigured,
}

/// Why to begin anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// Something that the driver knows of changed, such as an address, a port, or whether there is a password: CEASE 6/6.
    Transport,
    /// The operator wants it: CEASE 6/4.
    Operator,
}

/// What a session wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Dial; answer with [`Input::Connected`] or [`Input::ConnectFailed`]. A dial that is under way is given up by [`Output::Close`].
    Connect,
    /// Write these bytes, at most 4,096, after all that were given before; say so with [`Input::Written`].
    Send(Side, Vec<u8>),
    /// Write what was given, for at most [`CLOSE_FLUSH`], and close, or give up dialling. Nothing of this connection is fed any more.
    Close(Side),
    /// Write these bytes to the connection that was accepted last, and close it as by [`Output::Close`]. Nothing of it is fed.
    Refuse(Vec<u8>),
    /// The state, the reason why the session is not up, or what was negotiated changed.
    Changed(Box<Status>),
    /// The stop is done, all is closed, nothing more comes.
    Stopped,
}
