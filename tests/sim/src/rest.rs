//! What must hold when the faults are over and time has passed: each VIP is answered for by one that may, and tables say what the plan does.
//!
//! It looks at moments only. What must hold at every moment is [`crate::oracle`]'s.

use crate::lan::Lan;
use crate::oracle::Promise;
use crate::world::World;
use std::collections::BTreeSet;
use std::net::IpAddr;

impl World {
    /// Some milliseconds before [`World::judge`]: a VIP that is on its way from one node to another is silent for less.
    pub(crate) fn glance(&mut self) {
        let holders = self.holders().into_iter();
        let silent = holders.filter(|(_, _, answerers)| answerers.is_empty());
        self.oracle.silent = silent.map(|(vip, _, _)| vip).collect();
        self.oracle.astray = self
            .astray()
            .into_iter()
            .map(|(node, vip, _)| (node, vip))
            .collect();
    }

    /// Judges the rest after the last fault.
    pub(crate) fn judge(&mut self) {
        self.tell_views();
        for (vip, candidates, answerers) in self.holders() {
            let verdict = match answerers.as_slice() {
                [] if !candidates.is_empty() && self.oracle.silent.contains(&vip) => {
                    Promise::Answered
                }
                [] | [_] => continue,
                [..] => Promise::OneAnswer,
            };
            let what = format!("{vip}: candidates {candidates:?}, answered by {answerers:?}");
            self.oracle.note(self.now, verdict, what);
        }
        for (node, vip, what) in self.astray() {
            if self.oracle.astray.contains(&(node, vip)) {
                self.oracle.note(self.now, Promise::Passed, what);
            }
        }
        for node in 0..self.nodes.len() {
            self.judge_tables(node);
            self.judge_words(node);
        }
    }

    /// What a process heard and could not read.
    fn judge_words(&mut self, node: usize) {
        let known = &self.nodes[node];
        let Some(process) = &known.process else {
            return;
        };
        let counts = *process.gossip.counts();
        if counts.malformed > 0 {
            let what = format!("{} heard what is malformed", known.name);
            self.oracle.note(self.now, Promise::Understood, what);
        }
        if counts.other_protocol > 0 {
            self.coverage.see("another protocol heard");
        }
        if counts.unknown_kind > 0 {
            self.coverage.see("an unknown kind heard");
        }
    }

    /// Who sends a new connection to a VIP elsewhere than to the one node that answers for it.
    fn astray(&mut self) -> Vec<(usize, IpAddr, String)> {
        let mut astray = Vec::new();
        for (vip, _, answerers) in self.holders() {
            let [holder] = answerers[..] else {
                continue;
            };
            for node in (0..self.nodes.len()).filter(|node| *node != holder) {
                let known = &self.nodes[node];
                for lan in known.lans() {
                    let (time, own) = (known.time(self.now), known.mac_on(lan));
                    let sends_on = |own| known.kernel.sends_on(time, lan, own, vip);
                    let Some(to) = own.and_then(sends_on) else {
                        continue;
                    };
                    self.coverage.see("sent on");
                    if self.nodes[holder].mac_on(lan) != Some(to) {
                        let (name, holder) = (&known.name, &self.nodes[holder].name);
                        let what = format!("{name} sends {vip} to {to}, and {holder} has it");
                        astray.push((node, vip, what));
                    }
                }
            }
        }
        astray
    }

    /// By VIP: who may answer for it, and who does.
    fn holders(&mut self) -> Vec<(IpAddr, BTreeSet<usize>, Vec<usize>)> {
        let nodes = 0..self.nodes.len();
        let vips = self.vips.clone();
        let of = vips.into_iter().map(|vip| {
            let answerers = nodes.clone().filter(|node| self.answers(*node, vip));
            let answerers = answerers.collect();
            (vip, self.candidates(vip), answerers)
        });
        of.collect()
    }

