//! Who comes after the holder: who hears its VIPs' questions, who is passed over, and what a pool lets be taken.

use super::*;
use crate::election::{Candidate, Election, Placement, order};
use crate::members::node_id;

fn six() -> World {
    let mut world = with(
        world(),
        service("web", &["2001:db8::9", "192.0.2.9"]),
        &["n1"],
    );
    for name in ["n4", "n5", "n6"] {
        world.put(Ok(Object::Node(node(name))));
    }
    world
}

fn key() -> GroupKey {
    GroupKey("2001:db8::9".parse().unwrap())
}

/// All nodes in the order of the group.
fn ordered(world: &World) -> Vec<NodeName> {
    let candidate = |node: &NodeName| Candidate {
        node: node.clone(),
        score: 0.into(),
    };
    let candidates = world.nodes.keys().map(candidate).collect();
    let ordered = order(Election::Sha256, key(), candidates).into_iter();
    ordered.map(|candidate| candidate.node).collect()
}

fn shunning(world: &World, shunned: &[NodeName]) -> Members {
    members(world).shunning([(key(), shunned.iter().cloned().collect())].into())
}

fn owner(world: &World, members: &Members, placement: Placement) -> NodeName {
    let mut local = local("n1");
    local.rules.placement = placement;
    let wishes = wishes(world, members, &local, &mut Memo::default());
    let owner = wishes[&key()].owner;
    let mut names = world.nodes.keys();
    let owner = names.find(|name| Some(node_id(name)) == owner);
    owner.unwrap().clone()
}

#[test]
fn l6_6_the_elected_node_and_its_two_heirs_hear_questions_for_ipv6_and_nobody_else() {
    let world = six();
    let ordered = ordered(&world);
    for node in world.nodes.keys() {
        let plan = plan_of(&world, &local(node.as_str()));
        let near = plan.l2.iter().filter(|(_, entry)| entry.is_near);
        let near: Vec<_> = near
            .map(|((vip, link), _)| format!("{vip} {link}"))
            .collect();
        match ordered[..3].contains(node) {
            true => assert_eq!(near, ["2001:db8::9 eth0", "2001:db8::9 eth1"], "{node}"),
            false => assert_eq!(near, [""; 0], "{node}"),
        }
    }
}

#[test]
fn l6_6_an_heir_hears_on_the_links_that_it_would_answer_on() {
    let mut world = six();
    let mut advertisement = advertisement();
    advertisement.interfaces = BTreeSet::from(["eth1".to_owned()]);
    world.put(Ok(Object::L2Advertisement(advertisement)));
    let heir = ordered(&world).swap_remove(1);
    let plan = plan_of(&world, &local(heir.as_str()));
    let mut near = plan.l2.iter().filter(|(_, entry)| entry.is_near);
    assert_eq!(near.next().unwrap().0.1, "eth1".into());
    assert_eq!(near.count(), 0);
}

#[test]
fn l6_7_who_does_not_answer_for_a_group_is_passed_over_for_that_group_while_another_can() {
    let world = six();
    let ordered = ordered(&world);
    for placement in [Placement::First, Placement::Sticky, Placement::Even] {
        for passed in 0..3 {
            let members = shunning(&world, &ordered[..passed]);
            assert_eq!(owner(&world, &members, placement), ordered[passed]);
        }
        let members = shunning(&world, &ordered[..3]);
        assert_eq!(
            owner(&world, &members, placement),
            ordered[0],
            "nobody is left"
        );
    }
}

#[test]
fn l6_7_who_is_passed_over_is_first_again_afterwards_and_has_no_view_to_defend_meanwhile() {
    let world = six();
    let first = ordered(&world).swap_remove(0);
    let local = local(first.as_str());
    let mut memo = Memo::default();
    let mut wish = |members: &Members| wishes(&world, members, &local, &mut memo)[&key()].clone();
    let before = wish(&members(&world));
    assert!(before.is_candidate);
    let meanwhile = wish(&shunning(&world, std::slice::from_ref(&first)));
    assert!(!meanwhile.is_candidate);
    assert_eq!(meanwhile.silent, [node_id(&first)].into());
    assert_ne!(meanwhile.owner, before.owner);
    assert_eq!(wish(&members(&world)), before);
}

#[test]
fn l6_7_ctl_why_names_a_candidate_that_is_passed_over() {
    let world = six();
    let first = ordered(&world).swap_remove(0);
    let members = shunning(&world, std::slice::from_ref(&first));
    let told = explain(&world, &members, &Held::new(), &local("n1"), &id("web")).unwrap();
    assert_eq!(told.candidates[0].node, first.as_str());
    let why = told.candidates[0].because.as_deref().unwrap();
    assert!(why.contains("does not answer for it"), "{why}");
    assert!(told.to_string().contains(why));
}

#[test]
fn l3_3_a_group_is_taken_from_a_stranger_only_if_its_pool_says_so() {
    for (value, is_forced) in [(None, false), (Some("true"), true), (Some("yes"), false)] {
        let mut world = six();
        let mut pool = pool();
        let annotation =
            |value: &str| ("heliograph.io/announce-anyway".to_owned(), value.to_owned());
        pool.annotations.extend(value.map(annotation));
        world.put(Ok(Object::Pool(pool)));
        let wishes = wishes(&world, &members(&world), &local("n1"), &mut Memo::default());
        assert_eq!(wishes[&key()].is_forced, is_forced, "{value:?}");
    }
}

#[test]
fn l2_4_who_is_elected_and_has_no_secret_says_that_it_waits_for_it() {
    let world = six();
    let first = ordered(&world).swap_remove(0);
    let mut local = local(first.as_str());
    local.is_waiting_for_secret = true;
    let members = members(&world);
    let plan = plan(&world, &members, &Held::new(), &local, &mut Memo::default());
    assert_eq!(reason(&plan, "web"), Reason::WaitingForSecret);
}
