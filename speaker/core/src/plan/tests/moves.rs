//! L6.2: hardware addresses and links of VIPs that move.

use super::*;
use speaker_proto::hold::Passing;
use speaker_proto::member::{Boot, HeldVersion, Member, Profile, Roster, Standing};
use speaker_proto::{NodeId, Time};

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, last])
}

/// A member `n2` with these links.
fn roster(links: &[(&str, u8)]) -> Roster {
    let link = |(name, last): &(&str, u8)| MemberLink {
        name: (*name).into(),
        mac: mac(*last),
        has_arp: true,
        has_ndp: true,
    };
    let profile = Profile {
        links: links.iter().map(link).collect(),
        ..Profile::of("n2".parse().unwrap())
    };
    let member = Member {
        boot: Boot::default(),
        profile: Arc::new(profile),
        standing: Standing::Alive,
        held: Arc::default(),
        held_version: HeldVersion(1),
        acked: HeldVersion(1),
        is_reachable: true,
        is_in_grace: false,
        has_met: true,
    };
    Roster {
        members: BTreeMap::from([(N2, Arc::new(member))]),
        ..Roster::default()
    }
}

/// What becomes of the one VIP, which n1 gave to n2.
fn given(world: &World, roster: &Roster) -> (L2Moves, Vec<String>) {
    let local = local("n1");
    let mut memo = Memo::default();
    let held = held(world, &local);
    let plan = plan(world, &members(world), &held, &local, &mut memo);
    let passing = Passing {
        to: Some(N2),
        from: None,
        since: Time::ms(1),
        until: Time::ms(2),
    };
    let vip = Vip("192.0.2.10".parse().unwrap());
    let passing = BTreeMap::from([
        (vip, passing),
        (Vip("192.0.2.99".parse().unwrap()), passing),
    ]);
    let (moves, problems) = moves(&memo, &local, roster, &plan.l2, &passing);
    (moves, problems.iter().map(ToString::to_string).collect())
}

fn fresh(moves: &L2Moves) -> Vec<(String, Option<Mac>)> {
    let moves = moves.iter();
    moves
        .map(|((vip, link), way)| (format!("{vip} {link}"), way.fresh))
        .collect()
}

fn moving() -> World {
    with(world(), service("web", &["192.0.2.10"]), &["n1"])
}

#[test]
fn a_node_is_reached_on_the_link_of_the_same_name() {
    let (moves, problems) = given(&moving(), &roster(&[("eth1", 1), ("eth0", 0)]));
    let expected = [
        ("192.0.2.10 eth0".to_owned(), Some(mac(0))),
        ("192.0.2.10 eth1".to_owned(), Some(mac(1))),
    ];
    assert_eq!(fresh(&moves), expected);
    assert_eq!(problems, [""; 0]);
}

#[test]
fn a_node_with_one_link_is_reached_on_that() {
    let (moves, problems) = given(&moving(), &roster(&[("ens3", 3)]));
    assert_eq!(fresh(&moves).len(), 2);
    assert!(moves.values().all(|way| way.fresh == Some(mac(3))));
    assert_eq!(problems, [""; 0]);
}

#[test]
fn a_node_without_such_a_link_gets_nothing_and_a_problem_says_so() {
    let (moves, problems) = given(&moving(), &roster(&[("eth0", 0), ("ens3", 3)]));
    assert_eq!(
        moves.values().map(|way| way.fresh).collect::<Vec<_>>(),
        [Some(mac(0)), None]
    );
    let expected = "moves: Node n1: eth1: connections that belong to n2 are not sent there: \
                    it has no link of this name, and not exactly one that is called like none of this node's";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_node_whose_only_link_is_called_like_another_of_ours_is_not_on_that_segment() {
    let (moves, problems) = given(&moving(), &roster(&[("eth0", 0)]));
    assert_eq!(
        moves.values().map(|way| way.fresh).collect::<Vec<_>>(),
        [Some(mac(0)), None]
    );
    assert_eq!(problems.len(), 1);
}

#[test]
fn packets_go_on_only_where_the_advertisements_let_the_vip_be() {
    let mut world = moving();
    let mut narrow = advertisement();
    narrow.interfaces = BTreeSet::from(["eth1".to_owned()]);
    world.put(Ok(Object::L2Advertisement(narrow)));
    let (moves, _) = given(&world, &roster(&[("eth0", 0), ("eth1", 1)]));
    assert_eq!(
        fresh(&moves),
        [("192.0.2.10 eth1".to_owned(), Some(mac(1)))]
    );
}

const N2: NodeId = NodeId(2);
