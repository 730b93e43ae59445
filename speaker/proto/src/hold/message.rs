//! What the machines of two nodes say to each other about VIPs, and its bytes.
//!
//! A payload is a version, then messages one after the other, each with its kind and length, so that a kind that a later version
//! adds can be skipped. Everything is about one VIP and not about a group, since two nodes may group services differently
//! for a moment. Whether a message is believed is not decided here; the rules are in `docs/layer2.md`, "Taking".

use crate::gossip::MESSAGE_BYTES_MAX;
use crate::{Epoch, Vip};
use std::net::IpAddr;

/// One thing to say about a VIP. Every number `nonce` is chosen by who asks and repeated in what answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Which VIP.
    pub vip: Vip,
    /// Which attempt at taking it, or which question.
    pub nonce: u64,
    /// What is said.
    pub say: Say,
}

/// What a [`Message`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    /// Give it to me.
    Ask,
    /// I keep it.
    Keep(Why),
    /// I do not answer for it, or not any more, and let all know before I do again. Whatever I published up to this epoch is over.
    Clear(Epoch),
    /// I am silent, it is yours; with the moves that were made lately.
    Yield(Epoch, Ages),
    /// I answer for it.
    Took,
    /// What you yielded I do not take any more, whatever happens.
    Refuse,
    /// A claim of it came with your hardware address: was it you?
    DidYouClaim,
    /// It was: I answer for it since this taking.
    Claim(Epoch),
    /// It was not.
    Denied,
    /// You say that you answer for it, and do not where I asked.
    Unheard,
}

/// Why a holder keeps a VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// It elects another node, or itself.
    Disagree,
    /// It was moved too often.
    MovesSpent,
    /// It does not know yet whether it should, or is giving it to another.
    NotYet,
}

/// How long ago, in milliseconds, the last voluntary moves were; unused ones are [`Ages::NONE`].
pub type Ages = [u32; AGES];

/// As many moves as are allowed in a row (L1.4).
pub const AGES: usize = 4;
/// No move.
pub const NO_AGE: u32 = u32::MAX;

/// What is wrong with a payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Malformed {
    /// It ends within a message, or is longer than allowed.
    Length,
    /// Its version is another one.
    Version,
    /// A value that means nothing.
    Value,
}

/// The messages of a payload. Kinds that a later version added are left out.
///
/// # Errors
/// The first thing that is wrong; nothing of such a payload is used.
pub fn decode(payload: &[u8]) -> Result<Vec<Message>, Malformed> {
    if payload.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::Length);
    }
    let (version, mut rest) = payload.split_first().ok_or(Malformed::Length)?;
    if *version != VERSION {
        return Err(Malformed::Version);
    }
    let mut messages = Vec::new();
    while let [kind, length, tail @ ..] = rest {
        let body = tail.split_at_checked(usize::from(*length));
        let (body, after) = body.ok_or(Malformed::Length)?;
        rest = after;
        messages.extend(one(*kind, Reader(body))?);
    }
    if rest.is_empty() {
        Ok(messages)
    } else {
        Err(Malformed::Length)
    }
}

/// The payloads that say all of these, each as full as may be, in order.
pub fn encode(messages: &[Message]) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for message in messages {
        let bytes = bytes(message);
        match payloads.last_mut() {
            Some(last) if last.len() + bytes.len() <= MESSAGE_BYTES_MAX => last.extend(bytes),
            Some(_) | None => payloads.push([vec![VERSION], bytes].concat()),
        }
    }
    payloads
}

