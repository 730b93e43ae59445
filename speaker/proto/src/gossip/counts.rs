//! What was refused, passed over or cut, by cause: for metrics and for people who look for a firewall or a foreign program.

use super::wire::Malformed;

/// Numbers since the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Datagrams that were not sent, since nobody decided.
    pub unsteered: u64,
    /// Bodies that end too early or hold a value out of bounds.
    pub malformed: u64,
    /// Bodies of another version of the protocol.
    pub other_protocol: u64,
    /// Messages of a kind that this version does not know.
    pub unknown_kind: u64,
    /// Numbers that were used before, or are too old to tell.
    pub replayed: u64,
    /// Datagrams that were meant for another node.
    pub misdirected: u64,
    /// Datagrams of a boot that has not proven that it runs.
    pub unproven: u64,
    /// Datagrams of a boot that a later one has followed.
    pub overtaken: u64,
    /// Datagrams of a member that left.
    pub left: u64,
    /// Challenges that were not sent since too many are open.
    pub challenges_full: u64,
    /// Members that were not taken in since there are too many.
    pub roster_full: u64,
    /// Requests for heartbeats beyond those that can be met.
    pub listeners_full: u64,
    /// Blobs whose parts had to wait for others.
    pub assemblies_full: u64,
    /// Profiles and held sets that were not what their hash said.
    pub spoilt: u64,
    /// Datagrams in this node's name that are not its own.
    pub in_own_name: u64,
    /// Messages from deciding that no datagram can hold.
    pub told_too_long: u64,
    /// Held sets of this node that were cut to what the others take.
    pub held_too_many: u64,
    /// Votes of this node that somebody is late.
    pub votes: u64,
    /// Members that were found dead.
    pub verdicts: u64,
    /// Promises that were void before their end, since the kernel did not answer (L6.3).
    pub voided: u64,
    /// Times that this node was told that it is late.
    pub accused: u64,
}

impl Counts {
    pub(super) fn malformed(&mut self, why: Malformed) {
        let count = match why {
            Malformed::Short | Malformed::Value => &mut self.malformed,
            Malformed::Protocol(_) => &mut self.other_protocol,
            Malformed::Kind(_) => &mut self.unknown_kind,
        };
        *count += 1;
    }
}
