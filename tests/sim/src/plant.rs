//! Defects on purpose: each breaks one rule on every node, and the oracle must notice.
//!
//! They stand where the simulator does what the shell does: what goes into the machines or comes out of them is changed, never the machines
//! themselves. `stage` gives the history in which a defect must show.

use crate::history::{Begins, Fault, History, Kind, Nodes};
use crate::queue::{MS, Ns, S};
use crate::truth::Edit;

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plant {
    /// A deadline that has passed is renewed (L5.1).
    RenewsAfterLapse,
    /// The deadline is renewed while the deciding thread hangs (L5.1).
    RenewsUndecided,
    /// A vote's heartbeat is as old as the vote's arrival, not as its voter says (L3.1 b).
    AgesFromVote,
    /// A member that is silent for a moment is taken for dead, and its kernel for silent (L3.1 b).
    TakesEarly,
    /// The promise is written though not all observers noted it (L6.3).
    PromisesUnheard,
    /// Every plan writes all entries anew, and lowers their fences (L5.2).
    RewritesFences,
    /// Records of the ring are lost, and nobody looks for fences (L5.2).
    LosesClaims,
    /// Who lost a contest does not probe the winner (L5.2).
    StopsProbing,
    /// Nobody waits for others' held sets, or for acknowledgements of one's own (L3.1 c).
    WaitsForNobody,
    /// A node with old objects does not say so, and holds on (L3.2).
    HidesStaleness,
    /// Questions that may not be answered are passed to the stack (L4.1).
    PassesLapsed,
    /// The table of members keeps what it had at first (L5.2).
    KeepsOldMacs,
    /// IPv6 stays where it was when its group moves (L1.3).
    LeavesFamily,
    /// Heirs do not ask for what others hold (L6.7).
    WatchesNobody,
    /// Who gave a VIP away goes on sending its new connections to who had it next (L6.2).
    KeepsTarget,
    /// A packet from another node is sent on again.
    IgnoresGuard,
    /// A connection that is not remembered goes to its slot's node, whoever had the slot before.
    IgnoresPrevious,
    /// Nothing is remembered of connections.
    ForgetsFlows,
    /// Where a node was is kept when it is not there any more.
    KeepsNextHop,
    /// Packets are sent on after the deadline.
    SteersLapsed,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::RenewsAfterLapse,
        Self::RenewsUndecided,
        Self::AgesFromVote,
        Self::TakesEarly,
        Self::PromisesUnheard,
        Self::RewritesFences,
        Self::LosesClaims,
        Self::StopsProbing,
        Self::WaitsForNobody,
        Self::HidesStaleness,
        Self::PassesLapsed,
        Self::KeepsOldMacs,
        Self::LeavesFamily,
        Self::WatchesNobody,
        Self::KeepsTarget,
        Self::IgnoresGuard,
        Self::IgnoresPrevious,
        Self::ForgetsFlows,
        Self::KeepsNextHop,
        Self::SteersLapsed,
    ];

    /// A history of `seed` in which it should show: faults of the kind that the rule is for.
    pub fn stage(self, seed: u64) -> History {
        let whole = History::of(seed);
        let victim = (seed % whole.nodes as u64) as usize;
        let all = Nodes((1 << whole.nodes) - 1);
        let alone = Nodes(1 << victim);
        let vip = whole.truth.services[0].shape.vips[0];
        let mut history = whole.keeping(&[]);
        history.faults = match self {
            // Its own fence would silence it, were the new holder's claims to arrive.
            Self::RenewsAfterLapse => vec![
                fault(Kind::CutSegment(alone), 5 * S, 2_950 * MS),
                fault(Kind::Stop(victim), 5 * S, 3 * S),
            ],
            Self::RenewsUndecided => vec![fault(Kind::HangDecide(victim), 5 * S, 3 * S)],
            Self::AgesFromVote => vec![fault(Kind::Kill(victim), 8 * S, 4 * S)],
            Self::TakesEarly => vec![fault(Kind::Stop(victim), 5 * S, 2 * S)],
            Self::PromisesUnheard => unheard(victim, whole.nodes),
            Self::LosesClaims => vec![fault(Kind::Spoof(vip, victim, 10), 5 * S, S)],
            // The winner dies where its death is no news, since it was cut off before.
            Self::StopsProbing => vec![
                fault(Kind::CutGossip(alone, all), 5 * S, 30 * S),
                fault(Kind::CutGossip(all, alone), 5 * S, 30 * S),
                fault(Kind::Kill(victim), 9 * S, 26 * S),
            ],
            Self::HidesStaleness => vec![
                fault(Kind::NoApi(victim), 5 * S, 30 * S),
                fault(Kind::Edit(Edit::Exclude(victim)), 6 * S, MS),
            ],
            Self::KeepsOldMacs => vec![
                fault(Kind::CutGossip(alone, all), 5 * S, 3 * S),
                fault(Kind::CutGossip(all, alone), 5 * S, 3 * S),
            ],
            Self::PassesLapsed => vec![fault(Kind::HangPulse(victim), 5 * S, 3 * S)],
            Self::LeavesFamily => vec![fault(Kind::Drain(victim), 5 * S, 3 * S)],
            Self::RewritesFences => vec![
                fault(Kind::CutGossip(alone, all), 5 * S, 3 * S),
                fault(Kind::CutGossip(all, alone), 5 * S, 3 * S),
                fault(Kind::Spoof(vip, victim, 1000), 5 * S, 2 * S),
                fault(Kind::Edit(Edit::Exclude(victim)), 5_300 * MS, MS),
            ],
            Self::KeepsTarget => passed_on(victim, whole.nodes),
            Self::WatchesNobody => Vec::new(),
            Self::IgnoresGuard => newly_shared(victim, whole.nodes),
            Self::IgnoresPrevious | Self::ForgetsFlows => {
                vec![fault(Kind::Drain(victim), 8 * S, 8 * S)]
            }
            Self::KeepsNextHop => vec![fault(Kind::Carrier(victim), 8 * S, 20 * S)],
            Self::SteersLapsed => vec![fault(Kind::HangPulse(victim), 8 * S, 3 * S)],
            Self::WaitsForNobody => vec![fault(Kind::Edit(Edit::Exclude(victim)), 5 * S, MS)],
        };
        if self.is_steering() {
            history.steer();
        }
        history.ends_mute |= self == Self::WatchesNobody;
        history.judged = self.judged();
        history
    }

    /// Whether it shows only where packets are spread.
    const fn is_steering(self) -> bool {
        matches!(
            self,
            Self::IgnoresGuard
                | Self::IgnoresPrevious
                | Self::ForgetsFlows
                | Self::KeepsNextHop
                | Self::SteersLapsed
        )
    }

    /// When its histories are judged, if that is not when all faults are over.
    const fn judged(self) -> Option<Ns> {
        match self {
            Self::HidesStaleness | Self::StopsProbing => Some(16 * S),
            Self::KeepsTarget => Some(6_600 * MS),
            // Later an heir has noticed that nobody answers, and has it.
            Self::LosesClaims => Some(7 * S),
            Self::RenewsAfterLapse
            | Self::RenewsUndecided
            | Self::AgesFromVote
            | Self::TakesEarly
            | Self::PromisesUnheard
            | Self::RewritesFences
            | Self::WaitsForNobody
            | Self::WatchesNobody
            | Self::PassesLapsed
            | Self::KeepsOldMacs
            | Self::LeavesFamily
            | Self::IgnoresGuard
            | Self::IgnoresPrevious
            | Self::ForgetsFlows
            | Self::KeepsNextHop
            | Self::SteersLapsed => None,
        }
    }
}

