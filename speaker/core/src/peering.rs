//! With whom BGP is spoken, and by which of MetalLB's ways: what is settled before any plan.

use crate::link::LinkName;
use std::fmt;
use std::net::IpAddr;

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

/// Which of MetalLB's ways to speak BGP is asked for: `METALLB_BGP_TYPE`, and `spec.bgpBackend` of a MetalLB. Here is one way; the name decides what
/// is filled in where a BGPPeer or BGPAdvertisement says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum BgpType {
    /// `native`, or nothing: 90 s of hold time, LOCAL_PREF 0.
    #[default]
    Native,
    /// `frr`: FRR's own, 180 s and 100.
    Frr,
    /// `frr-k8s`: as `frr`.
    FrrK8s,
    /// `frr-k8s-external`: somebody else's frr-k8s speaks BGP on these nodes; only peers that say so have a session of ours.
    FrrK8sExternal,
}

impl BgpType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Native, Self::Frr, Self::FrrK8s, Self::FrrK8sExternal];

    /// Its word in `METALLB_BGP_TYPE` and `spec.bgpBackend`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Frr => "frr",
            Self::FrrK8s => "frr-k8s",
            Self::FrrK8sExternal => "frr-k8s-external",
        }
    }

    /// The hold time of a BGPPeer that gives no timers.
    pub(crate) const fn hold_seconds(self) -> u16 {
        match self {
            Self::Native => 90,
            Self::Frr | Self::FrrK8s | Self::FrrK8sExternal => 180,
        }
    }

    /// The LOCAL_PREF of an advertisement that gives none, or 0.
    pub(crate) const fn local_pref(self) -> u32 {
        match self {
            Self::Native => 0,
            Self::Frr | Self::FrrK8s | Self::FrrK8sExternal => 100,
        }
    }
}

impl std::str::FromStr for BgpType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is none of {known}")
        })
    }
}

impl fmt::Display for BgpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
