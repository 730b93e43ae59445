//! The one that sees every kernel at once, and says which promise was broken.
//!
//! Two answers: a VIP that two kernels of one segment would answer for at one moment. Only a change of a kernel (a write, a
//! deadline, a lowered fence) or of the segment can begin that, so it looks whenever one happens, and no moment is missed.
//! The excuse is the rules': a cut of gossip, and for a while after.

use crate::client::TwoAnswers;
use crate::history::Kind;
use crate::kernel::key;
use crate::lan::Lan;
use crate::node::{Process, Thread};
use crate::queue::{MS, Ns, S};
use crate::world::{Event, World};
use speaker_ebpf::abi::{Mode, VipKey};
use speaker_proto::{Mac, NodeId, pulse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// When, in true time.
    pub at: Ns,
    /// Which promise.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
}

/// What is promised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Promise {
    /// A VIP is never answered for by two kernels.
    OneAnswer,
    /// A VIP with a candidate is answered for.
    Answered,
    /// By who may not answer a VIP is not.
    Silent,
    /// At rest the tables are what the plan says, and no fence is up.
    AtRest,
    /// A claim fences at the very frame.
    Fenced,
    /// A question for a VIP of the table never gets to the stack.
    Dropped,
    /// Who lost a contest takes the VIP again only if the winner does not answer.
    Contest,
    /// A kernel that nobody steers falls silent.
    Steered,
    /// A VIP whose holder dies is answered for again within a second.
    Failover,
    /// A VIP whose holder is alive and unheard on the segment is answered for by another within seconds.
    Watched,
    /// Who gave a VIP away sends new connections to who has it.
    Passed,
    /// What members say to each other is well-formed, whatever their versions.
    Understood,
    /// A packet is sent on by one node at most.
    Once,
    /// A node sends on only what it may: its deadline is in force, no fence is up, and it has the VIP.
    Rightful,
    /// A connection stays with the node that took it.
    Kept,
    /// Nothing is sent on to a node that was not heard for long.
    Near,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at / MS;
        write!(
            f,
            "{:?} at {}.{:03} s: {}",
            self.promise,
            ms / 1000,
            ms % 1000,
            self.what
        )
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Oracle {
    broken: Option<Broken>,
    /// Pairs that answer for a VIP at once under an excuse, and since when.
    pairs: BTreeMap<(IpAddr, usize, usize), Ns>,
    is_looking: bool,
    /// What nobody answered for at the last glance.
    pub(crate) silent: BTreeSet<IpAddr>,
    /// Who sent new connections elsewhere then.
    pub(crate) astray: BTreeSet<(usize, IpAddr)>,
    /// Promises that each node's process found void, and when one last did.
    voids: BTreeMap<usize, u64>,
    voided: Option<Ns>,
    /// When each node's last process ended, and when its present one started.
    pub(crate) ended: BTreeMap<usize, Ns>,
    pub(crate) started: BTreeMap<usize, Ns>,
    /// When threads of each node were last let go of.
    pub(crate) released: BTreeMap<usize, Ns>,
    /// When each node's kernel last heard a member claim a VIP on a segment.
    told: BTreeMap<(Lan, usize, IpAddr), Ns>,
    /// Who ever contested a VIP.
    parties: BTreeMap<IpAddr, BTreeSet<NodeId>>,
}

impl Oracle {
    /// The first promise that was broken.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Notes a broken promise, unless one was before.
    pub fn note(&mut self, at: Ns, promise: Promise, what: String) {
        self.broken.get_or_insert(Broken { at, promise, what });
    }
}

impl World {
    /// A node's kernel changed, or what it is connected to.
    pub(crate) fn changed(&mut self, node: usize) {
        for at in 0..self.vips.len() {
            let vip = self.vips[at];
            if !self.answers(node, vip) {
                continue;
            }
            for other in 0..self.nodes.len() {
                if other != node && self.both_answer(node, other, vip) {
                    self.pair(vip, node.min(other), node.max(other));
                }
            }
        }
    }

