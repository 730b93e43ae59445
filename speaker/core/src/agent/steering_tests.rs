//! What an agent makes of its segments: when it looks, when it waits, and whose connections are whose.

use super::super::membership::tests::{meet, member};
use super::super::tests::{drain, holding, settle, vip};
use super::super::{Agent, Input, Output};
use super::*;
use crate::link::LinkName;
use crate::manifest;
use crate::steering::Before;
use crate::steering::history::WINDOW;
use speaker_proto::member::Roster;
use speaker_proto::{Mac, Machine, NodeName, Span};

const SPREADING: &str = r"
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2, namespace: metallb-system, annotations: {heliograph.io/steering: spread}}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.0.2.202}]}
";

fn put(agent: &mut Agent, now: Time, text: &str) -> Vec<Output> {
    for object in manifest::read("more.yaml", text, "metallb-system").objects {
        agent.input(now, Input::Object(object));
    }
    let mut outputs = drain(agent, now);
    outputs.extend(settle(agent, now));
    outputs
}

fn place() -> Place {
    (vip(), LinkName::from("eth0"))
}

/// What a process left that spread the VIP, as far as that matters to who had what.
fn adopted() -> Legacy {
    Legacy::from([((vip(), 2), Arc::default())])
}

fn hood(nodes: &[&str]) -> Input {
    let node = |name: &&str| {
        let node: NodeName = name.parse().unwrap();
        (("eth0".into(), node), Mac([2, 0, 0, 0, 1, 2]))
    };
    Input::Neighbourhood(Arc::new(Neighbourhood {
        nodes: nodes.iter().map(node).collect(),
        bars: BTreeMap::new(),
    }))
}

fn looked_for(outputs: &[Output]) -> Vec<String> {
    let mut lists = outputs.iter().filter_map(|output| match output {
        Output::LookFor(prospects) => Some(prospects),
        _ => None,
    });
    let last = lists.next_back().into_iter().flat_map(|list| list.keys());
    last.map(|(link, node)| format!("{node} on {link}"))
        .collect()
}

/// A holder whose only service is to be spread, with `n2` alive beside it.
fn spreading(now: Time) -> (Agent, Vec<Output>) {
    let mut agent = holding(now);
    let n2 = "n2".parse().unwrap();
    meet(&mut agent, now + Span::s(1), member(&n2));
    let outputs = put(&mut agent, now + Span::s(1), SPREADING);
    (agent, outputs)
}

#[test]
fn nobody_is_looked_for_while_nothing_is_to_be_spread() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let n2 = "n2".parse().unwrap();
    meet(&mut agent, now + Span::s(1), member(&n2));
    let outputs = settle(&mut agent, now + Span::s(1));
    assert_eq!(looked_for(&outputs), Vec::<String>::new());
    assert_eq!(agent.plan().steering, None);
}

#[test]
fn what_is_in_force_stays_until_it_is_known_who_is_there() {
    let now = Time::ms(1000);
    let (mut agent, outputs) = spreading(now);
    assert_eq!(looked_for(&outputs), ["n2 on eth0"]);
    assert_eq!(agent.plan().steering, None);
    let later = now + Span::s(3);
    agent.input(later, hood(&["n2"]));
    settle(&mut agent, later);
    let steering = agent.plan().steering.as_ref().unwrap();
    let spread = &steering.rows[&place()];
    let nodes: Vec<_> = spread.share.weights.keys().map(NodeName::as_str).collect();
    assert_eq!(nodes, ["n1", "n2"]);
    assert_eq!(
        *spread.before,
        [Before::Stack],
        "it was held and not spread"
    );
}

#[test]
fn what_the_last_process_spread_was_not_the_stacks() {
    let now = Time::ms(1000);
    let (mut agent, _) = spreading(now);
    agent.spreading.adopted = adopted();
    let later = now + Span::s(3);
    agent.input(later, hood(&["n2"]));
    settle(&mut agent, later);
    let steering = agent.plan().steering.as_ref().unwrap();
    assert_eq!(*steering.rows[&place()].before, []);
}

#[test]
fn what_the_last_process_left_says_whose_connections_there_are() {
    let now = Time::ms(1000);
    let (mut agent, _) = spreading(now);
    let ifindex = agent.local.links[&place().1].ifindex;
    let left = vec![Before::Left(Arc::new(vec![7]))];
    agent.spreading.adopted = Legacy::from([((vip(), ifindex), Arc::new(left.clone()))]);
    for (later, nodes) in [(3, &["n2"][..]), (4, &[])] {
        let later = now + Span::s(later);
        agent.input(later, hood(nodes));
        settle(&mut agent, later);
        let steering = agent.plan().steering.as_ref().unwrap();
        let spread = &steering.rows[&place()];
        assert_eq!(spread.before[..1], left, "{nodes:?}");
        assert_eq!(spread.until, later + WINDOW);
    }
}

