//! Who is on the segments of a node, as `speaker/src/drive/vicinity.rs` finds out.
//!
//! Nodes are asked for their own addresses by frames, and answer by the stack's ([`crate::heirs`]). No link of the simulator bars that frames
//! are sent on. What follows from the account is the agent's.

use crate::lan;
use crate::node::Process;
use crate::world::World;
use speaker_core::agent::Input;
use speaker_core::members::node_id;
use speaker_core::steering::{Neighbourhood, Prospects, looked_for};
use speaker_proto::vicinity::{self, Neighbour, Output};
use speaker_proto::{Machine, Time, neighbour};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Has these looked for from now on.
pub(crate) fn look_for(process: &mut Process, time: Time, prospects: Arc<Prospects>) {
    let links = &process.agent.local().links;
    let targets = looked_for(&prospects, links)
        .map(|(_, neighbour, target)| (neighbour, target))
        .collect();
    process.prospects = prospects;
    process
        .vicinity
        .input(time, vicinity::Input::LookFor(targets));
}

impl World {
    /// Asks whom the machine wants asked, and passes on who is there.
    pub(crate) fn vicinity_outputs(&mut self, node: usize, process: &mut Process) {
        while let Some(output) = process.vicinity.output() {
            match output {
                Output::Ask(question) => {
                    let (address, ifindex) = question.place;
                    let lan = lan::of(ifindex);
                    let lan = lan.filter(|lan| self.nodes[node].has_carrier(*lan));
                    if let (Some(lan), IpAddr::V4(address)) = (lan, address.0) {
                        let to = Some(question.to);
                        let frame = neighbour::arp_probe(question.from, address, to);
                        self.send(lan, node, &frame);
                    }
                }
                Output::Known(known) => {
                    let hood = neighbourhood(process, &known);
                    let input = Input::Neighbourhood(Arc::new(hood));
                    process.inbox.push_back(input);
                }
            }
        }
    }
}

fn neighbourhood(process: &Process, known: &BTreeSet<Neighbour>) -> Neighbourhood {
    let links = &process.agent.local().links;
    let is_known = |link, node| {
        let ifindex = links.get(link).map(|link| link.ifindex);
        ifindex.is_some_and(|ifindex| {
            known.contains(&Neighbour {
                ifindex,
                node: node_id(node),
            })
        })
    };
    let prospects = process.prospects.iter();
    let there = prospects.filter(|((link, node), _)| is_known(link, node));
    Neighbourhood {
        nodes: there
            .map(|((link, node), prospect)| ((link.clone(), node.clone()), prospect.mac))
            .collect(),
        bars: BTreeMap::new(),
    }
}