    /// Everything may have changed.
    pub(crate) fn changed_everywhere(&mut self) {
        for node in 0..self.nodes.len() {
            self.changed(node);
        }
    }

    /// Whether a node's kernel would answer for a VIP now, to whoever can ask it on any segment.
    pub(crate) fn answers(&mut self, node: usize, vip: IpAddr) -> bool {
        (0..self.segments.len()).any(|lan| self.answers_on(lan, node, vip))
    }

    /// The same on one segment.
    pub(crate) fn answers_on(&mut self, lan: Lan, node: usize, vip: IpAddr) -> bool {
        let known = &mut self.nodes[node];
        let time = known.time(self.now);
        self.segments[lan].is_heard(node) && known.kernel.would_answer(time, lan, vip)
    }

    /// Whether two answer on one segment, on one side of it.
    fn both_answer(&mut self, a: usize, b: usize, vip: IpAddr) -> bool {
        (0..self.segments.len()).any(|lan| {
            self.segments[lan].joins(a, b)
                && self.answers_on(lan, a, vip)
                && self.answers_on(lan, b, vip)
        })
    }

    fn pair(&mut self, vip: IpAddr, a: usize, b: usize) {
        let since = *self.oracle.pairs.entry((vip, a, b)).or_insert(self.now);
        if !self.is_excused(vip, [a, b], since) {
            let lasted = (self.now - since) / MS;
            let what = format!(
                "{} and {} both answer for {vip}, since {lasted} ms",
                self.nodes[a].name, self.nodes[b].name
            );
            self.oracle.note(self.now, Promise::OneAnswer, what);
        }
        self.coverage.see("two answers, excused");
        if !self.oracle.is_looking {
            self.oracle.is_looking = true;
            self.queue.plan(self.now + LOOK, Event::Look);
        }
    }

    /// Whether two answers may be that have been since then: gossip is cut at one of them, or was until just now; or a promise of one's
    /// last process was void, and nobody could tell that kernel yet.
    fn is_excused(&self, vip: IpAddr, [a, b]: [usize; 2], since: Ns) -> bool {
        let healed = self.now.saturating_sub(HEALING);
        let is_cut = self.net.was_cut(a, healed) || self.net.was_cut(b, healed);
        let is_fresh = self.now < since + CLAIMED;
        is_cut || is_fresh && [a, b].into_iter().any(|node| self.is_untold(node, vip))
    }

    /// Whether a promise was void since a node's last process ended, no claim has come to that kernel since, and no process is there that
    /// could have heard of it otherwise: none at all, or one that just began.
    fn is_untold(&self, node: usize, vip: IpAddr) -> bool {
        let Some(ended) = self.oracle.ended.get(&node) else {
            return false;
        };
        let is_void = self.oracle.voided.is_some_and(|at| at >= *ended);
        let lans = self.truth.lans_of(vip).into_iter();
        let mut told = lans.map(|lan| self.oracle.told.get(&(lan, node, vip)));
        let is_untold = told.any(|at| at.is_none_or(|at| at < ended));
        let started = self.oracle.started.get(&node).copied();
        let is_new = started.is_some_and(|at| self.now < at + MET);
        is_void && is_untold && (self.nodes[node].process.is_none() || is_new)
    }

    /// Since when two are known to answer for a VIP; now, if that is not known.
    fn paired(&self, vip: IpAddr, a: usize, b: usize) -> Ns {
        let pair = (vip, a.min(b), a.max(b));
        self.oracle.pairs.get(&pair).copied().unwrap_or(self.now)
    }

    /// A node's process found so many promises void since it started.
    pub(crate) fn note_voids(&mut self, node: usize, voids: u64) {
        let before = self.oracle.voids.insert(node, voids).unwrap_or_default();
        if voids > before {
            self.oracle.voided = Some(self.now);
            self.coverage.see("a promise was void");
        }
    }

