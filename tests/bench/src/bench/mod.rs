//! The benches by name.

pub(crate) mod answers;
pub(crate) mod api;
pub(crate) mod bgp;
mod cluster;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod members;
pub(crate) mod packet;
pub(crate) mod plan;
mod requests;
pub(crate) mod restart;
pub(crate) mod speaker;
pub(crate) mod stage;
pub(crate) mod start;
pub(crate) mod steering;
pub(crate) mod throughput;

use crate::sheet::Sheet;
use anyhow::Result;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Where to find what is measured.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The kernel object that ships.
    pub(crate) object: PathBuf,
    /// The bench's own kernel object.
    pub(crate) kit: PathBuf,
    /// The speaker.
    pub(crate) speaker: PathBuf,
    /// The API server's double.
    pub(crate) double: PathBuf,
    /// Little of everything, to see that it works; such figures mean nothing.
    pub(crate) is_quick: bool,
    /// For how long BFD is captured.
    pub(crate) capture: Duration,
    /// The only size of cluster that is asked for.
    pub(crate) nodes: Option<u16>,
    /// How many simulated minutes each is watched for, if not as is usual for its size.
    pub(crate) minutes: Option<u16>,
    /// Benches, or parts of them, that are asked for; all if there is none.
    pub(crate) names: BTreeSet<String>,
}

impl Setting {
    /// Whether a part of a bench is to run.
    pub(crate) fn wants(&self, bench: &str, part: &str) -> bool {
        let is_named = |name: &str| self.names.contains(name);
        self.names.is_empty() || is_named(bench) || is_named(&format!("{bench}:{part}"))
    }
}

/// One bench.
pub(crate) struct Bench {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it measures, in a line.
    pub(crate) about: &'static str,
    /// Parts that may be asked for one by one, in the order in which they run; none where it runs as a whole.
    pub(crate) parts: &'static [&'static str],
    /// Measures, and hands over each figure as it comes.
    pub(crate) run: fn(&Setting, &mut Sheet<'_>) -> Result<()>,
}

/// All of them, in the order in which they run.
pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: answers::NAME,
        about: "ARP answers a second and CPU time for each, against user space and the kernel's own",
        parts: &[],
        run: answers::run,
    },
    Bench {
        name: latency::NAME,
        about: "how long an answer takes, quiet and with every CPU busy",
        parts: &[],
        run: latency::run,
    },
    Bench {
        name: packet::NAME,
        about: "nanoseconds per packet against an empty program, and what each check costs",
        parts: &[],
        run: packet::run,
    },
    Bench {
        name: throughput::NAME,
        about: "TCP throughput with the program on the link and without",
        parts: &[],
        run: throughput::run,
    },
    Bench {
        name: steering::NAME,
        about: "packets sent on to other nodes, against the kernel's own way, and the tables that say where to",
        parts: &steering::PARTS,
        run: steering::run,
    },
    Bench {
        name: plan::NAME,
        about: "from objects to a plan, and from one changed endpoint to the kernel's tables",
        parts: &[],
        run: plan::run,
    },
    Bench {
        name: start::NAME,
        about: "from the start of the speaker to the first answer",
        parts: &[],
        run: start::run,
    },
    Bench {
        name: restart::NAME,
        about: "what clients lose while the speaker restarts",
        parts: &[],
        run: restart::run,
    },
    Bench {
        name: members::NAME,
        about: "how soon a dead node is found dead, how often a live one, and what membership costs",
        parts: &[],
        run: members::run,
    },
    Bench {
        name: idle::NAME,
        about: "what a speaker costs when nothing happens",
        parts: &[],
        run: idle::run,
    },
    Bench {
        name: api::NAME,
        about: "a cluster's addresses written and followed through its API, against the API alone",
        parts: &[],
        run: api::run,
    },
    Bench {
        name: bgp::NAME,
        about: "routes to peers, changes, BFD and restarts beside FRR, BIRD and GoBGP",
        parts: &bgp::PARTS,
        run: bgp::run,
    },
];
