//! Neighbour solicitations: RFC 4861 §7.1.1 and §7.2, RFC 4862 §5.4.

use super::*;
use speaker_ebpf::model::wire::{NdpWire, option};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = answered();
    cases.extend(duplicates());
    cases.extend(silent());
    cases.extend(malformed_headers());
    cases.extend(malformed_options());
    cases
}

fn answered() -> Vec<Case> {
    let nonce = || option(14, [9; 6]);
    vec![
        asked(
            "a solicitation is answered",
            solicitation(),
            advertisement(),
        ),
        asked(
            "with a nonce before the address, the answer ends in zeroes",
            solicitation().with(|frame| frame.options = [nonce(), option(1, CLIENT)].concat()),
            advertisement().with(|frame| frame.padding = vec![0; 8]),
        ),
        asked(
            "four options are the most that are read",
            solicitation().with(|frame| {
                frame.options = [option(1, CLIENT), nonce(), nonce(), nonce()].concat();
            }),
            advertisement().with(|frame| frame.padding = vec![0; 24]),
        ),
        asked(
            "a long option that means nothing to us is skipped",
            solicitation().with(|frame| {
                frame.options = [vec![200, 2], vec![7; 14], option(1, CLIENT)].concat();
            }),
            advertisement().with(|frame| frame.padding = vec![0; 16]),
        ),
        asked(
            "the first of two addresses counts",
            solicitation().with(|frame| frame.options.extend(option(1, STRANGER))),
            advertisement().with(|frame| frame.padding = vec![0; 8]),
        ),
        asked(
            "without an address the frame's source counts, and the answer grows",
            solicitation().with(|frame| frame.options.clear()),
            advertisement(),
        ),
        asked(
            "a unicast probe is answered as it came",
            probe(),
            confirmation(),
        ),
        asked(
            "a unicast probe with an address gets ours",
            probe().with(|frame| frame.options = option(1, CLIENT)),
            confirmation().with(|frame| frame.options = option(2, OWN)),
        ),
        asked(
            "what follows the payload stays",
            solicitation().with(|frame| frame.padding = vec![0xa5; 7]),
            advertisement().with(|frame| frame.padding = vec![0xa5; 7]),
        ),
        asked(
            "an entry's own deadline counts more than the node's, for IPv6 too",
            solicitation(),
            advertisement(),
        )
        .given(own_deadline_ahead),
    ]
}

fn duplicates() -> Vec<Case> {
    let defence = NdpWire::announcement((OWN, VIP6));
    let of_routes = |name, frame: NdpWire| Case::new(name, frame.bytes()).given(routed);
    let detected = |name, frame: NdpWire, defence: NdpWire| {
        Case::new(name, frame.bytes()).answered(defence.bytes())
    };
    vec![
        of_routes(
            "a VIP of routes alone is not answered for, IPv6",
            solicitation(),
        ),
        of_routes("a VIP of routes alone is not defended", detection()),
        detected(
            "duplicate detection is answered to all",
            detection(),
            defence.clone(),
        ),
        detected(
            "a nonce makes room for the address",
            detection().with(|frame| frame.options = option(14, [9; 6])),
            defence.clone(),
        ),
        detected(
            "a little room after the payload is used",
            detection().with(|frame| frame.padding = vec![1, 2, 3]),
            defence,
        ),
        Case::new(
            "detection of another node's VIP is dropped",
            detection().bytes(),
        )
        .given(known)
        .dropped(Outcome::NotOwner),
        Case::new(
            "detection with an address in it",
            detection()
                .with(|frame| frame.options = option(1, CLIENT))
                .bytes(),
        )
        .counted(Outcome::Malformed),
        Case::new(
            "detection by unicast",
            detection()
                .with(|frame| (frame.to, frame.dst) = (OWN, VIP6))
                .bytes(),
        )
        .counted(Outcome::Malformed),
    ]
}

