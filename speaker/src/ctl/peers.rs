//! What is said of BGP peers.

use serde::Serialize;
use std::collections::BTreeMap;

/// One BGP peer of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BgpPeerSight {
    /// The name of its BGPPeer.
    pub(crate) name: String,
    /// Its address and port, or its link.
    pub(crate) remote: String,
    /// The VRF; empty: the main one.
    pub(crate) vrf: String,
    /// The AS number that it sees of us.
    pub(crate) my_asn: u32,
    /// Its AS number: as it said, or as it is configured.
    pub(crate) peer_asn: String,
    /// Our BGP identifier.
    pub(crate) router_id: String,
    /// The state of RFC 4271; `None`: there is no session.
    pub(crate) state: Option<&'static str>,
    /// Milliseconds in that state.
    pub(crate) for_ms: u64,
    /// What an operator who paused it has the peer told.
    pub(crate) paused: Option<String>,
    /// Why the session is not up.
    pub(crate) because: Option<String>,
    /// How often that came in a row.
    pub(crate) times: u64,
    /// Milliseconds until it dials again.
    pub(crate) retry_ms: Option<u64>,
    /// What of the configuration cannot be put in force.
    pub(crate) obstacle: Option<String>,
    /// What an operator should know of it though nothing is wrong.
    pub(crate) notes: Vec<String>,
    /// What two OPENs led to, while the session is up.
    pub(crate) negotiated: Option<NegotiatedSight>,
    /// The bytes of the password.
    pub(crate) password_bytes: Option<usize>,
    /// Prefixes told and standing, by family.
    pub(crate) told: BTreeMap<&'static str, u32>,
    /// Prefixes to be told.
    pub(crate) wanted: usize,
    /// It was told everything.
    pub(crate) is_in_sync: bool,
    /// Families in which nothing can be told for want of a next hop.
    pub(crate) without_next_hop: Vec<&'static str>,
    /// Prefixes that it announced and did not withdraw. None is used.
    pub(crate) received: u64,
    /// Messages sent and received.
    pub(crate) messages: [u64; 2],
    /// How often the session came up, and went down.
    pub(crate) ups_downs: [u64; 2],
    /// The last NOTIFICATION to it, in words.
    pub(crate) last_sent: Option<Said>,
    /// The last NOTIFICATION from it, in words.
    pub(crate) last_received: Option<Said>,
    /// The last error in an UPDATE that the session survived, and how many there were.
    pub(crate) forgiven: Option<(&'static str, u64)>,
}

/// What two OPENs led to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct NegotiatedSight {
    /// The peer's BGP identifier.
    pub(crate) peer_router_id: String,
    /// Families.
    pub(crate) families: Vec<&'static str>,
    /// Seconds; 0: none.
    pub(crate) hold_s: u64,
    /// Seconds between KEEPALIVEs; 0: none.
    pub(crate) keepalive_s: u64,
    /// The peer keeps routes over a restart.
    pub(crate) has_graceful_restart: bool,
    /// IPv4 routes go with IPv6 next hops.
    pub(crate) has_v4_over_v6_next_hop: bool,
}

/// A message and when it was said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Said {
    /// In words.
    pub(crate) words: String,
    /// Milliseconds ago.
    pub(crate) ms_ago: u64,
}

/// BFD as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BfdSight {
    /// Every session that is wanted and has room.
    pub(crate) sessions: Vec<BfdSessionSight>,
    /// Packets that were not taken, by cause; causes that never came are left out.
    pub(crate) discarded: BTreeMap<&'static str, u64>,
    /// Sessions that are wanted beyond the bound.
    pub(crate) refused: usize,
    /// How often the thread was held up itself.
    pub(crate) late_turns: u64,
}

/// One BFD session.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BfdSessionSight {
    /// The BGPPeers that it watches.
    pub(crate) peers: Vec<String>,
    /// The other side's address.
    pub(crate) address: String,
    /// Ours; empty: whichever leads there.
    pub(crate) local: String,
    /// The link; empty: whichever leads there.
    pub(crate) link: String,
    /// Its VRF; empty: the main one.
    pub(crate) vrf: String,
    /// Over several hops (RFC 5883).
    pub(crate) is_multihop: bool,
    /// The state of RFC 5880.
    pub(crate) state: String,
    /// Milliseconds in that state.
    pub(crate) for_ms: u64,
    /// Why it is not up.
    pub(crate) because: Option<String>,
    /// Milliseconds between our packets as both sides have agreed; `None`: there are none.
    pub(crate) interval_ms: Option<u64>,
    /// How long the other side may be silent, as both sides have agreed, in milliseconds.
    pub(crate) detection_ms: u64,
    /// What is asked for here.
    pub(crate) ours: BfdSideSight,
    /// What the other side said last; `None`: it was not heard.
    pub(crate) theirs: Option<BfdSideSight>,
    /// Packets sent and received.
    pub(crate) packets: [u64; 2],
    /// Packets that the network stack did not take.
    pub(crate) unsent: u64,
    /// How often it came up, and went down.
    pub(crate) ups_downs: [u64; 2],
    /// Detection times that were given again because this side was held up.
    pub(crate) late: u64,
}

/// What one side of a BFD session says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BfdSideSight {
    /// Its number for the session.
    pub(crate) discriminator: u32,
    /// Its state.
    pub(crate) state: String,
    /// Milliseconds between packets that it wants to send.
    pub(crate) transmit_ms: u64,
    /// Milliseconds between packets that it can take.
    pub(crate) receive_ms: u64,
    /// How many of its packets in a row may be lost.
    pub(crate) multiplier: u8,
}

/// BGP as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BgpSight {
    /// The peers.
    pub(crate) peers: Vec<BgpPeerSight>,
    /// Segments of this node that were dropped for their TCP-MD5 signature, by what was wrong; of all connections.
    pub(crate) md5_drops: BTreeMap<&'static str, u64>,
}
