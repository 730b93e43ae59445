//! How faults begin and end.
//!
//! Each is undone by its own record, so that faults of one kind may overlap: what two hold is free when both are over.

use crate::history::{Begins, Kind, Nodes, Way};
use crate::lan::{self, Lan};
use crate::node::{Grip, Thread};
use crate::queue::{MS, Ns, S};
use crate::segment::Segment;
use crate::world::{Event, World};
use speaker_core::plan::Hold;
use speaker_proto::neighbour;
use std::net::IpAddr;
use std::rc::Rc;

/// An aimed fault that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    fault: usize,
    state: Hold,
    left: u8,
    delay: Ns,
    from: Ns,
    is_own: bool,
}

impl World {
    /// Plans every fault of the history.
    pub(crate) fn plan_faults(&mut self) {
        let history = Rc::clone(&self.history);
        for (number, fault) in history.faults.iter().enumerate() {
            self.kinds.push(fault.kind.clone());
            self.struck.push(false);
            self.queue.plan(fault.latest(), Event::Strike(number));
            if let Begins::On {
                state,
                nth,
                delay,
                from,
                is_own,
                latest: _,
            } = fault.begins
            {
                self.aims.push(Aim {
                    fault: number,
                    state,
                    left: nth,
                    delay,
                    from,
                    is_own,
                });
            }
        }
    }

    /// A group came into a state on a node: faults that aim at that are released.
    pub(crate) fn entered(&mut self, node: usize, state: Hold) {
        let now = self.now;
        let mut released = Vec::new();
        self.aims.retain_mut(|aim| {
            if aim.state != state || now < aim.from {
                return true;
            }
            if aim.left > 0 {
                aim.left -= 1;
                return true;
            }
            released.push(*aim);
            false
        });
        for aim in released {
            if self.struck[aim.fault] {
                continue;
            }
            let victim = if aim.is_own {
                node
            } else {
                (node + 1) % self.nodes.len()
            };
            self.kinds[aim.fault] = self.kinds[aim.fault].at(victim);
            self.queue.plan(now + aim.delay, Event::Strike(aim.fault));
        }
    }

    /// A fault begins.
    pub(crate) fn strike(&mut self, number: usize) {
        if std::mem::replace(&mut self.struck[number], true) {
            return;
        }
        let kind = self.kinds[number].clone();
        self.tell(|| format!("fault {kind:?}"));
        *self.coverage.faults.entry(kind.name()).or_default() += 1;
        let ends = self.now + self.history.faults[number].lasts;
        self.queue.plan(ends, Event::Heal(number));
        if let Kind::Kill(node) = kind
            && self.calm_from + CALM < self.now
        {
            self.expect(node);
        }
        self.calm_from = self.calm_from.max(ends);
        self.strikes += 1;
        match &kind {
            Kind::Stop(node) => self.hold_threads(*node, Grip::Stopped),
            Kind::Tear(node) => {
                if let Some(process) = &mut self.nodes[*node].process {
                    process.tear = true;
                }
            }
            Kind::HangPulse(node) => self.hold_threads(*node, Grip::Hung(Thread::Pulse)),
            Kind::HangDecide(node) => self.hold_threads(*node, Grip::Hung(Thread::Decide)),
            Kind::HangWork(node) => self.hold_threads(*node, Grip::Hung(Thread::Work)),
            Kind::Kill(node) => self.kill(*node),
            Kind::Restart(node) => self.stop(*node),
            Kind::CutGossip(from, to) => self.cut_gossip(*from, *to, true),
            Kind::Loss(per_mille) => self.net.loss += per_mille,
            Kind::Jumble => {
                self.net.duplicates += 100;
                self.net.late += 100;
            }
            Kind::CutSegment(nodes) => self.cut_segment(0, *nodes, 1),
            Kind::SecondCut(nodes) => self.cut_segment(1, *nodes, 1),
            Kind::FrameLoss(per_mille) => self.each_segment(|segment| segment.loss += per_mille),
            Kind::FilterGratuitous => {
                self.each_segment(|segment| segment.filters_gratuitous = true)
            }
            Kind::Carrier(node) => self.carrier(0, *node, false),
            Kind::SecondCarrier(node) => self.carrier(1, *node, false),
            Kind::Drain(node) => self.drain(*node, true),
            Kind::SlowApi(node) => self.api.follower(*node).lag += SLOW,
            Kind::NoApi(node) => {
                self.api.follower(*node).is_cut = true;
                self.stale(*node, true);
            }
            Kind::Edit(edit) => self.edit(&edit.clone()),
            Kind::Spoof(..) => self.spoof(number, ends),
            Kind::LoseClaims(node) => self.nodes[*node].kernel.loses_claims = true,
            Kind::OneWay(node, way, has_gossip) => {
                self.one_way((0, *node), *way, *has_gossip, true);
            }
            Kind::SecondOneWay(node, way) => self.one_way((1, *node), *way, false, true),
            Kind::Slow(node) => self.nodes[*node].slow_faults += 1,
            Kind::Upgrade(node) => {
                self.nodes[*node].binary.is_grown = true;
                self.stop(*node);
            }
            Kind::Version(node) => self.speak_other(*node, true),
        }
    }

