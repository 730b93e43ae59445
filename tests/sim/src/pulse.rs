//! The pulse's thread: the socket first, then what is due, then the deadline; and heartbeats before the deadline, from one `now`.

use crate::node::{Grip, Node, Process, Said, Thread, Torn};
use crate::plant::Plant;
use crate::queue::MS;
use crate::world::{Event, World};
use crate::{binary, net};
use speaker_core::agent;
use speaker_proto::gossip::{self, Datagram, Received};
use speaker_proto::member::{HeldVersion, Roster, Standing};
use speaker_proto::pulse::{self, DECIDE_AGE_MAX, Input, Output};
use speaker_proto::{Machine, Span, Time};
use std::sync::Arc;

impl World {
    /// A datagram arrives.
    pub(crate) fn datagram(&mut self, node: usize, received: Received) {
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        if process.socket.len() == SOCKET_MAX {
            return;
        }
        process.socket.push_back(received);
        if process.runs(Thread::Pulse) {
            self.pulse_turn(node);
        } else {
            process.thread(Thread::Pulse).is_wanted = true;
        }
    }

    /// One turn.
    pub(crate) fn pulse_turn(&mut self, node: usize) {
        let time = self.nodes[node].time(self.now);
        let Some(mut process) = self.nodes[node].process.take() else {
            return;
        };
        let before = self.nodes[node].kernel.deadline();
        let said = process.said.len();
        let heard = process.inbox.len();
        if let Some(torn) = process.torn.take() {
            let decided = process.decided;
            beaten(&mut process, torn, decided);
        }
        while let Some(mut received) = process.socket.pop_front() {
            received.body = binary::received(process.binary, received.body);
            process
                .gossip
                .input(time, gossip::Input::Received(received));
        }
        while let Some(input) = process.asked.pop_front() {
            process.gossip.input(time, input);
        }
        process.gossip.expire(time);
        self.gossip_outputs(node, &mut process, time);
        for _ in 0..std::mem::take(&mut process.arms) {
            process.pulse.input(time, Input::Arm);
        }
        process.pulse.expire(time);
        self.pulse_outputs(node, &mut process, time);
        let dues = [process.pulse.deadline(), process.gossip.deadline()];
        let due = dues.into_iter().flatten().map(|(due, _)| due).min();
        let has_said = process.said.len() > said;
        let has_heard = process.inbox.len() > heard;
        let turn = if process.is_armed { 40 * MS } else { 5 * MS };
        let is_torn = process.torn.is_some();
        if self.plant == Some(Plant::RenewsAfterLapse) && !process.pulse.is_armed() {
            let deadline = time + pulse::PROMISE;
            self.nodes[node].kernel.store_deadline(deadline);
        }
        process.was_renewed = self.nodes[node].kernel.deadline() != before;
        self.judge_deadline(node, &process);
        self.nodes[node].process = Some(process);
        if is_torn {
            self.hold_threads(node, Grip::Torn);
        }
        if has_said {
            // The pulse cannot wake the deciding thread, which looks each turn.
            let at = self.now + self.chance.below(turn);
            self.want(node, Thread::Decide, at);
        }
        if has_heard {
            self.want_soon(node, Thread::Decide);
        }
        if let Some(due) = due {
            self.want_when(node, Thread::Pulse, due);
        }
        if self.nodes[node].kernel.deadline() != before {
            self.changed(node);
        }
    }

    /// What gossip wants; how many heartbeats the stack accepted.
    fn gossip_outputs(&mut self, node: usize, process: &mut Process, time: Time) -> usize {
        let mut accepted = 0;
        while let Some(output) = process.gossip.output() {
            match output {
                gossip::Output::Send(datagram) => {
                    let is_heartbeat = datagram.is_heartbeat;
                    let is_accepted = self.send_datagram(node, process, datagram);
                    accepted += usize::from(is_heartbeat && is_accepted);
                }
                gossip::Output::Roster(roster) => {
                    self.note_voids(node, process.gossip.counts().voided);
                    let roster = self.planted_roster(roster, time);
                    process.inbox.push_back(agent::Input::Roster(roster));
                }
                gossip::Output::Told(from, message) => {
                    process.inbox.push_back(agent::Input::Told(from, message));
                }
                gossip::Output::Promised(is_noted) => self.promised(node, process, time, is_noted),
            }
        }
        accepted
    }

