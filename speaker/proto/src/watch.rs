//! Whether those who hold VIPs do answer for them, asked again and again by a node that can tell others.
//!
//! The heir of a group asks for each of its VIPs once a second on its own links (L6.7 of `docs/layer2.md`): a holder that is alive
//! but silent has lost its way to the segment, and an answer from other hardware is a conflict. The same serves for a kernel that was
//! promised to go on without its agent (L6.3), asked by unicast and more often. Knows nothing of who is alive or an heir, of
//! sockets, or of what is done about it.

use crate::announce::Place;
use crate::member::Member;
use crate::pace::{Lanes, Pace};
use crate::probe::Probe;
use crate::{GroupKey, Mac, Machine, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How often an heir asks.
pub const HEIR_INTERVAL: Span = Span::s(1);
/// How often a kernel without its agent is asked.
pub const PROMISE_INTERVAL: Span = Span::ms(100);
/// Probes on one link in any one second at most; with more VIPs each is asked for less often.
pub const PROBES_PER_SECOND_MAX: u64 = 200;
/// Probes at once after a quiet time. Few, so that they spread over the second from the start.
const BURST_PROBES: u64 = 10;
/// Probes in a row without an answer that make a VIP missing.
pub const MISSES: u8 = 3;
/// Hardware addresses of holders that are remembered to be on a link: a thousand nodes on two links, in both families. Of more it counts only what
/// is missing where anything of theirs was answered for.
const MET_MAX: usize = 4_096;
/// The same hardware is told of again after this long.
const TELL_INTERVAL: Span = Span::s(10);
/// VIPs on links that are watched at most: as many as the kernel's table has room for.
pub const PLACES_MAX: usize = 65_536;

/// A group to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// Its VIPs on the links of this node, with the hardware address of the link. Only links on which its holder should answer.
    pub places: BTreeMap<Place, Mac>,
    /// The holder's hardware addresses.
    pub holder: BTreeSet<Mac>,
    /// Whom to ask; `None`: everybody, so that others who answer are found too.
    pub only: Option<Mac>,
    /// How often: [`HEIR_INTERVAL`] or [`PROMISE_INTERVAL`].
    pub interval: Span,
}

impl Watched {
    /// What a member holds, asked of everybody.
    pub fn of(holder: &Member, places: BTreeMap<Place, Mac>, interval: Span) -> Self {
        Self {
            places,
            holder: holder.profile.macs.iter().copied().collect(),
            only: None,
            interval,
        }
    }
}

/// Everything that is watched.
pub type Watchlist = BTreeMap<GroupKey, Watched>;

/// What happens to [`Watch`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Everything to be watched from now on. A group that is as it was keeps its misses; one that changed begins anew.
    Watch(Arc<Watchlist>),
    /// Somebody says that a VIP is where this hardware is.
    Heard(Place, Mac),
    /// The last [`Output::Send`] of this group and place could not be sent: it is not missed.
    Unsent(GroupKey, Place),
}

/// What [`Watch`] wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a probe; if it cannot be sent, say so with [`Input::Unsent`].
    Send(Probe),
    /// For some VIP of the group on some link the holder did not answer [`MISSES`] probes. Told when it begins and when more of the
    /// two becomes true.
    Missing {
        /// The group.
        group: GroupKey,
        /// The holder's hardware was met before on a link where it is missing. Where it never was, this node may as well be on another
        /// segment.
        was_answered: bool,
        /// Somebody was heard on such a link at the same time. Where nobody is, this node may itself have lost its way to the segment.
        is_among_others: bool,
    },
    /// Nothing of a group that was missing is missing any more.
    Answering(GroupKey),
    /// Hardware that is not the holder's says that it has a VIP of the group.
    Unexpected {
        /// The group.
        group: GroupKey,
        /// Whose.
        mac: Mac,
    },
}

/// What was seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Probes that the holder answered.
    pub answered: u64,
    /// Probes that it did not.
    pub missed: u64,
    /// Places that are not watched now, for want of room.
    pub left_out: u64,
}

/// The machine that watches.
#[derive(Debug)]
pub struct Watch {
    groups: BTreeMap<GroupKey, Group>,
    by_place: BTreeMap<Place, GroupKey>,
    lanes: Lanes<(GroupKey, Place)>,
    air: Air,
    counts: Counts,
    outputs: VecDeque<Output>,
}