const fn fault(kind: Kind, at: Ns, lasts: Ns) -> Fault {
    Fault {
        kind,
        begins: Begins::At(at),
        lasts,
    }
}

/// A promise that nobody's frames may end: neither who takes the VIP, nor an heir that asks for it.
fn unheard(victim: usize, nodes: usize) -> Vec<Fault> {
    let (all, alone) = (Nodes((1 << nodes) - 1), Nodes(1 << victim));
    let others = (0..nodes).filter(|node| *node != victim);
    let mute = others.map(|node| fault(Kind::HangWork(node), 5 * S, 8 * S));
    let faults = [
        fault(Kind::FilterGratuitous, 4 * S, 9 * S),
        fault(Kind::CutGossip(alone, all), 5 * S, 400 * MS),
        fault(Kind::Restart(victim), 5 * S, 8 * S),
    ];
    faults.into_iter().chain(mute).collect()
}

/// A VIP goes from the victim to somebody, and within the window on to the next.
fn passed_on(victim: usize, nodes: usize) -> Vec<Fault> {
    let next = (victim + 1) % nodes;
    let others = (0..nodes).filter(|n| *n != victim && *n != next);
    let first = fault(Kind::Drain(victim), 5 * S, 3 * S);
    let then = others.map(|node| fault(Kind::Drain(node), 6 * S, 2 * S));
    [first].into_iter().chain(then).collect()
}

/// Of what was opened since the next one came, only the victim knows that it is the next one's: who takes from it sends it to the victim, whose
/// slot it was.
fn newly_shared(victim: usize, nodes: usize) -> Vec<Fault> {
    let next = Kind::Edit(Edit::Exclude((victim + 1) % nodes));
    vec![
        fault(next.clone(), 3_200 * MS, MS),
        fault(next, 15 * S, MS),
        fault(Kind::Drain(victim), 18 * S, 4 * S),
    ]
}