#[test]
fn spreading_ends_with_a_window_for_connections() {
    let now = Time::ms(1000);
    let (mut agent, _) = spreading(now);
    agent.input(now + Span::s(3), hood(&["n2"]));
    settle(&mut agent, now + Span::s(3));
    let later = now + Span::s(5);
    let plain = SPREADING.replace("heliograph.io/steering: spread", "");
    let outputs = put(&mut agent, later, &plain);
    let lists = outputs
        .iter()
        .any(|output| matches!(output, Output::LookFor(_)));
    assert!(!lists, "who has connections is still looked for");
    let steering = agent.plan().steering.as_ref().unwrap();
    let spread = &steering.rows[&place()];
    let nodes: Vec<_> = spread.share.weights.keys().map(NodeName::as_str).collect();
    assert_eq!(nodes, ["n1"]);
    let (due, why) = agent.pending().unwrap();
    assert_eq!((due, why), (spread.until, "steering"));
    assert!(due >= later + WINDOW);
    drain(&mut agent, due);
    settle(&mut agent, due);
    assert!(agent.plan().steering.as_ref().unwrap().rows.is_empty());
    let outputs = put(&mut agent, due + Span::s(1), SPREADING);
    assert_eq!(looked_for(&outputs), Vec::<String>::new(), "they still are");
}

#[test]
fn what_goes_to_other_segments_is_taken_in_for_as_long_as_connections_are_followed() {
    let now = Time::ms(1000);
    let (mut agent, _) = spreading(now);
    agent.input(now + Span::s(3), hood(&[]));
    let beyond = SPREADING.replace("steering: spread", "steering: spread-encap");
    put(&mut agent, now + Span::s(3), &beyond);
    let overlay = |agent: &Agent| Arc::clone(&agent.plan().steering.as_ref().unwrap().overlay);
    assert_eq!(overlay(&agent).vips, [vip().0].into());
    let later = now + Span::s(5);
    put(&mut agent, later, SPREADING);
    assert_eq!(overlay(&agent).vips, [vip().0].into());
    let due = later + WINDOW;
    drain(&mut agent, due);
    put(&mut agent, due, SPREADING);
    assert!(overlay(&agent).vips.is_empty());
}

/// An agent that began a moment ago and is told by `n2` and `n3` that these came.
fn told(came: &[&str], now: Time) -> Agent {
    tell(spreading(now).0, came, now)
}

fn tell(mut agent: Agent, came: &[&str], now: Time) -> Agent {
    let tells = |name: &str| {
        let mut member = member(&name.parse().unwrap());
        let came = came.iter().map(|node| node_id(&node.parse().unwrap()));
        Arc::make_mut(&mut member.profile).newcomers = came.collect();
        (node_id(&member.profile.name), Arc::new(member))
    };
    let roster = Roster {
        members: ["n2", "n3"].map(tells).into(),
        is_settled: true,
        is_name_taken: false,
    };
    agent.input(now + Span::s(2), Input::Roster(Arc::new(roster)));
    drain(&mut agent, now + Span::s(2));
    agent.input(now + Span::s(3), hood(&["n2"]));
    settle(&mut agent, now + Span::s(3));
    agent
}

#[test]
fn who_came_learns_from_those_that_were_there_who_had_shares_before() {
    let now = Time::ms(1000);
    let before = |agent: &Agent| {
        let steering = agent.plan().steering.as_ref().unwrap();
        Vec::clone(&steering.rows[&place()].before)
    };
    let n2 = Weights::from([("n2".parse().unwrap(), 1)]);
    assert_eq!(before(&told(&["n1"], now)), [Before::Nodes(Arc::new(n2))]);
    assert_eq!(before(&told(&["n1", "n2"], now)), [Before::Stack]);
    assert_eq!(before(&told(&[], now)), [Before::Stack]);
}

#[test]
fn what_the_last_process_left_stays_until_it_is_known_who_there_is() {
    let now = Time::ms(1_000);
    let rows = |is_settled, later: Span| {
        let (mut agent, _) = spreading(now);
        agent.spreading = Spreading::new(adopted(), Some(now), now);
        let roster = Roster {
            is_settled,
            ..Roster::clone(agent.roster())
        };
        agent.input(now + Span::s(2), Input::Roster(Arc::new(roster)));
        agent.input(now + Span::s(2), hood(&["n2"]));
        settle(&mut agent, now + later);
        let steering = agent.plan().steering.as_ref();
        steering.map(|steering| steering.rows.len())
    };
    assert_eq!(rows(false, Span::s(3)), None);
    assert_eq!(rows(false, HELD_BACK_MAX), Some(1));
    assert_eq!(rows(true, Span::s(3)), Some(1));
}

