//! BGPPeer: a router to speak BGP with.
//!
//! The rules are those of MetalLB's webhook, which takes some odd things: a router id that is an IPv6 address, a
//! password beside a Secret. They are kept as written; what comes of them is up to the session.

use super::schema;
use crate::duration::Span;
use crate::key::ObjectKey;
use crate::problem::Faults;
use crate::selector::{self, Selector};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// A parsed `metallb.io` BGPPeer of either version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpPeer {
    /// Its name, by which advertisements refer to it.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.myASN`: our AS number.
    pub my_asn: u32,
    /// `spec.peerASN` or `spec.dynamicASN`.
    pub peer_asn: PeerAsn,
    /// `spec.localASN`: the AS number that this peer sees instead of ours.
    pub local_asn: Option<u32>,
    /// `spec.peerAddress` or `spec.interface`.
    pub remote: Remote,
    /// `spec.sourceAddress`: the address that we speak from.
    pub source: Option<IpAddr>,
    /// `spec.peerPort`, 1 to 16384.
    pub port: u16,
    /// `spec.holdTime` and `spec.keepaliveTime`; of two, the one that is absent follows from the other.
    pub timers: Option<Timers>,
    /// `spec.connectTime`: seconds between attempts, 1 to 65535.
    pub connect_seconds: Option<u16>,
    /// `spec.routerID`: our BGP identifier.
    pub router_id: Option<IpAddr>,
    /// `spec.nodeSelectors`; empty: all nodes.
    pub node_selectors: Vec<Selector>,
    /// `spec.password`.
    pub password: Option<Password>,
    /// `spec.passwordSecret`, unless it names nothing.
    pub password_secret: Option<schema::SecretReference>,
    /// `spec.bfdProfile`, by name.
    pub bfd_profile: Option<String>,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// `spec.ebgpMultiHop`.
    pub multi_hop: bool,
    /// `spec.vrf`; empty: the node's main one.
    pub vrf: String,
    /// `spec.dualStackAddressFamily`: one session carries both families.
    pub dual_stack: bool,
}

/// Which AS the peer is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// Ours, as its OPEN must say.
    Internal,
    /// Another than ours, as its OPEN must say.
    External,
}

/// Where the peer is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remote {
    /// At an address.
    Address {
        /// The address; an IPv4-mapped one is IPv4.
        ip: IpAddr,
        /// As it stands in the object: MetalLB takes two spellings for two peers.
        written: String,
    },
    /// On a link, whatever its address there.
    Interface(String),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { written, .. } => f.write_str(written),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

/// The timers of a session (RFC 4271 §4.2, §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// The hold time in whole seconds, 0 (never) or at least 3.
    pub hold: Duration,
    /// The time between KEEPALIVEs.
    pub keepalive: Duration,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl TryFrom<(&ObjectKey, schema::BGPPeer)> for BgpPeer {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::BGPPeer)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let spec = raw.spec;
        if spec.my_asn == 0 {
            faults.push("spec.myASN", "is missing");
        }
        let peer_asn = peer_asn(&spec, &mut faults);
        let remote = remote(&spec, &mut faults);
        let source = optional_ip("sourceAddress", &spec.source_address, &mut faults);
        let router_id = optional_ip("routerID", &spec.router_id, &mut faults);
        let timers = timers(&spec, &mut faults);
        let connect_seconds = connect_seconds(&spec, &mut faults);
        check_numbers(&spec, &mut faults);
        let nodes = selector::parse_list("spec.nodeSelectors", spec.node_selectors, &mut faults);
        let (Some(peer_asn), Some(remote)) = (peer_asn, remote) else {
            return Err(faults);
        };
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            annotations: raw.metadata.annotations.unwrap_or_default(),
            my_asn: spec.my_asn,
            peer_asn,
            local_asn: spec.local_asn,
            remote,
            source,
            port: spec.peer_port,
            timers,
            connect_seconds,
            router_id,
            node_selectors: nodes,
            password: named(spec.password).map(Password),
            password_secret: spec.password_secret.filter(|s| !s.name.is_empty()),
            bfd_profile: named(spec.bfd_profile),
            graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
            multi_hop: spec.ebgp_multi_hop,
            vrf: spec.vrf,
            dual_stack: spec.dual_stack_address_family,
        })
    }
}

