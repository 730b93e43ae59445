//! What stands before the body of a datagram, all of it in the clear and all of it sealed with the body.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `HGLO` |
//! | 4 | version of the envelope, 1 |
//! | 5 | 0 plain, 1 sealed with AES-256-GCM |
//! | 6 | which key |
//! | 7..15 | sender, the hash of its node's name |
//! | 15..31 | boot, random bytes of the sender's process |
//! | 31..39 | number within that boot, used once |
//!
//! Numbers are big-endian. What follows is the body, and the tag of the seal if there is one. Knows no key.

use super::Dropped;
use speaker_proto::gossip::BODY_BYTES_MAX;
use speaker_proto::{Boot, NodeId};

/// The head of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    /// Whether it is sealed.
    pub(super) form: Form,
    /// With which key, as the secret names it; 0 in the plain form.
    pub(super) key: u8,
    /// Who sent it.
    pub(super) sender: NodeId,
    /// In which boot.
    pub(super) boot: Boot,
    /// Its number.
    pub(super) number: u64,
}

/// How the body is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Not at all.
    Plain,
    /// By AES-256-GCM.
    Sealed,
}

impl Envelope {
    /// Its bytes.
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = match self.form {
            Form::Plain => PLAIN,
            Form::Sealed => SEALED,
        };
        bytes[6] = self.key;
        bytes[7..15].copy_from_slice(&self.sender.0.to_be_bytes());
        bytes[15..31].copy_from_slice(&self.boot.0);
        bytes[31..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// The head of a datagram, its bytes, and what follows them.
    pub(super) fn decode(datagram: &[u8]) -> Result<(Self, &[u8; HEAD_BYTES], &[u8]), Dropped> {
        let begin = datagram.len().min(MAGIC.len());
        if datagram[..begin] != MAGIC[..begin] || begin == 0 {
            return Err(Dropped::Foreign);
        }
        if datagram.get(4).is_some_and(|version| *version != VERSION) {
            return Err(Dropped::Version);
        }
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Dropped::TooLong);
        }
        let (head, rest) = datagram.split_first_chunk().ok_or(Dropped::Truncated)?;
        let form = match head[5] {
            PLAIN => Form::Plain,
            SEALED => Form::Sealed,
            _ => return Err(Dropped::Version),
        };
        let envelope = Self {
            form,
            key: head[6],
            sender: NodeId(u64::from_be_bytes(field(head, 7))),
            boot: Boot(field(head, 15)),
            number: u64::from_be_bytes(field(head, 31)),
        };
        Ok((envelope, head, rest))
    }
}

/// The bytes of a field that begins at `at`.
fn field<const N: usize>(head: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

/// Bytes of the head.
pub(super) const HEAD_BYTES: usize = 39;
/// Bytes of the seal's tag.
pub(super) const TAG_BYTES: usize = 16;
/// The longest datagram of ours: it fits IPv6's smallest MTU with its headers.
pub(super) const DATAGRAM_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX + TAG_BYTES;
const MAGIC: [u8; 4] = *b"HGLO";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const SEALED: u8 = 1;

const _: () = assert!(
    DATAGRAM_BYTES_MAX <= 1280 - 40 - 8,
    "no datagram is fragmented"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            form: Form::Sealed,
            key: 0xab,
            sender: NodeId(0x0102_0304_0506_0708),
            boot: Boot(*b"sixteen byte boo"),
            number: 9,
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        let bytes = envelope().encode();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected =
            "48474c4f0101ab01020304050607087369787465656e206279746520626f6f0000000000000009";
        assert_eq!(text, expected);
        let datagram = [&bytes[..], b"body"].concat();
        let (read, head, rest) = Envelope::decode(&datagram).unwrap();
        assert_eq!((read, head, rest), (envelope(), &bytes, &b"body"[..]));
    }

    #[test]
    fn what_is_not_ours_is_dropped_by_its_cause() {
        let whole = envelope().encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole;
            bytes[at] = byte;
            Envelope::decode(&bytes).unwrap_err()
        };
        // MetalLB's memberlist: a ping in the clear, one with a checksum, one with a label.
        for begin in [0x00, 0x0c, 0xf4] {
            assert_eq!(with(0, begin), Dropped::Foreign);
        }
        assert_eq!(Envelope::decode(&[]).unwrap_err(), Dropped::Foreign);
        assert_eq!(with(4, 2), Dropped::Version);
        assert_eq!(with(5, 7), Dropped::Version);
        for length in 1..HEAD_BYTES {
            let cut = Envelope::decode(&whole[..length]);
            assert_eq!(cut.unwrap_err(), Dropped::Truncated, "{length}");
        }
        let long = [&whole[..], &[0; DATAGRAM_BYTES_MAX]].concat();
        assert_eq!(Envelope::decode(&long).unwrap_err(), Dropped::TooLong);
    }
}
