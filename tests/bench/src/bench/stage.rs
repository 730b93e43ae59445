//! A client that asks and a node that answers in one of several ways.

use super::Setting;
use crate::generator::{self, Load, REQUESTS, Yield};
use crate::hook::Hook;
use crate::net::{NODE_LINK, Pair, VIP};
use crate::object::{Kit, Subject};
use crate::responder::{Responder, Way};
use crate::{frame, raw};
use anyhow::Result;
use aya::programs::XdpMode;
use speaker_ebpf::abi::{Addr, Entry, Mode};
use std::fmt;
use std::net::IpAddr;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Answerer {
    /// Nobody: each request ends as early as it can.
    Nobody,
    /// Our program.
    Program(Hook),
    /// The kernel's own ARP, the address being configured.
    Kernel,
    /// A responder in user space, recvmmsg and sendmmsg.
    Batches,
    /// A responder in user space, TPACKET_V3 and sendmmsg.
    Ring,
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program(hook) => return hook.fmt(f),
            Self::Nobody => "dropped",
            Self::Kernel => "kernel ARP",
            Self::Batches => "user, recvmmsg",
            Self::Ring => "user, TPACKET_V3",
        })
    }
}

/// A pair of namespaces with generator, sink and an answerer in place.
pub(crate) struct Stage {
    // Dropped in this order: the responder leaves before its namespace goes.
    _responder: Option<Responder>,
    _subject: Option<Subject>,
    kit: Kit,
    pair: Pair,
}

/// Clients that the generator plays: enough for a table to be used, few enough for any neighbour table.
const CLIENTS: u32 = 128;

impl Stage {
    /// Sets the stage; `cpu` is where a responder in user space has to stay.
    pub(crate) fn set(
        setting: &Setting,
        answerer: Answerer,
        cpu: Option<usize>,
        stamps: bool,
    ) -> Result<Self> {
        let pair = Pair::create()?;
        let mut kit = Kit::load(&setting.kit)?;
        kit.order(&frame::arp_request(), CLIENTS, stamps)?;
        generator::attach(&mut kit, &pair, REQUESTS)?;
        let mut subject = None;
        let mut responder = None;
        match answerer {
            Answerer::Nobody => pair.node.run(|| {
                kit.xdp("bench_drop")?.attach(NODE_LINK, XdpMode::Driver)?;
                Ok(())
            })?,
            Answerer::Kernel => {
                pair.node
                    .ip(&["address", "add", &format!("{VIP}/16"), "dev", NODE_LINK])?;
            }
            Answerer::Batches => {
                responder = Some(Responder::start(Way::Batches, &pair.node, cpu)?);
            }
            Answerer::Ring => responder = Some(Responder::start(Way::Ring, &pair.node, cpu)?),
            Answerer::Program(hook) => subject = Some(attach(setting, hook, &pair)?),
        }
        Ok(Self {
            _responder: responder,
            _subject: subject,
            kit,
            pair,
        })
    }

    /// Sends a load to the answerer.
    pub(crate) fn send(&mut self, load: Load) -> Result<Yield> {
        generator::send(&mut self.kit, &self.pair, REQUESTS, load)
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> Result<u64> {
        Ok(self.kit.counts()?.sent)
    }

    /// Latencies of the requests numbered `from + 1 ..= to`; 0 where there was no answer.
    pub(crate) fn take_samples(&mut self, from: u64, to: u64) -> Result<Vec<u64>> {
        self.kit.take_samples(from, to)
    }
}

/// Our program on the node's link, with [`VIP`] in its table and no bound on answers.
pub(crate) fn attach(setting: &Setting, hook: Hook, pair: &Pair) -> Result<Subject> {
    let mut subject = Subject::load(&setting.object, 0)?;
    pair.node.run(|| {
        let ifindex = raw::ifindex(NODE_LINK)?;
        subject.link(ifindex)?;
        subject.put(
            Addr::from(IpAddr::V4(VIP)),
            ifindex,
            Entry::new(Mode::Answer, 1, 0),
        )?;
        subject.attach(hook)
    })?;
    Ok(subject)
}
