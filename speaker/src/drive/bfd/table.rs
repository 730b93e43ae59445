//! The sessions: which packet belongs to which, and which is due next.
//!
//! A packet that names a discriminator is that session's (RFC 5880 §6.3); one that names none is given by the addresses and the link that
//! it came by. Knows no sockets and reads no clock: what sessions say comes out as it is.

use super::SESSIONS_MAX;
use crate::edge::bfd::{Heard, Range};
use speaker_core::LinkName;
use speaker_proto::bfd::{Discard, Input, Output, Packet, Saved, Session, Settings};
use speaker_proto::{Machine, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Which session is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SessionKey {
    /// The other side's address.
    pub(crate) peer: IpAddr,
    /// Ours. `None`: any to hear, and to send the one that the routing table says.
    pub(crate) local: Option<IpAddr>,
    /// The link that packets take both ways; needed where the address is link-local.
    pub(crate) interface: Option<LinkName>,
    /// The VRF; `None`: the default one.
    pub(crate) vrf: Option<LinkName>,
    /// Over several hops (RFC 5883).
    pub(crate) is_multihop: bool,
}

impl SessionKey {
    /// Where its packets are heard.
    pub(super) fn range(&self) -> Range {
        Range {
            is_ipv6: self.peer.is_ipv6(),
            is_multihop: self.is_multihop,
            vrf: self.vrf.clone(),
        }
    }
}

/// A session for the next process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// What the machine needs.
    pub(crate) session: Saved,
    /// The source port of its packets.
    pub(crate) port: u16,
}

/// A session and its place.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) key: SessionKey,
    pub(super) session: Session,
    /// What the driver has to it.
    pub(super) mouth: M,
    /// The index of the link of `key`, once it is known.
    pub(super) ifindex: Option<u32>,
    /// When it came into its state.
    pub(super) since: Time,
    /// It is not wanted any more.
    pub(super) is_leaving: bool,
    /// When it is next due, as it stands in the order of all.
    due: Option<Time>,
}

/// All sessions, by our discriminator.
#[derive(Debug)]
pub(super) struct Table<M> {
    entries: BTreeMap<NonZeroU32, Entry<M>>,
    /// Those that are wanted.
    keys: BTreeMap<SessionKey, NonZeroU32>,
    order: BTreeSet<(Time, NonZeroU32)>,
}

impl<M> Table<M> {
    pub(super) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Those that are wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Entry<M>> {
        self.keys.values().filter_map(|id| self.entries.get(id))
    }

    /// Every session, also those that leave.
    pub(super) fn entries(&mut self) -> impl Iterator<Item = &mut Entry<M>> {
        self.entries.values_mut()
    }

    pub(super) fn ids(&self) -> Vec<NonZeroU32> {
        self.entries.keys().copied().collect()
    }

    /// Whether none is wanted, and none leaves.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether so many may be wanted.
    pub(super) fn has_room(&self) -> bool {
        self.keys.len() < SESSIONS_MAX
    }

    /// Whether a discriminator is free.
    pub(super) fn is_free(&self, id: NonZeroU32) -> bool {
        !self.entries.contains_key(&id)
    }

    /// Whether it is wanted already.
    pub(super) fn id(&self, key: &SessionKey) -> Option<NonZeroU32> {
        self.keys.get(key).copied()
    }

    /// Adds a session that is neither there nor has a discriminator that is.
    pub(super) fn insert(&mut self, now: Time, key: SessionKey, session: Session, mouth: M) {
        let id = session.discriminator();
        self.keys.insert(key.clone(), id);
        let entry = Entry {
            key,
            session,
            mouth,
            ifindex: None,
            since: now,
            is_leaving: false,
            due: None,
        };
        self.entries.insert(id, entry);
        self.reorder(id);
    }

