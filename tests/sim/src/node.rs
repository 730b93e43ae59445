//! One node: a clock, a kernel that lasts, and a process that may not.
//!
//! The process has the threads of the real one: `pulse` with the deadline and gossip, `decide` with the agent and the tables, and the
//! workers with links, frames and probes. Each can hang alone. What they exchange waits in queues of the real bounds.

use crate::clock::Clock;
use crate::kernel::Kernel;
use crate::lan::LANS;
use crate::queue::Ns;
use speaker_core::agent::{self, Agent};
use speaker_core::fence::Looks;
use speaker_core::steering::Prospects;
use speaker_core::tables::{Memory, Tables};
use speaker_proto::announce::{Announce, Place};
use speaker_proto::gossip::{self, Gossip, Received};
use speaker_proto::member::Profile;
use speaker_proto::probe::{self, Probes};
use speaker_proto::pulse::Pulse;
use speaker_proto::vicinity::Vicinity;
use speaker_proto::watch::{Watch, Watchlist};
use speaker_proto::{Boot, Mac, NodeId, NodeName, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A thread of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Thread {
    /// Deadline and gossip.
    Pulse,
    /// The agent, and the only writer of tables.
    Decide,
    /// Everything else.
    Work,
}

/// All threads, in the order of their numbers.
pub const THREADS: [Thread; 3] = [Thread::Pulse, Thread::Decide, Thread::Work];

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its identity in datagrams.
    pub id: NodeId,
    /// By segment, the hardware address of its link there, if it has one.
    pub macs: [Option<Mac>; LANS],
    /// Its clock.
    pub clock: Clock,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its speaker, if one runs.
    pub process: Option<Box<Process>>,
    /// Which process that is; wake-ups of earlier ones are void.
    pub life: u32,
    /// By segment, how many faults keep its link down.
    pub link_faults: [u8; LANS],
    /// Until when a stopped process wanted its kernel to answer, if it stopped in good order.
    pub promised: Option<Ns>,
    /// How many faults make its processor slow.
    pub slow_faults: u8,
    /// What the next process of it speaks, and the present one unless it is to be replaced.
    pub binary: Binary,
}

/// Which version of the speaker a node has, as far as others hear it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Binary {
    /// Its messages have more at their end than others know, and it says things of which others know nothing.
    pub is_grown: bool,
    /// The first byte of its messages is another one: it and others do not understand each other.
    pub is_other: bool,
}

/// A running speaker.
#[derive(Debug)]
pub struct Process {
    /// Which start this is.
    pub boot: Boot,
    /// The deadline.
    pub pulse: Pulse,
    /// Membership.
    pub gossip: Gossip,
    /// Datagrams that wait in the socket.
    pub socket: VecDeque<Received>,
    /// From decide and the workers to the pulse's thread.
    pub asked: VecDeque<gossip::Input>,
    /// What this node last said of itself.
    pub profile: Arc<Profile>,
    /// Its objects are old.
    pub is_stale: bool,
    /// What it speaks.
    pub binary: Binary,
    /// Another process waits for its end.
    pub has_successor: bool,
    /// It stops as soon as its promise is settled.
    pub is_stopping: bool,
    /// The deciding machine.
    pub agent: Agent,
    /// What was last written to the tables.
    pub mirror: Tables,
    /// What making the tables remembers.
    pub memory: Memory,
    /// Whether the deciding thread believes that a deadline is in force.
    pub is_armed: bool,
    /// When gratuitous frames go out.
    pub announce: Announce,
    /// Who has a VIP.
    pub probes: Probes,
    /// Whether those who hold VIPs answer.
    pub watch: Watch,
    /// Who is on the segments.
    pub vicinity: Vicinity,
    /// Whom that was asked for.
    pub prospects: Arc<Prospects>,
    /// To the workers.
    pub jobs: VecDeque<Job>,
    /// Fences that nobody told of.
    pub looks: Looks,
    /// When fences are next looked at.
    pub look_at: Time,
    /// Claims that the agent was told of: up to which generation each slot's fence may be lowered.
    pub told: BTreeMap<u32, u64>,
    /// To the deciding thread.
    pub inbox: VecDeque<agent::Input>,
    /// From pulse to decide.
    pub said: VecDeque<Said>,
    /// From decide to pulse.
    pub arms: usize,
    /// When the deciding thread last finished a turn, by its own clock; it counts only while that thread hangs.
    pub decided: Time,
    /// Per thread.
    pub threads: [State; 3],
    /// The last turn of the pulse wrote a deadline.
    pub was_renewed: bool,
    /// A turn of the pulse that was stopped between sending and writing.
    pub torn: Option<Torn>,
    /// The turn of the pulse that comes is to be stopped in that place.
    pub tear: bool,
}

/// What the workers are to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Find out who has these.
    Probe(probe::Ask),
    /// Ask for these from now on.
    Watch(Arc<Watchlist>),
    /// See who of these is there, from now on.
    LookFor(Arc<Prospects>),
    /// A claim was heard while somebody was asked for.
    Heard(Place, Mac),
    /// Announce these anew.
    Claim(BTreeSet<Vip>),
    /// Claim these towards single stations.
    ClaimTo(BTreeSet<Vip>, Vec<Mac>),
}

/// What the pulse says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// A deadline is in force.
    Armed,
    /// It passed.
    Lapsed(Time),
}

/// A turn of the pulse whose heartbeats are out and whose deadline is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The moment that the turn goes by.
    pub now: Time,
    /// Sends that the stack accepted.
    pub accepted: usize,
    /// Observers that there were.
    pub observers: usize,
}

/// Whether a thread runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// How many faults of each sort hold it. Each sort ends its own: one that began on an earlier process of the node holds nothing of
    /// the next, and so lets nothing of it go.
    pub held: [u8; 3],
    /// Something would have woken it.
    pub is_wanted: bool,
    /// The earliest planned wake-up.
    pub wake: Option<Ns>,
    /// The moment of the node's clock that it is planned for, if any.
    pub due: Option<Time>,
}

impl State {
    /// Whether nothing holds it.
    pub fn is_free(&self) -> bool {
        self.held == [0; 3]
    }
}

/// What holds threads of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grip {
    /// The process is stopped.
    Stopped,
    /// One thread hangs.
    Hung(Thread),
    /// The process is stopped in the middle of a turn.
    Torn,
}

impl Grip {
    pub(crate) const fn number(self) -> usize {
        match self {
            Self::Stopped => 0,
            Self::Hung(_) => 1,
            Self::Torn => 2,
        }
    }

    /// The threads that it holds.
    pub(crate) fn threads(self) -> Vec<Thread> {
        match self {
            Self::Stopped | Self::Torn => THREADS.to_vec(),
            Self::Hung(thread) => vec![thread],
        }
    }
}

impl Process {
    /// The state of a thread.
    pub fn thread(&mut self, thread: Thread) -> &mut State {
        &mut self.threads[thread as usize]
    }

    /// Whether a thread runs.
    pub fn runs(&self, thread: Thread) -> bool {
        self.threads[thread as usize].is_free()
    }
}

impl Node {
    /// Its clock now.
    pub fn time(&self, now: Ns) -> Time {
        self.clock.show(now)
    }
}
