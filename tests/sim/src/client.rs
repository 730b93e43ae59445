//! Hosts that want to talk to VIPs: they ask, and check who answers.
//!
//! A client asks for each VIP by broadcast (who-has, or a solicitation to the group), and believes answers as any host
//! does. What it believes does not matter to the oracle, but the answers that it gets to one question do.

use crate::chance::Chance;
use crate::flow;
use crate::queue::{MS, Ns};
use speaker_ebpf::model::wire::{ArpWire, NdpWire};
use speaker_ebpf::model::{ReplyKind, parse_reply};
use speaker_proto::Mac;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host at a port of the segment.
#[derive(Debug)]
pub struct Client {
    /// Its hardware address.
    pub mac: Mac,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    asked: BTreeMap<IpAddr, Question>,
    /// Where it believes what it asked for to be.
    cache: BTreeMap<IpAddr, Mac>,
    /// It connects to VIPs.
    is_talking: bool,
}

/// The last question for a VIP, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Question {
    at: Ns,
    answer: Option<(Mac, Ns)>,
}

/// Two hardware addresses in answer to one question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TwoAnswers {
    /// The VIP.
    pub vip: IpAddr,
    /// Who answered, in order.
    pub macs: [Mac; 2],
    /// How long after the first the second came, in nanoseconds.
    pub apart: Ns,
}

impl Client {
    /// The client with this number, and whether it connects to VIPs.
    pub fn new(number: u8, is_talking: bool) -> Self {
        Self {
            mac: Mac([2, 0xcc, 0, 0, 0, number]),
            v4: Ipv4Addr::new(192, 0, 2, 200 + number),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xc00 + u16::from(number)),
            asked: BTreeMap::new(),
            cache: BTreeMap::new(),
            is_talking,
        }
    }

    /// Asks for a VIP: the frame.
    pub fn ask(&mut self, now: Ns, vip: IpAddr) -> Vec<u8> {
        let question = Question {
            at: now,
            answer: None,
        };
        self.asked.insert(vip, question);
        match vip {
            IpAddr::V4(vip) => ArpWire::request((self.mac.0, self.v4), vip).bytes(),
            IpAddr::V6(vip) => NdpWire::solicitation((self.mac.0, self.v6), vip).bytes(),
        }
    }

    /// Where it believes an address to be.
    pub(crate) fn believes(&self, vip: IpAddr) -> Option<Mac> {
        self.cache.get(&vip).copied()
    }

    /// A packet of a connection to a VIP from this port, to where it believes the VIP to be.
    pub(crate) fn packet(&self, vip: IpAddr, port: u16, flags: u8) -> Option<Vec<u8>> {
        let to = self.believes(vip)?;
        let own = match vip {
            IpAddr::V4(_) => IpAddr::V4(self.v4),
            IpAddr::V6(_) => IpAddr::V6(self.v6),
        };
        let ends = (SocketAddr::new(own, port), SocketAddr::new(vip, 80));
        Some(flow::frame((to.0, self.mac.0), ends, flags))
    }

    /// Takes from a frame for it, or for all, where an address is that it asked for.
    fn learn(&mut self, frame: &[u8]) {
        let is_heard = frame[0] & 1 == 1 || frame[..6] == self.mac.0;
        if let Some((ip, mac)) = flow::learnt(frame)
            && is_heard
            && self.asked.contains_key(&ip)
        {
            self.cache.insert(ip, Mac(mac));
        }
    }

    /// A frame came. Two addresses given to one question are a finding.
    ///
    /// # Panics
    /// If one of our kernels sent an answer that is not well-formed.
    pub fn receive(&mut self, now: Ns, frame: &[u8]) -> Option<TwoAnswers> {
        if self.is_talking {
            self.learn(frame);
        }
        if frame[..6] != self.mac.0 || !is_answer(frame) {
            return None;
        }
        let reply = match parse_reply(frame) {
            Ok(reply) => reply,
            Err(why) => panic!("a malformed answer: {why}"),
        };
        if let ReplyKind::Advertisement { is_solicited, .. } = reply.kind {
            assert!(is_solicited, "an answer that says it was not asked for");
        }
        let mac = Mac(reply.mac.unwrap_or(reply.from));
        let question = self.asked.get_mut(&reply.vip)?;
        match question.answer {
            None => {
                question.answer = Some((mac, now));
                None
            }
            Some((first, at)) if first != mac => Some(TwoAnswers {
                vip: reply.vip,
                macs: [first, mac],
                apart: now - at,
            }),
            Some(_) => None,
        }
    }

    /// Who answered the last question for a VIP, and when it was asked.
    pub fn answered(&self, vip: IpAddr) -> Option<(Ns, Option<Mac>)> {
        let question = self.asked.get(&vip)?;
        Some((question.at, question.answer.map(|(mac, _)| mac)))
    }
}

/// How long a client waits between its questions.
pub fn pause(chance: &mut Chance) -> Ns {
    150 * MS + chance.below(200) * MS
}

/// Whether the frame answers a question: an ARP reply, or an advertisement.
fn is_answer(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 6]) => frame.get(20..22) == Some(&[0, 2]),
        Some([0x86, 0xdd]) => frame.get(54) == Some(&136),
        Some(_) | None => false,
    }
}
