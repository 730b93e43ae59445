//! The sessions of this node: every BGPPeer that selects it, with all that is absent filled in.
//!
//! What cannot be filled in is an [`Obstacle`], never a guess: a password or profile that comes later lets the session start then.

use crate::crd::peer::Password;
use crate::crd::{BfdProfile, BgpPeer, PeerAsn, Remote};
use crate::local::{LinkName, Local};
use crate::node::Node;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problem;
use crate::selector::any_matches;
use crate::world::World;
use speaker_proto::NodeName;
use speaker_proto::bgp::{Family, RouterId, Routes};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

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
    /// that is deleted by mistake costs nothing.
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
    /// Whether to dial although another speaker owns the peer: annotation `heliograph.io/own-bgp`.
    pub dials_anyway: bool,
}

/// Where a peer is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerRemote {
    /// At this address.
    Address(IpAddr),
    /// On this link, at the link-local address that its router advertisements tell.
    Link(LinkName),
}

impl fmt::Display for PeerRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Link(link) => link.fmt(f),
        }
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

/// Which speaker of MetalLB's the values that a BGPPeer or BGPAdvertisement leaves out come from: `METALLB_BGP_TYPE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum BgpType {
    /// `native`, or nothing: 90 s of hold time, LOCAL_PREF 0.
    #[default]
    Native,
    /// `frr`: FRR's own, 180 s and 100.
    Frr,
    /// `frr-k8s`: as `frr`.
    FrrK8s,
}

impl BgpType {
    const fn hold_seconds(self) -> u16 {
        match self {
            Self::Native => 90,
            Self::Frr | Self::FrrK8s => 180,
        }
    }

    /// The LOCAL_PREF of an advertisement that gives none, or 0.
    pub(super) const fn local_pref(self) -> u32 {
        match self {
            Self::Native => 0,
            Self::Frr | Self::FrrK8s => 100,
        }
    }
}

impl std::str::FromStr for BgpType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "native" => Ok(Self::Native),
            "frr" => Ok(Self::Frr),
            "frr-k8s" => Ok(Self::FrrK8s),
            other => Err(format!("{other:?} is none of native, frr, frr-k8s")),
        }
    }
}

impl fmt::Display for BgpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Frr => "frr",
            Self::FrrK8s => "frr-k8s",
        })
    }
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
        }
    }
}

/// The sessions of this node, by the names of their BGPPeers.
pub(super) fn sessions(
    world: &World,
    local: &Local,
) -> BTreeMap<PeerName, Result<Arc<PeerSettings>, Obstacle>> {
    let Some(me) = world.nodes.get(&local.node) else {
        return BTreeMap::new();
    };
    let selects = |peer: &&Arc<BgpPeer>| any_matches(&peer.node_selectors, &me.labels);
    let mut places = BTreeMap::new();
    let mut sessions = BTreeMap::new();
    for peer in world.bgp_peers.values().filter(selects) {
        let name = PeerName::from(peer.name.as_str());
        let first = places
            .entry((&peer.vrf, remote(&peer.remote), peer.port, peer.source))
            .or_insert_with(|| name.clone());
        let settings = if *first == name {
            settings(world, local, me, peer).map(Arc::new)
        } else {
            Err(Obstacle::SameAs(first.clone()))
        };
        sessions.insert(name, settings);
    }
    sessions
}

/// What the operator should know of a peer whose session cannot be started.
pub(super) fn problem(peer: &BgpPeer, obstacle: &Obstacle) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::BgpPeer, &peer.namespace, &peer.name),
        origin: "plan".into(),
        field: obstacle.field().into(),
        why: obstacle.to_string(),
    }
}

fn settings(
    world: &World,
    local: &Local,
    me: &Node,
    peer: &BgpPeer,
) -> Result<PeerSettings, Obstacle> {
    let remote = remote(&peer.remote);
    if let (PeerRemote::Address(ip), Some(source)) = (&remote, peer.source)
        && Family::of(*ip) != Family::of(source)
    {
        return Err(Obstacle::SourceFamily(source));
    }
    let (hold_seconds, keepalive_seconds) = timers(peer, local.bgp_type);
    let has = |key: &str, value: &str| peer.annotations.get(key).is_some_and(|v| v == value);
    Ok(PeerSettings {
        my_asn: peer.local_asn.unwrap_or(peer.my_asn),
        peer_asn: peer.peer_asn,
        families: families(peer),
        remote,
        port: peer.port,
        source: peer.source,
        vrf: (!peer.vrf.is_empty()).then(|| LinkName::from(peer.vrf.as_str())),
        hold_seconds,
        keepalive_seconds,
        connect_seconds: peer.connect_seconds,
        router_id: router_id(peer, me)?,
        password: password(peer)?,
        bfd: bfd(world, peer)?,
        graceful_restart: peer.graceful_restart,
        multi_hop: peer.multi_hop,
        requires_ttl_255: has("heliograph.io/gtsm", "require"),
        dials_anyway: has("heliograph.io/own-bgp", "true"),
    })
}

