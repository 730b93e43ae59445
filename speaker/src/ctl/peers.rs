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
    /// Why the session is not up.
    pub(crate) because: Option<String>,
    /// How often that came in a row.
    pub(crate) times: u64,
    /// Milliseconds until it dials again.
    pub(crate) retry_ms: Option<u64>,
    /// What of the configuration cannot be put in force.
    pub(crate) obstacle: Option<String>,
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

/// One BFD session.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BfdSight {
    /// The peer's address.
    pub(crate) peer: String,
    /// Ours; empty: whichever leads there.
    pub(crate) local: String,
    /// The link; empty: whichever leads there.
    pub(crate) link: String,
    /// Over several hops (RFC 5883).
    pub(crate) is_multihop: bool,
    /// The state of RFC 5880.
    pub(crate) state: String,
    /// Milliseconds in that state.
    pub(crate) for_ms: u64,
    /// Why it is not up.
    pub(crate) because: Option<String>,
    /// Milliseconds between our packets; `None`: there are none.
    pub(crate) interval_ms: Option<u64>,
    /// How long the peer may be silent.
    pub(crate) detection_ms: u64,
    /// Packets sent and received.
    pub(crate) packets: [u64; 2],
    /// How often it came up, and went down.
    pub(crate) ups_downs: [u64; 2],
    /// Why it has no socket.
    pub(crate) trouble: Option<String>,
}

/// BGP as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct BgpSight {
    /// The peers.
    pub(crate) peers: Vec<BgpPeerSight>,
    /// Segments of this node that were dropped for their TCP-MD5 signature, by what was wrong; of all connections.
    pub(crate) md5_drops: BTreeMap<&'static str, u64>,
}
