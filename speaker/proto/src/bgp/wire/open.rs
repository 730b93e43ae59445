//! OPEN (RFC 4271 §4.2, §6.2) with its optional parameters, in both their forms (RFC 9072). What the numbers in it mean for a session,
//! such as whether the AS number is the expected one, is not judged here.

use super::bytes::Bytes;
use super::capability::Told;
use crate::bgp::message::{Notification, Open};
use crate::bgp::route::RouterId;
use std::net::Ipv4Addr;

/// Stands in two bytes for AS numbers that have no room there (RFC 6793 §4.2.1).
pub(super) const AS_TRANS: u16 = 23456;
/// The one version there is.
pub(super) const VERSION: u8 = 4;
/// The optional parameter that holds capabilities (RFC 5492 §4).
pub(super) const CAPABILITIES: u8 = 2;
/// In the place of the first parameter's type: lengths have two bytes (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// RFC 4271 §6.2: an error that has no subcode.
pub(super) const UNSPECIFIC: Notification = Notification::new(2, 0);

pub(super) fn decode(body: &[u8]) -> Result<Open, Notification> {
    let mut body = Bytes(body);
    let version = body.u8().ok_or(UNSPECIFIC)?;
    if version != VERSION {
        return Err(Notification {
            data: u16::from(VERSION).to_be_bytes().to_vec(),
            ..Notification::new(2, 1)
        });
    }
    let fields = fields(&mut body).ok_or(UNSPECIFIC)?;
    let told = parameters(body)?;
    let asn = told.asn.unwrap_or_else(|| fields.asn.into());
    // RFC 7607 §2: no speaker is AS 0. Nor is any AS_TRANS, which stands for others.
    if asn == 0 || asn == u32::from(AS_TRANS) {
        return Err(Notification::new(2, 2));
    }
    if matches!(fields.hold_seconds, 1 | 2) {
        return Err(Notification::new(2, 6));
    }
    Ok(Open {
        asn,
        hold_seconds: fields.hold_seconds,
        router_id: RouterId::new(fields.id).ok_or(Notification::new(2, 3))?,
        capabilities: told.capabilities,
    })
}

/// What follows the version.
struct Fields {
    asn: u16,
    hold_seconds: u16,
    id: Ipv4Addr,
}

fn fields(body: &mut Bytes<'_>) -> Option<Fields> {
    Some(Fields {
        asn: body.u16()?,
        hold_seconds: body.u16()?,
        id: body.array::<4>()?.into(),
    })
}

fn parameters(mut body: Bytes<'_>) -> Result<Told, Notification> {
    // RFC 9072 §2: the type tells the form; the length before it is 255 then, but need not be. Zero always means none.
    let is_extended = matches!(body.0, &[count, EXTENDED, ..] if count > 0);
    let list = if is_extended {
        body.take(2).and_then(|_| body.behind_u16())
    } else {
        body.behind_u8()
    };
    let mut list = list.filter(|_| body.is_empty()).ok_or(UNSPECIFIC)?;
    let mut told = Told::default();
    while let Some(code) = list.u8() {
        let value = match is_extended {
            true => list.behind_u16(),
            false => list.behind_u8(),
        };
        let value = value.ok_or(UNSPECIFIC)?;
        if code != CAPABILITIES {
            return Err(Notification::new(2, 4));
        }
        told.read(value)?;
    }
    Ok(told)
}