    /// A fault ends.
    pub(crate) fn heal(&mut self, number: usize) {
        let kind = self.kinds[number].clone();
        self.tell(|| format!("end of {kind:?}"));
        match &kind {
            Kind::Stop(node) => self.release_threads(*node, Grip::Stopped),
            Kind::Tear(node) => self.mend(*node),
            Kind::HangPulse(node) => self.release_threads(*node, Grip::Hung(Thread::Pulse)),
            Kind::HangDecide(node) => self.release_threads(*node, Grip::Hung(Thread::Decide)),
            Kind::HangWork(node) => self.release_threads(*node, Grip::Hung(Thread::Work)),
            Kind::Kill(node) | Kind::Restart(node) | Kind::Upgrade(node) => self.start(*node),
            Kind::CutGossip(from, to) => self.cut_gossip(*from, *to, false),
            Kind::Loss(per_mille) => self.net.loss -= per_mille,
            Kind::Jumble => {
                self.net.duplicates -= 100;
                self.net.late -= 100;
            }
            Kind::CutSegment(nodes) => self.cut_segment(0, *nodes, 0),
            Kind::SecondCut(nodes) => self.cut_segment(1, *nodes, 0),
            Kind::FrameLoss(per_mille) => self.each_segment(|segment| segment.loss -= per_mille),
            Kind::FilterGratuitous => {
                self.each_segment(|segment| segment.filters_gratuitous = false)
            }
            Kind::Carrier(node) => self.carrier(0, *node, true),
            Kind::SecondCarrier(node) => self.carrier(1, *node, true),
            Kind::Drain(node) => self.drain(*node, false),
            Kind::SlowApi(node) => self.api.follower(*node).lag -= SLOW,
            Kind::NoApi(node) => {
                self.api.follower(*node).is_cut = false;
                self.stale(*node, false);
                self.tell_later(*node);
            }
            Kind::Edit(_) | Kind::Spoof(..) => {}
            Kind::LoseClaims(node) => self.nodes[*node].kernel.loses_claims = false,
            Kind::OneWay(node, way, has_gossip) => {
                self.one_way((0, *node), *way, *has_gossip, false);
            }
            Kind::SecondOneWay(node, way) => self.one_way((1, *node), *way, false, false),
            Kind::Slow(node) => self.nodes[*node].slow_faults -= 1,
            Kind::Version(node) => self.speak_other(*node, false),
        }
    }

    /// A direction of a node's link dies, or works again.
    pub(crate) fn one_way(
        &mut self,
        (lan, node): (Lan, usize),
        way: Way,
        has_gossip: bool,
        is_dead: bool,
    ) {
        let is_out = way == Way::Out;
        self.segments[lan].set_one_way(node, is_out, is_dead);
        if has_gossip {
            let all = Nodes((1 << self.nodes.len()) - 1);
            let alone = Nodes(1 << node);
            let (from, to) = if is_out { (alone, all) } else { (all, alone) };
            self.cut_gossip(from, to, is_dead);
        }
        self.changed_everywhere();
    }

