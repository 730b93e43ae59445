//! What an agent hears, and what it says: the whole of what its driver does for it.

use crate::allocator::Assignments;
use crate::foreign::ForeignPeers;
use crate::key::{Kind, ObjectKey};
use crate::link::{Link, LinkName};
use crate::object::Object;
use crate::plan::{BgpOutcome, Outcome, Passed, Plan};
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::steering::socket::Listeners;
use crate::steering::{Neighbourhood, Prospects};
use speaker_proto::hold;
use speaker_proto::member::{Directory, HeldSet, HeldVersion, Roster};
use speaker_proto::watch::Watchlist;
use speaker_proto::{GroupKey, Mac, NodeId, NodeName, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens to an [`super::Agent`].
#[expect(
    clippy::large_enum_variant,
    reason = "objects are what nearly every input is"
)]
#[derive(Debug)]
pub enum Input {
    /// A new version of an object, or what is wrong with it.
    Object(Result<Object, Problem>),
    /// An object is gone.
    Gone(ObjectKey),
    /// Every object of this kind has been seen.
    Synced(Kind),
    /// The addresses in force, in directory mode.
    Assignments(Arc<Assignments>),
    /// The links of this node.
    Links {
        /// Those that may announce.
        announcing: BTreeMap<LinkName, Link>,
        /// The others that exist.
        others: BTreeSet<LinkName>,
    },
    /// The pulse has a deadline in force.
    Armed,
    /// The deadline passed.
    Lapsed {
        /// The deadline that passed.
        deadline: Time,
    },
    /// What became of the last [`Output::Apply`].
    Applied(Result<(), String>),
    /// What is known of the other members.
    Roster(Arc<Roster>),
    /// What is known of the segments that the links are on, after everybody of the last [`Output::LookFor`] was asked.
    Neighbourhood(Arc<Neighbourhood>),
    /// What this node has of sockets that serve VIPs, where it changed.
    Listeners(Arc<Listeners>),
    /// What others published of themselves, where it changed.
    Published(Arc<Directory>),
    /// A message from another member's agent.
    Told(NodeId, Vec<u8>),
    /// An [`Output::Probe`] is over.
    Probed {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Who answered.
        answered: Option<Mac>,
    },
    /// The holder of a group on the last [`Output::Watch`] does not answer for all of it.
    Missing {
        /// The group.
        group: GroupKey,
        /// It was seen on that link before, and others are heard there now.
        is_certain: bool,
    },
    /// It answers again.
    Answering(GroupKey),
    /// Other hardware answers for a group on that list.
    Unexpected {
        /// The group.
        group: GroupKey,
        /// Whose.
        mac: Mac,
    },
    /// A member's hardware address claimed a VIP that this node answers for; its fence is up.
    Claimed {
        /// The VIP.
        vip: Vip,
        /// The hardware address.
        mac: Mac,
    },
    /// The fence of a VIP is up, and no record says by whom.
    Fenced(Vip),
    /// This node gives away what it holds and takes nothing, or not any more.
    Drain(bool),
    /// This node has no members' secret, or has one now.
    WaitingForSecret(bool),
    /// What the source delivers is older than 30 s, or fresh again.
    Stale(bool),
    /// Peers that somebody else's frr-k8s has.
    Foreign(ForeignPeers),
}

/// What an [`super::Agent`] wants done.
#[expect(
    clippy::large_enum_variant,
    reason = "a handful exist at a time, and most are events"
)]
#[derive(Clone, Debug)]
pub enum Output {
    /// Make the kernel's tables say this, then answer with [`Input::Applied`].
    Apply(Arc<Plan>),
    /// Arm the pulse: nothing is answered for any more.
    Arm,
    /// Tell the operator.
    Event(Event),
    /// Send this to another member's agent; it may be lost.
    Tell(NodeId, Vec<u8>),
    /// Tell all members what this node holds.
    Publish(HeldVersion, Arc<HeldSet>),
    /// Probe these places twice, 50 ms apart, and answer with [`Input::Probed`].
    Probe {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Whom to ask by unicast; `None`: everybody.
        only: Option<Mac>,
        /// What to ask for, and where.
        places: Vec<(Vip, LinkName)>,
    },
    /// Ask for all of these again and again, and for nothing else, and tell what becomes of it.
    Watch(Arc<Watchlist>),
    /// See of all of these whether they are there, again and again, and answer with [`Input::Neighbourhood`].
    LookFor(Arc<Prospects>),
    /// Tell the observers that the kernel of a member in its grace does not answer, or may not (true), or does again.
    Kernel(NodeId, bool),
    /// Lower the fences of these VIPs on all links.
    Unfence(BTreeSet<Vip>),
    /// Announce these places again.
    Claim(Vec<(Vip, LinkName)>),
    /// Claim these places towards these hardware addresses by unicast.
    ClaimTo(Vec<(Vip, LinkName)>, Vec<Mac>),
    /// The program shall not fence by this address until then.
    Disarm(Mac, Time),
}

/// A change that an operator wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A service's outcome in layer 2 changed.
    Outcome {
        /// The service.
        service: ServiceId,
        /// Its UID; empty if it is gone, or where there is no API server.
        uid: String,
        /// Before.
        before: Option<Outcome>,
        /// From now on; `None`: it is gone.
        after: Option<Outcome>,
        /// The pool that its addresses come from, if it holds any.
        pool: Option<String>,
    },
    /// The same in BGP. Where the last BGPAdvertisement goes, that is why.
    BgpOutcome {
        /// The service.
        service: ServiceId,
        /// Its UID; empty if it is gone, or where there is no API server.
        uid: String,
        /// Before; `None` also while there was no BGPAdvertisement.
        before: Option<BgpOutcome>,
        /// From now on; `None`: it is gone.
        after: Option<BgpOutcome>,
        /// The pool that its addresses come from, if it holds any.
        pool: Option<String>,
    },
    /// An object became faulty.
    Problem(Problem),
    /// An object is sound again.
    Resolved(ObjectKey),
    /// VIPs were released because the deadline passed.
    Lapsed {
        /// Groups that were held.
        groups: usize,
        /// The deadline that passed.
        deadline: Time,
        /// When that was seen.
        seen: Time,
    },
    /// A plan could not be applied.
    NotApplied(String),
    /// A group was taken, given, contested, ...
    Hold {
        /// What happened.
        event: hold::Event,
        /// The other node that it names, by name.
        with: Option<NodeName>,
        /// Of what moves in order: why whoever gave it is not elected for it any more.
        why: Option<Passed>,
    },
    /// What asking for what others hold showed (L6.7).
    Seen {
        /// The group.
        group: GroupKey,
        /// Its holder, or who says that this node does not answer.
        with: Option<NodeName>,
        /// What was seen.
        seen: Seen,
    },
    /// Another process uses this node's name: nothing is held until it is gone.
    NameTaken(bool),
    /// This node gives away what it holds from now on, or may take again.
    Drain(bool),
}

/// What is seen of a VIP that another node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Its holder does not answer, though it is alive.
    Unanswered {
        /// It is passed over. If not, it may be this node that is cut off, or on another segment.
        is_certain: bool,
    },
    /// It restarts within its promise, and its kernel does not answer.
    KernelSilent,
    /// It answers again.
    Answering,
    /// Hardware of nobody's answers for it.
    Stranger(Mac),
    /// This node holds it, and another one finds that it does not answer.
    Unheard,
}
