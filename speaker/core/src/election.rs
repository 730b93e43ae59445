//! Who should answer: a pure order of candidates.
//!
//! Who did not fail lately first, then preference, then the smallest hash of `node '#' key`, as MetalLB does (its page on layer 2 mode), so that a cluster
//! that comes from MetalLB moves no VIP. It knows nothing of why a node is a candidate.

use sha2::{Digest, Sha256};
use speaker_proto::{GroupKey, NodeName};
use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128;

/// Which hash orders the candidates. Members that disagree on it would elect different nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Election {
    /// SHA-256, MetalLB's own.
    #[default]
    Sha256,
    /// XXH3 with 128 bits: the same rule, cheaper with thousands of nodes.
    Xxh3,
}

/// Which candidate a group is on, beside the order. Members that disagree on it would elect different nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Placement {
    /// The first in the order, whoever holds it now: MetalLB's.
    #[default]
    First,
    /// Its holder, as long as that is a candidate of the highest score; else the first in the order.
    Sticky,
    /// As sticky, but no node holds more than its share; as few groups move as that takes.
    Even,
}

/// A node that could answer, and how much it is preferred.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// Higher comes first.
    pub score: Score,
}

/// How much a candidate is wanted, whatever its rank; greater is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Score {
    /// It failed lately (L1.1): it comes after all that did not, whatever their weights.
    pub is_held_down: bool,
    /// The sum of the weights of the preferences that match it.
    pub weight: u32,
}

impl Score {
    /// Of a node that must serve for both.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            is_held_down: self.is_held_down || other.is_held_down,
            weight: self.weight.saturating_add(other.weight),
        }
    }
}

impl From<u32> for Score {
    fn from(weight: u32) -> Self {
        Self {
            is_held_down: false,
            weight,
        }
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |score: &Self| (!score.is_held_down, score.weight);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Sorts `candidates` so that the first one should answer for the group: by score, then by rank. A loser that leaves or
/// comes back moves nothing, since no rank depends on who else is there.
pub fn order(election: Election, key: GroupKey, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut ranking = Ranking::new(election, key);
    candidates.sort_by_cached_key(|c| (Reverse(c.score), ranking.rank(&c.node), c.node.clone()));
    candidates
}

/// The first of [`order`], without sorting the rest.
pub fn winner<'c>(
    election: Election,
    key: GroupKey,
    candidates: impl IntoIterator<Item = &'c Candidate>,
) -> Option<&'c Candidate> {
    let mut ranking = Ranking::new(election, key);
    candidates
        .into_iter()
        .map(|c| (Reverse(c.score), ranking.rank(&c.node), c))
        .min()
        .map(|(_, _, winner)| winner)
}

/// A place in the order of a group: the smaller, the earlier. XXH3 fills the first half only.
pub type Rank = [u8; 32];

/// Ranks nodes for one group: the hash of `node '#' key`.
#[derive(Clone, Debug)]
pub struct Ranking {
    election: Election,
    suffix: String,
    text: Vec<u8>,
}

impl Ranking {
    /// For the group with `key`.
    pub fn new(election: Election, key: GroupKey) -> Self {
        Self {
            election,
            suffix: format!("#{key}"),
            text: Vec::new(),
        }
    }

    /// The rank of `node`.
    pub fn rank(&mut self, node: &NodeName) -> Rank {
        self.text.clear();
        self.text.extend_from_slice(node.as_str().as_bytes());
        self.text.extend_from_slice(self.suffix.as_bytes());
        match self.election {
            Election::Sha256 => Sha256::digest(&self.text).into(),
            Election::Xxh3 => {
                let mut rank = [0; 32];
                rank[..16].copy_from_slice(&xxh3_128(&self.text).to_be_bytes());
                rank
            }
        }
    }
}

/// Which of two members goes first for a VIP when nothing else decides: as in the default election among equals (L1.2, L5.2). Not as
/// in the chosen one: two whose settings differ could both go on, or neither, and cannot ask each other while gossip is cut.
pub fn precedence(vip: GroupKey, node: &NodeName) -> Rank {
    Ranking::new(Election::Sha256, vip).rank(node)
}

impl FromStr for Election {
    type Err = UnknownElection;

    fn from_str(text: &str) -> Result<Self, UnknownElection> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "xxh3" => Ok(Self::Xxh3),
            _ => Err(UnknownElection),
        }
    }
}

impl fmt::Display for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Xxh3 => "xxh3",
        })
    }
}

impl FromStr for Placement {
    type Err = UnknownPlacement;

    fn from_str(text: &str) -> Result<Self, UnknownPlacement> {
        match text {
            "first" => Ok(Self::First),
            "sticky" => Ok(Self::Sticky),
            "even" => Ok(Self::Even),
            _ => Err(UnknownPlacement),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Sticky => "sticky",
            Self::Even => "even",
        })
    }
}

/// A text that names no placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownPlacement;

impl fmt::Display for UnknownPlacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a placement: first, sticky or even")
    }
}

impl std::error::Error for UnknownPlacement {}

/// A text that names no election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownElection;

impl fmt::Display for UnknownElection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an election: sha256 or xxh3")
    }
}

impl std::error::Error for UnknownElection {}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
