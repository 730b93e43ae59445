//! An heir and a holder, each with the other's side played by the test.

use super::super::membership::tests::{OTHERS_MAC, meet, member};
use super::super::tests::{drain, entry, holding, node, settle, vip};
use super::super::{Agent, Event, Input, Output, Seen};
use super::*;
use crate::election::{Candidate, Election, order};
use crate::manifest;
use speaker_ebpf::abi::Mode;
use speaker_proto::hold::message::{self, Message, Say};
use speaker_proto::member::{HeldEntry, HeldState, HeldVersion, MemberLink, Profile, Roster};
use speaker_proto::{Epoch, Machine};

const STRANGER: Mac = Mac([2, 0, 0, 0, 9, 9]);

pub(crate) fn group() -> GroupKey {
    GroupKey(vip().0)
}

/// A name that the election puts before this node's, or after it.
pub(crate) fn other(is_first: bool) -> NodeName {
    let names = (2..).map(|n| format!("n{n}").parse::<NodeName>().unwrap());
    let goes_first = |name: &NodeName| {
        let both = [node(), name.clone()].map(|node| Candidate {
            node,
            score: 0.into(),
        });
        order(Election::Sha256, group(), both.to_vec())[0].node == *name
    };
    let mut fit = names.filter(|name| goes_first(name) == is_first);
    fit.next().expect("half of all names are")
}

pub(crate) fn see_node(agent: &mut Agent, now: Time, name: &NodeName) {
    let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n");
    for object in manifest::read("node.yaml", &text, "metallb-system").objects {
        agent.input(now, Input::Object(object));
    }
}

fn with_address(name: &NodeName) -> Member {
    let mut member = member(name);
    let profile = Arc::make_mut(&mut member.profile);
    *profile = Profile {
        addresses: vec!["192.0.2.250:7946".parse().unwrap()],
        ..profile.clone()
    };
    member
}

/// Another node that is elected before this one and holds the VIP.
pub(crate) fn heir_of(name: &NodeName) -> (Agent, Time) {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = Time::ms(10_000);
    see_node(&mut agent, later, name);
    let mut holder = with_address(name);
    let held = HeldEntry {
        epoch: Epoch(1 << 40),
        state: HeldState::Holding,
    };
    holder.held = Arc::new([(group(), held)].into());
    holder.held_version = HeldVersion(2);
    meet(&mut agent, later, holder);
    drain(&mut agent, later);
    (agent, later)
}

pub(crate) fn list(outputs: &[Output]) -> Option<Arc<Watchlist>> {
    let mut lists = outputs.iter().filter_map(|output| match output {
        Output::Watch(list) => Some(Arc::clone(list)),
        _ => None,
    });
    lists.next_back()
}

pub(crate) fn seen(outputs: &[Output]) -> Vec<Seen> {
    let seen = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Seen { seen, .. }) => Some(*seen),
        _ => None,
    });
    seen.collect()
}

fn said(outputs: &[Output], to: &NodeName) -> Vec<Say> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Tell(id, payload) if *id == node_id(to) => Some(message::decode(payload).unwrap()),
        _ => None,
    });
    told.flatten().map(|message| message.say).collect()
}

#[test]
fn l6_7_an_heir_watches_what_it_would_inherit_and_a_witness_beside_it() {
    let holder = other(true);
    let (mut agent, now) = heir_of(&holder);
    let outputs = settle(&mut agent, now + Span::s(1));
    let listed = list(&outputs).unwrap_or_else(|| Arc::clone(&agent.watching.list));
    let group = &listed[&group()];
    assert_eq!(
        group.places.keys().copied().collect::<Vec<_>>(),
        [(vip(), 2)]
    );
    assert_eq!(group.holder, [OTHERS_MAC].into());
    assert_eq!((group.only, group.interval), (None, HEIR_INTERVAL));
    let witness = GroupKey("192.0.2.250".parse().unwrap());
    assert_eq!(listed[&witness].holder, [OTHERS_MAC].into());
    assert_eq!(listed.len(), 2);
    agent.input(now + Span::s(5), Input::Drain(true));
    let outputs = settle(&mut agent, now + Span::s(5));
    assert_eq!(list(&outputs), Some(Arc::default()), "it inherits nothing");
}

#[test]
fn l6_7_who_is_not_on_a_segment_is_no_witness_there() {
    let (mut agent, now) = heir_of(&other(true));
    let me = node_id(&node());
    let names = (0..6).map(|n| format!("other{n}").parse::<NodeName>().unwrap());
    let mut names: Vec<NodeName> = names.collect();
    names.sort_by_key(|name| node_id(name).0.wrapping_sub(me.0));
    let mut roster: Roster = (**agent.roster()).clone();
    for (n, name) in names.iter().enumerate() {
        let mut member = member(name);
        let profile = Arc::make_mut(&mut member.profile);
        profile.addresses = vec![format!("192.0.2.{}:7946", 240 + n).parse().unwrap()];
        // Only the last that is looked at has a link there.
        if n < 5 {
            let elsewhere = ["eth7", "eth8"].map(|link| MemberLink {
                name: link.into(),
                ..profile.links[0].clone()
            });
            profile.links = elsewhere.to_vec();
        }
        roster.members.insert(node_id(name), Arc::new(member));
    }
    agent.input(now + Span::s(2), Input::Roster(Arc::new(roster)));
    let outputs = settle(&mut agent, now + Span::s(3));
    let listed = list(&outputs).unwrap();
    let witness = |n: usize| GroupKey(format!("192.0.2.{}", 240 + n).parse().unwrap());
    let found: Vec<usize> = (0..6)
        .filter(|n| listed.contains_key(&witness(*n)))
        .collect();
    assert_eq!(found, [5]);
}

