//! What advertisements say of the routes that they make, and what becomes of several that make the same one.
//!
//! MetalLB's rule: communities unite, LOCAL_PREF must be the same. What annotations of ours add goes by the same rule, except that
//! an advertisement which does not say something agrees with every other. A difference is an error, never a choice.

use crate::annotations::PREFIX;
use crate::config::{self, COMMUNITIES_MAX, Unready};
use crate::crd::{BgpAdvertisement, CommunityValue};
use crate::peering::BgpType;
use speaker_proto::bgp::{Attributes, Community, LargeCommunity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An advertisement by its place in the setting.
pub(super) type Ad = usize;

/// What one or several advertisements say of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    local_pref: Said<u32>,
    med: Option<Said<u32>>,
    prepends: Option<Said<u8>>,
    bandwidth: Option<Said<Bandwidth>>,
    communities: BTreeSet<Community>,
    large_communities: BTreeSet<LargeCommunity>,
}

/// A value and which advertisement said it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Said<T> {
    value: T,
    by: Ad,
}

impl<T> Said<T> {
    const fn new(value: T, by: Ad) -> Self {
        Self { value, by }
    }
}

/// What a link bandwidth community is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bandwidth {
    /// So many bytes a second.
    Fixed(u64),
    /// In proportion to the endpoints on the node.
    Endpoints,
}

/// A value that two advertisements of one route must agree about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Attribute {
    /// `localPref`.
    LocalPref,
    /// `heliograph.io/med`.
    Med,
    /// `heliograph.io/prepend`.
    Prepend,
    /// `heliograph.io/link-bandwidth`.
    LinkBandwidth,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalPref => "localPref",
            Self::Med => "heliograph.io/med",
            Self::Prepend => "heliograph.io/prepend",
            Self::LinkBandwidth => "heliograph.io/link-bandwidth",
        })
    }
}

/// Why terms cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clash {
    /// These two say different things.
    Differing(Attribute, [Ad; 2]),
    /// Together they have so many communities.
    TooMany(usize),
}

impl Terms {
    /// Those of one advertisement, with the values that names of communities have.
    pub(super) fn of(
        ad: &BgpAdvertisement,
        by: Ad,
        names: &BTreeMap<&str, CommunityValue>,
    ) -> Result<Self, Unready> {
        let (communities, large_communities) = config::communities(ad, names)?;
        Ok(Self {
            local_pref: Said::new(ad.local_pref, by),
            med: annotation(ad, "med").map(|med| Said::new(med, by)),
            prepends: annotation(ad, "prepend").map(|count| Said::new(count, by)),
            bandwidth: bandwidth(ad).map(|bandwidth| Said::new(bandwidth, by)),
            communities,
            large_communities,
        })
    }

    fn count(&self) -> usize {
        self.communities.len() + self.large_communities.len()
    }

    /// Both as one.
    pub(super) fn merged(&self, other: &Self) -> Result<Self, Clash> {
        let union = Self {
            local_pref: same(Attribute::LocalPref, self.local_pref, other.local_pref)?,
            med: agreed(Attribute::Med, self.med, other.med)?,
            prepends: agreed(Attribute::Prepend, self.prepends, other.prepends)?,
            bandwidth: agreed(Attribute::LinkBandwidth, self.bandwidth, other.bandwidth)?,
            communities: &self.communities | &other.communities,
            large_communities: &self.large_communities | &other.large_communities,
        };
        match union.count() {
            count if count > COMMUNITIES_MAX => Err(Clash::TooMany(count)),
            _ => Ok(union),
        }
    }

    /// Whether a peer is told how many endpoints there are.
    pub(super) fn is_weighted(&self) -> bool {
        let bandwidth = self.bandwidth.map(|said| said.value);
        bandwidth == Some(Bandwidth::Endpoints)
    }

    /// What a peer is told; `endpoints` counts where that [is said](Self::is_weighted), and none of them says nothing.
    pub(super) fn attributes(&self, endpoints: u32, bgp_type: BgpType) -> Attributes {
        Attributes {
            local_pref: match self.local_pref.value {
                0 => bgp_type.local_pref(),
                given => given,
            },
            med: self.med.map(|said| said.value),
            prepends: self.prepends.map_or(0, |said| said.value),
            communities: self.communities.clone(),
            large_communities: self.large_communities.clone(),
            link_bandwidth: match self.bandwidth.map(|said| said.value) {
                None => None,
                Some(Bandwidth::Fixed(bytes)) => Some(bytes),
                Some(Bandwidth::Endpoints) if endpoints == 0 => None,
                Some(Bandwidth::Endpoints) => {
                    Some(u64::from(endpoints) * ENDPOINT_BYTES_PER_SECOND)
                }
            },
        }
    }
}

fn agreed<T: Copy + PartialEq>(
    attribute: Attribute,
    a: Option<Said<T>>,
    b: Option<Said<T>>,
) -> Result<Option<Said<T>>, Clash> {
    match (a, b) {
        (Some(a), Some(b)) => same(attribute, a, b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

fn same<T: PartialEq>(attribute: Attribute, a: Said<T>, b: Said<T>) -> Result<Said<T>, Clash> {
    if a.value == b.value {
        return Ok(a);
    }
    Err(Clash::Differing(attribute, [a.by, b.by]))
}

/// A number by annotation; that it is one was checked when the object was read.
fn annotation<N: std::str::FromStr>(ad: &BgpAdvertisement, name: &str) -> Option<N> {
    let text = ad.annotations.get(&format!("{PREFIX}{name}"))?;
    text.parse().ok()
}

fn bandwidth(ad: &BgpAdvertisement) -> Option<Bandwidth> {
    let text = ad.annotations.get(&format!("{PREFIX}link-bandwidth"))?;
    match text.as_str() {
        "endpoints" => Some(Bandwidth::Endpoints),
        number => number.parse().ok().map(Bandwidth::Fixed),
    }
}

/// What one endpoint counts: routers look at the ratio only, and some keep 32 bits or whole megabits.
const ENDPOINT_BYTES_PER_SECOND: u64 = 1_250_000;
