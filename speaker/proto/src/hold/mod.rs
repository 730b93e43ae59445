//! Taking, keeping and giving away groups of VIPs: the facts that election only wishes for.
//!
//! One machine per node, all groups in it. It reads the [`Roster`], talks to other nodes' machines by [`message::Message`]s
//! that may be lost, and says what this node does about each group. The rules are L3, L5.2–L5.4 and L6.1 of `docs/layer2.md`. It
//! knows nothing of services, links, kernel tables or why a node was elected.

use crate::member::{Directory, HeldSet, HeldVersion, NodeId, Roster};
use crate::shared_map::SharedMap;
use crate::{Epoch, GroupKey, Mac, Span, Vip};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

mod asking;
mod contest;
mod facts;
mod group;
mod machine;
pub mod message;
mod moves;
mod others;
mod rank;
mod reclaim;
mod taking;
mod timers;
mod turn;
mod window;
mod wishes;
mod yielding;

#[cfg(test)]
mod tests;

pub use machine::{Holds, Start};
pub use rank::RankOf;
pub use window::Passing;

/// What this node does about a group. Election is a wish; this is the fact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hold {
    /// Not ours, nothing under way.
    Free,
    /// Asked its holder for it, or waits until a dead holder's kernel is silent.
    Asking,
    /// About to take it: groups joined, the others know, probes are out.
    Preparing,
    /// About to take it, but hardware that is no member's answers for it: asked again every 5 s, and taken when that stops (L3.3).
    Occupied(Mac),
    /// Ours: answered for.
    Holding,
    /// Given away: silent, data still taken.
    Draining,
    /// Claimed by another member that has precedence: silent, and probes whether that one answers.
    Contested,
    /// The deadline passed: silent until taken again.
    Lapsed,
}

/// What this node is doing, as a fragment that continues "elected, but".
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "not taken yet",
            Self::Asking => "its holder has not yielded it yet",
            Self::Preparing => "about to take it",
            Self::Occupied(mac) => {
                return write!(f, "{mac} answers for it and is no member's (vipStranger)");
            }
            Self::Holding => "held",
            Self::Draining => "given away",
            Self::Contested => "another member claims it",
            Self::Lapsed => "its deadline passed",
        })
    }
}

/// A group's hold and the epoch of its taking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Holding {
    /// The state.
    pub hold: Hold,
    /// Which taking; 0 while there is none.
    pub epoch: Epoch,
}

/// What election says of a group that this node has to do with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Whom this node's view elects; `None`: nobody may answer.
    pub owner: Option<NodeId>,
    /// Its VIPs, both families.
    pub vips: BTreeSet<Vip>,
    /// It may be taken though a stranger answers for it.
    pub is_forced: bool,
    /// This node is itself a candidate: giving the group to a better one is voluntary and counts against the move limit (L1.4).
    pub is_candidate: bool,
    /// This node could answer for it, candidate or not: it is selected, and a link of it can.
    pub can_answer: bool,
    /// Members that say they hold it and do not answer for it where this node asks: they are told when it is asked for (L6.7).
    pub silent: BTreeSet<NodeId>,
}

/// By group.
pub type Wishes = SharedMap<GroupKey, Wish>;

