//! What keeps a recording from passing for a member: a window of numbers for each proven boot, and challenges for those that are not.
//!
//! A boot is proven when it returned 16 bytes that were never sent before; a recording cannot. From then on each of its numbers is
//! taken once, and none below the one that came with the proof.

use super::observers::mix;
use crate::member::{Boot, NodeId};
use crate::{Span, Time};
use std::collections::BTreeMap;

/// Numbers behind the highest that may still come, out of order.
const WINDOW: u64 = 1_024;

/// Which numbers of a boot were used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Window {
    highest: u64,
    /// One bit a number, by its remainder: used.
    used: Box<[u64; (WINDOW / 64) as usize]>,
}

impl Window {
    /// A window in which `number` and everything below it is used.
    pub(super) fn after(number: u64) -> Self {
        Self {
            highest: number,
            used: Box::new([u64::MAX; (WINDOW / 64) as usize]),
        }
    }

    /// Uses `number`; false if it was used before, or is too old to tell.
    pub(super) fn admit(&mut self, number: u64) -> bool {
        if number > self.highest {
            let skipped = (number - self.highest).min(WINDOW);
            (0..skipped).for_each(|back| self.set(number - back, false));
            self.highest = number;
        } else if self.highest - number >= WINDOW || self.is_used(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    fn is_used(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.used[word] & bit != 0
    }

    fn set(&mut self, number: u64, is_used: bool) {
        let (word, bit) = place(number);
        if is_used {
            self.used[word] |= bit;
        } else {
            self.used[word] &= !bit;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    // Below WINDOW / 64, which is 16.
    ((at / 64) as usize, 1 << (at % 64))
}

/// The challenges that were sent and not yet answered.
#[derive(Debug)]
pub(super) struct Challenges {
    open: BTreeMap<(NodeId, Boot), Open>,
    /// Before this none of them can be replaced: nobody looks for one with every datagram of a flood.
    full_until: Time,
    prefix: u64,
    counter: u64,
}

#[derive(Debug)]
struct Open {
    nonce: [u8; 16],
    sent: Time,
    begun: Time,
}

impl Challenges {
    /// Those of a process in this boot: the boot is never used twice, so no nonce of it is.
    pub(super) fn new(boot: Boot, seed: u64) -> Self {
        let prefix = boot
            .0
            .iter()
            .fold(seed, |mixed, byte| mix(mixed ^ u64::from(*byte)));
        Self {
            open: BTreeMap::new(),
            full_until: Time::default(),
            prefix,
            counter: 0,
        }
    }

    /// What to send to a boot that is not proven; `None`: one was sent a moment ago, or too many are open.
    pub(super) fn challenge(
        &mut self,
        now: Time,
        node: NodeId,
        boot: Boot,
    ) -> Result<[u8; 16], Silence> {
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&(node, boot)) {
            self.make_room(now)?;
        }
        let counter = self.counter;
        let prefix = self.prefix;
        let mut is_new = false;
        let open = self.open.entry((node, boot)).or_insert_with(|| {
            is_new = true;
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&prefix.to_be_bytes());
            nonce[8..].copy_from_slice(&counter.to_be_bytes());
            Open {
                nonce,
                sent: now,
                begun: now,
            }
        });
        if is_new {
            self.counter += 1;
        } else if now.since(open.sent) < AGAIN {
            return Err(Silence::Soon);
        }
        open.sent = now;
        Ok(open.nonce)
    }

    fn make_room(&mut self, now: Time) -> Result<(), Silence> {
        if now < self.full_until {
            return Err(Silence::Full);
        }
        self.open.retain(|_, open| now.since(open.begun) < OPEN_FOR);
        if self.open.len() < OPEN_MAX {
            return Ok(());
        }
        let oldest = self.open.values().map(|open| open.begun).min();
        self.full_until = oldest.unwrap_or(now) + OPEN_FOR;
        Err(Silence::Full)
    }

    /// Takes an answer; whether it proves the boot.
    pub(super) fn answer(&mut self, node: NodeId, boot: Boot, nonce: [u8; 16]) -> bool {
        let is_right = self
            .open
            .get(&(node, boot))
            .is_some_and(|open| open.nonce == nonce);
        if is_right {
            self.open.remove(&(node, boot));
        }
        is_right
    }
}

/// Why nothing is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// The last one is too recent.
    Soon,
    /// [`OPEN_MAX`] are open.
    Full,
}

/// Challenges open at once: a cold start of the largest cluster goes through them in a few round trips.
const OPEN_MAX: usize = 256;
/// An open one may be replaced by another's after this.
const OPEN_FOR: Span = Span::s(1);
/// The same challenge is repeated no sooner: longer than a round trip, shorter than a lost one should cost.
const AGAIN: Span = Span::ms(40);

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const BOOT: Boot = Boot([1; 16]);

    #[test]
    fn a_number_is_used_once_and_may_come_out_of_order() {
        let mut window = Window::after(10);
        assert!(!window.admit(10) && !window.admit(3), "used with the proof");
        assert!(window.admit(12) && window.admit(11));
        assert!(!window.admit(12) && !window.admit(11));
        assert!(
            window.admit(12 + WINDOW),
            "everything before is too old now"
        );
        assert!(!window.admit(12), "too old to tell");
        assert!(window.admit(13));
        assert!(window.admit(u64::MAX) && !window.admit(u64::MAX));
    }

    #[test]
    fn a_window_agrees_with_a_set() {
        let mut window = Window::after(0);
        let mut seen = std::collections::BTreeSet::new();
        let mut highest = 0;
        let mut state = 1;
        for _ in 0..20_000 {
            state = mix(state);
            let number = (highest + state % 8).saturating_sub(state % 1_100 / (1 + state % 7));
            let is_new = number > 0 && number + WINDOW > highest && seen.insert(number);
            assert_eq!(window.admit(number), is_new, "{number} below {highest}");
            highest = highest.max(number);
        }
    }

    #[test]
    fn a_challenge_is_answered_once_and_by_its_boot() {
        let mut challenges = Challenges::new(BOOT, 1);
        let nonce = challenges.challenge(Time::ms(0), NODE, BOOT).unwrap();
        assert_eq!(
            challenges.challenge(Time::ms(1), NODE, BOOT),
            Err(Silence::Soon)
        );
        assert_eq!(challenges.challenge(Time::ms(50), NODE, BOOT), Ok(nonce));
        assert!(!challenges.answer(NODE, Boot([2; 16]), nonce));
        assert!(challenges.answer(NODE, BOOT, nonce));
        assert!(!challenges.answer(NODE, BOOT, nonce), "only once");
        assert_ne!(challenges.challenge(Time::ms(60), NODE, BOOT), Ok(nonce));
    }

    #[test]
    fn challenges_are_bounded_and_the_old_make_room() {
        let mut challenges = Challenges::new(BOOT, 1);
        for node in 0..OPEN_MAX as u64 {
            assert!(
                challenges
                    .challenge(Time::ms(0), NodeId(node), BOOT)
                    .is_ok()
            );
        }
        let one_more = NodeId(9_999);
        for ms in [1, 999] {
            let full = challenges.challenge(Time::ms(ms), one_more, BOOT);
            assert_eq!(full, Err(Silence::Full));
        }
        assert!(
            challenges
                .challenge(Time::ms(1_000), one_more, BOOT)
                .is_ok()
        );
    }
}
