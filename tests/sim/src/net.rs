//! The network that carries datagrams between speakers: delay, loss, duplication, reordering, cuts in one direction.
//!
//! It is apart from the segment, since a firewall or a routed network may cut one and not the other. What was cut is remembered, for
//! two answers are excused by that alone.

use crate::chance::Chance;
use crate::queue::{MS, Ns};
use std::net::{IpAddr, SocketAddr};

/// The paths between nodes.
#[derive(Debug)]
pub struct Net {
    nodes: usize,
    /// By sender and receiver: how many faults cut it now.
    cuts: Vec<u8>,
    /// By sender and receiver: when it was last cut; 0 never.
    cut_until: Vec<Ns>,
    /// Of a thousand datagrams, how many are lost.
    pub loss: u64,
    /// Of a thousand datagrams, how many come twice.
    pub duplicates: u64,
    /// Of a thousand datagrams, how many come much later than the next.
    pub late: u64,
    /// Nodes that have no link to send on, since when.
    down: Vec<Option<Ns>>,
    /// Nodes that speak what the others do not understand, and until when each did; 0 never.
    strange: Vec<bool>,
    strange_until: Vec<Ns>,
}

impl Net {
    /// Whole paths between this many nodes.
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            cuts: vec![0; nodes * nodes],
            cut_until: vec![0; nodes * nodes],
            loss: 0,
            duplicates: 0,
            late: 0,
            down: vec![None; nodes],
            strange: vec![false; nodes],
            strange_until: vec![0; nodes],
        }
    }

    /// One more fault cuts this direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts[from * self.nodes + to] += 1;
    }

    /// That fault is over.
    pub fn heal(&mut self, now: Ns, from: usize, to: usize) {
        let at = from * self.nodes + to;
        self.cuts[at] -= 1;
        self.cut_until[at] = now;
    }

    /// A node's own link is gone or back: nothing goes out, and nothing comes in.
    ///
    /// Who was without one for long knows that it may have missed what others took, and asks the segment first: a cut that is over excuses nothing
    /// then, as long as frames get through.
    pub fn set_down(&mut self, now: Ns, node: usize, is_down: bool, is_segment_sound: bool) {
        if self.down[node].is_some() == is_down {
            return;
        }
        let since = std::mem::replace(&mut self.down[node], is_down.then_some(now));
        let is_known = is_segment_sound && since.is_some_and(|since| now - since >= MISSED);
        for other in (0..self.nodes).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                if is_down {
                    self.cut(from, to);
                } else if is_known {
                    self.cuts[from * self.nodes + to] -= 1;
                } else {
                    self.heal(now, from, to);
                }
            }
        }
    }

    /// A node begins to speak what the others do not understand, or ends.
    pub fn set_strange(&mut self, now: Ns, node: usize, is_strange: bool) {
        if self.strange[node] != is_strange {
            self.strange[node] = is_strange;
            self.strange_until[node] = now;
        }
    }

    /// Whether the stack of a node accepts what it sends.
    pub fn accepts(&self, node: usize) -> bool {
        self.down[node].is_none()
    }

    /// Whether any path to or from a node was cut at some time since `since`, or nobody understood it.
    pub fn was_cut(&self, node: usize, since: Ns) -> bool {
        if self.strange[node] || self.strange_until[node] > since {
            return true;
        }
        (0..self.nodes).filter(|other| *other != node).any(|other| {
            [node * self.nodes + other, other * self.nodes + node]
                .into_iter()
                .any(|at| self.cuts[at] > 0 || (self.cut_until[at] > since))
        })
    }

    /// When the copies of a datagram arrive; none if it is lost.
    pub fn carry(&self, now: Ns, from: usize, to: usize, chance: &mut Chance) -> Vec<Ns> {
        let is_cut = self.cuts[from * self.nodes + to] > 0;
        if is_cut || chance.hits(self.loss) {
            return Vec::new();
        }
        let mut delay = DELAY + chance.exponential(DELAY);
        if chance.hits(self.late) {
            delay += chance.between(MS, 20 * MS);
        }
        let mut arrivals = vec![now + delay];
        if chance.hits(self.duplicates) {
            arrivals.push(now + delay + chance.between(0, 5 * MS));
        }
        arrivals
    }
}

/// Where a node hears datagrams.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, node as u8 + 1], PORT))
}

/// Whether an address is a node's own.
pub fn is_nodes(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.octets()[..3] == [10, 1, 0])
}

/// Who hears datagrams there.
pub fn node(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]).checked_sub(1),
        SocketAddr::V6(_) => None,
    }
}

/// Longer without a link than a promise lasts, and than netlink may take to tell of it twice.
const MISSED: Ns = 600 * MS;
const PORT: u16 = 7946;
/// One way between two nodes of a rack, and the mean of what comes on top.
const DELAY: Ns = 150_000;
