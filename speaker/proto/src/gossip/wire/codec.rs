//! Each message as bytes, and back.

use super::blob;
use super::bytes::{Reader, Writer};
use super::{
    Ack, BUCKETS, CHANGES_MAX, Delta, Heartbeat, ITEMS_MAX, Item, Malformed, Message, PART_BYTES,
    PARTS_MAX, PROTOCOL, Part, Pull, Title, Told, Trace, Vote, What,
};
use crate::member::NodeId;

impl Message {
    /// The bytes of a body, at most [`super::BODY_BYTES_MAX`], that are meant for `to` alone.
    ///
    /// Without that, what was said to one could be replayed to another, who never saw its number.
    pub(in crate::gossip) fn encode(&self, to: NodeId) -> Vec<u8> {
        let mut w = Writer::new(PROTOCOL);
        w.u8(self.kind());
        w.node(to);
        match self {
            Self::Heartbeat(beat) => {
                w.u32(beat.promise_ms);
                w.u32(beat.profile_version);
                w.u64(beat.held_version);
                w.u32(beat.held_hash);
            }
            Self::Probe => {}
            Self::Vote(vote) => {
                w.node(vote.subject);
                w.boot(vote.boot);
                trace(&mut w, &vote.trace);
                w.bool(vote.is_late);
                w.bool(vote.is_void);
            }
            Self::Ask(node) => {
                w.node(*node);
            }
            Self::Digest { is_reply, buckets } => {
                w.bool(*is_reply);
                buckets.iter().for_each(|bucket| w.u64(*bucket));
            }
            Self::Items { is_last, items } => {
                w.bool(*is_last);
                w.count(items.len(), ITEMS_MAX);
                items.iter().take(ITEMS_MAX).for_each(|i| item(&mut w, i));
            }
            Self::Part(part) => write_part(&mut w, part),
            Self::Pull(pull) => {
                title(&mut w, &pull.title);
                w.u16(pull.first);
                w.u16(pull.count);
            }
            Self::Delta(delta) => write_delta(&mut w, delta),
            Self::Ack(ack) => {
                w.boot(ack.boot);
                w.u64(ack.profile_version);
                w.u64(ack.held_version);
                w.u64(ack.own_version);
            }
            Self::Join => {}
            Self::Challenge(nonce) => {
                w.bytes(nonce);
            }
            Self::Response { nonce, generation } => {
                w.bytes(nonce);
                w.u64(*generation);
            }
            Self::Tell(payload) => {
                w.bytes(payload);
            }
            Self::PromiseAsk { ms, until } => {
                w.u32(*ms);
                w.u64(*until);
            }
            Self::PromiseAck(until) => {
                w.u64(*until);
            }
            Self::Leave => {}
        }
        w.into_bytes()
    }

    /// Whom a body is meant for, and what it says.
    pub(in crate::gossip) fn decode(body: &[u8]) -> Result<(NodeId, Self), Malformed> {
        let mut r = Reader::new(body);
        let protocol = r.u8()?;
        if protocol != PROTOCOL {
            return Err(Malformed::Protocol(protocol));
        }
        let kind = r.u8()?;
        let to = r.node()?;
        Ok((to, Self::read(kind, &mut r)?))
    }

    /// Whoever hears it says something.
    pub(in crate::gossip) fn wants_answer(&self) -> bool {
        match self {
            Self::Probe
            | Self::Digest { .. }
            | Self::Part(_)
            | Self::Pull(_)
            | Self::Delta(_)
            | Self::Join
            | Self::PromiseAsk { .. } => true,
            Self::Heartbeat(_)
            | Self::Vote(_)
            | Self::Ask(_)
            | Self::Items { .. }
            | Self::Ack(_)
            | Self::Challenge(_)
            | Self::Response { .. }
            | Self::Tell(_)
            | Self::PromiseAck(_)
            | Self::Leave => false,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Heartbeat(_) => kind::HEARTBEAT,
            Self::Probe => kind::PROBE,
            Self::Vote(_) => kind::VOTE,
            Self::Ask(_) => kind::ASK,
            Self::Digest { .. } => kind::DIGEST,
            Self::Items { .. } => kind::ITEMS,
            Self::Part(_) => kind::PART,
            Self::Pull(_) => kind::PULL,
            Self::Delta(_) => kind::DELTA,
            Self::Ack(_) => kind::ACK,
            Self::Join => kind::JOIN,
            Self::Challenge(_) => kind::CHALLENGE,
            Self::Response { .. } => kind::RESPONSE,
            Self::Tell(_) => kind::TELL,
            Self::PromiseAsk { .. } => kind::PROMISE_ASK,
            Self::PromiseAck(_) => kind::PROMISE_ACK,
            Self::Leave => kind::LEAVE,
        }
    }

    fn read(kind: u8, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            kind::HEARTBEAT => Self::Heartbeat(Heartbeat {
                promise_ms: r.u32()?,
                profile_version: r.u32()?,
                held_version: r.u64()?,
                held_hash: r.u32()?,
            }),
            kind::PROBE => Self::Probe,
            kind::VOTE => Self::Vote(Vote {
                subject: r.node()?,
                boot: r.boot()?,
                trace: read_trace(r)?,
                is_late: r.bool()?,
                is_void: !r.is_empty() && r.bool()?,
            }),
            kind::ASK => Self::Ask(r.node()?),
            kind::DIGEST => read_digest(r)?,
            kind::ITEMS => read_items(r)?,
            kind::PART => Self::Part(read_part(r)?),
            kind::PULL => Self::Pull(Pull {
                title: read_title(r)?,
                first: r.u16()?,
                count: r.u16()?,
            }),
            kind::DELTA => Self::Delta(read_delta(r)?),
            kind::ACK => Self::Ack(Ack {
                boot: r.boot()?,
                profile_version: r.u64()?,
                held_version: r.u64()?,
                own_version: r.u64()?,
            }),
            kind::JOIN => Self::Join,
            kind::CHALLENGE => Self::Challenge(r.array()?),
            kind::RESPONSE => Self::Response {
                nonce: r.array()?,
                generation: r.u64()?,
            },
            kind::TELL => Self::Tell(r.rest().to_vec()),
            kind::PROMISE_ASK => Self::PromiseAsk {
                ms: r.u32()?,
                until: r.u64()?,
            },
            kind::PROMISE_ACK => Self::PromiseAck(r.u64()?),
            kind::LEAVE => Self::Leave,
            other => return Err(Malformed::Kind(other)),
        })
    }
}