    /// Has sessions leave that are not among `wanted`. When more leave than may be there at once, the last ones go without a word.
    pub(super) fn leave(&mut self, now: Time, wanted: &BTreeMap<SessionKey, Settings>) {
        let unwanted: Vec<SessionKey> = self
            .keys
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .cloned()
            .collect();
        for key in unwanted {
            let Some(id) = self.keys.remove(&key) else {
                continue;
            };
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_leaving = true;
                entry.session.input(now, Input::AdminDown);
            }
            self.reorder(id);
            let leaving = self.entries.values().filter(|entry| entry.is_leaving);
            if leaving.count() > SESSIONS_MAX {
                self.remove(id);
            }
        }
    }

    /// Ends those of this key that still leave: a new one must not be contradicted.
    pub(super) fn forget_leaving(&mut self, key: &SessionKey) {
        let leaving = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_leaving && entry.key == *key);
        let leaving: Vec<NonZeroU32> = leaving.map(|(id, _)| *id).collect();
        for id in leaving {
            self.remove(id);
        }
    }

    /// Ends a session that is not wanted any more, without a word.
    pub(super) fn remove(&mut self, id: NonZeroU32) -> Option<Entry<M>> {
        let entry = self.entries.remove(&id)?;
        if let Some(due) = entry.due {
            self.order.remove(&(due, id));
        }
        Some(entry)
    }

    /// Tells a session.
    pub(super) fn input(&mut self, now: Time, id: NonZeroU32, input: Input) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.session.input(now, input);
        }
        self.reorder(id);
    }

    /// Whose packet this is.
    ///
    /// # Errors
    /// With why it is nobody's.
    pub(super) fn whose(
        &self,
        heard: &Heard,
        range: &Range,
        packet: &Packet,
    ) -> Result<NonZeroU32, Discard> {
        let id = match packet.yours {
            Some(id) if self.entries.contains_key(&id) => id,
            Some(_) => return Err(Discard::UnknownSession),
            None => self.first(heard, range).ok_or(Discard::UnknownPeer)?,
        };
        let ttl_min = self
            .entries
            .get(&id)
            .map(|entry| entry.session.settings().ttl_min);
        match ttl_min.is_some_and(|least| heard.ttl >= least) {
            true => Ok(id),
            false => Err(Discard::Ttl),
        }
    }

    /// The session for a packet that names none: of those that it may be of the one that says most of where it comes
    /// from (RFC 5881 §3).
    fn first(&self, heard: &Heard, range: &Range) -> Option<NonZeroU32> {
        let fits = |(key, id): &(&SessionKey, &NonZeroU32)| {
            let ifindex = self.entries.get(id).and_then(|entry| entry.ifindex);
            key.peer == heard.from
                && key.range() == *range
                && key.local.is_none_or(|local| local == heard.to)
                && (key.interface.is_none() || ifindex == Some(heard.ifindex))
        };
        let candidates = self.keys.iter().filter(fits);
        let best = candidates.max_by_key(|(key, _)| (key.interface.is_some(), key.local.is_some()));
        best.map(|(_, id)| *id)
    }

    /// When the first session is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Lets the timers of one session fire that is due. `None`: none is.
    pub(super) fn expire(&mut self, now: Time) -> Option<NonZeroU32> {
        let (_, id) = *self.order.first().filter(|(at, _)| *at <= now)?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.session.expire(now);
        }
        self.reorder(id);
        Some(id)
    }

    /// The next thing that a session wants done.
    pub(super) fn output(&mut self, id: NonZeroU32) -> Option<(&mut Entry<M>, Output)> {
        let entry = self.entries.get_mut(&id)?;
        let output = entry.session.output()?;
        Some((entry, output))
    }

    fn reorder(&mut self, id: NonZeroU32) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let due = entry.session.deadline().map(|(at, _)| at);
        if due == entry.due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut entry.due, due) {
            self.order.remove(&(old, id));
        }
        self.order.extend(due.map(|at| (at, id)));
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
