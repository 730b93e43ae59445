//! Why a session is not up, as values with words.
//!
//! Knows nothing of when or how often; that is the status's.

use crate::bgp::Notification;
use std::fmt;

/// Why a session is not up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// Nobody started it yet, or it is about to dial for the first time.
    New,
    /// The operator paused it.
    Paused,
    /// It was stopped for good.
    Stopped,
    /// It begins anew, because this changed or was asked for.
    Reset(&'static str),
    /// Dialling failed.
    ConnectFailed(String),
    /// The connection broke, or the peer closed it without a word.
    Closed(String),
    /// The peer ended it.
    Received(Notification),
    /// We ended it.
    Sent(Notification),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("not tried yet"),
            Self::Paused => f.write_str("paused by the operator"),
            Self::Stopped => f.write_str("stopped"),
            Self::Reset(what) => write!(f, "begins anew: {what}"),
            Self::ConnectFailed(text) => write!(f, "cannot connect: {text}"),
            Self::Closed(text) => write!(f, "connection closed: {text}"),
            Self::Received(notification) => write!(f, "the peer said: {}", Words(notification)),
            Self::Sent(notification) => write!(f, "we said: {}", Words(notification)),
        }
    }
}

/// A NOTIFICATION in words.
pub struct Words<'a>(pub &'a Notification);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notification = self.0;
        let (code, subcode) = (notification.code, notification.subcode);
        write!(f, "{code}/{subcode} {}", words(code, subcode))?;
        if let Some(text) = notification.text() {
            return write!(f, ": \"{text}\"");
        }
        match notification.inner() {
            // A hard reset within another says no more, and ends the nesting.
            Some(inner) if (inner.code, inner.subcode) != (CEASE, HARD_RESET) => {
                write!(f, ": {}", Words(&inner))
            }
            Some(_) | None => hex(f, &notification.data),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    if data.is_empty() {
        return Ok(());
    }
    f.write_str(" (data ")?;
    for byte in data.iter().take(HEX_BYTES_MAX) {
        write!(f, "{byte:02x}")?;
    }
    f.write_str(if data.len() > HEX_BYTES_MAX {
        "…)"
    } else {
        ")"
    })
}

/// RFC 4271 §4.5, with RFC 4486, 5492, 6608, 7313, 8538, 9003, 9234, 9384 and 9687.
const fn words(code: u8, subcode: u8) -> &'static str {
    match (code, subcode) {
        (1, 1) => "message header error: connection not synchronized",
        (1, 2) => "message header error: bad message length",
        (1, 3) => "message header error: bad message type",
        (1, _) => "message header error",
        (2, 1) => "OPEN error: unsupported version number",
        (2, 2) => "OPEN error: bad peer AS",
        (2, 3) => "OPEN error: bad BGP identifier",
        (2, 4) => "OPEN error: unsupported optional parameter",
        (2, 6) => "OPEN error: unacceptable hold time",
        (2, 7) => "OPEN error: unsupported capability",
        (2, 11) => "OPEN error: role mismatch",
        (2, _) => "OPEN error",
        (3, 1) => "UPDATE error: malformed attribute list",
        (3, 2) => "UPDATE error: unrecognized well-known attribute",
        (3, 3) => "UPDATE error: missing well-known attribute",
        (3, 4) => "UPDATE error: attribute flags error",
        (3, 5) => "UPDATE error: attribute length error",
        (3, 6) => "UPDATE error: invalid ORIGIN",
        (3, 8) => "UPDATE error: invalid NEXT_HOP",
        (3, 9) => "UPDATE error: optional attribute error",
        (3, 10) => "UPDATE error: invalid network field",
        (3, 11) => "UPDATE error: malformed AS_PATH",
        (3, _) => "UPDATE error",
        (4, _) => "hold timer expired",
        (5, 1) => "unexpected message in OpenSent",
        (5, 2) => "unexpected message in OpenConfirm",
        (5, 3) => "unexpected message in Established",
        (5, _) => "state machine error",
        (CEASE, 1) => "maximum number of prefixes reached",
        (CEASE, ADMIN_SHUTDOWN) => "administrative shutdown",
        (CEASE, PEER_DECONFIGURED) => "peer de-configured",
        (CEASE, ADMIN_RESET) => "administrative reset",
        (CEASE, REJECTED) => "connection rejected",
        (CEASE, CONFIG_CHANGE) => "other configuration change",
        (CEASE, COLLISION) => "connection collision resolution",
        (CEASE, 8) => "out of resources",
        (CEASE, HARD_RESET) => "hard reset",
        (CEASE, BFD_DOWN) => "BFD down",
        (CEASE, _) => "cease",
        (7, 1) => "ROUTE-REFRESH error: invalid message length",
        (7, _) => "ROUTE-REFRESH error",
        (8, _) => "send hold timer expired",
        _ => "unknown error",
    }
}

/// Data beyond this is not shown: an operator reads no more.
const HEX_BYTES_MAX: usize = 32;

/// The code of CEASE (RFC 4271 §6.7); its subcodes follow (RFC 4486 §4, RFC 8538 §3, RFC 9384 §3).
pub(super) const CEASE: u8 = 6;
pub(super) const ADMIN_SHUTDOWN: u8 = 2;
pub(super) const PEER_DECONFIGURED: u8 = 3;
const ADMIN_RESET: u8 = 4;
pub(super) const REJECTED: u8 = 5;
pub(super) const CONFIG_CHANGE: u8 = 6;
const COLLISION: u8 = 7;
const HARD_RESET: u8 = 9;
pub(super) const BFD_DOWN: u8 = 10;
/// Of two connections with one peer the other goes on (RFC 4271 §6.8).
pub(super) const COLLIDED: Notification = Notification::new(CEASE, COLLISION);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u8, subcode: u8, data: &[u8], words: &str) {
        let notification = Notification {
            code,
            subcode,
            data: data.to_vec(),
        };
        assert_eq!(Words(&notification).to_string(), words);
    }

    #[test]
    fn rfc9003_2_a_shutdown_communication_is_shown_escaped_and_bad_text_as_bytes() {
        check(
            6,
            2,
            b"\x0bnode\ndrain\0and what follows",
            "6/2 administrative shutdown: \"node\\ndrain\\0\"",
        );
        check(6, 4, b"", "6/4 administrative reset");
        check(
            6,
            2,
            b"\x02\xff\xfe",
            "6/2 administrative shutdown: \"0xfffe\"",
        );
    }

    #[test]
    fn rfc8538_3_a_hard_reset_is_shown_with_what_it_stands_for() {
        check(
            6,
            9,
            b"\x06\x02\x02go",
            "6/9 hard reset: 6/2 administrative shutdown: \"go\"",
        );
        check(6, 9, b"", "6/9 hard reset");
        check(
            6,
            9,
            &[6, 9, 6, 9, 6, 9],
            "6/9 hard reset (data 060906090609)",
        );
    }

    #[test]
    fn data_of_other_errors_is_shown_as_bytes_and_cut() {
        check(
            2,
            2,
            &[0xfd, 0xe8],
            "2/2 OPEN error: bad peer AS (data fde8)",
        );
        let long = format!(
            "3/5 UPDATE error: attribute length error (data {}…)",
            "00".repeat(32)
        );
        check(3, 5, &[0; 33], &long);
        check(99, 1, &[], "99/1 unknown error");
    }
}
