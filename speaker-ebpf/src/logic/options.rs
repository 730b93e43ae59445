//! What a holder does with a packet by options of its VIP: ports that no service has are refused, pings answered, sources kept out.
//!
//! Only while this node may speak for the VIP or routes bring its packets here, and only with plain packets; whatever is not plain, and whatever no option concerns, goes the
//! way of all others. It comes before packets are spread. What a service is, and who wants which option, it does not know.

use super::arrival::Arrival;
use super::steer::Right;
use super::{Maps, Verdict};
use crate::abi::options::Closed;
use crate::abi::{Entry, Global, Opted, OptionValue, ServiceKey};
use crate::frame::plain::{Plain, TCP, UDP};
use crate::frame::{Frame, answer};

/// What becomes of a packet; `None`: nothing by an option.
#[inline(always)]
pub(super) fn verdict<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    arrival: &Arrival<'_>,
    entry: &Entry,
) -> Option<Verdict> {
    let row = maps.options(arrival.key)?;
    if Right::find(maps, entry, arrival.now) != Right::Held {
        return None;
    }
    let packet = Plain::read(frame, arrival.family)?;
    if row.is_echo() && packet.is_echo(arrival.family) && may_answer(arrival, &packet) {
        return Some(echo(frame, maps, arrival));
    }
    if !packet.has_ports() {
        return None;
    }
    let key = ServiceKey::new(arrival.key.addr(), packet.protocol, packet.port());
    let Some(service) = maps.service(&key) else {
        return closed(frame, maps, arrival, row, &packet);
    };
    if row.is_filtered() && service.sources != 0 && !maps.is_source(service.sources, packet.client)
    {
        maps.opted(Opted::Refused);
        return Some(Verdict::Drop);
    }
    None
}

/// A ping that this node answers.
#[inline(always)]
fn echo<F: Frame, M: Maps>(frame: &mut F, maps: &mut M, arrival: &Arrival<'_>) -> Verdict {
    if !maps.take_opted(Opted::Echoed, arrival.now) {
        maps.opted(Opted::Limited);
        return Verdict::Drop;
    }
    if answer::echo(frame, arrival.family, arrival.own).is_none() {
        maps.count(Global::NoRoom);
        return Verdict::Drop;
    }
    maps.opted(Opted::Echoed);
    Verdict::Reply
}

/// A packet to a port that no service has.
#[inline(always)]
fn closed<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    arrival: &Arrival<'_>,
    row: OptionValue,
    packet: &Plain,
) -> Option<Verdict> {
    match row.closed() {
        Closed::Pass => return None,
        Closed::Drop => {
            maps.opted(Opted::Closed);
            return Some(Verdict::Drop);
        }
        Closed::Reject => {}
    }
    let is_answered = matches!(packet.protocol, TCP | UDP) && may_answer(arrival, packet);
    if !is_answered || answer::is_reset(frame, arrival.family, packet) {
        maps.opted(Opted::Closed);
        return Some(Verdict::Drop);
    }
    if !maps.take_opted(Opted::Rejected, arrival.now) {
        maps.opted(Opted::Limited);
        return Some(Verdict::Drop);
    }
    let written = match packet.protocol {
        TCP => answer::reset(frame, arrival.family, arrival.own),
        _ => answer::unreachable(frame, arrival.family, arrival.own),
    };
    if written.is_none() {
        maps.count(Global::NoRoom);
        return Some(Verdict::Drop);
    }
    maps.opted(Opted::Rejected);
    Some(Verdict::Reply)
}

/// Whether there is one station to answer to, and it is not the VIP itself.
#[inline(always)]
fn may_answer(arrival: &Arrival<'_>, packet: &Plain) -> bool {
    packet.is_client_one && packet.client != arrival.key.addr() && !arrival.src.is_multicast()
}
