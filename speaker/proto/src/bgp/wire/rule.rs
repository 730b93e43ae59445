//! What to do with an attribute that is wrong: the table of RFC 7606, a row for each attribute.
//!
//! Routes are not kept here, so treating them as withdrawn and discarding an attribute both come down to counting. What matters is
//! that a session ends where it must and nowhere else.

use super::attribute::{
    AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES,
    EXTENDED_COMMUNITIES, IPV6_EXTENDED_COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MP_REACH_NLRI,
    MP_UNREACH_NLRI, MULTI_EXIT_DISC, NEXT_HOP, ONLY_TO_CUSTOMER, OPTIONAL, ORIGIN, ORIGINATOR_ID,
    TRANSITIVE,
};
use super::bytes::Bytes;
use super::multiprotocol::{reach, unreach};

/// What an attribute is judged by beside its own bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) has_four_byte_as: bool,
    pub(super) is_ebgp: bool,
    /// There are prefixes in the message's classic field, for which NEXT_HOP counts.
    pub(super) has_classic_prefixes: bool,
}

/// What is done about an attribute that is wrong, from mild to severe (RFC 7606 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Approach {
    /// The attribute alone is passed over.
    Discard,
    /// All routes of the message count as withdrawn.
    Withdraw,
    /// The session ends with 3/9.
    Reset,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) code: u8,
    /// O and T as they must be; if they are not, routes are treated as withdrawn (RFC 7606 §3.c).
    pub(super) flags: u8,
    /// Whether a value is right.
    pub(super) is_right: fn(&[u8], Facts) -> bool,
    /// What is done if not.
    pub(super) otherwise: Approach,
    /// From a peer in another AS it is passed over, right or wrong.
    pub(super) is_internal: bool,
    /// In words: flags that are wrong, and a value that is.
    pub(super) wrong_flags: &'static str,
    pub(super) wrong_value: &'static str,
}

/// The rule for an attribute; `None` for one that is not known.
pub(super) fn rule(code: u8) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}

