//! What a peer was told, and what it is to be told next: Adj-RIB-Out (RFC 4271 §3.2) as a value.
//!
//! What is wanted comes as a whole, shared table. Told is kept as the table that was wanted before, also shared, with how far the way from
//! that to this has come, so that a peer at rest costs no copy. A way goes through two passes in the order of prefixes: all withdrawals,
//! which are never delayed, then what is new or different, in batches that are sorted by attributes so that UPDATEs are full.
//!
//! It knows nothing of sessions, next hops or bytes: how many prefixes a message had room for comes back with [`Sent::told`].

use super::route::{Attributes, Family, Prefix, Routes};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Prefixes that are sorted by attributes at a time: five full messages' worth, 160 KiB at most.
const BATCH: usize = 4096;

/// What one peer was told in one session.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What can be announced at all.
    families: BTreeSet<Family>,
    want: Arc<Routes>,
    /// What was told, where neither `over` nor `pass` says otherwise.
    base: Arc<Routes>,
    /// What was told beside that: of this batch, and of ways that were left before their end.
    over: BTreeMap<Prefix, Told>,
    pass: Pass,
    /// Families that are told anew, and how far that has come.
    again: BTreeMap<Family, Option<Prefix>>,
    batch: VecDeque<Pending>,
    /// Where the scan for this batch ended.
    batch_end: Option<Prefix>,
    counts: [u32; 2],
}

/// `None`: withdrawn, or never announced.
type Told = Option<Arc<Attributes>>;

/// How far the way to what is wanted has come: through all prefixes up to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pass {
    Withdraw(Option<Prefix>),
    Announce(Option<Prefix>),
    Done,
}

#[derive(Clone, Debug)]
struct Pending {
    prefix: Prefix,
    attributes: Told,
    was_told: bool,
}

/// What to say next of the prefixes of [`Sent::prefixes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// That they are gone.
    Withdraw,
    /// That they are there, with this.
    Announce(Arc<Attributes>),
}

impl Sent {
    /// Of a session that begins: nothing was told, nothing is wanted.
    pub fn new(families: BTreeSet<Family>) -> Self {
        Self {
            families,
            want: Arc::default(),
            base: Arc::default(),
            over: BTreeMap::new(),
            pass: Pass::Done,
            again: BTreeMap::new(),
            batch: VecDeque::new(),
            batch_end: None,
            counts: [0; 2],
        }
    }

    /// Wants the peer to be told this and nothing else.
    pub fn want(&mut self, routes: &Arc<Routes>) {
        if Arc::ptr_eq(routes, &self.want) {
            return;
        }
        self.settle();
        self.want = Arc::clone(routes);
        self.pass = Pass::Withdraw(None);
    }

    /// Has all of a family told again (RFC 2918 §4), changed or not. One that is not announced at all is passed over.
    pub fn again(&mut self, family: Family) {
        if !self.families.contains(&family) {
            return;
        }
        self.settle();
        self.again.insert(family, None);
        self.pass = Pass::Withdraw(None);
    }

    /// What to say next; `None`: the peer was told everything.
    pub fn step(&mut self) -> Option<Step> {
        while self.batch.is_empty() {
            match self.pass {
                Pass::Done => return None,
                Pass::Withdraw(from) => self.gather_withdrawals(from),
                Pass::Announce(from) => self.gather_announcements(from),
            }
        }
        let first = self.batch.front()?;
        Some(match &first.attributes {
            None => Step::Withdraw,
            Some(attributes) => Step::Announce(Arc::clone(attributes)),
        })
    }