    /// A node's speaker restarts at once, into another protocol or back.
    fn speak_other(&mut self, node: usize, is_other: bool) {
        self.nodes[node].binary.is_other = is_other;
        match &mut self.nodes[node].process {
            Some(process) => {
                process.has_successor = true;
                self.stop(node);
            }
            None => self.start(node),
        }
    }

    fn cut_gossip(&mut self, from: Nodes, to: Nodes, is_cut: bool) {
        let all = 0..self.nodes.len();
        for a in all.clone().filter(|node| from.has(*node)) {
            for b in all.clone().filter(|node| to.has(*node) && *node != a) {
                if is_cut {
                    self.net.cut(a, b);
                } else {
                    self.net.heal(self.now, a, b);
                }
            }
        }
    }

    fn each_segment(&mut self, change: impl FnMut(&mut Segment)) {
        self.segments.iter_mut().for_each(change);
    }

    pub(crate) fn cut_segment(&mut self, lan: Lan, nodes: Nodes, side: u8) {
        for node in (0..self.nodes.len()).filter(|node| nodes.has(*node)) {
            self.segments[lan].set_side(node, side);
        }
        self.changed_everywhere();
    }

    /// A link that is not there loses nothing. Members hear each other by the first.
    fn carrier(&mut self, lan: Lan, node: usize, is_up: bool) {
        let known = &mut self.nodes[node];
        if known.mac_on(lan).is_none() {
            return;
        }
        self.note_outside();
        let known = &mut self.nodes[node];
        if is_up {
            known.link_faults[lan] -= 1;
        } else {
            known.link_faults[lan] += 1;
        }
        let has_carrier = known.has_carrier(lan);
        let life = known.life;
        if lan == 0 {
            let is_sound = !self.kinds.iter().any(Kind::blurs);
            self.net.set_down(self.now, node, !has_carrier, is_sound);
        }
        self.segments[lan].set_up(node, has_carrier);
        self.note_outside();
        let at = self.now + self.chance.between(MS, 10 * MS);
        self.queue.plan(at, Event::Link(node, life));
        self.changed(node);
    }

    /// Edits an object; every node hears of it in its own time.
    fn edit(&mut self, edit: &crate::truth::Edit) {
        self.note_outside();
        for change in self.truth.edit(edit) {
            self.api.change(change);
        }
        self.note_outside();
        for node in 0..self.nodes.len() {
            self.tell_later(node);
        }
    }

    /// Plans that a node hears of everything there is now.
    pub(crate) fn tell_later(&mut self, node: usize) {
        let follower = self.api.follower(node);
        if follower.is_cut {
            return;
        }
        let lag = follower.lag;
        let at = self.now + lag + MS + self.chance.exponential(20 * MS);
        self.queue.plan(at, Event::Hear(node, self.api.len()));
    }

    /// The threads of a process that was stopped in the middle of a turn go on.
    fn mend(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        process.tear = false;
        if process.torn.is_some() {
            self.release_threads(node, Grip::Torn);
            self.want_soon(node, Thread::Pulse);
        }
    }

    /// The spoofing host claims a VIP with a member's hardware address, and again in a while.
    pub(crate) fn spoof(&mut self, number: usize, until: Ns) {
        let Kind::Spoof(vip, node, rate) = self.kinds[number] else {
            return;
        };
        if self.now >= until {
            return;
        }
        let mut lans = self.truth.lans_of(vip).into_iter();
        let (lan, port) = (lans.next().unwrap_or_default(), self.spoofer());
        let mac = lan::mac(node, lan);
        // The switch takes the spoofing host's port for the node's.
        for other in 0..self.nodes.len() {
            self.flows.gap((lan, other, node), self.now);
        }
        match vip {
            IpAddr::V4(vip) => {
                let [frame, _] = neighbour::gratuitous_arp(mac, vip);
                self.send(lan, port, &frame);
            }
            IpAddr::V6(vip) => {
                self.send(lan, port, &neighbour::unsolicited_advertisement(mac, vip));
            }
        }
        let at = self.now + S / rate;
        self.queue.plan(at, Event::Spoof(number, until));
    }
}

/// After so long without a fault the cluster is at rest.
const CALM: Ns = 3 * S;
/// How much later a slow API server is heard.
const SLOW: Ns = 3_000 * MS;
