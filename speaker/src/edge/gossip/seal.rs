//! Sealing and opening, with up to three secrets while one replaces another.
//!
//! A mounted Secret reaches nodes up to two minutes apart. A new secret is therefore taken at once and used late: for
//! [`HANDOVER`], and until every live member says that it has it, but no longer than [`WAIT_MAX`] more, only towards those that were heard with it; then
//! towards all. The old one is believed [`KEPT`] longer. Knows nothing of what a body says, nor whether a number was seen before.

use super::Dropped;
use super::envelope::{Envelope, Form, HEAD_BYTES, TAG_BYTES};
use super::key::{Key, Secret};
use speaker_proto::gossip::{BODY_BYTES_MAX, MEMBERS_MAX, Received};
use speaker_proto::member::ADDRESSES_MAX;
use speaker_proto::{Boot, NodeId, Span, Time};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// How datagrams are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Keys {
    /// Not at all (`--insecure-gossip`).
    None,
    /// By this secret.
    Shared(Secret),
}

/// Seals in the name of one process and opens what others sealed.
pub(crate) struct Sealer {
    me: NodeId,
    boot: Boot,
    keys: Option<Keyring>,
    /// The last number that was sealed.
    last: Option<u64>,
}

impl Sealer {
    /// For this node and this boot, whose bytes were never used before.
    pub(crate) fn new(me: NodeId, boot: Boot, keys: Keys) -> Self {
        Self {
            me,
            boot,
            keys: match keys {
                Keys::None => None,
                Keys::Shared(secret) => Some(Keyring::new(secret)),
            },
            last: None,
        }
    }

    /// The secret as its place has it now. Nothing happens if it is the one in use.
    pub(crate) fn install(&mut self, now: Time, keys: Keys) {
        match (&mut self.keys, keys) {
            (Some(ring), Keys::Shared(secret)) => ring.install(now, secret),
            // Whether a secret is asked for is decided at the start.
            (None, Keys::None | Keys::Shared(_)) | (Some(_), Keys::None) => {}
        }
    }

    /// What names the newest secret, whether it is in use yet or not.
    pub(crate) fn newest(&self) -> Option<u8> {
        let ring = self.keys.as_ref()?;
        let next = ring.next.as_ref().map(|(key, _)| key);
        Some(next.unwrap_or(&ring.current).name())
    }

    /// Takes a new secret into use and forgets an old one, when it is time. `is_everywhere` says whether every live member has a secret.
    pub(crate) fn expire(&mut self, now: Time, is_everywhere: impl Fn(u8) -> bool) {
        if let Some(ring) = &mut self.keys {
            ring.expire(now, is_everywhere);
        }
    }

    /// The datagram with this body.
    ///
    /// # Panics
    /// When `number` is not above the last one: a number used twice would show what it seals.
    pub(crate) fn seal(&mut self, to: SocketAddr, number: u64, mut body: Vec<u8>) -> Vec<u8> {
        assert!(
            self.last.is_none_or(|last| last < number),
            "numbers of datagrams only grow"
        );
        self.last = Some(number);
        let key = self.keys.as_mut().map(|ring| ring.towards(to));
        let envelope = Envelope {
            form: if key.is_some() {
                Form::Sealed
            } else {
                Form::Plain
            },
            key: key.as_ref().map_or(0, |key| key.name()),
            sender: self.me,
            boot: self.boot,
            number,
        };
        let head = envelope.encode();
        if let Some(key) = key {
            key.seal((self.me, self.boot), number, &head, &mut body);
        }
        let mut datagram = Vec::with_capacity(HEAD_BYTES + body.len());
        datagram.extend_from_slice(&head);
        datagram.append(&mut body);
        datagram
    }