    /// Looks again at those who answer under an excuse.
    pub(crate) fn look(&mut self) {
        self.oracle.is_looking = false;
        let pairs: Vec<_> = self.oracle.pairs.keys().copied().collect();
        for (vip, a, b) in pairs {
            if self.both_answer(a, b, vip) {
                self.pair(vip, a, b);
            } else {
                self.oracle.pairs.remove(&(vip, a, b));
            }
        }
    }

    /// A client got two answers to one question.
    pub(crate) fn two_answers(&mut self, two: TwoAnswers) {
        let node = |mac| self.nodes.iter().position(|node| node.has_mac(mac));
        let what = format!(
            "a client was given {} and {} for {}",
            two.macs[0], two.macs[1], two.vip
        );
        match two.macs.map(node) {
            [Some(a), Some(b)] if self.is_excused(two.vip, [a, b], self.paired(two.vip, a, b)) => {
                self.coverage.see("two answers, seen")
            }
            // One question can meet the old holder and, a fraction of a millisecond later, the new one.
            [Some(_), Some(_)] if two.apart < MS => {}
            [_, _] => self.oracle.note(self.now, Promise::OneAnswer, what),
        }
    }

    /// A frame that claims a VIP came to a node.
    pub(crate) fn claimed(
        &mut self,
        (lan, node): (Lan, usize),
        vip: IpAddr,
        mac: Mac,
        frame: &[u8],
    ) {
        let known = &mut self.nodes[node];
        let own = known.mac_on(lan);
        let time = known.time(self.now);
        let by_tables = known.kernel.may_claim(time, mac);
        // Whom the agent knows for a member, the table must have, unless somebody spoofed it.
        let process = known.process.as_ref();
        let by_agent = process.is_some_and(|process| process.agent.macs().contains(&mac))
            && !known.kernel.is_disarmed(time, mac);
        let is_heard = frame[0] & 1 == 1 || own.is_some_and(|own| frame[..6] == own.0);
        let is_members = is_heard && frame[6..12] == mac.0 && (by_tables || by_agent);
        if !is_members || own == Some(mac) {
            return;
        }
        let is_answering = known.kernel.would_answer(time, lan, vip);
        self.oracle.told.insert((lan, node, vip), self.now);
        if is_answering {
            let known = &self.nodes[node];
            let what = format!(
                "{} goes on answering for {vip} at a claim by {mac}",
                known.name
            );
            self.oracle.note(self.now, Promise::Fenced, what);
        }
    }

    /// A frame was passed to a node's stack: a question for a VIP must not be.
    pub(crate) fn passed(&mut self, (lan, node): (Lan, usize), frame: &[u8]) {
        let asked = match frame.get(12..14) {
            Some([8, 6])
                if frame.get(20..22) == Some(&[0, 1]) && frame.get(28..32) != frame.get(38..42) =>
            {
                frame
                    .get(38..42)
                    .and_then(|b| <[u8; 4]>::try_from(b).ok())
                    .map(IpAddr::from)
            }
            Some([0x86, 0xdd]) if frame.get(54) == Some(&135) => frame
                .get(62..78)
                .and_then(|b| <[u8; 16]>::try_from(b).ok())
                .map(IpAddr::from),
            Some(_) | None => None,
        };
        let known = &self.nodes[node];
        let own = known.mac_on(lan);
        let is_ours = frame[0] & 1 == 1 || own.is_some_and(|own| frame[..6] == own.0);
        if let Some(vip) = asked
            && is_ours
            && known.kernel.entry(&key(lan, vip)).is_some()
        {
            let what = format!("{} passed a question for {vip} to its stack", known.name);
            self.oracle.note(self.now, Promise::Dropped, what);
        }
    }

    /// The deadline after a turn of the pulse: nobody covers for a deciding thread that hangs (L5.1).
    pub(crate) fn judge_deadline(&mut self, node: usize, process: &Process) {
        let known = &self.nodes[node];
        let latest = process.decided + pulse::DECIDE_AGE_MAX + pulse::PROMISE;
        let is_unsteered = !process.runs(Thread::Decide) && !process.is_stopping;
        if is_unsteered && process.was_renewed && known.kernel.deadline() > latest {
            let what = format!(
                "{}: the deadline was renewed for a thread that hangs",
                known.name
            );
            self.oracle.note(self.now, Promise::Steered, what);
        }
    }

