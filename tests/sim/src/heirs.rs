//! What an heir asks for again and again (L6.7), and the addresses of nodes that answer beside VIPs.
//!
//! As `speaker/src/drive/probe.rs` does it. Which VIPs are asked for, and what follows, is the agent's.

use crate::lan::{self, Lan};
use crate::net;
use crate::node::Process;
use crate::world::World;
use speaker_core::agent::Input;
use speaker_proto::probe::Probe;
use speaker_proto::{Mac, Machine, Time, neighbour, watch};
use std::net::{IpAddr, SocketAddr};

impl World {
    /// Sends what the machine that watches wants sent, and passes on what it found.
    pub(crate) fn watch_outputs(&mut self, node: usize, process: &mut Process, time: Time) {
        while let Some(output) = process.watch.output() {
            let found = match output {
                watch::Output::Send(probe) => {
                    if !self.send_probe(node, &probe) {
                        let unsent = watch::Input::Unsent(probe.group, probe.place);
                        process.watch.input(time, unsent);
                    }
                    continue;
                }
                watch::Output::Missing {
                    group,
                    was_answered,
                    is_among_others,
                } => {
                    let is_certain = was_answered && is_among_others;
                    Input::Missing { group, is_certain }
                }
                watch::Output::Answering(group) => Input::Answering(group),
                watch::Output::Unexpected { group, mac } => Input::Unexpected { group, mac },
            };
            process.inbox.push_back(found);
        }
    }

    /// Sends a probe; `false`: the link is down.
    pub(crate) fn send_probe(&mut self, node: usize, probe: &Probe) -> bool {
        let lan = lan::of(probe.place.1);
        let Some(lan) = lan.filter(|lan| self.nodes[node].has_carrier(*lan)) else {
            return false;
        };
        let frame = match probe.place.0.0 {
            IpAddr::V4(vip) => neighbour::arp_probe(probe.from, vip, probe.to),
            IpAddr::V6(vip) => neighbour::duplicate_probe(probe.from, vip, probe.to),
        };
        self.send(lan, node, &frame);
        true
    }

    /// A node's stack answers for the node's own address, on whichever link it is asked.
    pub(crate) fn answer_own(&mut self, (lan, node): (Lan, usize), mac: Mac, frame: &[u8]) {
        if let SocketAddr::V4(own) = net::address(node)
            && let Some(answer) = own_answer(frame, mac, own.ip().octets())
        {
            self.send(lan, node, &answer);
        }
    }
}

/// The answer to an ARP request for `own`, if that is what this is.
fn own_answer(frame: &[u8], mac: Mac, own: [u8; 4]) -> Option<Vec<u8>> {
    let is_asked = frame.get(12..14) == Some(&[8, 6])
        && frame.get(20..22) == Some(&[0, 1])
        && frame.get(38..42) == Some(&own);
    if !is_asked {
        return None;
    }
    let (head, asker) = (frame.get(14..20)?, frame.get(22..32)?);
    let ends = [&asker[..6], &mac.0, &[8, 6]].concat();
    Some([&ends, head, &[0, 2], &mac.0, &own, asker].concat())
}