    /// Who may answer for a VIP now: with a speaker that runs, and a link that it is announced on and that has carrier.
    pub(crate) fn candidates(&self, vip: IpAddr) -> BTreeSet<usize> {
        let lans = self.truth.lans_of(vip);
        let is_fit = |node: &usize| {
            let known = &self.nodes[*node];
            known.process.is_some() && lans.iter().any(|lan| known.has_carrier(*lan))
        };
        let fit = (0..self.nodes.len()).filter(is_fit).collect();
        self.truth.candidates(vip, &fit)
    }

    /// Whether whoever answers may.
    pub(crate) fn are_candidates_holders(&mut self) -> bool {
        let holders = self.holders();
        let mut holders = holders.into_iter();
        holders.all(|(_, candidates, answerers)| answerers.iter().all(|n| candidates.contains(n)))
    }

    /// Judges who answers: nobody does who may not.
    pub(crate) fn judge_holders(&mut self) {
        for (vip, candidates, answerers) in self.holders() {
            if answerers.iter().any(|node| !candidates.contains(node)) {
                let what = format!("{vip}: candidates {candidates:?}, answered by {answerers:?}");
                self.oracle.note(self.now, Promise::Silent, what);
            }
        }
    }

    /// What a node answers for on a segment and must lose when it is not heard there: somebody else may have it, and all who may can tell that
    /// it is not they who are cut off.
    pub(crate) fn expected_to_move(&mut self, lan: Lan, node: usize) -> Vec<IpAddr> {
        let is_up = |other: &usize| {
            let known = &self.nodes[*other];
            known.process.is_some() && known.has_carrier(lan) && self.segments[lan].is_heard(*other)
        };
        let up: BTreeSet<usize> = (0..self.nodes.len()).filter(is_up).collect();
        if up.len() < HEARD_MIN {
            return Vec::new();
        }
        let mut expected = Vec::new();
        for vip in self.vips.clone() {
            let candidates = self.candidates(vip);
            let is_moving = candidates.len() > 1 && candidates.is_subset(&up);
            if is_moving && self.answers_on(lan, node, vip) {
                expected.push(vip);
            }
        }
        expected
    }

    /// Whether another node answers for them there now.
    pub(crate) fn judge_watched(&mut self, lan: Lan, mute: usize, expected: &[IpAddr]) {
        for vip in expected {
            self.coverage.see("mute holders timed");
            let others = (0..self.nodes.len()).filter(|node| *node != mute);
            let mut others: Vec<usize> = others.collect();
            others.retain(|node| self.answers_on(lan, *node, *vip));
            if others.len() != 1 {
                let name = &self.nodes[mute].name;
                let what =
                    format!("{vip} of {name}, which is not heard, is answered by {others:?}");
                self.oracle.note(self.now, Promise::Watched, what);
            }
        }
    }

    fn judge_tables(&mut self, node: usize) {
        let known = &self.nodes[node];
        let Some(process) = &known.process else {
            return;
        };
        let kernel = known.kernel.read();
        let mut memory = process.memory.clone();
        let wanted = crate::decide::wanted(process, &mut memory, process.agent.plan());
        let changes = speaker_core::tables::changes(&kernel, &wanted);
        if !changes.is_empty() {
            let held = process.agent.held();
            let synced = process.agent.world().is_synced();
            let what = format!(
                "{}: the tables are not the plan's: {} changes, synced {synced}, holds {held:?}, {:?}",
                known.name,
                changes.len(),
                process.threads
            );
            self.oracle.note(self.now, Promise::AtRest, what);
        }
        // A fence of what is not answered for silences nothing.
        if let Some(key) = self.nodes[node].kernel.silenced() {
            let what = format!("{}: the fence of {key:?} is up", self.nodes[node].name);
            self.oracle.note(self.now, Promise::AtRest, what);
        }
    }
}

/// The holder, the heir, and one more whom the heir hears.
const HEARD_MIN: usize = 3;
