//! ARP requests: RFC 826, and the probes of RFC 5227.

use super::*;
use speaker_ebpf::model::wire::ArpWire;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = answered();
    cases.extend(silent());
    cases.extend(not_for_us());
    cases.extend(malformed());
    cases
}

fn answered() -> Vec<Case> {
    let anyone = request();
    vec![
        asked("a request is answered", anyone.clone()),
        asked(
            "a request to our own address is answered",
            anyone.clone().with(|frame| frame.to = OWN),
        ),
        asked(
            "padding stays as it is",
            anyone
                .clone()
                .with(|frame| frame.padding = (0..18).collect()),
        ),
        asked(
            "a frame of full size keeps its size",
            anyone
                .clone()
                .with(|frame| frame.padding = vec![0xa5; 1472]),
        ),
        asked(
            "the reply goes to the sender's hardware and not to the frame's source",
            anyone.clone().with(|frame| frame.from = STRANGER),
        ),
        asked(
            "what a request has as target hardware does not matter",
            anyone.clone().with(|frame| frame.target.0 = STRANGER),
        ),
        asked(
            "an entry's own deadline counts more than the node's",
            anyone.clone(),
        )
        .given(own_deadline_ahead),
        asked("a fence that was cleared is none", anyone.clone()).given(fence_was_cleared),
        probe(
            "a probe is answered and not remembered",
            Ipv4Addr::UNSPECIFIED,
        ),
        probe(
            "an asker in network zero is not remembered",
            Ipv4Addr::new(0, 1, 2, 3),
        ),
        probe(
            "an asker in a group is not remembered",
            Ipv4Addr::new(224, 0, 0, 9),
        ),
        probe(
            "the broadcast address is not remembered",
            Ipv4Addr::BROADCAST,
        ),
    ]
}

fn silent() -> Vec<Case> {
    let refused = |name, given: fn(&mut Tables), outcome| {
        Case::new(name, request().bytes())
            .given(given)
            .dropped(outcome)
    };
    let seen = |case: Case| case.asked_by(CLIENT4, CLIENT);
    vec![
        Case::new("a VIP of routes alone is not answered for", {
            request().bytes()
        })
        .given(routed),
        seen(refused(
            "another node's VIP is dropped",
            known,
            Outcome::NotOwner,
        )),
        seen(refused(
            "a draining VIP is dropped",
            draining,
            Outcome::Draining,
        )),
        seen(refused("a lapsed VIP is dropped", lapsed, Outcome::Lapsed)),
        seen(refused(
            "a node never armed answers nothing",
            never_armed,
            Outcome::Lapsed,
        )),
        seen(refused(
            "an entry's own deadline ends it",
            own_deadline_past,
            Outcome::Lapsed,
        )),
        seen(refused(
            "a fenced VIP is dropped",
            fence_is_up,
            Outcome::Fenced,
        )),
        refused(
            "above the limit a VIP is silent",
            bucket_is_empty,
            Outcome::Limited,
        ),
        Case::new(
            "a probe for another node's VIP is dropped",
            probing(Ipv4Addr::UNSPECIFIED),
        )
        .given(known)
        .dropped(Outcome::NotOwner),
    ]
}

fn not_for_us() -> Vec<Case> {
    vec![
        Case::new(
            "an address that is not in the table passes",
            request().bytes(),
        )
        .given(not_in_the_table),
        Case::new("a VIP of another link passes", request().bytes()).given(on_another_link),
        Case::new("a request long after the agent passes", request().bytes())
            .given(orphaned)
            .global(Global::Orphaned),
        Case::new("a link without an address passes", request().bytes())
            .given(|tables| tables.links.clear()),
        Case::new(
            "a request to another station passes",
            request().with(|frame| frame.to = STRANGER).bytes(),
        ),
        Case::new(
            "our own request passes",
            request().with(|frame| frame.sender.0 = OWN).bytes(),
        ),
        Case::new(
            "neither request nor reply passes",
            request().with(|frame| frame.op = 8).bytes(),
        ),
        Case::new("an inline tag passes", tagged([0x81, 0x00])),
        Case::new("a service tag passes", tagged([0x88, 0xa8])),
        Case::new("another EtherType passes", {
            let mut bytes = request().bytes();
            bytes[12..14].copy_from_slice(&[0x88, 0xcc]);
            bytes
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let unreadable = |name, change: fn(&mut ArpWire)| {
        Case::new(name, request().with(change).bytes()).global(Global::Malformed)
    };
    let refused = |name, change: fn(&mut ArpWire)| {
        Case::new(name, request().with(change).bytes()).counted(Outcome::Malformed)
    };
    vec![
        unreadable("hardware other than Ethernet", |frame| frame.hrd = 6),
        unreadable("a protocol other than IPv4", |frame| frame.pro = 0x86dd),
        unreadable("a hardware address of another length", |frame| {
            frame.hln = 8
        }),
        unreadable("a protocol address of another length", |frame| {
            frame.pln = 16
        }),
        refused("a sender without hardware address", |frame| {
            frame.sender.0 = NOBODY
        }),
        refused("a group as sender", |frame| {
            frame.sender.0 = [1, 0, 0x5e, 0, 0, 1]
        }),
        refused("everybody as sender", |frame| frame.sender.0 = EVERYBODY),
        refused("a request to a group", |frame| {
            frame.to = [1, 0, 0x5e, 0, 0, 1]
        }),
        Case::new(
            "an ARP frame that ends early",
            request().bytes()[..41].to_vec(),
        )
        .global(Global::Malformed),
        Case::new(
            "an ARP frame that hardly begins",
            request().bytes()[..15].to_vec(),
        )
        .global(Global::Malformed),
    ]
}

fn request() -> ArpWire {
    ArpWire::request((CLIENT, CLIENT4), VIP4)
}

fn asked(name: &'static str, frame: ArpWire) -> Case {
    let mut reply = ArpWire::reply((OWN, VIP4), (CLIENT, CLIENT4));
    reply.padding.clone_from(&frame.padding);
    Case::new(name, frame.bytes())
        .answered(reply.bytes())
        .asked_by(CLIENT4, CLIENT)
}

fn probing(sender: Ipv4Addr) -> Vec<u8> {
    ArpWire::request((CLIENT, sender), VIP4).bytes()
}

fn probe(name: &'static str, sender: Ipv4Addr) -> Case {
    Case::new(name, probing(sender)).answered(ArpWire::reply((OWN, VIP4), (CLIENT, sender)).bytes())
}

fn tagged(ethertype: [u8; 2]) -> Vec<u8> {
    let mut bytes = request().bytes();
    bytes.splice(12..12, [ethertype, [0, 5]].concat());
    bytes
}