/// Who was heard on which link, in each address family for itself: a switch that keeps unsolicited advertisements back lets no answer to
/// an IPv6 probe through, and ARP all the same.
#[derive(Clone, Debug, Default)]
struct Air {
    /// Hardware of this node.
    own: BTreeSet<Mac>,
    /// Hardware of holders that once answered for something; at most [`MET_MAX`].
    met: BTreeSet<(Medium, Mac)>,
    /// When anybody else was last heard.
    heard: BTreeMap<Medium, Time>,
}

/// A link and whether IPv6 is meant.
type Medium = (u32, bool);

const fn medium(place: Place) -> Medium {
    (place.1, place.0.0.is_ipv6())
}

#[derive(Clone, Debug)]
struct Group {
    watched: Watched,
    seen: BTreeMap<Place, Seen>,
    /// What was told of it: that it is missing, whether its holder was met there, and whether others are heard.
    told: Option<(bool, bool)>,
    /// The stranger that was told of last.
    stranger: Option<(Mac, Time)>,
}

/// Of a VIP on a link.
#[derive(Clone, Copy, Debug)]
struct Seen {
    due: Time,
    /// A probe is out.
    is_asked: bool,
    misses: u8,
}

impl Watch {
    /// Nothing is watched.
    pub fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            by_place: BTreeMap::new(),
            lanes: Lanes::new(Pace::new(PROBES_PER_SECOND_MAX, BURST_PROBES)),
            air: Air::default(),
            counts: Counts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// What was seen so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn watch(&mut self, now: Time, wanted: &Watchlist) {
        let is_kept = |(key, group): &(&GroupKey, &Group)| {
            wanted
                .get(key)
                .is_some_and(|watched| *watched == group.watched)
        };
        let groups = self.groups.iter();
        let gone: Vec<GroupKey> = groups
            .filter(|group| !is_kept(group))
            .map(|(key, _)| *key)
            .collect();
        for group in gone {
            self.forget(group);
        }
        let links = wanted.values().flat_map(|watched| &watched.places);
        self.air.own = links.clone().map(|(_, mac)| *mac).collect();
        let links: BTreeSet<u32> = links.map(|(place, _)| place.1).collect();
        self.air.heard.retain(|(link, _), _| links.contains(link));
        self.counts.left_out = 0;
        for (group, watched) in wanted {
            if self.groups.contains_key(group) {
                continue;
            }
            if self.by_place.len() + watched.places.len() > PLACES_MAX {
                self.counts.left_out += watched.places.len() as u64;
                continue;
            }
            self.begin(now, *group, watched.clone());
        }
    }

    fn forget(&mut self, key: GroupKey) {
        let Some(group) = self.groups.remove(&key) else {
            return;
        };
        for (place, seen) in group.seen {
            self.lanes.remove(place.1, seen.due, (key, place));
            self.by_place.remove(&place);
        }
    }

    fn begin(&mut self, now: Time, key: GroupKey, watched: Watched) {
        let unseen = Seen {
            due: now,
            is_asked: false,
            misses: 0,
        };
        for &place in watched.places.keys() {
            self.lanes.insert(place.1, now, (key, place));
            self.by_place.insert(place, key);
        }
        let seen = watched.places.keys().map(|place| (*place, unseen));
        let group = Group {
            seen: seen.collect(),
            watched,
            told: None,
            stranger: None,
        };
        self.groups.insert(key, group);
    }

    fn heard(&mut self, now: Time, place: Place, mac: Mac) {
        self.air.hear(now, medium(place), mac);
        let Some(&key) = self.by_place.get(&place) else {
            return;
        };
        let group = self.groups.get_mut(&key);
        let group = group.expect("a place that is known belongs to a group that is");
        if group.watched.holder.contains(&mac) {
            self.air.meet(medium(place), mac);
            self.counts.answered += u64::from(group.answered(place));
            self.outputs.extend(group.change(now, key, &self.air));
        } else if group.is_news(now, mac) {
            self.outputs
                .push_back(Output::Unexpected { group: key, mac });
        }
    }

    fn unsent(&mut self, group: GroupKey, place: Place) {
        let group = self.groups.get_mut(&group);
        if let Some(seen) = group.and_then(|group| group.seen.get_mut(&place)) {
            seen.is_asked = false;
        }
    }

    fn pump(&mut self, now: Time) {
        while let Some((key, place)) = self.lanes.next(now) {
            let group = self.groups.get_mut(&key);
            let group = group.expect("what waits in a lane belongs to a group");
            let seen = group.seen.get_mut(&place);
            let seen = seen.expect("a group's probes are for its places");
            if seen.is_asked {
                seen.misses = seen.misses.saturating_add(1);
                self.counts.missed += 1;
            }
            seen.is_asked = true;
            seen.due = now + group.watched.interval;
            self.lanes.insert(place.1, seen.due, (key, place));
            self.outputs.extend(group.change(now, key, &self.air));
            self.outputs.push_back(Output::Send(Probe {
                group: key,
                place,
                from: group.watched.places[&place],
                to: group.watched.only,
            }));
        }
    }
}

