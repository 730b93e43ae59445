//! Capabilities (RFC 5492 §4), read and written. One that is not known, or whose value makes no sense, is no error: its code is kept for
//! the operator. The exception is that for four-byte AS numbers, without which the bytes that follow would be read as what they are not.

use super::bytes::Bytes;
use super::multiprotocol::{UNICAST, afi, family};
use super::open::UNSPECIFIC;
use crate::bgp::message::{Capabilities, GracefulRestart, Notification, Open};
use crate::bgp::route::Family;

/// RFC 4760 §8.
const MULTIPROTOCOL: u8 = 1;
/// RFC 2918 §2.
const ROUTE_REFRESH: u8 = 2;
/// The same before it had a number; some send both.
const ROUTE_REFRESH_OLD: u8 = 128;
/// RFC 8950 §4.
const EXTENDED_NEXT_HOP: u8 = 5;
/// RFC 4724 §3.
const GRACEFUL_RESTART: u8 = 64;
/// RFC 6793 §3.
const FOUR_BYTE_AS: u8 = 65;
/// RFC 7313 §3.1.
const ENHANCED_REFRESH: u8 = 70;

/// R of graceful restart's flags.
const IS_RESTARTING: u16 = 0x8000;
/// N of them (RFC 8538 §2).
const HAS_NOTIFICATION: u16 = 0x4000;
/// The twelve bits of seconds beside them.
const SECONDS: u16 = 0x0fff;
/// F of a family's flags.
const IS_FORWARDING: u8 = 0x80;

/// What an OPEN's capabilities say.
#[derive(Default, Debug)]
pub(super) struct Told {
    pub(super) capabilities: Capabilities,
    /// Of capability 65.
    pub(super) asn: Option<u32>,
}

impl Told {
    /// Reads the capabilities of one optional parameter. They may stand in any number of parameters, and more than once (RFC 5492 §4).
    pub(super) fn read(&mut self, mut list: Bytes<'_>) -> Result<(), Notification> {
        while let Some(code) = list.u8() {
            let value = list.behind_u8().ok_or(UNSPECIFIC)?;
            if code == FOUR_BYTE_AS {
                let asn = value.0.try_into().map_err(|_| UNSPECIFIC)?;
                self.asn = Some(u32::from_be_bytes(asn));
                self.capabilities.has_four_byte_as = true;
            } else if self.understand(code, value).is_none() {
                self.capabilities.others.insert(code);
            }
        }
        Ok(())
    }

    fn understand(&mut self, code: u8, value: Bytes<'_>) -> Option<()> {
        let told = &mut self.capabilities;
        match code {
            MULTIPROTOCOL => told.families.extend(multiprotocol(value)?),
            ROUTE_REFRESH | ROUTE_REFRESH_OLD => told.has_route_refresh = true,
            EXTENDED_NEXT_HOP => told.has_v4_over_v6_next_hop |= has_v4_over_v6(value)?,
            // RFC 4724 §3: of several the last counts.
            GRACEFUL_RESTART => told.graceful_restart = Some(graceful_restart(value)?),
            ENHANCED_REFRESH => told.has_enhanced_refresh = true,
            _ => return None,
        }
        Some(())
    }
}

fn multiprotocol(value: Bytes<'_>) -> Option<Option<Family>> {
    let &[high, low, _reserved, safi] = value.0 else {
        return None;
    };
    Some(family(u16::from_be_bytes([high, low]), safi))
}

fn has_v4_over_v6(mut value: Bytes<'_>) -> Option<bool> {
    let mut has_it = false;
    while !value.is_empty() {
        let [afi_of_prefix, safi, afi_of_next_hop] = [value.u16()?, value.u16()?, value.u16()?];
        has_it |= afi_of_prefix == afi(Family::V4)
            && safi == u16::from(UNICAST)
            && afi_of_next_hop == afi(Family::V6);
    }
    Some(has_it)
}

fn graceful_restart(mut value: Bytes<'_>) -> Option<GracefulRestart> {
    let head = value.u16()?;
    let mut told = GracefulRestart {
        is_restarting: head & IS_RESTARTING != 0,
        has_notification: head & HAS_NOTIFICATION != 0,
        seconds: head & SECONDS,
        ..GracefulRestart::default()
    };
    while !value.is_empty() {
        let family = family(value.u16()?, value.u8()?);
        let flags = value.u8()?;
        told.families
            .extend(family.map(|family| (family, flags & IS_FORWARDING != 0)));
    }
    Some(told)
}

/// Appends what an OPEN says that its sender can do, each capability once and in the order of their codes. At most 42 bytes.
pub(super) fn write(out: &mut Vec<u8>, open: &Open) {
    let told = &open.capabilities;
    for family in &told.families {
        let [high, low] = afi(*family).to_be_bytes();
        one(out, MULTIPROTOCOL, &[high, low, 0, UNICAST]);
    }
    if told.has_route_refresh {
        one(out, ROUTE_REFRESH, &[]);
    }
    if told.has_v4_over_v6_next_hop {
        let fields = [afi(Family::V4), UNICAST.into(), afi(Family::V6)];
        one(
            out,
            EXTENDED_NEXT_HOP,
            fields.map(u16::to_be_bytes).as_flattened(),
        );
    }
    if let Some(restart) = &told.graceful_restart {
        one(out, GRACEFUL_RESTART, &graceful_restart_bytes(restart));
    }
    if told.has_four_byte_as {
        one(out, FOUR_BYTE_AS, &open.asn.to_be_bytes());
    }
    if told.has_enhanced_refresh {
        one(out, ENHANCED_REFRESH, &[]);
    }
}

fn one(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let count = u8::try_from(value.len()).expect("no capability of ours has more than 10 bytes");
    out.extend([code, count]);
    out.extend(value);
}

fn graceful_restart_bytes(restart: &GracefulRestart) -> Vec<u8> {
    let mut head = restart.seconds.min(SECONDS);
    if restart.is_restarting {
        head |= IS_RESTARTING;
    }
    if restart.has_notification {
        head |= HAS_NOTIFICATION;
    }
    let mut value = head.to_be_bytes().to_vec();
    for (family, is_forwarding) in &restart.families {
        value.extend(afi(*family).to_be_bytes());
        value.extend([UNICAST, if *is_forwarding { IS_FORWARDING } else { 0 }]);
    }
    value
}