fn one(kind: u8, mut body: Reader<'_>) -> Result<Option<Message>, Malformed> {
    if !(ASK..=UNHEARD).contains(&kind) {
        return Ok(None);
    }
    let vip = body.vip()?;
    let nonce = body.u64()?;
    let say = match kind {
        ASK => Say::Ask,
        KEEP => Say::Keep(match body.take::<1>()? {
            [0] => Why::Disagree,
            [1] => Why::MovesSpent,
            [2] => Why::NotYet,
            _ => return Err(Malformed::Value),
        }),
        CLEAR => Say::Clear(Epoch(body.u64()?)),
        YIELD => {
            let epoch = Epoch(body.u64()?);
            let mut ages = [NO_AGE; AGES];
            for age in &mut ages {
                *age = u32::from_be_bytes(body.take()?);
            }
            Say::Yield(epoch, ages)
        }
        TOOK => Say::Took,
        REFUSE => Say::Refuse,
        DID_YOU_CLAIM => Say::DidYouClaim,
        CLAIM => Say::Claim(Epoch(body.u64()?)),
        DENIED => Say::Denied,
        UNHEARD => Say::Unheard,
        0 | 11.. => return Ok(None),
    };
    body.end()?;
    Ok(Some(Message { vip, nonce, say }))
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut body = Vec::with_capacity(MESSAGE_BYTES);
    match message.vip.0 {
        IpAddr::V4(ip) => {
            body.push(4);
            body.extend([0; 12]);
            body.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            body.push(6);
            body.extend(ip.octets());
        }
    }
    body.extend(message.nonce.to_be_bytes());
    let kind = match message.say {
        Say::Ask => ASK,
        Say::Keep(why) => {
            body.push(match why {
                Why::Disagree => 0,
                Why::MovesSpent => 1,
                Why::NotYet => 2,
            });
            KEEP
        }
        Say::Clear(epoch) => {
            body.extend(epoch.0.to_be_bytes());
            CLEAR
        }
        Say::Yield(epoch, ages) => {
            body.extend(epoch.0.to_be_bytes());
            body.extend(ages.iter().flat_map(|age| age.to_be_bytes()));
            YIELD
        }
        Say::Took => TOOK,
        Say::Refuse => REFUSE,
        Say::DidYouClaim => DID_YOU_CLAIM,
        Say::Claim(epoch) => {
            body.extend(epoch.0.to_be_bytes());
            CLAIM
        }
        Say::Denied => DENIED,
        Say::Unheard => UNHEARD,
    };
    let length = u8::try_from(body.len()).expect("no message is longer than MESSAGE_BYTES");
    [vec![kind, length], body].concat()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn vip(&mut self) -> Result<Vip, Malformed> {
        let family = self.take::<1>()?;
        let ip: [u8; 16] = self.take()?;
        match (family, ip) {
            ([4], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]) => {
                Ok(Vip(IpAddr::from([a, b, c, d])))
            }
            ([6], ip) => Ok(Vip(IpAddr::from(ip))),
            _ => Err(Malformed::Value),
        }
    }

    const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Length)
        }
    }
}

const VERSION: u8 = 1;
/// The longest message: head, VIP, nonce, epoch and ages.
const MESSAGE_BYTES: usize = 2 + 17 + 8 + 8 + 4 * AGES;
const ASK: u8 = 1;
const KEEP: u8 = 2;
const CLEAR: u8 = 3;
const YIELD: u8 = 4;
const TOOK: u8 = 5;
const REFUSE: u8 = 6;
const DID_YOU_CLAIM: u8 = 7;
const CLAIM: u8 = 8;
const DENIED: u8 = 9;
const UNHEARD: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vip() -> impl Strategy<Value = Vip> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|ip| Vip(IpAddr::from(ip))),
            any::<[u8; 16]>().prop_map(|ip| Vip(IpAddr::from(ip))),
        ]
    }

    fn say() -> impl Strategy<Value = Say> {
        let why = prop_oneof![
            Just(Why::Disagree),
            Just(Why::MovesSpent),
            Just(Why::NotYet)
        ];
        prop_oneof![
            Just(Say::Ask),
            why.prop_map(Say::Keep),
            any::<u64>().prop_map(|e| Say::Clear(Epoch(e))),
            any::<(u64, Ages)>().prop_map(|(e, ages)| Say::Yield(Epoch(e), ages)),
            Just(Say::Took),
            Just(Say::Refuse),
            Just(Say::DidYouClaim),
            any::<u64>().prop_map(|e| Say::Claim(Epoch(e))),
            Just(Say::Denied),
            Just(Say::Unheard),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        (vip(), any::<u64>(), say()).prop_map(|(vip, nonce, say)| Message { vip, nonce, say })
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(messages in prop::collection::vec(message(), 0..100)) {
            let mut heard = Vec::new();
            for payload in encode(&messages) {
                prop_assert!(payload.len() <= MESSAGE_BYTES_MAX);
                heard.extend(decode(&payload).unwrap());
            }
            prop_assert_eq!(heard, messages);
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(messages) = decode(&bytes) {
                for message in messages {
                    prop_assert_eq!(decode(&encode(&[message])[0]).unwrap(), [message]);
                }
            }
        }

        #[test]
        fn a_message_cut_anywhere_is_malformed(message in message(), cut in 2_usize..20) {
            let whole = &encode(&[message])[0];
            prop_assert_eq!(decode(&whole[..cut]), Err(Malformed::Length));
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_skipped_and_another_version_is_not_read() {
        let message = Message {
            vip: Vip(IpAddr::from([192, 0, 2, 1])),
            nonce: 7,
            say: Say::Took,
        };
        let known = encode(&[message]).remove(0);
        let later = [&[VERSION, 200, 3, 1, 2, 3], &known[1..]].concat();
        assert_eq!(decode(&later), Ok(vec![message]));
        let other = [&[2], &known[1..]].concat();
        assert_eq!(decode(&other), Err(Malformed::Version));
        assert_eq!(decode(&[]), Err(Malformed::Length));
        assert_eq!(
            decode(&vec![VERSION; MESSAGE_BYTES_MAX + 1]),
            Err(Malformed::Length)
        );
    }
}
