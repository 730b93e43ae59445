//! One other node, as this one knows it.

use super::SILENCE_MARGIN;
use super::replay::Window;
use super::wire::{Told, Trace};
use crate::member::{Boot, HeldSet, HeldVersion, Member, NodeId, Profile, Standing};
use crate::pulse::PROMISE;
use crate::{Span, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything about one other node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) boot: Boot,
    pub(super) generation: u64,
    /// Its numbers, once it proved that it runs in this boot.
    pub(super) proof: Option<Window>,
    pub(super) standing: Standing,
    /// Since when it is dead or gone.
    pub(super) gone: Time,
    pub(super) life: Life,
    /// The number of the newest datagram that said how long; 0: this node heard none.
    pub(super) promised_by: u64,
    /// When it was last heard by this node, in this boot.
    pub(super) heard: Option<Time>,
    pub(super) profile: Stock<Profile>,
    pub(super) held: Stock<HeldSet>,
    pub(super) has: Has,
    /// Who spoke of it last, and so can be asked.
    pub(super) told_by: Option<NodeId>,
    /// A boot that is not above this one, and when it was told so.
    pub(super) refused: Option<(Boot, Time)>,
    /// When its observers were last asked of it.
    pub(super) inquired: Option<Time>,
    /// What the roster says.
    pub(super) is_reachable: bool,
    /// The same.
    pub(super) is_in_grace: bool,
    /// Observers that say that its kernel does not answer, and when they did; of this boot.
    pub(super) voids: BTreeMap<NodeId, Time>,
    /// Until when its kernel may answer although its promise was void; of this boot.
    pub(super) void_until: Time,
    pub(super) contact: Contact,
    /// How often something of it was asked for.
    pub(super) pulls: u32,
    /// How often something was sent that wants an answer since it was last heard.
    pub(super) unanswered: usize,
    from: Option<SocketAddr>,
}

/// The freshest sign of life, of whomever it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) at: Time,
    pub(super) promise: Span,
}

impl Life {
    /// From when on its kernel is silent for certain (L3.1 b).
    pub(super) fn silent_at(&self) -> Time {
        self.at + self.promise + SILENCE_MARGIN
    }

    /// What `trace` says, which came at `now`: later than it was by its way here, never earlier.
    pub(super) fn of(trace: &Trace, now: Time) -> Self {
        Self {
            number: trace.number,
            at: now - Span::ms(trace.age_ms.into()),
            promise: Span::ms(trace.promise_ms.into()),
        }
    }

    /// The same for others.
    pub(super) fn trace(&self, now: Time) -> Trace {
        Trace {
            number: self.number,
            age_ms: ms(now.since(self.at)),
            promise_ms: ms(self.promise),
        }
    }
}

/// A length in ms, rounded down.
pub(super) fn ms(span: Span) -> u32 {
    u32::try_from(span.ns() / 1_000_000).unwrap_or(u32::MAX)
}

/// What it has of what this node says.
#[derive(Clone, Debug, Default)]
pub(super) struct Has {
    pub(super) profile: u64,
    pub(super) held: u64,
    /// The newest version of ours that counts as acknowledged.
    acked: u64,
    /// Versions of ours that it has, each with the version of its own that must be here first.
    waiting: Vec<(u64, u64)>,
}

impl Has {
    /// It has this of ours, and had `own` of its own then.
    pub(super) fn note(&mut self, profile: u64, held: u64, own: u64) {
        self.profile = self.profile.max(profile);
        self.held = self.held.max(held);
        if held > self.acked && !self.waiting.contains(&(held, own)) {
            if self.waiting.len() == WAITING_MAX {
                self.waiting.remove(0);
            }
            self.waiting.push((held, own));
        }
    }

    /// Its own held set is here in this version: whether more counts now.
    pub(super) fn settle(&mut self, here: u64) -> bool {
        let before = self.acked;
        for (held, own) in &self.waiting {
            if *own > 0 && *own <= here {
                self.acked = self.acked.max(*held);
            }
        }
        let acked = self.acked;
        self.waiting.retain(|(held, _)| *held > acked);
        self.acked > before
    }
}

/// Something of a node that comes in versions.
#[derive(Debug)]
pub(super) struct Stock<T> {
    /// Of which boot the value is.
    pub(super) boot: Boot,
    version: u64,
    /// The value's bytes, to be passed on.
    pub(super) blob: Vec<u8>,
    pub(super) hash: u64,
    pub(super) value: Option<Arc<T>>,
    /// The newest version that was heard of, in the node's present boot.
    pub(super) wanted: u64,
    pub(super) assembly: Option<Assembly>,
}

impl<T> Stock<T> {
    fn new(boot: Boot) -> Self {
        Self {
            boot,
            version: 0,
            blob: Vec::new(),
            hash: 0,
            value: None,
            wanted: 0,
            assembly: None,
        }
    }

    /// The version that is here, if it is of this boot.
    pub(super) fn version(&self, boot: Boot) -> u64 {
        if self.boot == boot { self.version } else { 0 }
    }

