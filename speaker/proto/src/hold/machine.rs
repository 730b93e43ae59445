//! The machine that holds all groups of a node, and what its parts share: groups, what is said of them, numbers.
//!
//! How an input reaches the groups it concerns is [`super::turn`]'s.

use super::asking::Asks;
use super::contest::Spoofs;
use super::facts::Facts;
use super::group::{Group, State};
use super::message::Message;
use super::others::Others;
use super::rank::{Rank, RankOf};
use super::reclaim::Reclaims;
use super::timers::Timers;
use super::{Event, Holding, Output, Wish, Wishes};
use crate::member::{HeldSet, HeldVersion, NodeId};
use crate::{Epoch, GroupKey, NodeName, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Where a machine begins.
pub struct Start {
    /// This node.
    pub me: NodeId,
    /// Its name.
    pub name: NodeName,
    /// The VIPs that the kernel was found to answer for, by the epoch of their taking.
    pub adopted: BTreeMap<Vip, Epoch>,
    /// A deadline is in force. If not, nothing of `adopted` is answered for.
    pub is_armed: bool,
    /// How long flows of a group that was given away may go on here.
    pub drain_window: Span,
    /// Which of two nodes goes first for a VIP.
    pub rank: RankOf,
    /// A number by chance: questions of this process must differ from those of the last one.
    pub nonce: u64,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Start");
        f.field("me", &self.me).field("adopted", &self.adopted);
        f.field("is_armed", &self.is_armed).finish_non_exhaustive()
    }
}

/// The machine.
///
/// Its driver hands over rosters and messages in the order in which they arrived, a roster no later than any message that was
/// received after the acknowledgement of what is in it left this node. Likewise [`Output::Publish`] reaches the members' machine
/// before a later [`Output::Tell`] does. The proof that no two nodes take one VIP rests on both.
#[derive(Debug)]
pub struct Holds {
    pub(super) me: NodeId,
    pub(super) rank: Rank,
    pub(super) drain_window: Span,
    /// `None`: election said nothing yet.
    pub(super) wishes: Option<Wishes>,
    pub(super) others: Others,
    pub(super) facts: Facts,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    /// The group that each VIP belongs to.
    pub(super) owners: BTreeMap<GroupKey, GroupKey>,
    pub(super) reclaims: Reclaims,
    pub(super) spoofs: Spoofs,
    pub(super) asks: Asks,
    pub(super) is_armed: bool,
    /// What others promised while this node was not awake may be unknown to it: until then it probes before every taking.
    pub(super) doubts_until: Time,
    pub(super) is_stale: bool,
    /// Takings that wait for an acknowledgement.
    pub(super) awaiting: BTreeSet<(HeldVersion, GroupKey)>,
    pub(super) timers: Timers,
    /// Groups to be looked at as soon as may be.
    pub(super) pending: BTreeSet<GroupKey>,
    /// The highest epoch used here.
    top: Epoch,
    nonce: u64,
    pub(super) malformed: u64,
    pub(super) tells: BTreeMap<NodeId, Vec<Message>>,
    pub(super) said: Vec<Output>,
    pub(super) outputs: VecDeque<Output>,
}

impl Holds {
    /// A node that knows nobody yet. What it adopts is published under the first version, without an [`Output::Publish`]:
    /// see [`Holds::published`].
    pub fn new(start: Start) -> Self {
        let mut holds = Self {
            me: start.me,
            rank: Rank::new(start.rank, start.me, start.name),
            drain_window: start.drain_window,
            wishes: None,
            others: Others::default(),
            facts: Facts::default(),
            groups: BTreeMap::new(),
            owners: BTreeMap::new(),
            reclaims: Reclaims::default(),
            spoofs: Spoofs::default(),
            asks: Asks::default(),
            is_armed: start.is_armed,
            doubts_until: Time::default(),
            is_stale: false,
            awaiting: BTreeSet::new(),
            timers: Timers::default(),
            pending: BTreeSet::new(),
            top: Epoch(0),
            // Room to grow: a later question has a greater number.
            nonce: start.nonce >> 1,
            malformed: 0,
            tells: BTreeMap::new(),
            said: Vec::new(),
            outputs: VecDeque::new(),
        };
        let adopted = start.adopted.values().copied().max();
        holds.see_epoch(adopted.unwrap_or_default());
        if start.is_armed {
            holds.adopt(start.adopted);
        }
        holds.facts.begin();
        holds
    }

    /// What this node does about each group, for planning; absent is free.
    pub fn held(&self) -> &BTreeMap<GroupKey, Holding> {
        &self.facts.held
    }

    /// The number of [`Holds::held`] as it is now, for [`Input::Applied`].
    pub fn version(&self) -> u64 {
        self.facts.version
    }

    /// What the members are told, and under which version.
    pub fn published(&self) -> (HeldVersion, &Arc<HeldSet>) {
        (self.facts.shown_version, &self.facts.shown)
    }

    /// The live member that holds a VIP, as far as is known; of several the one that took it last.
    pub fn holder(&self, vip: Vip) -> Option<NodeId> {
        let holders = self.others.holders(GroupKey(vip.0));
        holders
            .max_by_key(|(id, epoch)| (*epoch, *id))
            .map(|(id, _)| id)
    }