    /// What a datagram from `from` says, if it is authentic.
    ///
    /// # Errors
    /// With the cause for which it is dropped.
    pub(crate) fn open(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<Received, Dropped> {
        let (envelope, head, rest) = Envelope::decode(datagram)?;
        if (envelope.sender, envelope.boot) == (self.me, self.boot) {
            return Err(Dropped::Own);
        }
        let body = match (&mut self.keys, envelope.form) {
            (None, Form::Plain) => rest.to_vec(),
            (None, Form::Sealed) => return Err(Dropped::Sealed),
            (Some(_), Form::Plain) => return Err(Dropped::Unsealed),
            (Some(ring), Form::Sealed) => ring.open(from, &envelope, head, rest)?,
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(Dropped::TooLong);
        }
        Ok(Received {
            from,
            sender: envelope.sender,
            boot: envelope.boot,
            number: envelope.number,
            key: envelope.key,
            body,
        })
    }
}

/// The secrets that are known.
struct Keyring {
    /// Found in the secret's place, and not yet everywhere; with when it is used towards all.
    next: Option<(Key, Time)>,
    current: Key,
    /// Replaced, with when it is forgotten.
    previous: Option<(Key, Time)>,
    /// Who was heard with the next one, while there is one.
    has_next: BTreeSet<SocketAddr>,
}

impl Keyring {
    fn new(secret: Secret) -> Self {
        Self {
            next: None,
            current: Key::new(secret),
            previous: None,
            has_next: BTreeSet::new(),
        }
    }

    fn install(&mut self, now: Time, secret: Secret) {
        if self.current.is_of(&secret) {
            // Taken back before it was used.
            self.next = None;
        } else if !self
            .next
            .as_ref()
            .is_some_and(|(key, _)| key.is_of(&secret))
        {
            self.next = Some((Key::new(secret), now + HANDOVER));
            self.has_next.clear();
        }
    }

    fn expire(&mut self, now: Time, is_everywhere: impl Fn(u8) -> bool) {
        let is_due = |(key, at): &(Key, Time)| {
            *at <= now && (*at + WAIT_MAX <= now || is_everywhere(key.name()))
        };
        if let Some((next, _)) = self.next.take_if(|next| is_due(next)) {
            let replaced = std::mem::replace(&mut self.current, next);
            self.previous = Some((replaced, now + KEPT));
            self.has_next.clear();
        }
        self.previous.take_if(|(_, until)| *until <= now);
    }

    fn towards(&mut self, to: SocketAddr) -> &mut Key {
        match &mut self.next {
            Some((next, _)) if self.has_next.contains(&to) => next,
            Some(_) | None => &mut self.current,
        }
    }

    fn open(
        &mut self,
        from: SocketAddr,
        envelope: &Envelope,
        head: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Dropped> {
        if sealed.len() < TAG_BYTES {
            return Err(Dropped::Truncated);
        }
        let by = (envelope.sender, envelope.boot);
        let mut dropped = Dropped::Key;
        let current = (&mut self.current, false);
        let next = self.next.as_mut().map(|(key, _)| (key, true));
        let previous = self.previous.as_mut().map(|(key, _)| (key, false));
        for (key, is_next) in [Some(current), next, previous].into_iter().flatten() {
            if key.name() != envelope.key {
                continue;
            }
            dropped = Dropped::Forged;
            // Opening in place spoils what it fails on, and another secret may have the same name.
            let mut bytes = sealed.to_vec();
            if let Some(length) = key
                .open(by, envelope.number, head, &mut bytes)
                .map(|body| body.len())
            {
                bytes.truncate(length);
                if is_next {
                    note(&mut self.has_next, from);
                }
                return Ok(bytes);
            }
        }
        Err(dropped)
    }
}

fn note(has_next: &mut BTreeSet<SocketAddr>, from: SocketAddr) {
    if has_next.len() >= HEARD_MAX {
        has_next.clear();
    }
    has_next.insert(from);
}

/// From a new secret's arrival here until it has arrived everywhere: a kubelet takes up to two minutes.
const HANDOVER: Span = Span::s(180);
/// A member that never gets it holds the others back for so long, and is cut off then: a secret is replaced for a reason.
const WAIT_MAX: Span = Span::s(3_600);
/// How long the old one is believed after that.
const KEPT: Span = Span::s(600);
/// Addresses of all members; a full set is begun anew, and fills with the next datagrams.
const HEARD_MAX: usize = MEMBERS_MAX * ADDRESSES_MAX;

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
