//! Keys of the seal: one for each sender and boot, made from the secret that all speakers share.
//!
//! HKDF-SHA256 (RFC 5869) with the sender and its boot as the salt, so that a number counted from the start of a process
//! is a nonce that no key sees twice: random nonces under one shared key would reach their bound within hours.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use speaker_proto::{Boot, NodeId};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// The text that all speakers of a cluster share. It is in no log and no answer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// From the text of a file; white space around it does not count. `None`: there is nothing else.
    pub(crate) fn new(text: Zeroizing<Vec<u8>>) -> Option<Self> {
        let trimmed = text.trim_ascii();
        (!trimmed.is_empty()).then(|| Self(Zeroizing::new(trimmed.to_vec())))
    }

    /// How many bytes it has: all that may be said of it.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// What names it in a datagram: a hash, so that every speaker names it alike. Two may have the same name.
    pub(super) fn name(&self) -> u8 {
        let mut name = [0];
        let made = Salt::new(HKDF_SHA256, &[]).extract(&self.0);
        made.expand(&[NAME_INFO], OneByte)
            .and_then(|okm| okm.fill(&mut name))
            .expect("one byte is no more than HKDF gives");
        name[0]
    }

    fn key(&self, sender: NodeId, boot: Boot) -> LessSafeKey {
        let mut salt = [0; 24];
        salt[..8].copy_from_slice(&sender.0.to_be_bytes());
        salt[8..].copy_from_slice(&boot.0);
        let made = Salt::new(HKDF_SHA256, &salt).extract(&self.0);
        let okm = made.expand(&[SEAL_INFO], &AES_256_GCM);
        LessSafeKey::new(UnboundKey::from(
            okm.expect("a key is no more than HKDF gives"),
        ))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret and the keys that were made of it.
pub(super) struct Key {
    secret: Secret,
    name: u8,
    /// Of senders whose seals were good.
    made: BTreeMap<(NodeId, Boot), LessSafeKey>,
}

impl Key {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            name: secret.name(),
            secret,
            made: BTreeMap::new(),
        }
    }

    pub(super) fn name(&self) -> u8 {
        self.name
    }

    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        self.secret == *secret
    }

    /// Seals `body` in place and appends the tag.
    pub(super) fn seal(
        &mut self,
        by: (NodeId, Boot),
        number: u64,
        head: &[u8],
        body: &mut Vec<u8>,
    ) {
        self.remembered(by)
            .seal_in_place_append_tag(nonce(number), Aad::from(head), body)
            .expect("a body is far shorter than AES-GCM's bound");
    }

    /// The body of what `by` sealed, opened in place; `None`: it was not sealed so.
    pub(super) fn open<'b>(
        &mut self,
        by: (NodeId, Boot),
        number: u64,
        head: &[u8],
        sealed: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let is_known = self.made.contains_key(&by);
        let fresh;
        let key = match self.made.get(&by) {
            Some(key) => key,
            None => {
                fresh = self.secret.key(by.0, by.1);
                &fresh
            }
        };
        let opened = key.open_in_place(nonce(number), Aad::from(head), sealed);
        let body = opened.ok()?;
        if !is_known {
            self.remembered(by);
        }
        Some(body)
    }

    fn remembered(&mut self, by: (NodeId, Boot)) -> &LessSafeKey {
        if self.made.len() >= MADE_MAX && !self.made.contains_key(&by) {
            self.made.clear();
        }
        let made = self.made.entry(by);
        made.or_insert_with(|| self.secret.key(by.0, by.1))
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// One byte of key material.
struct OneByte;

impl ring::hkdf::KeyType for OneByte {
    fn len(&self) -> usize {
        1
    }
}

const SEAL_INFO: &[u8] = b"heliograph gossip seal 1";
const NAME_INFO: &[u8] = b"heliograph gossip key name 1";
/// Members, each with the boot before; a full table is begun anew, since a key costs some microseconds. Only who knows the
/// secret can fill it.
const MADE_MAX: usize = 2 * speaker_proto::gossip::MEMBERS_MAX;