    /// Payloads of other members that could not be read.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    pub(super) fn wish(&self, key: GroupKey) -> Option<&Wish> {
        self.wishes.as_ref()?.get(&key)
    }

    pub(super) fn say(&mut self, output: Output) {
        self.said.push(output);
    }

    pub(super) fn tell(&mut self, to: NodeId, message: Message) {
        self.tells.entry(to).or_default().push(message);
    }

    pub(super) fn nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// The highest epoch that was used here or seen elsewhere.
    pub(super) fn top_epoch(&mut self) -> Epoch {
        self.see_epoch(self.others.seen);
        self.top
    }

    /// An epoch that nobody used, as far as is known.
    pub(super) fn next_epoch(&mut self) -> Epoch {
        self.top = self.top_epoch().next();
        self.top
    }

    pub(super) fn see_epoch(&mut self, epoch: Epoch) {
        self.top = self.top.max(epoch.min(EPOCH_MAX));
    }

    /// Takes a group out of the map, to be changed and put back; makes one that was elected.
    pub(super) fn take_out(&mut self, key: GroupKey) -> Option<Group> {
        if let Some(group) = self.groups.remove(&key) {
            return Some(group);
        }
        let wish = self.wish(key).filter(|wish| wish.owner == Some(self.me))?;
        let mut vips = wish.vips.iter();
        let is_owned = vips.any(|vip| self.owners.contains_key(&GroupKey(vip.0)));
        if is_owned || wish.vips.is_empty() {
            return None;
        }
        let group = Group::new(wish.vips.clone(), State::Free);
        self.own(key, &group);
        Some(group)
    }

    /// Puts a group back, and brings everything that follows from its state up to that.
    pub(super) fn put_back(&mut self, key: GroupKey, mut group: Group) {
        let is_elected = self
            .wish(key)
            .is_some_and(|wish| wish.owner == Some(self.me));
        if matches!(group.state, State::Free) && !is_elected {
            self.forget(key, &group, &BTreeMap::<GroupKey, ()>::new());
            return;
        }
        self.facts.hold(key, group.holding());
        self.pass(&group);
        let entry = group.entry();
        for vip in group.keys() {
            self.facts.show(vip, entry);
        }
        if !matches!(group.state, State::Holding(_)) {
            self.reclaims.end(key);
        }
        let version = self.facts.shown_version;
        let awaits = match &mut group.state {
            State::Taking(taking) => Some(taking.published(version)),
            State::Free
            | State::Waiting
            | State::Holding(_)
            | State::Draining(_)
            | State::Contested(_)
            | State::Lapsed => None,
        };
        self.await_ack(key, &mut group, awaits);
        let closes = group.window.as_ref().map(|window| window.until);
        self.timers
            .set(key, group.due.into_iter().chain(closes).min());
        self.groups.insert(key, group);
    }

    fn await_ack(&mut self, key: GroupKey, group: &mut Group, version: Option<HeldVersion>) {
        if group.awaits == version {
            return;
        }
        if let Some(old) = group.awaits {
            self.awaiting.remove(&(old, key));
        }
        if let Some(new) = version {
            self.awaiting.insert((new, key));
        }
        group.awaits = version;
    }

    /// VIPs belong to a group from now on.
    pub(super) fn own(&mut self, key: GroupKey, group: &Group) {
        self.owners.extend(group.keys().map(|vip| (vip, key)));
    }

    /// A group that was taken out is not put back. What is `kept` stays published.
    pub(super) fn forget<T>(&mut self, key: GroupKey, group: &Group, kept: &BTreeMap<GroupKey, T>) {
        for vip in group.keys() {
            self.owners.remove(&vip);
            self.facts.pass(Vip(vip.0), None);
            if !kept.contains_key(&vip) {
                self.facts.show(vip, None);
            }
        }
        if let Some(version) = group.awaits {
            self.awaiting.remove(&(version, key));
        }
        self.facts.hold(key, None);
        self.timers.set(key, None);
        self.reclaims.end(key);
    }

    /// The kernel is told to fall silent about a group.
    pub(super) fn fade(&mut self, group: &Group, epoch: Epoch) {
        for vip in group.keys() {
            self.facts.fade(vip, epoch);
        }
    }

    /// Stops answering for a group, at once and without being asked.
    pub(super) fn release(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        to: Option<NodeId>,
    ) {
        let State::Holding(own) = &group.state else {
            return;
        };
        let epoch = own.epoch;
        self.fade(group, epoch);
        self.say(Output::Event(Event::Given { group: key, to }));
        self.begin(now, key, group);
    }

    pub(super) fn evaluate(&mut self, now: Time, key: GroupKey) {
        let Some(mut group) = self.take_out(key) else {
            return;
        };
        group.window.take_if(|window| window.until <= now);
        match &group.state {
            State::Free | State::Waiting => self.begin(now, key, &mut group),
            State::Taking(_) => self.go_on(now, key, &mut group),
            State::Holding(_) => self.keep(now, key, &mut group),
            State::Draining(_) => self.drain(now, key, &mut group),
            State::Contested(_) => self.stay_silent(now, key, &mut group),
            State::Lapsed => {}
        }
        self.put_back(key, group);
    }

    /// A group that is held: whether it still may be.
    fn keep(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        let State::Holding(own) = &group.state else {
            return;
        };
        let mine = (self.me, own.epoch);
        let mut better = None;
        for vip in group.keys() {
            let mut others = self.others.holders(vip);
            better = better.or(others.find(|theirs| self.rank.outlasts(vip, *theirs, mine)));
        }
        let is_unwanted =
            self.wishes.is_some() && self.wish(key).is_none_or(|wish| wish.owner.is_none());
        if let Some((id, _)) = better {
            self.release(now, key, group, Some(id));
        } else if is_unwanted || self.others.roster().is_name_taken {
            self.release(now, key, group, None);
        } else {
            self.settle_doubt(now, key, group);
        }
    }
}

/// No cluster lives to see this many takings; a higher epoch is nonsense and followed no further.
const EPOCH_MAX: Epoch = Epoch(1 << 62);