    pub(super) fn put(&mut self, boot: Boot, version: u64, hash: u64, blob: Vec<u8>, value: T) {
        self.boot = boot;
        self.version = version;
        self.hash = hash;
        self.blob = blob;
        self.value = Some(Arc::new(value));
        self.wanted = self.wanted.max(version);
        self.assembly = None;
    }

    /// What is here is not what its node has under that version.
    pub(super) fn spoil(&mut self) {
        self.wanted = self.wanted.max(self.version);
        self.version = 0;
    }
}

/// A blob of which parts have come.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) version: u64,
    pub(super) hash: u64,
    pub(super) count: u16,
    pub(super) parts: BTreeMap<u16, Vec<u8>>,
    /// Up to which part they were asked for.
    pub(super) asked: u16,
    /// When the last came.
    pub(super) touched: Time,
}

impl Assembly {
    /// The first part that has not come.
    pub(super) fn missing(&self) -> u16 {
        (0..self.count)
            .find(|index| !self.parts.contains_key(index))
            .unwrap_or(self.count)
    }
}

/// What passed between this node and another: "sent, never heard" is a firewall.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Contact {
    /// Datagrams to it.
    pub sent: u64,
    /// The last one.
    pub last_sent: Option<Time>,
    /// Authentic datagrams from it.
    pub heard: u64,
    /// The last one.
    pub last_heard: Option<Time>,
}

impl Peer {
    /// A node that was heard of at `now`.
    pub(super) fn new(boot: Boot, generation: u64, now: Time) -> Self {
        Self {
            boot,
            generation,
            proof: None,
            standing: Standing::Alive,
            gone: now,
            life: Life {
                number: 0,
                at: now,
                promise: PROMISE,
            },
            promised_by: 0,
            heard: None,
            profile: Stock::new(boot),
            held: Stock::new(boot),
            has: Has::default(),
            told_by: None,
            refused: None,
            inquired: None,
            is_reachable: false,
            is_in_grace: false,
            voids: BTreeMap::new(),
            void_until: Time::default(),
            contact: Contact::default(),
            pulls: 0,
            unanswered: 0,
            from: None,
        }
    }

    /// Another start of its speaker: what it held before stays until its new held set is in.
    pub(super) fn restart(&mut self, boot: Boot, generation: u64, now: Time) {
        let old = std::mem::replace(self, Self::new(boot, generation, now));
        self.profile = Stock {
            wanted: 0,
            assembly: None,
            ..old.profile
        };
        self.held = Stock {
            wanted: 0,
            assembly: None,
            ..old.held
        };
        self.contact = old.contact;
        self.refused = old.refused;
        self.from = old.from;
        self.unanswered = old.unanswered;
    }

    pub(super) fn is_alive(&self) -> bool {
        self.standing == Standing::Alive
    }

    pub(super) fn told(&self) -> Told {
        match self.standing {
            Standing::Alive => Told::Alive,
            Standing::Dead { .. } => Told::Dead,
            Standing::Left => Told::Left,
        }
    }

    /// It was heard from there.
    pub(super) fn hear(&mut self, now: Time, from: SocketAddr, number: u64) {
        self.from = Some(from);
        self.unanswered = 0;
        self.heard = Some(now);
        self.contact.heard += 1;
        self.contact.last_heard = Some(now);
        self.life.at = self.life.at.max(now);
        self.life.number = self.life.number.max(number);
    }

    /// Where to send: whence it was last heard, and while it answers nothing its other addresses in turn.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let known: Vec<SocketAddr> = self.addresses().collect();
        let at = (self.unanswered / TRIES).checked_rem(known.len())?;
        known.get(at).copied()
    }

    /// Where it was heard, and where it says that it hears.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let profile = self.profile.value.iter();
        let own = profile.flat_map(|profile| profile.addresses.iter().copied());
        self.from.into_iter().chain(own)
    }

    /// Drops what stopped coming before `since`; whether something is still being put together.
    pub(super) fn assembles(&mut self, since: Time) -> bool {
        let slots = [&mut self.profile.assembly, &mut self.held.assembly];
        slots
            .into_iter()
            .map(|slot| {
                slot.take_if(|assembly| assembly.touched < since);
                slot.is_some()
            })
            .fold(false, |any, is_some| any | is_some)
    }

    /// Something of it that exists is not here.
    pub(super) fn is_lacking(&self) -> bool {
        self.profile.version(self.boot) < self.profile.wanted
            || self.held.version(self.boot) < self.held.wanted
    }

    /// The member that it is; none before its profile is known.
    pub(super) fn member(&self) -> Option<Member> {
        Some(Member {
            boot: self.boot,
            profile: Arc::clone(self.profile.value.as_ref()?),
            standing: self.standing,
            held: self.held.value.clone().unwrap_or_default(),
            held_version: HeldVersion(self.held.version(self.boot)),
            acked: HeldVersion(self.has.acked.saturating_sub(1)),
            is_reachable: self.is_reachable && self.is_alive(),
            is_in_grace: self.is_in_grace && self.is_alive(),
            has_met: self.has.profile > 0,
        })
    }
}

/// Acknowledgements that wait for the other's held set; the oldest is the one that matters least.
const WAITING_MAX: usize = 4;
/// So often one address is tried before the next.
const TRIES: usize = 3;