#[test]
fn that_it_is_known_who_there_is_is_news_by_itself() {
    let now = Time::ms(1_000);
    let (mut agent, _) = spreading(now);
    agent.spreading = Spreading::new(adopted(), Some(now), now);
    let roster = |is_settled| Roster {
        is_settled,
        members: [].into(),
        is_name_taken: false,
    };
    agent.input(now + Span::s(2), Input::Roster(Arc::new(roster(false))));
    settle(&mut agent, now + Span::s(2));
    assert!(!agent.is_settling());
    agent.input(now + Span::s(3), Input::Roster(Arc::new(roster(true))));
    assert!(agent.is_settling());
}

/// To others it was dead; its kernel went on with what it had.
#[test]
fn whose_speaker_alone_was_away_had_its_share_all_along() {
    let last = Time::ms(1_000_000);
    let before = |away: Span| {
        let now = last + away;
        let (mut agent, _) = spreading(now);
        agent.spreading = Spreading::new(adopted(), Some(last), now);
        let agent = tell(agent, &["n1"], now);
        let steering = agent.plan().steering.as_ref().unwrap();
        Vec::clone(&steering.rows[&place()].before)
    };
    let n2 = Weights::from([("n2".parse().unwrap(), 1)]);
    assert_eq!(before(Span::s(5)), []);
    let came = [Before::Nodes(Arc::new(n2))];
    assert_eq!(before(WINDOW), came, "what it had is over");
}

#[test]
fn who_comes_is_told_of_for_as_long_as_connections_are_followed() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    settle(&mut agent, now + Span::s(1));
    let n2 = "n2".parse().unwrap();
    let later = now + Span::s(60);
    meet(&mut agent, later, member(&n2));
    settle(&mut agent, later);
    assert_eq!(agent.local().newcomers, [node_id(&n2)].into());
}

const ROUTED: &str = r"
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.254}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bgp, namespace: metallb-system, annotations: {heliograph.io/steering: spread}}
";

fn is_announced(agent: &Agent) -> bool {
    plan::routed_vips(&agent.plan().bgp_outcomes).contains(&vip())
}

/// By then it knows who else is there, and who had which share before.
#[test]
fn a_node_that_comes_announces_what_is_spread_after_it_found_out_who_is_there() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    put(&mut agent, now + Span::s(1), ROUTED);
    assert!(!is_announced(&agent));
    let (due, why) = agent.pending().unwrap();
    assert_eq!(why, "neighbours");
    assert!(
        due > now + Span::s(9) && due <= now + Span::s(11),
        "{due:?}"
    );
    drain(&mut agent, due);
    assert!(is_announced(&agent));
    assert_eq!(
        agent.pending().filter(|(_, why)| *why == "neighbours"),
        None
    );
}

#[test]
fn a_node_that_cannot_find_out_who_is_there_announces_after_half_a_minute() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    agent.spreading.newcomers = Newcomers::default();
    let unsettled = Arc::new(Roster::default());
    agent.input(now + Span::s(1), Input::Roster(unsettled));
    agent.spreading.newcomers = Newcomers::default();
    put(&mut agent, now + Span::s(2), ROUTED);
    assert!(!is_announced(&agent));
    let (due, why) = agent.pending().unwrap();
    assert_eq!((due, why), (now + HELD_BACK_MAX, "neighbours"));
    drain(&mut agent, due);
    assert!(is_announced(&agent));
}

/// Routers keep the routes of one that restarts, and the kernel its tables.
#[test]
fn a_process_that_goes_on_with_what_was_spread_announces_at_once() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    agent.spreading = Spreading::new(adopted(), None, now);
    put(&mut agent, now + Span::s(1), ROUTED);
    assert!(is_announced(&agent));
}

#[test]
fn what_routes_brought_before_it_was_spread_was_the_stacks_and_connections_outlive_its_end() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = now + Span::s(60);
    let n2 = "n2".parse().unwrap();
    meet(&mut agent, later, member(&n2));
    let plain = ROUTED.replace("heliograph.io/steering: spread", "");
    put(&mut agent, later, &plain);
    assert!(is_announced(&agent));
    let is_routed = |agent: &Agent| agent.plan().l2[&place()].is_routed;
    assert!(!is_routed(&agent), "it is simply the stack's");
    put(&mut agent, later + Span::s(1), ROUTED);
    agent.input(later + Span::s(2), hood(&["n2"]));
    settle(&mut agent, later + Span::s(2));
    assert!(is_routed(&agent));
    let rows = |agent: &Agent| agent.plan().steering.as_ref().unwrap().rows.clone();
    assert_eq!(*rows(&agent)[&place()].before, [Before::Stack]);
    put(&mut agent, later + Span::s(3), &plain);
    assert!(is_routed(&agent), "others still have connections");
    let end = rows(&agent)[&place()].until;
    drain(&mut agent, end);
    settle(&mut agent, end);
    assert!(rows(&agent).is_empty());
    settle(&mut agent, end + Span::s(1));
}