fn trace(w: &mut Writer, trace: &Trace) {
    w.u64(trace.number);
    w.u32(trace.age_ms);
    w.u32(trace.promise_ms);
}

fn read_trace(r: &mut Reader<'_>) -> Result<Trace, Malformed> {
    Ok(Trace {
        number: r.u64()?,
        age_ms: r.u32()?,
        promise_ms: r.u32()?,
    })
}

fn item(w: &mut Writer, item: &Item) {
    w.node(item.node);
    w.boot(item.boot);
    w.u64(item.generation);
    w.u64(item.profile_version);
    w.u64(item.held_version);
    w.u8(item.standing as u8);
    trace(w, &item.trace);
}

fn read_item(r: &mut Reader<'_>) -> Result<Item, Malformed> {
    Ok(Item {
        node: r.node()?,
        boot: r.boot()?,
        generation: r.u64()?,
        profile_version: r.u64()?,
        held_version: r.u64()?,
        standing: match r.u8()? {
            0 => Told::Alive,
            1 => Told::Dead,
            2 => Told::Left,
            _ => return Err(Malformed::Value),
        },
        trace: read_trace(r)?,
    })
}

fn read_digest(r: &mut Reader<'_>) -> Result<Message, Malformed> {
    let is_reply = r.bool()?;
    let mut buckets = Box::new([0; BUCKETS]);
    for bucket in buckets.iter_mut() {
        *bucket = r.u64()?;
    }
    Ok(Message::Digest { is_reply, buckets })
}

fn read_items(r: &mut Reader<'_>) -> Result<Message, Malformed> {
    let is_last = r.bool()?;
    let count = r.count(ITEMS_MAX)?;
    let items = (0..count).map(|_| read_item(r)).collect::<Result<_, _>>()?;
    Ok(Message::Items { is_last, items })
}

fn title(w: &mut Writer, title: &Title) {
    w.node(title.node);
    w.boot(title.boot);
    w.u8(title.what as u8);
    w.u64(title.version);
}

fn read_title(r: &mut Reader<'_>) -> Result<Title, Malformed> {
    Ok(Title {
        node: r.node()?,
        boot: r.boot()?,
        what: match r.u8()? {
            0 => What::Profile,
            1 => What::Held,
            _ => return Err(Malformed::Value),
        },
        version: r.u64()?,
    })
}

fn write_part(w: &mut Writer, part: &Part) {
    title(w, &part.title);
    w.u64(part.generation);
    w.u64(part.hash);
    w.u16(part.index);
    w.u16(part.count);
    w.bytes(&part.bytes);
}

fn read_part(r: &mut Reader<'_>) -> Result<Part, Malformed> {
    let part = Part {
        title: read_title(r)?,
        generation: r.u64()?,
        hash: r.u64()?,
        index: r.u16()?,
        count: r.u16()?,
        bytes: r.rest().to_vec(),
    };
    let is_sound = part.index < part.count
        && part.count <= PARTS_MAX
        && part.bytes.len() <= PART_BYTES
        && part.title.version > 0;
    is_sound.then_some(part).ok_or(Malformed::Value)
}

fn write_delta(w: &mut Writer, delta: &Delta) {
    w.u64(delta.base);
    w.u64(delta.version);
    w.u64(delta.hash);
    w.count(delta.changes.len(), CHANGES_MAX);
    for (group, entry) in delta.changes.iter().take(CHANGES_MAX) {
        blob::write_change(w, *group, *entry);
    }
}

fn read_delta(r: &mut Reader<'_>) -> Result<Delta, Malformed> {
    let (base, version, hash) = (r.u64()?, r.u64()?, r.u64()?);
    let count = r.count(CHANGES_MAX)?;
    let changes = (0..count)
        .map(|_| blob::read_change(r))
        .collect::<Result<_, _>>()?;
    Ok(Delta {
        base,
        version,
        hash,
        changes,
    })
}

mod kind {
    pub(super) const HEARTBEAT: u8 = 1;
    pub(super) const PROBE: u8 = 2;
    pub(super) const VOTE: u8 = 3;
    pub(super) const ASK: u8 = 4;
    pub(super) const DIGEST: u8 = 5;
    pub(super) const ITEMS: u8 = 6;
    pub(super) const PART: u8 = 7;
    pub(super) const PULL: u8 = 8;
    pub(super) const DELTA: u8 = 9;
    pub(super) const ACK: u8 = 10;
    pub(super) const JOIN: u8 = 11;
    pub(super) const CHALLENGE: u8 = 12;
    pub(super) const RESPONSE: u8 = 13;
    pub(super) const TELL: u8 = 14;
    pub(super) const PROMISE_ASK: u8 = 15;
    pub(super) const PROMISE_ACK: u8 = 16;
    pub(super) const LEAVE: u8 = 17;
}
