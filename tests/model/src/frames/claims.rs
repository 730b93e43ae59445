//! Who says that a VIP is theirs: announcements and replies, by members, strangers and ourselves.

use super::*;
use speaker_ebpf::model::wire::{ArpWire, NdpWire, option};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = members();
    cases.extend(strangers());
    cases.extend(spoofed());
    cases.extend(passed());
    cases
}

fn members() -> Vec<Case> {
    let claimed = |name, frame: Vec<u8>| {
        Case::new(name, frame)
            .counted(Outcome::Claimed)
            .told(ClaimKind::Member)
    };
    let reply = ArpWire::reply((MEMBER, VIP4), (CLIENT, CLIENT4));
    let answer = NdpWire::advertisement((MEMBER, VIP6), (OWN, CLIENT6));
    vec![
        claimed("a member's announcement fences", announcement(MEMBER, 1)).fenced(),
        claimed("its other form fences", announcement(MEMBER, 2)).fenced(),
        claimed(
            "a member's reply to all fences",
            reply.clone().with(|f| f.to = EVERYBODY).bytes(),
        )
        .fenced(),
        claimed(
            "a member's reply to us fences",
            reply.with(|f| f.to = OWN).bytes(),
        )
        .fenced(),
        claimed("a member's advertisement fences", advertisement(MEMBER)).fenced(),
        claimed("a member's answer to us fences", answer.clone().bytes()).fenced(),
        claimed(
            "an answer without an address is its sender's",
            answer.with(|f| f.options.clear()).bytes(),
        )
        .fenced(),
        claimed("a fence goes up again", announcement(MEMBER, 1))
            .given(fence_is_up)
            .fenced(),
        claimed(
            "a lapsed VIP is fenced all the same",
            announcement(MEMBER, 1),
        )
        .given(lapsed)
        .fenced(),
        claimed(
            "the holder of another node's VIP fences nothing",
            announcement(MEMBER, 1),
        )
        .given(known),
        claimed(
            "the new holder of a draining VIP fences nothing",
            advertisement(MEMBER),
        )
        .given(draining),
    ]
}

fn strangers() -> Vec<Case> {
    let foreign = |name, frame: Vec<u8>| {
        Case::new(name, frame)
            .counted(Outcome::Foreign)
            .told(ClaimKind::Foreign)
    };
    vec![
        foreign(
            "a stranger's announcement fences nothing",
            announcement(STRANGER, 1),
        ),
        foreign(
            "a stranger's reply form fences nothing",
            announcement(STRANGER, 2),
        ),
        foreign(
            "a stranger's advertisement fences nothing",
            advertisement(STRANGER),
        ),
        foreign(
            "two strangers in one frame",
            sent_by(CLIENT, announcing(STRANGER)),
        ),
        foreign(
            "a stranger takes another node's VIP",
            announcement(STRANGER, 1),
        )
        .given(known),
    ]
}

fn spoofed() -> Vec<Case> {
    let spoofed = |name, frame: Vec<u8>| {
        Case::new(name, frame)
            .counted(Outcome::Spoofed)
            .told(ClaimKind::Spoofed)
    };
    vec![
        spoofed(
            "a stranger who writes a member's address",
            sent_by(STRANGER, announcing(MEMBER)),
        ),
        spoofed(
            "a stranger who sends as a member",
            sent_by(MEMBER, announcing(STRANGER)),
        ),
        spoofed(
            "a stranger who sends as us",
            sent_by(OWN, announcing(STRANGER)),
        ),
        spoofed(
            "one member in another's name",
            sent_by(DISARMED, announcing(MEMBER)),
        ),
        spoofed(
            "a disarmed member fences nothing",
            announcement(DISARMED, 1),
        ),
        spoofed(
            "a disarmed member's advertisement fences nothing",
            advertisement(DISARMED),
        ),
        spoofed(
            "a stranger's frame with a member in the option",
            NdpWire::announcement((STRANGER, VIP6))
                .with(|frame| frame.options = option(2, MEMBER))
                .bytes(),
        ),
        Case::new(
            "a member is armed again after its time",
            announcement(DISARMED, 1),
        )
        .given(|tables| {
            let key = MacKey::new(MacAddr(DISARMED));
            let disarmed_until_ns = NOW - SECOND;
            tables
                .members
                .insert(key, MemberValue { disarmed_until_ns });
        })
        .counted(Outcome::Claimed)
        .told(ClaimKind::Member)
        .fenced(),
    ]
}

fn passed() -> Vec<Case> {
    let malformed = |name, frame: Vec<u8>| Case::new(name, frame).counted(Outcome::Malformed);
    vec![
        Case::new("our own announcement", announcement(OWN, 1)),
        Case::new("our own advertisement", advertisement(OWN)),
        Case::new(
            "our address, sent on by somebody",
            sent_by(STRANGER, announcing(OWN)),
        ),
        Case::new("an announcement of something else", announcement(MEMBER, 1))
            .given(not_in_the_table),
        Case::new(
            "an announcement long after the agent",
            announcement(MEMBER, 1),
        )
        .given(orphaned)
        .global(Global::Orphaned),
        malformed(
            "an announcement by nobody",
            sent_by(MEMBER, announcing(NOBODY)),
        ),
        malformed(
            "an announcement by everybody",
            sent_by(MEMBER, announcing(EVERYBODY)),
        ),
        malformed(
            "an announcement sent by a group",
            sent_by(EVERYBODY, announcing(MEMBER)),
        ),
        malformed(
            "a solicited advertisement to all",
            NdpWire::announcement((MEMBER, VIP6))
                .with(|frame| frame.flags = [0x60, 0, 0, 0])
                .bytes(),
        ),
        malformed(
            "an advertisement with a wrong checksum",
            NdpWire::announcement((MEMBER, VIP6))
                .with(|frame| frame.checksum_error = 7)
                .bytes(),
        ),
        malformed(
            "an advertisement from afar",
            NdpWire::announcement((MEMBER, VIP6))
                .with(|frame| frame.hop_limit = 64)
                .bytes(),
        ),
    ]
}

fn announcing(owner: [u8; 6]) -> ArpWire {
    ArpWire::announcement((owner, VIP4), 1)
}

fn announcement(owner: [u8; 6], op: u16) -> Vec<u8> {
    ArpWire::announcement((owner, VIP4), op).bytes()
}

fn advertisement(owner: [u8; 6]) -> Vec<u8> {
    NdpWire::announcement((owner, VIP6)).bytes()
}

fn sent_by(source: [u8; 6], frame: ArpWire) -> Vec<u8> {
    frame.with(|frame| frame.from = source).bytes()
}
