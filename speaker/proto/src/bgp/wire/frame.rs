//! Where one message ends and the next begins in a peer's stream of bytes (RFC 4271 §4.1, §6.1). What is in a message is not looked at.

use super::{HEADER_BYTES, MESSAGE_BYTES_MAX};
use crate::bgp::message::Notification;

/// The type of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// 1
    Open,
    /// 2
    Update,
    /// 3
    Notification,
    /// 4
    Keepalive,
    /// 5 (RFC 2918)
    RouteRefresh,
}

impl Kind {
    /// The byte that says it.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    /// Whether a message of it may have so many bytes. A ROUTE-REFRESH that is too short has an error code of its own (RFC 7313 §5).
    const fn may_have(self, count: usize) -> bool {
        match self {
            Self::Open => count >= 29,
            Self::Update => count >= 23,
            Self::Notification => count >= 21,
            Self::Keepalive => count == HEADER_BYTES,
            Self::RouteRefresh => count >= HEADER_BYTES,
        }
    }
}

/// One message whose header is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The message that these bytes are; `None` if its end is not among them, or more than it.
    ///
    /// # Errors
    /// The NOTIFICATION for a header that is wrong.
    pub fn of(bytes: &'a [u8]) -> Result<Option<Self>, Notification> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        let (kind, count) = header_of(header)?;
        Ok((count == bytes.len()).then_some(Self { kind, bytes }))
    }

    /// Its type.
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// All of it, header included.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header.
    pub fn body(self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// Cuts a stream of bytes into messages. Holds at most one message.
#[derive(Clone, Debug)]
pub struct Reader {
    buffer: Box<[u8; MESSAGE_BYTES_MAX]>,
    /// How many bytes of the buffer are of the message that arrives.
    filled: usize,
    /// The buffer holds a message that was handed out.
    is_done: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// One at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            buffer: Box::new([0; MESSAGE_BYTES_MAX]),
            filled: 0,
            is_done: false,
        }
    }

    /// The next message. Takes from the front of `bytes` what it needs; call it until it says `None`, which is when `bytes` is empty
    /// and the rest of the message has not arrived.
    ///
    /// # Errors
    /// The NOTIFICATION for a header that is wrong. The stream cannot be followed any more: the same is said for ever.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame<'_>>, Notification> {
        if std::mem::take(&mut self.is_done) {
            self.filled = 0;
        }
        if !self.fill(bytes, HEADER_BYTES) {
            return Ok(None);
        }
        let header = self
            .buffer
            .first_chunk()
            .expect("the buffer is longer than a header");
        let (kind, count) = header_of(header)?;
        if !self.fill(bytes, count) {
            return Ok(None);
        }
        self.is_done = true;
        let bytes = &self.buffer[..count];
        Ok(Some(Frame { kind, bytes }))
    }

    /// Whether the buffer has `count` bytes now.
    fn fill(&mut self, bytes: &mut &[u8], count: usize) -> bool {
        let missing = count.saturating_sub(self.filled).min(bytes.len());
        let (taken, rest) = bytes.split_at(missing);
        self.buffer[self.filled..self.filled + missing].copy_from_slice(taken);
        self.filled += missing;
        *bytes = rest;
        self.filled >= count
    }
}

/// RFC 4271 §6.1: the marker is all ones, the length fits the type, and both errors name what was wrong.
fn header_of(header: &[u8; HEADER_BYTES]) -> Result<(Kind, usize), Notification> {
    let [marker @ .., high, low, code] = header;
    if marker.iter().any(|byte| *byte != 0xff) {
        return Err(Notification::new(1, 1));
    }
    let count = usize::from(u16::from_be_bytes([*high, *low]));
    // Made only where it is said: their data are allocated.
    let bad_length = || Notification {
        data: vec![*high, *low],
        ..Notification::new(1, 2)
    };
    if !(HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&count) {
        return Err(bad_length());
    }
    let bad_type = || Notification {
        data: vec![*code],
        ..Notification::new(1, 3)
    };
    let kind = Kind::of(*code).ok_or_else(bad_type)?;
    if kind.may_have(count) {
        Ok((kind, count))
    } else {
        Err(bad_length())
    }
}
