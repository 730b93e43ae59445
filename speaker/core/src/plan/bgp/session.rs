//! The sessions of this node: every BGPPeer that selects it, with all that is absent filled in.
//!
//! What cannot be filled in is an [`Obstacle`], never a guess: a profile that comes later lets the session start then.

use super::peer::{BfdSettings, Obstacle, PasswordFrom, PeerName, PeerSettings};
use crate::crd::{BfdProfile, BgpPeer, Remote};
use crate::key::{Kind, ObjectKey};
use crate::link::LinkName;
use crate::local::Local;
use crate::node::Node;
use crate::peering::{BgpType, PeerRemote};
use crate::problem::Problem;
use crate::selector::any_matches;
use crate::world::World;
use speaker_proto::NodeName;
use speaker_proto::bgp::{Family, RouterId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

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

/// What is wrong with a peer whose session cannot be started; nothing where that is what was asked for.
pub(super) fn problem(peer: &BgpPeer, obstacle: &Obstacle) -> Option<Problem> {
    (*obstacle != Obstacle::ForeignSpeaker).then(|| Problem {
        object: ObjectKey::new(Kind::BgpPeer, &peer.namespace, &peer.name),
        origin: "plan".into(),
        field: obstacle.field().into(),
        why: obstacle.to_string(),
    })
}

fn settings(
    world: &World,
    local: &Local,
    me: &Node,
    peer: &BgpPeer,
) -> Result<PeerSettings, Obstacle> {
    let has = |key: &str, value: &str| peer.annotations.get(key).is_some_and(|v| v == value);
    let remote = remote(&peer.remote);
    let dials_anyway = has("heliograph.io/own-bgp", "true");
    let owner = local
        .foreign
        .owner(&me.labels, &peer.vrf, &remote, peer.port);
    match (dials_anyway, local.bgp_type, owner) {
        (false, BgpType::FrrK8sExternal, _) => return Err(Obstacle::ForeignSpeaker),
        (false, _, Some(name)) => return Err(Obstacle::ForeignConfiguration(name.to_owned())),
        (false, _, None) | (true, _, _) => {}
    }
    if let (PeerRemote::Address(ip), Some(source)) = (&remote, peer.source)
        && Family::of(*ip) != Family::of(source)
    {
        return Err(Obstacle::SourceFamily(source));
    }
    let (hold_seconds, keepalive_seconds) = timers(peer, local.bgp_type);
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
        drain_prepends: drain_prepends(peer),
        dials_anyway,
    })
}

/// That it is a number was checked when the object was read.
fn drain_prepends(peer: &BgpPeer) -> u8 {
    let text = peer.annotations.get("heliograph.io/drain-prepend");
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
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
