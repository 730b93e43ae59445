//! Names, texts and remedies of all reasons.

use super::*;
use crate::node::Ending;
use speaker_proto::bgp::Family as BgpFamily;

/// One of each.
fn all() -> Vec<Reason> {
    let vip = Vip("192.0.2.10".parse().unwrap());
    let node: NodeName = "n2".parse().unwrap();
    let mut reasons = vec![
        Reason::NotSynced(Kind::Service),
        Reason::NotLoadBalancer,
        Reason::OtherClass { class: None },
        Reason::OtherClass {
            class: Some("x/y".into()),
        },
        Reason::NoAddress,
        Reason::InvalidAddress("lb.example".into()),
        Reason::AddressNotAllowed,
        Reason::NodeAddress {
            vip,
            node: node.clone(),
        },
        Reason::DuplicateAddress {
            vip,
            holder: id("other"),
        },
        Reason::NoEndpoints,
        Reason::NoMatchingAdvertisement(Unmatched::Pool("main".into())),
        Reason::NoMatchingAdvertisement(Unmatched::Service),
        Reason::SharedIpWithServiceSelector {
            advertisement: "all".into(),
        },
        Reason::NoCommonCandidate {
            with: vec![id("other"), id("third")],
        },
        Reason::NotElected { owner: node },
        Reason::WaitingForSecret,
    ];
    let unfit = [
        Unfit::Unknown,
        Unfit::Dead,
        Unfit::Draining,
        Unfit::Ending(Ending::Deleted),
        Unfit::Ending(Ending::Doomed),
        Unfit::Ending(Ending::ShuttingDown),
        Unfit::NetworkUnavailable,
        Unfit::Excluded,
        Unfit::NotSelected,
        Unfit::NoLocalEndpoints,
    ];
    reasons.extend(unfit.map(Reason::Unfit));
    let holds = [
        Hold::Free,
        Hold::Asking,
        Hold::Preparing,
        Hold::Occupied(Mac([2, 9, 9, 9, 9, 9])),
        Hold::Holding,
        Hold::Draining,
        Hold::Contested,
        Hold::Lapsed,
    ];
    reasons.extend(holds.map(Reason::NotHeld));
    for (missing, unusable) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let links = |count, name: &str| vec![LinkName::from(name); count];
        reasons.push(Reason::NoUsableLink {
            missing: links(missing, "eth9"),
            unusable: links(unusable, "eth0"),
        });
    }
    reasons.extend(unrouted().map(Reason::NoRoute));
    reasons
}

fn unrouted() -> [Unrouted; 13] {
    let prefix = Prefix::of("192.0.2.10".parse().unwrap(), 24);
    let pool = || "main".to_owned();
    let conflict = |with| {
        Unrouted::Conflict(Box::new(Conflict {
            prefix,
            attribute: Attribute::LocalPref,
            advertisements: ["a".into(), "b".into()],
            with,
        }))
    };
    [
        Unrouted::NoAdvertisement { pool: pool() },
        Unrouted::NodeNotSelected { pool: pool() },
        Unrouted::ServiceNotSelected,
        Unrouted::AdvertisementNotReady {
            advertisement: "a".into(),
            why: "no Community gives \"x\" a value yet".into(),
        },
        Unrouted::PrefixTooShort {
            prefix,
            range: super::pool().ranges[0],
        },
        Unrouted::Finding,
        Unrouted::NoPeer,
        Unrouted::OtherPeers,
        Unrouted::NoFamily(BgpFamily::V4),
        Unrouted::NoFamily(BgpFamily::V6),
        conflict(None),
        conflict(Some(id("older"))),
        Unrouted::TooManyCommunities { prefix, count: 64 },
    ]
}

/// `reason` of MetalLB's log line serviceWithdrawn.
const METALLB: [&str; 15] = [
    "serviceDeleted",
    "notLoadBalancer",
    "noIPAllocated",
    "invalidIP",
    "ipNotAllowed",
    "loadBalancerIPChanged",
    "internalError",
    "notOwner",
    "noMatchingAdvertisement",
    "sharedIPWithServiceSelector",
    "conflictingAdvertisements",
    "nodeNetworkUnavailable",
    "nodeLabeledExcludeBalancers",
    "noLocalEndpoints",
    "noEndpoints",
];

#[test]
fn every_reason_has_a_name_that_metallb_knows() {
    for reason in all() {
        assert!(METALLB.contains(&reason.metallb_name()), "{reason:?}");
    }
}

#[test]
fn every_reason_is_one_line_that_tells_it_from_the_others() {
    let texts: BTreeSet<String> = all().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all().len());
    for text in texts {
        let is_fragment = !text.contains('\n') && !text.ends_with('.') && !text.is_empty();
        assert!(is_fragment, "{text}");
    }
}

#[test]
fn every_reason_says_what_would_change_it() {
    for reason in all() {
        let remedy = reason.remedy();
        assert!(!remedy.is_empty() && !remedy.contains('\n'), "{reason:?}");
    }
}

#[test]
fn links_that_do_not_exist_are_told_from_links_that_cannot_answer() {
    let links = |names: &[&str]| names.iter().map(|name| LinkName::from(*name)).collect();
    let text = |missing: &[&str], unusable: &[&str]| {
        let (missing, unusable) = (links(missing), links(unusable));
        Reason::NoUsableLink { missing, unusable }.to_string()
    };
    assert_eq!(text(&[], &[]), "this node has no link that may announce");
    assert_eq!(
        text(&["eth8", "eth9"], &[]),
        "no usable link: eth8, eth9 not on this node"
    );
    assert_eq!(
        text(&[], &["eth0"]),
        "no usable link: eth0 cannot answer now"
    );
    assert_eq!(
        text(&["eth9"], &["eth0"]),
        "no usable link: eth9 not on this node, eth0 cannot answer now"
    );
}
