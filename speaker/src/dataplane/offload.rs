//! What a link's hardware does to frames by itself.
//!
//! One question to the kernel's ethtool family over generic netlink (kernel 5.6 and later): taking VLAN tags off decides
//! whether XDP sees them, joining packets whether they can be forwarded. Whatever goes wrong is "it does not say".

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_GENERIC;
use std::collections::BTreeSet;

/// Whether receive VLAN offload is on; `None` if the kernel does not say.
pub(super) fn strips_vlan(ifindex: u32) -> Option<bool> {
    Some(active(ifindex)?.contains("rx-vlan-hw-parse"))
}

/// The names of the features that are on, as `ethtool -k` has them in the kernel; `None` if it does not say.
pub(crate) fn active(ifindex: u32) -> Option<BTreeSet<String>> {
    let mut socket = Socket::new(NETLINK_GENERIC).ok()?;
    socket.bind_auto().ok()?;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
    let family = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let family = u16::from_ne_bytes(find(&family, CTRL_ATTR_FAMILY_ID)?.try_into().ok()?);
    let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
    let header = attribute(ETHTOOL_A_FEATURES_HEADER | NESTED, &device);
    let features = ask(&socket, family, ETHTOOL_MSG_FEATURES_GET, &header)?;
    Some(names(&features))
}

/// The active ones of a features reply, whose bits are listed by name.
fn names(features: &[u8]) -> BTreeSet<String> {
    let bits = find(features, ETHTOOL_A_FEATURES_ACTIVE)
        .and_then(|set| find(set, ETHTOOL_A_BITSET_BITS))
        .unwrap_or_default();
    attributes(bits)
        .filter_map(|(_, bit)| find(bit, ETHTOOL_A_BITSET_BIT_NAME))
        .filter_map(|name| std::str::from_utf8(name.strip_suffix(&[0])?).ok())
        .map(str::to_owned)
        .collect()
}

/// The attributes of the reply to one generic netlink request.
fn ask(socket: &Socket, family: u16, command: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(HEADERS_BYTES + payload.len()).ok()?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(family.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([command, GENL_VERSION, 0, 0]);
    request.extend(payload);
    socket.send(&request, 0).ok()?;
    let (reply, _) = socket.recv_from_full().ok()?;
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    (kind == family).then(|| reply.get(HEADERS_BYTES..).map(<[u8]>::to_vec))?
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE_HEADER_BYTES + value.len();
    let mut bytes = u16::try_from(length)
        .expect("attributes here are short")
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

fn find(payload: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(payload)
        .find(|(other, _)| *other == kind)
        .map(|(_, value)| value)
}

/// Kind and value of each attribute; ends at the first that is not whole.
fn attributes(mut payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(payload.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(payload.get(2..4)?.try_into().ok()?);
        let value = payload.get(ATTRIBUTE_HEADER_BYTES..length)?;
        payload = payload
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

/// Netlink header and generic netlink header.
const HEADERS_BYTES: usize = 20;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const NESTED: u16 = 1 << 15;
const GENL_ID_CTRL: u16 = 16;
const GENL_VERSION: u8 = 1;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(active: &[&[u8]]) -> Vec<u8> {
        let bit = |name: &&[u8]| attribute(1 | NESTED, &attribute(ETHTOOL_A_BITSET_BIT_NAME, name));
        let bits: Vec<u8> = active.iter().flat_map(bit).collect();
        let set = attribute(ETHTOOL_A_BITSET_BITS | NESTED, &bits);
        attribute(ETHTOOL_A_FEATURES_ACTIVE | NESTED, &set)
    }

    #[test]
    fn the_active_features_are_found_by_name() {
        let both = names(&reply(&[b"rx-lro\0", b"rx-vlan-hw-parse\0"]));
        assert_eq!(Vec::from_iter(both), ["rx-lro", "rx-vlan-hw-parse"]);
        assert!(names(&reply(&[])).is_empty());
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn a_cut_reply_is_read_as_far_as_it_goes() {
        let whole = reply(&[b"rx-vlan-hw-parse\0"]);
        for length in 0..whole.len() {
            names(&whole[..length]);
        }
        assert_eq!(
            attributes(&[0, 0, 1, 0]).count(),
            0,
            "a length below its own header ends the list"
        );
    }
}
