//! All messages but announcements and withdrawals, each appended whole to the caller's buffer.

use super::multiprotocol::{UNICAST, afi};
use super::open::{AS_TRANS, CAPABILITIES, VERSION};
use super::{HEADER_BYTES, Kind, MESSAGE_BYTES_MAX, capability};
use crate::bgp::message::{Notification, Open};
use crate::bgp::route::Family;

/// Appends an OPEN. Capability 65 carries the AS number; a peer without it sees AS_TRANS for one above 65,535 (RFC 6793 §4.2.1).
/// [`Capabilities::others`](crate::bgp::Capabilities) are not sent, and more than 4,095 seconds of graceful restart become so many.
pub fn open(out: &mut Vec<u8>, open: &Open) {
    message(out, Kind::Open, |out| {
        let asn = u16::try_from(open.asn).unwrap_or(AS_TRANS);
        out.push(VERSION);
        out.extend(asn.to_be_bytes());
        out.extend(open.hold_seconds.to_be_bytes());
        out.extend(open.router_id.bits().to_be_bytes());
        let parameters = out.len();
        out.extend([0, CAPABILITIES, 0]);
        capability::write(out, open);
        let count = u8::try_from(out.len() - parameters - 3)
            .expect("our capabilities have at most 42 bytes");
        if count == 0 {
            out.truncate(parameters + 1);
        } else {
            out[parameters] = count + 2;
            out[parameters + 2] = count;
        }
    });
}

/// Appends a KEEPALIVE.
pub fn keepalive(out: &mut Vec<u8>) {
    message(out, Kind::Keepalive, |_| ());
}

/// Appends a NOTIFICATION, with as much of its data as a message has room for.
pub fn notification(out: &mut Vec<u8>, notification: &Notification) {
    const ROOM: usize = MESSAGE_BYTES_MAX - HEADER_BYTES - 2;
    message(out, Kind::Notification, |out| {
        out.extend([notification.code, notification.subcode]);
        out.extend(notification.data.iter().take(ROOM));
    });
}

/// What a ROUTE-REFRESH says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refresh {
    /// Send everything again (RFC 2918 §3).
    Request,
    /// Everything follows again (BoRR, RFC 7313 §3.2). Only where both sides have capability 70.
    Begin,
    /// That was everything (EoRR).
    End,
}

/// Appends a ROUTE-REFRESH for a family.
pub fn route_refresh(out: &mut Vec<u8>, family: Family, refresh: Refresh) {
    let subtype = match refresh {
        Refresh::Request => 0,
        Refresh::Begin => 1,
        Refresh::End => 2,
    };
    message(out, Kind::RouteRefresh, |out| {
        out.extend(afi(family).to_be_bytes());
        out.extend([subtype, UNICAST]);
    });
}

/// Appends End-of-RIB for a family (RFC 4724 §2).
pub fn end_of_rib(out: &mut Vec<u8>, family: Family) {
    message(out, Kind::Update, |out| match family {
        Family::V4 => out.extend([0; 4]),
        // No withdrawn routes, and as the only attribute an MP_UNREACH_NLRI without prefixes.
        Family::V6 => out.extend([0, 0, 0, 6, 0x80, 15, 3, 0, 2, UNICAST]),
    });
}

/// Appends a message with the body that `write` appends.
pub(super) fn message<T>(
    out: &mut Vec<u8>,
    kind: Kind,
    write: impl FnOnce(&mut Vec<u8>) -> T,
) -> T {
    let begin = out.len();
    out.extend([0xff; 16]);
    out.extend([0, 0, kind.code()]);
    let written = write(out);
    let count = out.len() - begin;
    assert!(count <= MESSAGE_BYTES_MAX, "a message has {count} bytes");
    put_u16(out, begin + 16, count);
    written
}

/// Writes a length into the two bytes that were left for it.
pub(super) fn put_u16(out: &mut [u8], at: usize, count: usize) {
    let count = u16::try_from(count).expect("no length within a message is above 4,096");
    out[at..at + 2].copy_from_slice(&count.to_be_bytes());
}
