//! Profiles and held sets as bytes, to be sent in parts. Equal values have equal bytes, so that hashes of them can be compared.

use super::bytes::{Reader, Writer};
use super::{Malformed, PART_BYTES, PARTS_MAX};
use crate::member::{
    ADDRESSES_MAX, HeldEntry, HeldSet, HeldState, LINKS_MAX, MACS_MAX, MemberLink, NEWCOMERS_MAX,
    NodeId, Profile,
};
use crate::{Epoch, GroupKey, Mac};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The format of both blobs.
const FORMAT: u8 = 1;

/// The bytes of a profile; what is above its bounds is left out.
pub(in crate::gossip) fn profile_blob(profile: &Profile) -> Vec<u8> {
    let mut w = Writer::new(FORMAT);
    w.text(profile.name.as_str());
    w.count(profile.addresses.len(), ADDRESSES_MAX);
    for address in profile.addresses.iter().take(ADDRESSES_MAX) {
        w.ip(address.ip());
        w.u16(address.port());
    }
    w.count(profile.links.len(), LINKS_MAX);
    for link in profile.links.iter().take(LINKS_MAX) {
        w.text(&link.name);
        w.bytes(&link.mac.0);
        w.bool(link.has_arp);
        w.bool(link.has_ndp);
    }
    w.count(profile.macs.len(), MACS_MAX);
    for mac in profile.macs.iter().take(MACS_MAX) {
        w.bytes(&mac.0);
    }
    w.bool(profile.is_draining);
    w.bool(profile.is_stale);
    w.u64(profile.rules);
    w.text(&profile.version);
    w.bool(profile.key.is_some());
    w.u8(profile.key.unwrap_or_default());
    w.count(profile.newcomers.len(), NEWCOMERS_MAX);
    for newcomer in profile.newcomers.iter().take(NEWCOMERS_MAX) {
        w.node(*newcomer);
    }
    w.into_bytes()
}

/// The profile that these bytes are.
pub(in crate::gossip) fn profile_of(blob: &[u8]) -> Result<Profile, Malformed> {
    let mut r = begin(blob)?;
    let name = r.text()?.parse().map_err(|_| Malformed::Value)?;
    let addresses = (0..r.count(ADDRESSES_MAX)?)
        .map(|_| Ok(SocketAddr::new(r.ip()?, r.u16()?)))
        .collect::<Result<_, _>>()?;
    let links = (0..r.count(LINKS_MAX)?)
        .map(|_| {
            Ok(MemberLink {
                name: r.text()?.into(),
                mac: Mac(r.array()?),
                has_arp: r.bool()?,
                has_ndp: r.bool()?,
            })
        })
        .collect::<Result<_, _>>()?;
    let macs = (0..r.count(MACS_MAX)?)
        .map(|_| Ok(Mac(r.array()?)))
        .collect::<Result<_, _>>()?;
    Ok(Profile {
        name,
        addresses,
        links,
        macs,
        is_draining: r.bool()?,
        is_stale: r.bool()?,
        rules: r.u64()?,
        version: r.text()?.to_owned(),
        key: key(&mut r)?,
        newcomers: newcomers(&mut r)?,
    })
}

/// Earlier versions end before it.
fn key(r: &mut Reader<'_>) -> Result<Option<u8>, Malformed> {
    if r.is_empty() {
        return Ok(None);
    }
    let (is_there, key) = (r.bool()?, r.u8()?);
    Ok(is_there.then_some(key))
}

/// Earlier versions end before them.
fn newcomers(r: &mut Reader<'_>) -> Result<BTreeSet<NodeId>, Malformed> {
    if r.is_empty() {
        return Ok(BTreeSet::new());
    }
    (0..r.count(NEWCOMERS_MAX)?).map(|_| r.node()).collect()
}

/// The bytes of a held set, which the caller keeps within [`super::super::HELD_MAX`].
pub(in crate::gossip) fn held_blob(held: &HeldSet) -> Vec<u8> {
    let mut w = Writer::new(FORMAT);
    for (group, entry) in held {
        write_change(&mut w, *group, Some(*entry));
    }
    w.into_bytes()
}

/// The held set that these bytes are.
pub(in crate::gossip) fn held_of(blob: &[u8]) -> Result<HeldSet, Malformed> {
    if blob.len() > PART_BYTES * usize::from(PARTS_MAX) {
        return Err(Malformed::Value);
    }
    let mut r = begin(blob)?;
    let mut held = HeldSet::new();
    while !r.is_empty() {
        let (group, entry) = read_change(&mut r)?;
        held.insert(group, entry.ok_or(Malformed::Value)?);
    }
    Ok(held)
}

/// A group and what is said of it; `None`: it is gone.
pub(super) fn write_change(w: &mut Writer, group: GroupKey, entry: Option<HeldEntry>) {
    w.ip(group.0);
    let Some(HeldEntry { epoch, state }) = entry else {
        return w.u8(GONE);
    };
    match state {
        HeldState::Preparing => w.u8(PREPARING),
        HeldState::Holding => w.u8(HOLDING),
        HeldState::Yielded(to) => {
            w.u8(YIELDED);
            w.node(to);
        }
    }
    w.u64(epoch.0);
}

/// See [`write_change`].
pub(super) fn read_change(r: &mut Reader<'_>) -> Result<(GroupKey, Option<HeldEntry>), Malformed> {
    let group = GroupKey(r.ip()?);
    let state = match r.u8()? {
        GONE => return Ok((group, None)),
        PREPARING => HeldState::Preparing,
        HOLDING => HeldState::Holding,
        YIELDED => HeldState::Yielded(r.node()?),
        _ => return Err(Malformed::Value),
    };
    let epoch = Epoch(r.u64()?);
    Ok((group, Some(HeldEntry { epoch, state })))
}

fn begin(blob: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut r = Reader::new(blob);
    match r.u8()? {
        FORMAT => Ok(r),
        _ => Err(Malformed::Value),
    }
}

const GONE: u8 = 0;
const PREPARING: u8 = 1;
const HOLDING: u8 = 2;
const YIELDED: u8 = 3;
