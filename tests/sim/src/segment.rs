//! One Ethernet segment: ports on a learning switch, and frames as bytes between them.
//!
//! A port can be down, be cut off from others, lose frames; the switch may keep gratuitous frames to itself, as some do. It knows
//! nothing of what stands at a port.

use crate::chance::Chance;
use crate::queue::{Ns, S};
use std::collections::BTreeMap;

/// A place on the switch.
pub type Port = usize;

/// The switch.
#[derive(Debug)]
pub struct Segment {
    ports: Vec<State>,
    learnt: BTreeMap<[u8; 6], (Port, Ns)>,
    /// Of a thousand frames, how many are lost on their way to a port.
    pub loss: u64,
    /// Gratuitous frames are not passed on.
    pub filters_gratuitous: bool,
}

#[derive(Clone, Debug)]
struct State {
    is_up: bool,
    /// How many faults keep what it sends.
    mute: u8,
    /// How many faults keep what is sent to it.
    deaf: u8,
    /// Ports of different sides do not hear each other.
    side: u8,
}

impl Segment {
    /// A switch with this many ports, all up.
    pub fn new(ports: usize) -> Self {
        Self {
            ports: vec![
                State {
                    is_up: true,
                    mute: 0,
                    deaf: 0,
                    side: 0
                };
                ports
            ],
            learnt: BTreeMap::new(),
            loss: 0,
            filters_gratuitous: false,
        }
    }

    /// Pulls the plug of a port or puts it back. What was learnt there is forgotten.
    pub fn set_up(&mut self, port: Port, is_up: bool) {
        self.ports[port].is_up = is_up;
        self.learnt.retain(|_, (at, _)| *at != port);
    }

    /// Whether a port is up.
    pub fn is_up(&self, port: Port) -> bool {
        self.ports[port].is_up
    }

    /// One more fault keeps a direction of a port's link, whose carrier stays: what it sends, or what is sent to it. Or one fewer.
    pub fn set_one_way(&mut self, port: Port, is_out: bool, is_dead: bool) {
        let state = &mut self.ports[port];
        let faults = if is_out {
            &mut state.mute
        } else {
            &mut state.deaf
        };
        *faults = if is_dead { *faults + 1 } else { *faults - 1 };
    }

    /// Whether somebody there can be asked and answer.
    pub fn is_heard(&self, port: Port) -> bool {
        let state = &self.ports[port];
        state.is_up && state.mute == 0 && state.deaf == 0
    }

    /// Moves a port to another side of the segment.
    pub fn set_side(&mut self, port: Port, side: u8) {
        self.ports[port].side = side;
        self.learnt.retain(|_, (at, _)| *at != port);
    }

    /// Whether frames go between two ports.
    pub fn joins(&self, a: Port, b: Port) -> bool {
        let (a, b) = (&self.ports[a], &self.ports[b]);
        a.is_up && b.is_up && a.side == b.side
    }

    /// The ports that a frame from `from` comes to.
    pub fn route(&mut self, now: Ns, from: Port, frame: &[u8], chance: &mut Chance) -> Vec<Port> {
        if !self.ports[from].is_up || self.ports[from].mute > 0 {
            return Vec::new();
        }
        let (to, source) = (address(&frame[..6]), address(&frame[6..12]));
        self.learnt.insert(source, (from, now));
        if self.filters_gratuitous && is_gratuitous(frame) {
            return Vec::new();
        }
        let known = self
            .learnt
            .get(&to)
            .filter(|(_, at)| now.saturating_sub(*at) < AGE);
        let ports: Vec<Port> = match known {
            Some((port, _)) if to[0] & 1 == 0 => vec![*port],
            Some(_) | None => (0..self.ports.len()).collect(),
        };
        let loss = self.loss;
        ports
            .into_iter()
            .filter(|port| *port != from && self.joins(from, *port) && self.ports[*port].deaf == 0)
            .filter(|_| !chance.hits(loss))
            .collect()
    }
}

/// Whether a frame tells everybody, unasked, where an address is.
fn is_gratuitous(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 6]) => frame[0] & 1 == 1 && frame.get(28..32) == frame.get(38..42),
        Some([0x86, 0xdd]) => frame[0] & 1 == 1 && frame.get(54) == Some(&136),
        Some(_) | None => false,
    }
}

fn address(bytes: &[u8]) -> [u8; 6] {
    let mut address = [0; 6];
    address.copy_from_slice(bytes);
    address
}

/// How long a switch remembers: IEEE 802.1Q's default.
const AGE: Ns = 300 * S;