fn peer_asn(spec: &schema::BGPPeerSpec, faults: &mut Faults) -> Option<PeerAsn> {
    let dynamic = match spec.dynamic_asn.as_deref() {
        None => None,
        Some("internal") => Some(PeerAsn::Internal),
        Some("external") => Some(PeerAsn::External),
        Some(other) => {
            let why = format!("{other:?} is neither internal nor external");
            faults.push("spec.dynamicASN", why);
            return None;
        }
    };
    match (spec.peer_asn, dynamic) {
        (0, None) => {
            faults.push("spec.peerASN", "is missing, and so is dynamicASN");
            None
        }
        (0, dynamic) => dynamic,
        (number, None) => Some(PeerAsn::Number(number)),
        (_, Some(_)) => {
            faults.push("spec.peerASN", "cannot stand beside dynamicASN");
            None
        }
    }
}

fn remote(spec: &schema::BGPPeerSpec, faults: &mut Faults) -> Option<Remote> {
    match (spec.peer_address.as_str(), spec.interface.as_str()) {
        ("", "") => {
            faults.push("spec.peerAddress", "is missing, and so is interface");
            None
        }
        ("", name) => Some(Remote::Interface(name.to_owned())),
        (text, "") => {
            let ip = faults.take(|| "spec.peerAddress".into(), ip(text))?;
            let written = text.to_owned();
            Some(Remote::Address { ip, written })
        }
        (_, _) => {
            faults.push("spec.peerAddress", "cannot stand beside interface");
            None
        }
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| ip.to_canonical())
        .map_err(|_| format!("{text:?} is no IP address"))
}

fn optional_ip(name: &str, text: &str, faults: &mut Faults) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    faults.take(|| format!("spec.{name}"), ip(text))
}

fn check_numbers(spec: &schema::BGPPeerSpec, faults: &mut Faults) {
    if !(1..=PORT_MAX).contains(&spec.peer_port) {
        let why = format!("{} is not between 1 and {PORT_MAX}", spec.peer_port);
        faults.push("spec.peerPort", why);
    }
    if spec.local_asn == Some(0) {
        faults.push("spec.localASN", "0 is no AS number");
    }
    if spec.ebgp_multi_hop && spec.my_asn == spec.peer_asn && spec.my_asn != 0 {
        let why = format!("is for peers in another AS, and {} is ours", spec.peer_asn);
        faults.push("spec.ebgpMultiHop", why);
    }
}

fn timers(spec: &schema::BGPPeerSpec, faults: &mut Faults) -> Option<Timers> {
    let (hold, keepalive) = match (spec.hold_time, spec.keepalive_time) {
        (None, None) => return None,
        (Some(hold), None) => (hold, Span::from_nanos(hold.nanos() / 3)),
        (None, Some(keepalive)) => (
            Span::from_nanos(keepalive.nanos().saturating_mul(3)),
            keepalive,
        ),
        (Some(hold), Some(keepalive)) => (hold, keepalive),
    };
    if !(hold.seconds() == 0 || hold.seconds() >= HOLD_SECONDS_MIN) {
        let why = match spec.hold_time {
            Some(_) => format!("{hold} is neither 0 nor at least 3s"),
            None => {
                format!("is three times keepaliveTime, and {hold} is neither 0 nor at least 3s")
            }
        };
        faults.push("spec.holdTime", why);
    } else if keepalive > hold {
        let why = format!("{keepalive} is more than holdTime, which is {hold}");
        faults.push("spec.keepaliveTime", why);
    }
    Some(Timers {
        hold: Duration::from_secs(hold.at_least_zero().as_secs()),
        keepalive: keepalive.at_least_zero(),
    })
}

/// Looked at in milliseconds, as the rule in MetalLB's schema does.
fn connect_seconds(spec: &schema::BGPPeerSpec, faults: &mut Faults) -> Option<u16> {
    let span = spec.connect_time?;
    let seconds = u16::try_from(span.seconds()).ok().filter(|s| *s > 0);
    let is_whole = span.nanos() / NANOS_PER_MILLISECOND % 1000 == 0;
    let seconds = seconds
        .ok_or_else(|| format!("{span} is not between 1s and 65535s"))
        .and_then(|seconds| {
            let why = || format!("{span} is no whole number of seconds");
            is_whole.then_some(seconds).ok_or_else(why)
        });
    faults.take(|| "spec.connectTime".into(), seconds)
}

const PORT_MAX: u16 = 16_384; // as in MetalLB's schema
const HOLD_SECONDS_MIN: i64 = 3; // RFC 4271 §4.2
const NANOS_PER_MILLISECOND: i64 = 1_000_000;