fn silent() -> Vec<Case> {
    let refused = |name, given: fn(&mut Tables), outcome| {
        Case::new(name, solicitation().bytes())
            .given(given)
            .dropped(outcome)
    };
    let seen = |case: Case| case.asked_by(CLIENT6, CLIENT);
    let passed =
        |name, change: fn(&mut NdpWire)| Case::new(name, solicitation().with(change).bytes());
    vec![
        seen(refused(
            "another node's VIP, IPv6",
            known,
            Outcome::NotOwner,
        )),
        seen(refused("a draining VIP, IPv6", draining, Outcome::Draining)),
        seen(refused("a lapsed VIP, IPv6", lapsed, Outcome::Lapsed)),
        seen(refused("a fenced VIP, IPv6", fence_is_up, Outcome::Fenced)),
        refused("above the limit, IPv6", bucket_is_empty, Outcome::Limited),
        Case::new("an unknown target passes", solicitation().bytes()).given(not_in_the_table),
        Case::new("a target of another link passes", solicitation().bytes()).given(on_another_link),
        Case::new(
            "a solicitation long after the agent passes",
            solicitation().bytes(),
        )
        .given(orphaned)
        .global(Global::Orphaned),
        passed("our own solicitation passes", |frame| frame.from = OWN),
        passed("our own address in the option passes", |frame| {
            frame.options = option(1, OWN);
        }),
        passed("a solicitation to another station passes", |frame| {
            frame.to = STRANGER
        }),
        passed("an IPv4-mapped target passes", |frame| {
            frame.target = VIP4.to_ipv6_mapped();
        }),
        passed("a router's advertisement passes", |frame| frame.kind = 134),
    ]
}

fn malformed_headers() -> Vec<Case> {
    let far = |frame: &mut NdpWire| frame.dst = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    vec![
        refused("a hop limit below 255", |frame| frame.hop_limit = 254),
        refused("a code other than zero", |frame| frame.code = 1),
        refused("a wrong checksum", |frame| frame.checksum_error = 1),
        refused("a checksum off in its upper byte", |frame| {
            frame.checksum_error = 0x100
        }),
        refused("a version other than six", |frame| frame.version = 0x50),
        refused("a group as source", |frame| {
            frame.src = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 9)
        }),
        refused("the target as source", |frame| frame.src = VIP6),
        refused("a destination that is neither target nor its group", far),
        refused("a group as the frame's source", |frame| {
            frame.from = [0x33, 0x33, 0, 0, 0, 1]
        }),
        refused("a payload longer than the frame", |frame| {
            frame.length_error = 8
        }),
        refused("a payload that ends within the target", |frame| {
            frame.length_error = -16
        }),
        refused("a payload that is no multiple of eight", |frame| {
            frame.length_error = -1
        }),
        Case::new(
            "a group as target",
            NdpWire::solicitation(
                (CLIENT, CLIENT6),
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5),
            )
            .bytes(),
        ),
        Case::new(
            "a solicitation that ends early",
            solicitation().bytes()[..77].to_vec(),
        )
        .global(Global::Malformed),
        Case::new(
            "a solicitation of one byte",
            solicitation().bytes()[..55].to_vec(),
        )
        .global(Global::Malformed),
        Case::new(
            "an IPv6 header that ends early",
            solicitation().bytes()[..53].to_vec(),
        ),
    ]
}

fn malformed_options() -> Vec<Case> {
    vec![
        refused("an option of no length", |frame| frame.options[1] = 0),
        refused("an option longer than the rest", |frame| {
            frame.options[1] = 2
        }),
        refused("an address of more than one word", |frame| {
            frame.options = [vec![1, 2], vec![2; 14]].concat();
        }),
        refused("no sender's address at all", |frame| {
            frame.options = option(1, NOBODY)
        }),
        refused("a group as the sender's address", |frame| {
            frame.options = option(1, [0x33, 0x33, 0, 0, 0, 1]);
        }),
        refused("more options than are read", |frame| {
            for _ in 0..4 {
                frame.options.extend(option(14, [9; 6]));
            }
        }),
        refused("half an option at the end", |frame| {
            frame.options.extend([14, 1, 0, 0])
        }),
    ]
}

fn refused(name: &'static str, change: fn(&mut NdpWire)) -> Case {
    Case::new(name, solicitation().with(change).bytes()).counted(Outcome::Malformed)
}

fn asked(name: &'static str, frame: NdpWire, answer: NdpWire) -> Case {
    Case::new(name, frame.bytes())
        .answered(answer.bytes())
        .asked_by(CLIENT6, CLIENT)
}

fn solicitation() -> NdpWire {
    NdpWire::solicitation((CLIENT, CLIENT6), VIP6)
}

fn probe() -> NdpWire {
    NdpWire::probe((CLIENT, CLIENT6), (OWN, VIP6))
}

fn detection() -> NdpWire {
    NdpWire::duplicate_detection(CLIENT, VIP6)
}

fn advertisement() -> NdpWire {
    NdpWire::advertisement((OWN, VIP6), (CLIENT, CLIENT6))
}

/// The answer to a unicast probe: no new address, so neither the override flag nor the option.
fn confirmation() -> NdpWire {
    advertisement().with(|frame| {
        frame.flags = [0x40, 0, 0, 0];
        frame.options.clear();
    })
}