/// What happens to the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// What election says now, of every group.
    Wishes(Wishes),
    /// What is known of the others.
    Roster(Arc<Roster>),
    /// What others published, of whom the roster may know nothing.
    Published(Arc<Directory>),
    /// A message from another node's machine.
    Told(NodeId, Vec<u8>),
    /// The kernel's tables say what [`Holds::held`] said when the plan with this number was made ([`Holds::version`]).
    Applied(u64),
    /// A deadline is in force: groups may be taken.
    Armed,
    /// The deadline passed.
    Lapsed,
    /// Two probes of a group's VIPs, 50 ms apart on each of its links, are over (answer to [`Output::Probe`]).
    Probed {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Who answered; `None`: nobody.
        answered: Option<Mac>,
    },
    /// A member's hardware address claimed a VIP that this node answers for, and the program raised its fence.
    Claimed {
        /// The group of the VIP.
        group: GroupKey,
        /// The member.
        by: NodeId,
        /// The hardware address.
        mac: Mac,
    },
    /// A fence is up whose record of the ring was lost.
    Fenced {
        /// The group of the VIP.
        group: GroupKey,
    },
    /// The object source of this node is older than 30 s, or fresh again.
    Stale(bool),
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send this to another node's machine.
    Tell(NodeId, Vec<u8>),
    /// Tell all members, under this version.
    Publish(HeldVersion, Arc<HeldSet>),
    /// [`Holds::held`] changed: make and apply a new plan, then [`Input::Applied`].
    Changed,
    /// Send two probes (RFC 5227 form, DAD solicitation) 50 ms apart for each VIP on each link of the group; answer with [`Input::Probed`].
    Probe {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Whom to ask by unicast; `None`: everybody.
        only: Option<Mac>,
    },
    /// Lower the fences of a group's VIPs.
    Unfence(GroupKey),
    /// Send the gratuitous frames of a group again: its claim is contested.
    Claim(GroupKey),
    /// Send the claim of a group by unicast to these hardware addresses now (L5.4).
    ClaimTo(GroupKey, Vec<Mac>),
    /// This member's hardware address was spoofed: the program shall not fence by it for so many nanoseconds.
    Disarm(Mac, Span),
    /// This member asks for a group since this node, which holds it, does not answer for it where that one is.
    Unheard(GroupKey, NodeId),
    /// Tell the operator.
    Event(Event),
}

/// A change that an operator wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A group was taken.
    Taken {
        /// The group.
        group: GroupKey,
        /// Which taking.
        epoch: Epoch,
        /// On what ground.
        ground: Ground,
        /// Who gave it, or held it and died.
        from: Option<NodeId>,
        /// Since this node set about it.
        took: Span,
    },
    /// A group was given away or released.
    Given {
        /// The group.
        group: GroupKey,
        /// To whom; `None`: to nobody.
        to: Option<NodeId>,
    },
    /// Two nodes' views elect different nodes; the holder keeps it (L3.2).
    Disagree {
        /// The group.
        group: GroupKey,
        /// The other node.
        with: NodeId,
    },
    /// A stranger answers for a VIP: it is not taken (L3.3).
    Stranger {
        /// The group.
        group: GroupKey,
        /// Its hardware address.
        mac: Mac,
    },
    /// Two members claimed the same group.
    Contest {
        /// The group.
        group: GroupKey,
        /// The other.
        with: NodeId,
        /// This node keeps it.
        is_kept: bool,
    },
    /// A claim in a member's name that the member denies.
    Spoofed {
        /// The group.
        group: GroupKey,
        /// The member's hardware address.
        mac: Mac,
    },
    /// A move waits because there were too many (L1.4).
    MovesSpent {
        /// The group.
        group: GroupKey,
    },
}

/// Why a group could be taken (L3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ground {
    /// Its holder gave it to this node.
    Yielded,
    /// Its holder is dead and silent.
    Dead,
    /// Nobody holds it.
    Unheld,
    /// The last process of this node held it.
    Adopted,
    /// A contest was won, or the winner fell silent.
    Contest,
    /// It was given to a node that does not want it any more.
    Refused,
}

impl Ground {
    /// Every ground.
    pub const ALL: [Self; 6] = [
        Self::Yielded,
        Self::Dead,
        Self::Unheld,
        Self::Adopted,
        Self::Contest,
        Self::Refused,
    ];

    /// Its name, for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yielded => "yielded",
            Self::Dead => "dead",
            Self::Unheld => "unheld",
            Self::Adopted => "adopted",
            Self::Contest => "contest",
            Self::Refused => "refused",
        }
    }
}
