//! An observer and a member in its grace, whose side is played by the test.

use super::super::tests::{drain, settle, vip};
use super::super::watching::tests::{group, heir_of, list, other, see_node, seen};
use super::super::{Agent, Input, Output, Seen};
use crate::manifest;
use crate::members::node_id;
use speaker_proto::member::Roster;
use speaker_proto::watch::{HEIR_INTERVAL, PROMISE_INTERVAL};
use speaker_proto::{GroupKey, Machine, NodeId, NodeName, Span, Time};
use std::sync::Arc;

/// The holder of the VIP promised to be back, and is not heard (or is again).
fn grace(agent: &mut Agent, now: Time, name: &NodeName, is_in_grace: bool) -> Vec<Output> {
    let mut roster: Roster = (**agent.roster()).clone();
    let member = roster.members.get_mut(&node_id(name)).unwrap();
    Arc::make_mut(member).is_in_grace = is_in_grace;
    agent.input(now, Input::Roster(Arc::new(roster)));
    let mut outputs = drain(agent, now);
    outputs.extend(settle(agent, now + Span::s(1)));
    outputs
}

fn kernels(outputs: &[Output]) -> Vec<(NodeId, bool)> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Kernel(node, is_silent) => Some((*node, *is_silent)),
        _ => None,
    });
    told.collect()
}

fn in_grace() -> (Agent, NodeName, Time) {
    let holder = other(true);
    let (mut agent, now) = heir_of(&holder);
    settle(&mut agent, now + Span::s(1));
    let then = now + Span::s(5);
    grace(&mut agent, then, &holder, true);
    (agent, holder, then + Span::s(2))
}

#[test]
fn l6_3_the_kernel_of_a_member_in_its_grace_is_asked_by_unicast_and_often() {
    let holder = other(true);
    let (mut agent, now) = heir_of(&holder);
    settle(&mut agent, now + Span::s(1));
    let outputs = grace(&mut agent, now + Span::s(5), &holder, true);
    let listed = list(&outputs).unwrap();
    let asked = &listed[&group()];
    let mac = agent.roster().members[&node_id(&holder)].profile.links[0].mac;
    assert_eq!((asked.only, asked.interval), (Some(mac), PROMISE_INTERVAL));
    assert_eq!(
        asked.places.keys().map(|place| place.0).collect::<Vec<_>>(),
        [vip()]
    );
    let witness = &listed[&GroupKey("192.0.2.250".parse().unwrap())];
    assert_eq!(
        witness.interval, PROMISE_INTERVAL,
        "others are to be heard as soon"
    );
    let outputs = grace(&mut agent, now + Span::s(8), &holder, false);
    let asked = &list(&outputs).unwrap()[&group()];
    assert_eq!((asked.only, asked.interval), (None, HEIR_INTERVAL));
}

#[test]
fn l6_3_a_kernel_that_does_not_answer_is_told_and_moves_nothing_by_itself() {
    let (mut agent, holder, now) = in_grace();
    let missing = |is_certain| Input::Missing {
        group: group(),
        is_certain,
    };
    agent.input(now, missing(false));
    let outputs = settle(&mut agent, now);
    assert_eq!(kernels(&outputs), [], "it may be this node's fault");
    let id = node_id(&holder);
    agent.input(now, missing(true));
    let outputs = settle(&mut agent, now);
    assert_eq!(kernels(&outputs), [(id, true)]);
    assert_eq!(seen(&outputs), [Seen::KernelSilent]);
    assert_eq!(
        agent.wishes[&group()].owner,
        Some(id),
        "it is not passed over"
    );
    agent.input(now, Input::Answering(group()));
    let outputs = settle(&mut agent, now);
    assert_eq!(kernels(&outputs), [(id, false)]);
    assert_eq!(seen(&outputs), [Seen::Answering]);
}

#[test]
fn l6_3_of_who_died_nothing_is_taken_back() {
    let (mut agent, holder, now) = in_grace();
    let missing = Input::Missing {
        group: group(),
        is_certain: true,
    };
    agent.input(now, missing);
    settle(&mut agent, now);
    let outputs = grace(&mut agent, now, &holder, false);
    assert_eq!(kernels(&outputs), []);
}

#[test]
fn l6_3_who_may_not_answer_any_more_is_not_waited_for() {
    let (mut agent, holder, now) = in_grace();
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    let text = format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {holder}, labels: {{{label}: ''}}}}\n"
    );
    for object in manifest::read("node.yaml", &text, "metallb-system").objects {
        agent.input(now, Input::Object(object));
    }
    let outputs = settle(&mut agent, now + Span::s(2));
    assert_eq!(kernels(&outputs), [(node_id(&holder), true)]);
    see_node(&mut agent, now + Span::s(3), &holder);
    let outputs = settle(&mut agent, now + Span::s(5));
    assert_eq!(kernels(&outputs), [(node_id(&holder), false)]);
}