impl Air {
    fn hear(&mut self, now: Time, medium: Medium, mac: Mac) {
        if !self.own.contains(&mac) {
            self.heard.insert(medium, now);
        }
    }

    fn meet(&mut self, medium: Medium, mac: Mac) {
        if self.met.len() < MET_MAX {
            self.met.insert((medium, mac));
        }
    }

    fn has_met(&self, medium: Medium, holder: &BTreeSet<Mac>) -> bool {
        holder.iter().any(|mac| self.met.contains(&(medium, *mac)))
    }

    /// Whether somebody was heard on a link within a time.
    fn is_full(&self, now: Time, medium: Medium, within: Span) -> bool {
        let heard = self.heard.get(&medium);
        heard.is_some_and(|heard| now.since(*heard) < within)
    }
}

impl Group {
    /// Notes the holder's answer; whether it was to a probe.
    fn answered(&mut self, place: Place) -> bool {
        let Some(seen) = self.seen.get_mut(&place) else {
            return false;
        };
        let was_asked = seen.is_asked;
        *seen = Seen {
            due: seen.due,
            is_asked: false,
            misses: 0,
        };
        was_asked
    }

    /// What must be told of what is missing.
    fn change(&mut self, now: Time, key: GroupKey, air: &Air) -> Option<Output> {
        let missing = self.seen.iter().filter(|(_, seen)| seen.misses >= MISSES);
        let holder = &self.watched.holder;
        let missed = Span::from_ns(self.watched.interval.ns() * u64::from(MISSES));
        let states = missing.map(|(place, _)| {
            let medium = medium(*place);
            (
                air.has_met(medium, holder),
                air.is_full(now, medium, missed),
            )
        });
        let state = states.reduce(|a, b| (a.0 || b.0, a.1 || b.1));
        let state = state.map(|(met, full)| {
            let was_full = self.told.is_some_and(|(_, was_full)| was_full);
            (met, full || was_full)
        });
        if state == self.told {
            return None;
        }
        self.told = state;
        Some(match state {
            None => Output::Answering(key),
            Some((was_answered, is_among_others)) => Output::Missing {
                group: key,
                was_answered,
                is_among_others,
            },
        })
    }

    /// Whether this hardware is a stranger's that must be told of. This node's own links are none.
    fn is_news(&mut self, now: Time, mac: Mac) -> bool {
        let was_told = |(last, at): (Mac, Time)| last == mac && now.since(at) < TELL_INTERVAL;
        let is_own = self.watched.places.values().any(|own| *own == mac);
        if is_own || self.stranger.is_some_and(was_told) {
            return false;
        }
        self.stranger = Some((mac, now));
        true
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for Watch {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Watch(wanted) => {
                self.watch(now, &wanted);
                self.pump(now);
            }
            // Whoever reads late reads one answer after the other: the first must not make the second a miss.
            Input::Heard(place, mac) => self.heard(now, place, mac),
            Input::Unsent(group, place) => self.unsent(group, place),
        }
    }

    fn expire(&mut self, now: Time) {
        self.pump(now);
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        self.lanes.deadline().map(|due| (due, "probe"))
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
