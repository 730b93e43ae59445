//! Fences that went up, and finding those that nobody told of.
//!
//! A member's claim raises the fence of an entry and leaves a record of it; a record may be lost, a fence is not (L5.2 of
//! `docs/layer2.md`). [`Looks`] says which fences to look at and which of them were not told of. It knows nothing of maps, and not
//! what a claim leads to.

use crate::agent::Input;
use crate::tables::Tables;
use speaker_ebpf::abi::{Mode, VipKey};
use speaker_proto::{Mac, Vip};
use std::collections::BTreeMap;

/// A fence that is up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Raised {
    /// The VIP.
    pub vip: Vip,
    /// The index of the link.
    pub ifindex: u32,
    /// The slot of the entry.
    pub slot: u32,
    /// The claims so far. Clearing the fence up to here leaves it up if there is another claim meanwhile.
    pub generation: u64,
    /// The member's hardware address; `None`: the record of the claim was lost.
    pub claimant: Option<Mac>,
}

impl From<Raised> for Input {
    fn from(raised: Raised) -> Self {
        let Raised { vip, claimant, .. } = raised;
        match claimant {
            Some(mac) => Self::Claimed { vip, mac },
            None => Self::Fenced(vip),
        }
    }
}

/// Looks at the fences of what is answered for, some each time.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// The last entry that was looked at.
    last: Option<VipKey>,
    /// Fences that were up at the last look at them.
    up: BTreeMap<VipKey, u64>,
}

impl Looks {
    /// The entries to look at now: those after the last ones, at most [`LOOKS_MAX`], and from the start again.
    pub fn next(&mut self, tables: &Tables) -> BTreeMap<VipKey, u32> {
        let answering = || {
            let vips = tables.vips.iter();
            vips.filter(|(_, entry)| entry.mode() == Some(Mode::Answer))
                .map(|(key, entry)| (*key, entry.slot()))
        };
        let is_after = |key: &VipKey| self.last.is_none_or(|last| *key > last);
        let rest = answering().filter(|(key, _)| is_after(key));
        let again = answering().filter(|(key, _)| !is_after(key));
        let looks: Vec<(VipKey, u32)> = rest.chain(again).take(LOOKS_MAX).collect();
        self.last = looks.last().map(|(key, _)| *key);
        self.up.retain(|key, _| {
            tables
                .vips
                .get(key)
                .is_some_and(|e| e.mode() == Some(Mode::Answer))
        });
        looks.into_iter().collect()
    }

    /// What was seen: of the slots looked at, those that are fenced with their generation. Returns fences that stand unchanged
    /// since the last look at them: whoever settles claims would have lowered them by then.
    pub fn seen(
        &mut self,
        looked: &BTreeMap<VipKey, u32>,
        fenced: &BTreeMap<u32, u64>,
    ) -> Vec<Raised> {
        let mut standing = Vec::new();
        for (key, slot) in looked {
            let Some(&generation) = fenced.get(slot) else {
                self.up.remove(key);
                continue;
            };
            if self.up.insert(*key, generation) == Some(generation) {
                standing.push(Raised {
                    vip: Vip(key.addr().into()),
                    ifindex: key.ifindex(),
                    slot: *slot,
                    generation,
                    claimant: None,
                });
            }
        }
        standing
    }
}

/// Entries looked at each time: two system calls each, some milliseconds.
pub const LOOKS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_ebpf::abi::{Addr, Entry};

    fn key(n: u32) -> VipKey {
        VipKey::new(Addr::v4(n.to_be_bytes()), 2)
    }

    /// Entries 0 to `count`, each in the slot of its number, the last of them not ours.
    fn tables(count: u32) -> Tables {
        let answer = (0..count - 1).map(|n| (key(n), Entry::new(Mode::Answer, 1, n)));
        let known = (key(count - 1), Entry::new(Mode::Known, 0, count - 1));
        Tables {
            vips: answer.chain([known]).collect(),
            ..Tables::default()
        }
    }

    #[test]
    fn l5_2_a_fence_that_stands_through_two_looks_is_told_of() {
        let (tables, mut looks) = (tables(3), Looks::default());
        let mut look = |fenced: &[(u32, u64)]| {
            let looked = looks.next(&tables);
            assert_eq!(looked, BTreeMap::from([(key(0), 0), (key(1), 1)]));
            let told = looks.seen(&looked, &fenced.iter().copied().collect());
            told.into_iter()
                .map(|raised| (raised.slot, raised.generation))
                .collect::<Vec<_>>()
        };
        assert_eq!(look(&[(1, 7)]), []);
        assert_eq!(look(&[(1, 7)]), [(1, 7)]);
        assert_eq!(look(&[(1, 7), (0, 1)]), [(1, 7)], "until it is lowered");
        assert_eq!(look(&[(1, 8)]), [], "another claim: it is being settled");
        assert_eq!(look(&[]), []);
        assert_eq!(look(&[(1, 8)]), [], "raised anew");
    }

    #[test]
    fn every_entry_has_its_turn_however_many_there_are() {
        let count = LOOKS_MAX as u32 * 2 + 100;
        let (tables, mut looks) = (tables(count), Looks::default());
        let mut looked = BTreeMap::new();
        for _ in 0..3 {
            let next = looks.next(&tables);
            assert_eq!(next.len(), LOOKS_MAX);
            looked.extend(next);
        }
        assert_eq!(looked.len(), count as usize - 1);
    }

    #[test]
    fn what_is_not_answered_for_any_more_is_forgotten() {
        let mut looks = Looks::default();
        let looked = looks.next(&tables(3));
        looks.seen(&looked, &BTreeMap::from([(1, 7)]));
        assert!(looks.next(&tables(2)).len() == 1 && looks.up.is_empty());
        let looked = looks.next(&tables(3));
        assert_eq!(looks.seen(&looked, &BTreeMap::from([(1, 7)])), []);
    }
}