    /// The prefixes of which [`Sent::step`] spoke, in order of family and address; not all need fit into one message.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        let first = self
            .batch
            .front()
            .and_then(|first| first.attributes.as_ref());
        let group = self.batch.iter();
        group
            .take_while(move |pending| is_same(first, pending.attributes.as_ref()))
            .map(|pending| pending.prefix)
    }

    /// The first so many of [`Sent::prefixes`] were told.
    pub fn told(&mut self, count: usize) {
        for pending in self.batch.drain(..count) {
            let told = &mut self.counts[pending.prefix.family() as usize];
            match (pending.was_told, pending.attributes.is_some()) {
                (false, true) => *told += 1,
                (true, false) => *told -= 1,
                (false, false) | (true, true) => {}
            }
            self.over.insert(pending.prefix, pending.attributes);
        }
        if self.batch.is_empty() {
            self.close_batch();
        }
    }

    /// Whether the peer was told everything.
    pub fn is_done(&self) -> bool {
        self.pass == Pass::Done
    }

    /// Prefixes that the peer was told and that stand, by family.
    pub const fn counts(&self) -> [u32; 2] {
        self.counts
    }

    /// What the peer was told of a prefix.
    pub fn told_of(&self, prefix: Prefix) -> Option<&Arc<Attributes>> {
        let is_announced = self.families.contains(&prefix.family());
        let kept = match self.over.get(&prefix) {
            Some(told) => told.as_ref(),
            None => self.base.get(&prefix),
        };
        let wanted = self.want.get(&prefix);
        self.judge(prefix, kept, wanted).filter(|_| is_announced)
    }

    /// What the peer was told of a prefix, by what is kept of it and what is wanted.
    fn judge<'a>(
        &self,
        prefix: Prefix,
        kept: Option<&'a Arc<Attributes>>,
        wanted: Option<&'a Arc<Attributes>>,
    ) -> Option<&'a Arc<Attributes>> {
        match self.pass {
            Pass::Done => wanted,
            Pass::Announce(to) if Some(prefix) <= to => wanted,
            Pass::Withdraw(to) if Some(prefix) > to => kept,
            Pass::Announce(_) | Pass::Withdraw(_) => kept.filter(|_| wanted.is_some()),
        }
    }

    /// Every prefix beyond one that was told or is wanted, with what is kept as told and with what is wanted.
    fn both(
        &self,
        from: Option<Prefix>,
    ) -> impl Iterator<Item = (Prefix, Option<&Arc<Attributes>>, Option<&Arc<Attributes>>)> {
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        let kept = merge(self.base.range(range), self.over.range(range));
        let kept = kept.map(|(prefix, base, over)| match over {
            Some(over) => (prefix, over.as_ref()),
            None => (prefix, base),
        });
        merge(kept, self.want.range(range))
            .map(|(prefix, kept, wanted)| (*prefix, kept.flatten(), wanted))
            .filter(|(prefix, _, _)| self.families.contains(&prefix.family()))
    }

    /// Puts all that was told into `base` and `over`, so that what is wanted may change.
    fn settle(&mut self) {
        self.batch.clear();
        if self.is_done() {
            self.rest();
            return;
        }
        // Either table will do as the base; the better one leaves less to keep beside it.
        let (mut beside_base, mut beside_want) = (0_usize, 0_usize);
        for (prefix, kept, wanted) in self.both(None) {
            let told = self.judge(prefix, kept, wanted);
            beside_base += usize::from(!is_same(told, self.base.get(&prefix)));
            beside_want += usize::from(!is_same(told, wanted));
        }
        let base = Arc::clone(if beside_want < beside_base {
            &self.want
        } else {
            &self.base
        });
        let told = self.both(None).filter_map(|(prefix, kept, wanted)| {
            let told = self.judge(prefix, kept, wanted);
            (!is_same(told, base.get(&prefix))).then(|| (prefix, told.cloned()))
        });
        self.over = told.collect();
        self.base = base;
    }

    /// The peer was told all that is wanted: one shared table says so.
    fn rest(&mut self) {
        self.pass = Pass::Done;
        self.base = Arc::clone(&self.want);
        self.over.clear();
        // Its room too: there may be many peers, and each is at rest nearly always.
        self.batch = VecDeque::new();
    }

    /// RFC 4271 §9.2.1.1: the interval between announcements holds no withdrawal up. We have no such interval.
    fn gather_withdrawals(&mut self, from: Option<Prefix>) {
        let gone = self.both(from).filter_map(|(prefix, kept, wanted)| {
            (kept.is_some() && wanted.is_none()).then_some(Pending {
                prefix,
                attributes: None,
                was_told: true,
            })
        });
        self.batch = gone.take(BATCH).collect();
        match self.batch.back() {
            Some(last) => self.batch_end = Some(last.prefix),
            None => self.pass = Pass::Announce(None),
        }
    }

    fn gather_announcements(&mut self, from: Option<Prefix>) {
        let different = self.both(from).filter_map(|(prefix, kept, wanted)| {
            let wanted = wanted?;
            let again = self.again.get(&prefix.family());
            let is_again = again.is_some_and(|to| Some(prefix) > *to);
            (is_again || !is_same(kept, Some(wanted))).then(|| Pending {
                prefix,
                attributes: Some(Arc::clone(wanted)),
                was_told: kept.is_some(),
            })
        });
        let mut batch: Vec<Pending> = different.take(BATCH).collect();
        let Some(last) = batch.last() else {
            self.again.clear();
            self.rest();
            return;
        };
        self.batch_end = Some(last.prefix);
        // Stable: within the same attributes the order of prefixes remains.
        batch.sort_by(|a, b| {
            if is_same(a.attributes.as_ref(), b.attributes.as_ref()) {
                Ordering::Equal
            } else {
                a.attributes.cmp(&b.attributes)
            }
        });
        self.batch = batch.into();
    }

    /// All of the batch was told: the pass has come as far as the batch reached.
    fn close_batch(&mut self) {
        let end = self.batch_end;
        match self.pass {
            Pass::Withdraw(_) => {
                self.pass = Pass::Withdraw(end);
                let want = &self.want;
                self.over
                    .retain(|prefix, _| Some(*prefix) > end || want.contains_key(prefix));
            }
            Pass::Announce(_) => {
                self.pass = Pass::Announce(end);
                self.over.retain(|prefix, _| Some(*prefix) > end);
                for to in self.again.values_mut() {
                    *to = (*to).max(end);
                }
            }
            Pass::Done => {}
        }
    }
}

/// Whether two say the same; most often they are the same.
fn is_same(a: Option<&Arc<Attributes>>, b: Option<&Arc<Attributes>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Two ordered sequences as one, with what each has of a key.
fn merge<K: Ord, A, B>(
    a: impl Iterator<Item = (K, A)>,
    b: impl Iterator<Item = (K, B)>,
) -> impl Iterator<Item = (K, Option<A>, Option<B>)> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || {
        let order = match (a.peek(), b.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => a.next().map(|(key, a)| (key, Some(a), None)),
            Ordering::Greater => b.next().map(|(key, b)| (key, None, Some(b))),
            Ordering::Equal => {
                let (key, a) = a.next()?;
                Some((key, Some(a), b.next().map(|(_, b)| b)))
            }
        }
    })
}

#[cfg(test)]
#[path = "rib_tests.rs"]
mod tests;