#[test]
fn l6_7_a_holder_that_is_alive_and_does_not_answer_is_asked_for_the_group_and_told_why() {
    let holder = other(true);
    let (mut agent, now) = heir_of(&holder);
    settle(&mut agent, now + Span::s(1));
    let then = now + Span::s(9);
    let missing = |is_certain| Input::Missing {
        group: group(),
        is_certain,
    };
    agent.input(then, missing(false));
    let outputs = settle(&mut agent, then);
    assert_eq!(seen(&outputs), [Seen::Unanswered { is_certain: false }]);
    assert_eq!(said(&outputs, &holder), [], "it may be this node's fault");
    assert_eq!(agent.unanswered().count(), 1);
    agent.input(then, missing(true));
    let outputs = settle(&mut agent, then);
    assert_eq!(said(&outputs, &holder), [Say::Unheard, Say::Ask]);
    agent.input(then, Input::Answering(group()));
    let outputs = settle(&mut agent, then);
    assert_eq!(seen(&outputs), [Seen::Answering]);
    assert_eq!(agent.unanswered().count(), 0);
    let wish = |agent: &Agent| agent.wishes[&group()].owner;
    let me = node_id(&node());
    assert_eq!(wish(&agent), Some(me), "it must be sound for a while");
    settle(&mut agent, then + Span::s(5));
    assert_eq!(wish(&agent), Some(node_id(&holder)));
}

#[test]
fn l6_7_the_word_of_an_heir_counts_while_it_is_there() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let heir = other(false);
    let later = Time::ms(10_000);
    see_node(&mut agent, later, &heir);
    meet(&mut agent, later, with_address(&heir));
    settle(&mut agent, later);
    let then = later + Span::s(2);
    let unheard = Message {
        vip: vip(),
        nonce: 7,
        say: Say::Unheard,
    };
    let told = message::encode(&[unheard]).remove(0);
    agent.input(then, Input::Told(node_id(&heir), told));
    settle(&mut agent, then);
    let is_out = |agent: &Agent| {
        let me = node_id(&node());
        agent
            .watching
            .silent
            .is_out(then + Span::s(1), (group(), me))
    };
    assert!(is_out(&agent));
    let dead = Member {
        standing: speaker_proto::member::Standing::Dead { silent_at: then },
        ..with_address(&heir)
    };
    meet(&mut agent, then + Span::s(1), dead);
    assert!(!is_out(&agent));
}

#[test]
fn l6_7_a_holder_that_does_not_answer_gives_it_to_its_heir_and_leaves_it_there_for_a_while() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let heir = other(false);
    let later = Time::ms(10_000);
    see_node(&mut agent, later, &heir);
    meet(&mut agent, later, with_address(&heir));
    settle(&mut agent, later);
    assert_eq!(entry(&agent).map(|(mode, _)| mode), Some(Mode::Answer));
    let then = later + Span::s(2);
    let say = |say| Message {
        vip: vip(),
        nonce: 7,
        say,
    };
    let told = message::encode(&[say(Say::Unheard), say(Say::Ask)]).remove(0);
    agent.input(then, Input::Told(node_id(&heir), told));
    let outputs = settle(&mut agent, then);
    assert_eq!(seen(&outputs), [Seen::Unheard]);
    let asks = message::encode(&[say(Say::Ask)]).remove(0);
    agent.input(then, Input::Told(node_id(&heir), asks));
    settle(&mut agent, then);
    assert_eq!(entry(&agent).map(|(mode, _)| mode), Some(Mode::Draining));
    let owner = |agent: &Agent| agent.wishes[&group()].owner;
    assert_eq!(owner(&agent), Some(node_id(&heir)));
    settle(&mut agent, then + Span::s(6));
    assert_eq!(owner(&agent), Some(node_id(&node())));
}

#[test]
fn l6_7_a_holder_without_an_heir_keeps_what_it_does_not_answer_for() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let stray = other(false);
    // It has no Node object: it is a candidate of nothing.
    meet(&mut agent, now, with_address(&stray));
    let unheard = Message {
        vip: vip(),
        nonce: 7,
        say: Say::Unheard,
    };
    let told = message::encode(&[unheard]).remove(0);
    agent.input(now + Span::s(1), Input::Told(node_id(&stray), told));
    settle(&mut agent, now + Span::s(1));
    assert_eq!(entry(&agent).map(|(mode, _)| mode), Some(Mode::Answer));
}

#[test]
fn l6_7_hardware_of_nobodys_is_a_conflict_and_a_members_is_not() {
    let holder = other(true);
    let (mut agent, now) = heir_of(&holder);
    settle(&mut agent, now + Span::s(1));
    let then = now + Span::s(9);
    for (mac, told) in [
        (STRANGER, vec![Seen::Stranger(STRANGER)]),
        (OTHERS_MAC, vec![]),
    ] {
        let group = group();
        agent.input(then, Input::Unexpected { group, mac });
        assert_eq!(seen(&settle(&mut agent, then)), told);
    }
}