    fn pulse_outputs(&mut self, node: usize, process: &mut Process, time: Time) {
        while let Some(output) = process.pulse.output() {
            match output {
                Output::Beat => {
                    let steered = time.since(self.decided(node, process, time)) <= DECIDE_AGE_MAX;
                    process.gossip.input(time, gossip::Input::Steered(steered));
                    process.gossip.input(time, gossip::Input::Beat);
                    let torn = Torn {
                        now: time,
                        accepted: self.gossip_outputs(node, process, time),
                        observers: process.gossip.observers(),
                    };
                    let decided = self.decided(node, process, time);
                    if std::mem::take(&mut process.tear) {
                        process.decided = decided;
                        process.torn = Some(torn);
                        return;
                    }
                    beaten(process, torn, decided);
                }
                Output::Store(deadline) => self.nodes[node].kernel.store_deadline(deadline),
                Output::Armed => process.said.push_back(Said::Armed),
                Output::Lapsed { deadline } => process.said.push_back(Said::Lapsed(deadline)),
            }
        }
    }

    /// Whether the stack accepts it; what happens to it then is the network's affair.
    fn send_datagram(&mut self, node: usize, process: &Process, datagram: Datagram) -> bool {
        if !self.net.accepts(node) {
            return false;
        }
        let Some(to) = net::node(datagram.to).filter(|to| *to < self.nodes.len()) else {
            return true;
        };
        let Node { id, .. } = self.nodes[node];
        let body = binary::sent(process.binary, datagram.body, &mut self.chance);
        for at in self.net.carry(self.now, node, to, &mut self.chance) {
            let received = Received {
                from: net::address(node),
                sender: id,
                boot: process.boot,
                number: datagram.number,
                key: 0,
                body: body.clone(),
            };
            self.queue.plan(at, Event::Datagram(to, received));
        }
        true
    }

    /// What a planted defect makes of a roster.
    fn planted_roster(&self, roster: Arc<Roster>, time: Time) -> Arc<Roster> {
        let Some(plant) = self.plant else {
            return roster;
        };
        let mut changed = (*roster).clone();
        for member in changed.members.values_mut() {
            let member = Arc::make_mut(member);
            match (plant, member.standing) {
                (Plant::AgesFromVote, Standing::Dead { .. }) => {
                    member.standing = Standing::Dead {
                        silent_at: time + pulse::PROMISE + gossip::SILENCE_MARGIN,
                    };
                }
                (Plant::TakesEarly, Standing::Alive) if !member.is_reachable => {
                    member.standing = Standing::Dead { silent_at: time };
                }
                (Plant::WaitsForNobody, Standing::Alive) => {
                    member.held = Arc::default();
                    member.acked = HeldVersion(1 << 40);
                }
                (_, Standing::Alive | Standing::Dead { .. } | Standing::Left) => {}
            }
        }
        changed.is_settled |= plant == Plant::WaitsForNobody;
        Arc::new(changed)
    }

    /// When the deciding thread last finished a turn. It takes one every 40 ms at least, unless it hangs.
    fn decided(&mut self, node: usize, process: &Process, time: Time) -> Time {
        if process.runs(Thread::Decide) || self.plant == Some(Plant::RenewsUndecided) {
            let turn = if self.nodes[node].slow_faults > 0 {
                150 * MS
            } else {
                40 * MS
            };
            time - Span::from_ns(self.chance.below(turn))
        } else {
            process.decided
        }
    }
}

/// The heartbeats of a turn are out.
fn beaten(process: &mut Process, torn: Torn, decided: Time) {
    process.pulse.input(
        torn.now,
        Input::Beat {
            sends_accepted: torn.accepted,
            observers: torn.observers,
            decided,
        },
    );
}

/// Datagrams that a socket's buffer has room for.
const SOCKET_MAX: usize = 400;
