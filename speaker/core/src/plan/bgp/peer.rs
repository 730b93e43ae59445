//! What a session with a BGP peer is to be like, as a value for whoever runs it.
//!
//! How it follows from a BGPPeer is [`session`](super::session)'s affair; whether it is up, nobody's here.

use crate::crd::PeerAsn;
use crate::crd::peer::Password;
use crate::foreign::SOMEBODY_ELSES;
use crate::link::LinkName;
use crate::peering::PeerRemote;
use speaker_proto::bgp::{Family, RouterId, Routes};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The name of a BGPPeer, which names it in the one namespace of the configuration. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerName(pub Arc<str>);

impl From<&str> for PeerName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What this node and one peer are to have with each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerPlan {
    /// What the session is to be like. With an obstacle no session is started; one that runs stays as it is, so that an object
    /// that is deleted by mistake costs nothing, unless [`Obstacle::ends_session`].
    pub settings: Result<Arc<PeerSettings>, Obstacle>,
    /// What the peer is to be told, in the families of the settings. Shared by all peers that get the same, and the same value
    /// again as long as nothing changes.
    pub routes: Arc<Routes>,
}

/// What a session is to be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerSettings {
    /// Our AS number as this peer sees it: `localASN`, which stands for ours everywhere (no-prepend, replace-as), else `myASN`.
    pub my_asn: u32,
    /// In which AS the peer must be.
    pub peer_asn: PeerAsn,
    /// Where it is.
    pub remote: PeerRemote,
    /// Its port.
    pub port: u16,
    /// The address to speak from; of the family of the peer's address.
    pub source: Option<IpAddr>,
    /// The device of the VRF in which the session lives; `None`: the main one.
    pub vrf: Option<LinkName>,
    /// The hold time to offer in seconds: 0 (never), or at least 3.
    pub hold_seconds: u16,
    /// Seconds between KEEPALIVEs, unless the peer offers a shorter hold time: 0 exactly if the hold time is.
    pub keepalive_seconds: u16,
    /// Seconds between attempts to connect, at least 1; `None`: whatever back-off the session has.
    pub connect_seconds: Option<u16>,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Where the TCP-MD5 password is; `None`: without.
    pub password: Option<PasswordFrom>,
    /// How BFD watches the peer; `None`: it does not.
    pub bfd: Option<BfdSettings>,
    /// Whether graceful restart is offered (RFC 4724).
    pub graceful_restart: bool,
    /// Whether the peer may be more than one hop away.
    pub multi_hop: bool,
    /// Families to offer, never none.
    pub families: BTreeSet<Family>,
    /// Whether packets with a TTL below 255 are ignored (RFC 5082): annotation `heliograph.io/gtsm`.
    pub requires_ttl_255: bool,
    /// How often more our AS number stands in paths to another AS while this node is drained: annotation `heliograph.io/drain-prepend`.
    pub drain_prepends: u8,
    /// Whether to dial although another speaker owns the peer: annotation `heliograph.io/own-bgp`.
    pub dials_anyway: bool,
}

impl PeerSettings {
    /// What an operator should know of it though nothing is wrong, each in a sentence.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.bfd.is_some_and(|bfd| bfd.wants_echo) {
            notes.push("echoMode has no effect: BFD runs without echo packets".to_owned());
        }
        if self.graceful_restart && self.bfd.is_none() && self.hold_seconds > HOLD_SECONDS_BEARABLE
        {
            notes.push(format!(
                "graceful restart without BFD: a node that dies gets its packets for {} s more, the hold time",
                self.hold_seconds
            ));
        }
        notes
    }
}

/// Where a password is. Its text is never shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordFrom {
    /// In the BGPPeer itself.
    Peer(Password),
    /// Under `password` in this Secret of type `kubernetes.io/basic-auth`. Secrets are no part of the world: whoever runs the
    /// session reads it, and waits while it is not there.
    Secret {
        /// Its namespace; that of the BGPPeer if the reference names none.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How BFD watches a peer (RFC 5880), with FRR's values where the profile has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BfdSettings {
    /// Milliseconds between packets that we can take, 10 to 60000.
    pub receive_ms: u16,
    /// Milliseconds between packets that we send, 10 to 60000.
    pub transmit_ms: u16,
    /// Packets missed until the session is down, 2 to 255.
    pub multiplier: u8,
    /// Whether we wait for the other side to begin.
    pub is_passive: bool,
    /// Whether the profile asks for echo packets, which are not sent: the session runs asynchronously.
    pub wants_echo: bool,
    /// The least TTL of packets of a multi-hop session, 1 to 254.
    pub minimum_ttl: u8,
}

/// Why no session can be started with what the configuration says now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Obstacle {
    /// There is no such BFDProfile, or not yet.
    NoBfdProfile(String),
    /// It has a password and names a Secret, and they may differ.
    TwoPasswords,
    /// The router id is no IPv4 address, or 0.0.0.0.
    RouterId(IpAddr),
    /// The address to speak from is of another family than the peer's.
    SourceFamily(IpAddr),
    /// Another BGPPeer, first by name, is for the same peer, so that the peer would refuse one of two sessions.
    SameAs(PeerName),
    /// `METALLB_BGP_TYPE` says that another speaker has the sessions, and the BGPPeer does not say that there is to be one of ours all the same.
    ForeignSpeaker,
    /// This FRRConfiguration of somebody else has the peer, and the BGPPeer does not say that there is to be a session of ours all the same.
    ForeignConfiguration(String),
}

impl Obstacle {
    /// The field that it is about.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoBfdProfile(_) => "spec.bfdProfile",
            Self::TwoPasswords => "spec.passwordSecret",
            Self::RouterId(_) => "spec.routerID",
            Self::SourceFamily(_) => "spec.sourceAddress",
            Self::SameAs(_) => "spec.peerAddress",
            Self::ForeignSpeaker | Self::ForeignConfiguration(_) => "metadata.annotations",
        }
    }

    /// Whether a session that runs must end for it: another speaker has the peer.
    pub const fn ends_session(&self) -> bool {
        match self {
            Self::ForeignSpeaker | Self::ForeignConfiguration(_) => true,
            Self::NoBfdProfile(_)
            | Self::TwoPasswords
            | Self::RouterId(_)
            | Self::SourceFamily(_)
            | Self::SameAs(_) => false,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBfdProfile(name) => write!(f, "there is no BFDProfile {name} yet"),
            Self::TwoPasswords => f.write_str("cannot stand beside password"),
            Self::RouterId(ip) => write!(f, "{ip} is no BGP identifier, which is an IPv4 address"),
            Self::SourceFamily(ip) => {
                write!(f, "{ip} is not of the family of the peer's address")
            }
            Self::SameAs(other) => {
                write!(f, "BGPPeer {other} is for the same peer on this node")
            }
            Self::ForeignSpeaker => write!(
                f,
                "{SOMEBODY_ELSES} (METALLB_BGP_TYPE is frr-k8s-external), and there is no heliograph.io/own-bgp: \"true\""
            ),
            Self::ForeignConfiguration(name) => write!(
                f,
                "FRRConfiguration {name} has it, so that {SOMEBODY_ELSES}, and there is no heliograph.io/own-bgp: \"true\""
            ),
        }
    }
}

/// Packets into a dead node for longer than this are worth a word: a BFDProfile costs less.
const HOLD_SECONDS_BEARABLE: u16 = 30;