    /// Fences of what was answered for when entries were written: they still are, where it is answered for still.
    pub(crate) fn judge_fences(&mut self, node: usize, before: &BTreeSet<(VipKey, u32)>) {
        if before.is_empty() {
            return;
        }
        let kernel = &self.nodes[node].kernel;
        let after: BTreeSet<(VipKey, u32)> = kernel.fenced().collect();
        let lowered = before.iter().find(|(key, slot)| {
            let entry = kernel.entry(key);
            let answers =
                entry.is_some_and(|e| e.slot() == *slot && e.mode() == Some(Mode::Answer));
            answers && !after.contains(&(*key, *slot))
        });
        if let Some((key, _)) = lowered {
            let what = format!(
                "{}: a write lowered the fence of {key:?}",
                self.nodes[node].name
            );
            self.oracle.note(self.now, Promise::Fenced, what);
        }
    }

    /// Two nodes contest a VIP.
    pub(crate) fn contested(&mut self, node: usize, vip: IpAddr, with: NodeId) {
        let parties = self.oracle.parties.entry(vip).or_default();
        parties.extend([self.nodes[node].id, with]);
    }

    /// A node takes after a contest: the winner must not answer, where frames go through.
    pub(crate) fn retaken(&mut self, node: usize, vip: IpAddr) {
        // Of three, the one that won may have lost to the third meanwhile.
        let parties = self.oracle.parties.get(&vip).map_or(0, BTreeSet::len);
        let may_hide = |kind: &Kind| kind.blurs() || matches!(kind, Kind::Carrier(_));
        if parties > 2 || self.kinds.iter().any(may_hide) {
            return;
        }
        let other = (0..self.nodes.len()).find(|other| *other != node && self.answers(*other, vip));
        if let Some(other) = other {
            let (name, other) = (&self.nodes[node].name, &self.nodes[other].name);
            let what = format!("{name} takes {vip} again, though {other} answers");
            self.oracle.note(self.now, Promise::Contest, what);
        }
    }

    /// A node dies at rest: what it answered for must be answered for again in time.
    pub(crate) fn expect(&mut self, node: usize) {
        for at in 0..self.vips.len() {
            let vip = self.vips[at];
            if self.answers(node, vip) {
                let expected = Event::Expect(vip, node, self.strikes + 1);
                self.queue.plan(self.now + FAILOVER, expected);
            }
        }
    }

    /// That time is over.
    pub(crate) fn expected(&mut self, vip: IpAddr, dead: usize, strikes: usize) {
        let mut heirs = self.candidates(vip);
        heirs.remove(&dead);
        if self.strikes != strikes || heirs.is_empty() {
            return;
        }
        self.coverage.see("failovers timed");
        if !(0..self.nodes.len()).any(|node| self.answers(node, vip)) {
            let what = format!("{vip} is silent since {} died", self.nodes[dead].name);
            self.oracle.note(self.now, Promise::Failover, what);
        }
    }
}

/// How long after a cut two answers may still be: heartbeats, held sets and one release.
const HEALING: Ns = 2 * S;
/// How long a kernel without a speaker may miss the claims of who took its VIP: five, one each 200 ms, and slow turns.
const CLAIMED: Ns = 1_200 * MS;
/// How long a process that started may not have heard from those who hold what it adopted: it says at once that it is there, each of the two
/// is challenged, and turns may be slow.
const MET: Ns = 200 * MS;
/// From a death to another's answer: 0.65 s until it is voted, a round of acknowledgements, and slow turns of two threads.
const FAILOVER: Ns = 1_000 * MS;
/// How often those who answer under an excuse are looked at.
const LOOK: Ns = 20 * MS;