fn remote(remote: &Remote) -> PeerRemote {
    match remote {
        Remote::Address { ip, written: _ } => PeerRemote::Address(*ip),
        Remote::Interface(name) => PeerRemote::Link(LinkName::from(name.as_str())),
    }
}

/// A session carries the family of its transport; both where the peer says so, and on a link, where the transport is nobody's
/// choice.
pub(super) fn families(peer: &BgpPeer) -> BTreeSet<Family> {
    match &peer.remote {
        Remote::Address { ip, .. } if !peer.dual_stack => BTreeSet::from([Family::of(*ip)]),
        Remote::Address { .. } | Remote::Interface(_) => BTreeSet::from(Family::ALL),
    }
}

/// Hold time and time between KEEPALIVEs in seconds.
fn timers(peer: &BgpPeer, bgp_type: BgpType) -> (u16, u16) {
    let whole = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
    let Some(timers) = peer.timers else {
        let hold = bgp_type.hold_seconds();
        return (hold, hold / 3);
    };
    let hold = whole(timers.hold);
    // RFC 4271 §4.4: a third of the hold time is reasonable, more often than once a second is not allowed.
    match (hold, whole(timers.keepalive)) {
        (0, _) => (0, 0),
        (hold, 0) if timers.keepalive.is_zero() => (hold, hold / 3),
        (hold, keepalive) => (hold, keepalive.max(1)),
    }
}

fn password(peer: &BgpPeer) -> Result<Option<PasswordFrom>, Obstacle> {
    match (&peer.password, &peer.password_secret) {
        (None, None) => Ok(None),
        (Some(password), None) => Ok(Some(PasswordFrom::Peer(password.clone()))),
        (None, Some(secret)) => {
            let own = || peer.namespace.clone();
            let namespace = Some(secret.namespace.clone()).filter(|n| !n.is_empty());
            Ok(Some(PasswordFrom::Secret {
                namespace: namespace.unwrap_or_else(own),
                name: secret.name.clone(),
            }))
        }
        (Some(_), Some(_)) => Err(Obstacle::TwoPasswords),
    }
}

fn bfd(world: &World, peer: &BgpPeer) -> Result<Option<BfdSettings>, Obstacle> {
    let Some(name) = &peer.bfd_profile else {
        return Ok(None);
    };
    let profile = world.bfd_profiles.get(name);
    let profile = profile.ok_or_else(|| Obstacle::NoBfdProfile(name.clone()))?;
    Ok(Some(BfdSettings::of(profile)))
}

impl BfdSettings {
    fn of(profile: &BfdProfile) -> Self {
        let small = |number: Option<u16>, default: u8| {
            number.map_or(default, |n| u8::try_from(n).unwrap_or(u8::MAX))
        };
        Self {
            receive_ms: profile.receive_interval.unwrap_or(300),
            transmit_ms: profile.transmit_interval.unwrap_or(300),
            multiplier: small(profile.detect_multiplier, 3),
            is_passive: profile.passive_mode,
            wants_echo: profile.echo_mode,
            minimum_ttl: small(profile.minimum_ttl, 254),
        }
    }
}

/// Ours by the field, else the address that the session speaks from, else the lowest global IPv4 address of the node, else a
/// hash of its name, so that a node without IPv4 has one too, and the same in every run (RFC 6286 §2.1).
fn router_id(peer: &BgpPeer, me: &Node) -> Result<RouterId, Obstacle> {
    if let Some(ip) = peer.router_id {
        let id = v4(ip).and_then(RouterId::new);
        return id.ok_or(Obstacle::RouterId(ip));
    }
    let source = peer.source.and_then(v4);
    let lowest = || {
        me.addresses
            .iter()
            .copied()
            .filter_map(v4)
            .filter(is_global)
            .min()
    };
    let known = source.or_else(lowest).and_then(RouterId::new);
    Ok(known.unwrap_or_else(|| hashed(&me.name)))
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn is_global(ip: &Ipv4Addr) -> bool {
    !ip.is_link_local() && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
}

/// A router id from a name: like an address that a host could have, because some peers insist on that.
fn hashed(name: &NodeName) -> RouterId {
    let [a, b, c, d, ..] = xxh3_64(name.as_str().as_bytes()).to_be_bytes();
    let first = 1 + a % FIRST_OCTET_MAX;
    RouterId::new(Ipv4Addr::new(first, b, c, d)).expect("the first octet is at least 1")
}

const FIRST_OCTET_MAX: u8 = 223; // 224 and more are multicast and reserved addresses
