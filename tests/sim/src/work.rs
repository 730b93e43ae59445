//! What the other threads of a speaker do: links, gratuitous frames, clients that are told, probes and claims.
//!
//! As `speaker/src/drive/{announce,links}.rs` do it, with frames of the real builders.

use crate::flow;
use crate::kernel::Fate;
use crate::lan::{self, Lan};
use crate::net;
use crate::node::{Job, Process, Thread};
use crate::plant::Plant;
use crate::vicinity::look_for;
use crate::world::World;
use speaker_core::agent::Input;
use speaker_ebpf::abi::{ClaimKind, Entry, Mode, VipKey};
use speaker_proto::announce::{self, Answered, Asker, Place};
use speaker_proto::{
    Epoch, Mac, Machine, Span, Time, Vip, claim, neighbour, probe, vicinity, watch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

impl World {
    /// One turn of whatever is due.
    pub(crate) fn work_turn(&mut self, node: usize) {
        let time = self.nodes[node].time(self.now);
        let Some(mut process) = self.nodes[node].process.take() else {
            return;
        };
        let heard = process.inbox.len();
        self.claims(node, &mut process);
        self.look_at_fences(node, &mut process, time);
        let answers = if process.is_armed {
            answers(&process)
        } else {
            BTreeMap::new()
        };
        process
            .announce
            .input(time, announce::Input::Answers(answers));
        while let Some(job) = process.jobs.pop_front() {
            match job {
                Job::Probe(ask) => process.probes.input(time, probe::Input::Ask(ask)),
                Job::Heard(place, mac) => {
                    process.probes.input(time, probe::Input::Heard(place, mac));
                    process.watch.input(time, watch::Input::Heard(place, mac));
                    if net::is_nodes(place.0.0) {
                        process
                            .vicinity
                            .input(time, vicinity::Input::Heard(place, mac));
                    }
                }
                Job::LookFor(prospects) => look_for(&mut process, time, prospects),
                Job::Watch(list) => process.watch.input(time, watch::Input::Watch(list)),
                Job::Claim(vips) => process.announce.input(time, announce::Input::Claim(vips)),
                Job::ClaimTo(vips, macs) => {
                    let input = announce::Input::ClaimTo(vips, macs);
                    process.announce.input(time, input);
                }
            }
        }
        process.announce.expire(time);
        process.probes.expire(time);
        process.watch.expire(time);
        process.vicinity.expire(time);
        self.announce_outputs(node, &mut process, time);
        self.probe_outputs(node, &mut process, time);
        self.watch_outputs(node, &mut process, time);
        self.vicinity_outputs(node, &mut process);
        let dues = [
            process.announce.deadline(),
            process.probes.deadline(),
            process.watch.deadline(),
            process.vicinity.deadline(),
        ];
        let due = dues.into_iter().flatten().map(|(due, _)| due).min();
        let due = due.map_or(process.look_at, |due| due.min(process.look_at));
        let has_heard = process.inbox.len() > heard;
        self.nodes[node].process = Some(process);
        self.want_when(node, Thread::Work, due);
        if has_heard {
            self.want_soon(node, Thread::Decide);
        }
    }

    /// Reads the ring of claims.
    fn claims(&mut self, node: usize, process: &mut Process) {
        let claims = self.nodes[node].kernel.take_claims();
        if self.plant == Some(Plant::LosesClaims) {
            return;
        }
        for claim in claims {
            let vip = Vip(claim.vip.addr().into());
            let entry = process.mirror.vips.get(&claim.vip);
            if entry.and_then(Entry::mode) != Some(Mode::Answer) {
                continue;
            }
            match ClaimKind::from_byte(claim.kind) {
                Some(ClaimKind::Member) => {
                    let mac = Mac(claim.mac.0);
                    process.inbox.push_back(Input::Claimed { vip, mac });
                }
                Some(ClaimKind::Foreign | ClaimKind::Spoofed) => {
                    let place = (vip, claim.vip.ifindex());
                    let time = self.nodes[node].time(self.now);
                    process
                        .announce
                        .input(time, announce::Input::Contested(place));
                }
                None => {}
            }
        }
    }

    /// Looks each second for fences that nobody told of.
    fn look_at_fences(&mut self, node: usize, process: &mut Process, time: Time) {
        if time < process.look_at {
            return;
        }
        process.look_at = time + LOOKS;
        if self.plant == Some(Plant::LosesClaims) {
            return;
        }
        let looked = process.looks.next(&process.mirror);
        let fenced = self.nodes[node].kernel.fenced_of(looked.values().copied());
        for raised in process.looks.seen(&looked, &fenced) {
            process.inbox.push_back(Input::Fenced(raised.vip));
        }
    }

    fn announce_outputs(&mut self, node: usize, process: &mut Process, time: Time) {
        while let Some(output) = process.announce.output() {
            match output {
                announce::Output::Gratuitous(place, answered) => {
                    if self.holds(node, process, time, place, answered) {
                        self.gratuitous(node, place, answered.mac);
                    }
                }
                announce::Output::ClaimTo(place, answered, to) => {
                    if self.holds(node, process, time, place, answered) {
                        let frame = match place.0.0 {
                            IpAddr::V4(vip) => neighbour::arp_claim_to(to, answered.mac, vip),
                            IpAddr::V6(vip) => neighbour::advertisement_to(to, answered.mac, vip),
                        };
                        self.send_on(node, place, &frame);
                    }
                }
                announce::Output::FindAskers(places) => {
                    let askers = places.iter().flat_map(|place| self.askers(node, *place));
                    let askers = askers.collect();
                    process
                        .announce
                        .input(time, announce::Input::Askers(askers));
                }
                announce::Output::Tell(asker, answered) => {
                    if self.holds(node, process, time, asker.place, answered) {
                        self.tell_client(node, asker, answered.mac);
                    }
                }
            }
        }
    }

    fn probe_outputs(&mut self, node: usize, process: &mut Process, time: Time) {
        while let Some(output) = process.probes.output() {
            match output {
                probe::Output::Send(probe) => {
                    if !self.send_probe(node, &probe) {
                        let unsent = probe::Input::Unsent(probe.group, probe.place);
                        process.probes.input(time, unsent);
                    }
                }
                probe::Output::Probed {
                    group,
                    nonce,
                    answered,
                } => {
                    process.inbox.push_back(Input::Probed {
                        group,
                        nonce,
                        answered,
                    });
                }
            }
        }
    }

    /// Whether the program answers for this taking right now.
    fn holds(
        &self,
        node: usize,
        process: &Process,
        time: Time,
        place: Place,
        answered: Answered,
    ) -> bool {
        let key = VipKey::new(place.0.0.into(), place.1);
        time < self.nodes[node].kernel.deadline()
            && process.mirror.vips.get(&key).is_some_and(|entry| {
                entry.mode() == Some(Mode::Answer) && entry.epoch() == answered.epoch.0
            })
    }

    /// Sends the gratuitous frames of a VIP.
    fn gratuitous(&mut self, node: usize, place: Place, mac: Mac) {
        match place.0.0 {
            IpAddr::V4(vip) => {
                for frame in neighbour::gratuitous_arp(mac, vip) {
                    self.send_on(node, place, &frame);
                }
            }
            IpAddr::V6(vip) => {
                self.send_on(node, place, &neighbour::unsolicited_advertisement(mac, vip));
            }
        }
    }

    /// Sends a frame out of the link of a place.
    fn send_on(&mut self, node: usize, place: Place, frame: &[u8]) {
        if let Some(lan) = lan::of(place.1) {
            self.send(lan, node, frame);
        }
    }

    fn askers(&self, node: usize, place: Place) -> Vec<Asker> {
        let lan = lan::of(place.1).into_iter();
        let of = lan.flat_map(|lan| self.nodes[node].kernel.askers(lan, place.0.0));
        of.map(|(client, mac)| Asker { place, client, mac })
            .collect()
    }

    fn tell_client(&mut self, node: usize, asker: Asker, mac: Mac) {
        let frame = match (asker.place.0.0, asker.client) {
            (IpAddr::V4(vip), IpAddr::V4(client)) => {
                neighbour::arp_question(mac, vip, (asker.mac, client))
            }
            (IpAddr::V6(vip), IpAddr::V6(client)) => {
                neighbour::solicitation(mac, vip, (asker.mac, client))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return,
        };
        self.send_on(node, asker.place, &frame);
    }

    /// A frame arrives at a node: its kernel sees it, and whoever listens to all frames.
    pub(crate) fn node_frame(&mut self, lan: Lan, node: usize, frame: &Rc<[u8]>) {
        let known = &mut self.nodes[node];
        let Some(own) = known.mac_on(lan).filter(|_| known.has_carrier(lan)) else {
            return;
        };
        let time = known.time(self.now);
        let at = (lan, node);
        if let Some(packet) = flow::read(frame) {
            return self.node_packet(at, own, packet, frame);
        }
        let fate = known.kernel.receive(time, lan, own, frame);
        match fate {
            Fate::Reply(reply) => self.send(lan, node, &reply),
            Fate::Dropped if self.plant == Some(Plant::PassesLapsed) => self.passed(at, frame),
            Fate::Dropped => {}
            Fate::Passed => {
                self.passed(at, frame);
                self.answer_own(at, own, frame);
            }
        }
        let Some((vip, mac)) = claim::read(frame) else {
            return;
        };
        self.claimed(at, vip.0, mac, frame);
        let known = &mut self.nodes[node];
        let has_claims = known.kernel.has_claims();
        let Some(process) = &mut known.process else {
            return;
        };
        let is_probing = process.probes.deadline().is_some()
            || process.watch.deadline().is_some()
            || !process.jobs.is_empty()
            || (net::is_nodes(vip.0) && process.vicinity.deadline().is_some());
        if is_probing {
            process
                .jobs
                .push_back(Job::Heard((vip, lan::ifindex(lan)), mac));
        }
        if is_probing || has_claims {
            self.want_soon(node, Thread::Work);
        }
    }

    /// Netlink tells of the links as they are.
    pub(crate) fn link(&mut self, node: usize, life: u32) {
        let known = &mut self.nodes[node];
        if known.life != life {
            return;
        }
        let announcing = known.links();
        if let Some(process) = &mut known.process {
            process.inbox.push_back(Input::Links {
                announcing,
                others: BTreeSet::new(),
            });
            self.want_soon(node, Thread::Decide);
        }
    }
}

fn answers(process: &Process) -> BTreeMap<Place, Answered> {
    let tables = &process.mirror;
    let answering = tables
        .vips
        .iter()
        .filter(|(_, entry)| entry.mode() == Some(Mode::Answer));
    answering
        .filter_map(|(key, entry)| {
            let mac = Mac(tables.links.get(&key.ifindex())?.mac().0);
            let place = (Vip(key.addr().into()), key.ifindex());
            let answered = Answered {
                mac,
                epoch: Epoch(entry.epoch()),
            };
            Some((place, answered))
        })
        .collect()
}

/// As in the shell: a claim that was heard is settled long before.
const LOOKS: Span = Span::s(1);