const RULES: &[Rule] = &[
    // RFC 7606 §7.1.
    Rule {
        code: ORIGIN,
        flags: TRANSITIVE,
        is_right: |value, _| matches!(value, [0..=2]),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "ORIGIN has wrong flags",
        wrong_value: "ORIGIN is malformed",
    },
    // RFC 7606 §7.2.
    Rule {
        code: AS_PATH,
        flags: TRANSITIVE,
        is_right: |value, facts| is_path(value, facts.has_four_byte_as),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "AS_PATH has wrong flags",
        wrong_value: "AS_PATH is malformed",
    },
    // RFC 7606 §7.3; RFC 4760 §3: it means nothing to prefixes in MP_REACH_NLRI.
    Rule {
        code: NEXT_HOP,
        flags: TRANSITIVE,
        is_right: |value, facts| value.len() == 4 || !facts.has_classic_prefixes,
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "NEXT_HOP has wrong flags",
        wrong_value: "NEXT_HOP is malformed",
    },
    // RFC 7606 §7.4.
    Rule {
        code: MULTI_EXIT_DISC,
        flags: OPTIONAL,
        is_right: |value, _| value.len() == 4,
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "MULTI_EXIT_DISC has wrong flags",
        wrong_value: "MULTI_EXIT_DISC is malformed",
    },
    // RFC 7606 §7.5.
    Rule {
        code: LOCAL_PREF,
        flags: TRANSITIVE,
        is_right: |value, _| value.len() == 4,
        otherwise: Approach::Withdraw,
        is_internal: true,
        wrong_flags: "LOCAL_PREF has wrong flags",
        wrong_value: "LOCAL_PREF is malformed",
    },
    // RFC 7606 §7.6.
    Rule {
        code: ATOMIC_AGGREGATE,
        flags: TRANSITIVE,
        is_right: |value, _| value.is_empty(),
        otherwise: Approach::Discard,
        is_internal: false,
        wrong_flags: "ATOMIC_AGGREGATE has wrong flags",
        wrong_value: "ATOMIC_AGGREGATE is malformed",
    },
    // RFC 7606 §7.7.
    Rule {
        code: AGGREGATOR,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, facts| is_aggregator(value, facts.has_four_byte_as),
        otherwise: Approach::Discard,
        is_internal: false,
        wrong_flags: "AGGREGATOR has wrong flags",
        wrong_value: "AGGREGATOR is malformed",
    },
    // RFC 7606 §7.8.
    Rule {
        code: COMMUNITIES,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, _| is_list(value, 4),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "COMMUNITIES has wrong flags",
        wrong_value: "COMMUNITIES is malformed",
    },
    // RFC 7606 §7.9.
    Rule {
        code: ORIGINATOR_ID,
        flags: OPTIONAL,
        is_right: |value, _| value.len() == 4,
        otherwise: Approach::Withdraw,
        is_internal: true,
        wrong_flags: "ORIGINATOR_ID has wrong flags",
        wrong_value: "ORIGINATOR_ID is malformed",
    },
    // RFC 7606 §7.10.
    Rule {
        code: CLUSTER_LIST,
        flags: OPTIONAL,
        is_right: |value, _| is_list(value, 4),
        otherwise: Approach::Withdraw,
        is_internal: true,
        wrong_flags: "CLUSTER_LIST has wrong flags",
        wrong_value: "CLUSTER_LIST is malformed",
    },
    // RFC 7606 §5.3, §7.11.
    Rule {
        code: MP_REACH_NLRI,
        flags: OPTIONAL,
        is_right: |value, _| reach(value).is_some(),
        otherwise: Approach::Reset,
        is_internal: false,
        wrong_flags: "MP_REACH_NLRI has wrong flags",
        wrong_value: "MP_REACH_NLRI is malformed",
    },
    // RFC 7606 §5.3, §7.12.
    Rule {
        code: MP_UNREACH_NLRI,
        flags: OPTIONAL,
        is_right: |value, _| unreach(value).is_some(),
        otherwise: Approach::Reset,
        is_internal: false,
        wrong_flags: "MP_UNREACH_NLRI has wrong flags",
        wrong_value: "MP_UNREACH_NLRI is malformed",
    },
    // RFC 7606 §7.14.
    Rule {
        code: EXTENDED_COMMUNITIES,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, _| is_list(value, 8),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "EXTENDED_COMMUNITIES has wrong flags",
        wrong_value: "EXTENDED_COMMUNITIES is malformed",
    },
    // RFC 7606 §7.15.
    Rule {
        code: IPV6_EXTENDED_COMMUNITIES,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, _| is_list(value, 20),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "IPV6_EXTENDED_COMMUNITIES has wrong flags",
        wrong_value: "IPV6_EXTENDED_COMMUNITIES is malformed",
    },
    // RFC 6793 §6; of a peer that can do without, it means nothing.
    Rule {
        code: AS4_PATH,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, facts| facts.has_four_byte_as || is_path(value, true),
        otherwise: Approach::Discard,
        is_internal: false,
        wrong_flags: "AS4_PATH has wrong flags",
        wrong_value: "AS4_PATH is malformed",
    },
    // RFC 6793 §6, as above.
    Rule {
        code: AS4_AGGREGATOR,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, facts| facts.has_four_byte_as || is_aggregator(value, true),
        otherwise: Approach::Discard,
        is_internal: false,
        wrong_flags: "AS4_AGGREGATOR has wrong flags",
        wrong_value: "AS4_AGGREGATOR is malformed",
    },
    // RFC 8092 §6.
    Rule {
        code: LARGE_COMMUNITY,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, _| is_list(value, 12),
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "LARGE_COMMUNITY has wrong flags",
        wrong_value: "LARGE_COMMUNITY is malformed",
    },
    // RFC 9234 §5.
    Rule {
        code: ONLY_TO_CUSTOMER,
        flags: OPTIONAL | TRANSITIVE,
        is_right: |value, _| value.len() == 4,
        otherwise: Approach::Withdraw,
        is_internal: false,
        wrong_flags: "ONLY_TO_CUSTOMER has wrong flags",
        wrong_value: "ONLY_TO_CUSTOMER is malformed",
    },
];

/// Segments of AS numbers, none empty (RFC 7606 §7.2) and none with AS 0 in it (RFC 7607 §2). No segment at all is a path too.
fn is_path(value: &[u8], has_four_byte_as: bool) -> bool {
    let mut left = Bytes(value);
    while !left.is_empty() {
        let (Some(1..=4), Some(count @ 1..)) = (left.u8(), left.u8()) else {
            return false;
        };
        let is_right = (0..count)
            .all(|_| autonomous_system(&mut left, has_four_byte_as).is_some_and(|asn| asn != 0));
        if !is_right {
            return false;
        }
    }
    true
}

/// An AS number, not 0 (RFC 7607 §2), and an address.
fn is_aggregator(value: &[u8], has_four_byte_as: bool) -> bool {
    let mut left = Bytes(value);
    autonomous_system(&mut left, has_four_byte_as).is_some_and(|asn| asn != 0) && left.0.len() == 4
}

fn autonomous_system(left: &mut Bytes<'_>, has_four_bytes: bool) -> Option<u32> {
    match has_four_bytes {
        true => left.u32(),
        false => left.u16().map(u32::from),
    }
}

/// Elements of one size, at least one.
fn is_list(value: &[u8], bytes: usize) -> bool {
    !value.is_empty() && value.len().is_multiple_of(bytes)
}
