//! Over whom packets are spread, and why not.

use super::*;
use crate::steering::{Bar, Ends, Neighbourhood, Overlay, Unspread, Weights};
use speaker_proto::member::{Boot, HeldVersion, Member, Profile, Roster, Standing};
use std::net::IpAddr;

const SPREAD: (&str, &str) = ("heliograph.io/steering", "spread");

fn annotated<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// Its one advertisement says that packets are to be spread.
fn spreading_world() -> World {
    let mut world = world();
    let mut ad = advertisement();
    ad.annotations = annotated([SPREAD]);
    world.put(Ok(Object::L2Advertisement(ad)));
    world
}

/// These nodes are on eth0's segment, nobody is on eth1's.
fn hood(nodes: &[&str]) -> Neighbourhood {
    let node = |(name, last): (&&str, u8)| {
        (
            ("eth0".into(), name.parse().unwrap()),
            Mac([2, 0, 0, 0, 9, last]),
        )
    };
    Neighbourhood {
        nodes: nodes.iter().zip(1..).map(node).collect(),
        bars: BTreeMap::new(),
    }
}

fn shares_of(world: &World, node: &str, hood: &Neighbourhood) -> (Shares, BTreeSet<Problem>) {
    let (local, mut memo) = (local(node), Memo::default());
    let plan = plan(world, &members(world), &Held::new(), &local, &mut memo);
    let alone = Overlay::default();
    (shares(&memo, &local, hood, &alone), plan.problems)
}

fn weights(nodes: &[(&str, u32)]) -> Weights {
    let weights = nodes
        .iter()
        .map(|(node, weight)| (node.parse().unwrap(), *weight));
    weights.collect()
}

fn place(ip: &str, link: &str) -> (Vip, LinkName) {
    (Vip(ip.parse().unwrap()), link.into())
}

const WEB: &str = "192.0.2.10";

#[test]
fn nobody_asks_and_nothing_is_spread() {
    let world = with(world(), service("web", &[WEB]), &["n1"]);
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2", "n3"]));
    assert_eq!(shares, Shares::default());
}

#[test]
fn every_node_that_may_announce_and_was_seen_has_one_share() {
    let world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2"]));
    let eth0 = &shares.shares[&place(WEB, "eth0")];
    assert_eq!(*eth0.weights, weights(&[("n1", 1), ("n2", 1)]));
    let eth1 = &shares.shares[&place(WEB, "eth1")];
    assert_eq!(
        *eth1.weights,
        weights(&[("n1", 1)]),
        "nobody was seen there"
    );
}

#[test]
fn all_nodes_of_a_segment_say_the_same() {
    let world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let (first, _) = shares_of(&world, "n1", &hood(&["n2", "n3"]));
    let (second, _) = shares_of(&world, "n2", &hood(&["n1", "n3"]));
    let at = place(WEB, "eth0");
    assert_eq!(first.shares[&at], second.shares[&at]);
}

#[test]
fn with_policy_local_shares_are_as_endpoints() {
    let service = local_policy(service("web", &[WEB]));
    let mut world = with(spreading_world(), service, &[]);
    let mut slice = slice("web", &["n1", "n2", "n2"]);
    for (endpoint, last) in slice.endpoints.iter_mut().zip(1..) {
        endpoint.addresses = vec![IpAddr::from([10, 0, 0, last])];
    }
    world.put(Ok(Object::EndpointSlice(slice)));
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2", "n3"]));
    let at = &shares.shares[&place(WEB, "eth0")];
    assert_eq!(*at.weights, weights(&[("n1", 1), ("n2", 2)]));
    let nobody = shares_of(&world, "n3", &hood(&[])).0;
    assert_eq!(nobody.unspread[&place(WEB, "eth0")], Unspread::Nobody);
}

#[test]
fn an_endpoint_that_ends_counts_only_where_none_is_ready() {
    let service = local_policy(service("web", &[WEB]));
    let mut world = with(spreading_world(), service, &[]);
    let mut slice = slice("web", &["n1", "n2"]);
    slice.endpoints[1].addresses = vec!["10.0.0.2".parse().unwrap()];
    slice.endpoints[0].is_ready = false;
    world.put(Ok(Object::EndpointSlice(slice.clone())));
    let at = place(WEB, "eth0");
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(*shares.shares[&at].weights, weights(&[("n2", 1)]));
    slice.endpoints[1].is_ready = false;
    world.put(Ok(Object::EndpointSlice(slice)));
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(
        *shares.shares[&at].weights,
        weights(&[("n1", 1), ("n2", 1)])
    );
}

#[test]
fn a_node_that_is_excluded_has_no_share() {
    let mut world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let mut n2 = node("n2");
    let label = crate::node::EXCLUDE_LABEL.to_owned();
    n2.labels.insert(label, String::new());
    world.put(Ok(Object::Node(n2)));
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2", "n3"]));
    let at = &shares.shares[&place(WEB, "eth0")];
    assert_eq!(*at.weights, weights(&[("n1", 1), ("n3", 1)]));
}

#[test]
fn a_link_that_does_not_bear_it_says_why() {
    let world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    for bar in [Bar::BridgeNetfilter, Bar::LargeReceive] {
        let mut hood = hood(&["n2"]);
        hood.bars.insert("eth0".into(), bar);
        let (shares, _) = shares_of(&world, "n1", &hood);
        let at = place(WEB, "eth0");
        assert_eq!(shares.unspread[&at], Unspread::Barred(bar));
        assert!(shares.shares.contains_key(&place(WEB, "eth1")));
    }
}

#[test]
fn who_shares_an_address_must_ask_for_it_too() {
    let mut world = world();
    world.put(Ok(Object::Pool(Pool {
        annotations: annotated([("heliograph.io/allow-service", "steering")]),
        ..pool()
    })));
    let mut web = sharing(service("web", &[WEB]), "key", 80);
    web.annotations.extend(annotated([SPREAD]));
    let other = sharing(service("other", &[WEB]), "key", 81);
    let world = with(with(world, web.clone(), &["n1"]), other.clone(), &["n1"]);
    let at = place(WEB, "eth0");
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(shares.unspread[&at], Unspread::SharedWith(id("other")));
    let mut other = other;
    other.annotations.extend(annotated([SPREAD]));
    let world = with(world, other, &["n1"]);
    let (shares, problems) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(
        *shares.shares[&at].weights,
        weights(&[("n1", 1), ("n2", 1)])
    );
    assert_eq!(problems, BTreeSet::new());
}

#[test]
fn a_service_is_heard_only_if_its_pool_says_so() {
    let mut web = service("web", &[WEB]);
    web.annotations = annotated([SPREAD]);
    let world = with(world(), web.clone(), &["n1"]);
    let (shares, problems) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(shares, Shares::default());
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "plan: Service default/web: metadata.annotations.heliograph.io/steering: has no effect: heliograph.io/allow-service of the pool main does not list it"
        ]
    );
    web.annotations = annotated([("heliograph.io/steering", "stack")]);
    let mut world = with(spreading_world(), web, &["n1"]);
    world.put(Ok(Object::Pool(Pool {
        annotations: annotated([("heliograph.io/allow-service", "heliograph.io/steering")]),
        ..pool()
    })));
    let (shares, problems) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!((shares, problems), (Shares::default(), BTreeSet::new()));
}

#[test]
fn advertisements_that_do_not_agree_are_a_problem() {
    let mut world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let mut ad = advertisement();
    ad.name = "second".into();
    ad.annotations = annotated([("heliograph.io/steering", "stack")]);
    world.put(Ok(Object::L2Advertisement(ad)));
    let (shares, problems) = shares_of(&world, "n1", &hood(&["n2"]));
    assert_eq!(shares, Shares::default());
    let told: Vec<_> = problems.iter().map(|p| p.why.as_str()).collect();
    assert_eq!(
        told,
        ["its advertisements do not agree, and so its packets are not spread: spread, stack"]
    );
}

#[test]
fn client_affinity_is_kept() {
    let mut web = service("web", &[WEB]);
    web.is_by_client = true;
    let world = with(spreading_world(), web, &["n1"]);
    let (shares, _) = shares_of(&world, "n1", &hood(&["n2"]));
    assert!(shares.shares[&place(WEB, "eth0")].is_by_client);
}

/// `n2`, alive, with one link and where it listens.
fn roster() -> Roster {
    let link = MemberLink {
        name: "ens3".into(),
        mac: Mac([2, 0, 0, 0, 9, 2]),
        has_arp: true,
        has_ndp: true,
    };
    let profile = Profile {
        addresses: vec!["192.0.2.202:7946".parse().unwrap()],
        links: vec![link],
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
        members: BTreeMap::from([(
            crate::members::node_id(&"n2".parse().unwrap()),
            Arc::new(member),
        )]),
        ..Roster::default()
    }
}

#[test]
fn members_are_looked_for_only_if_something_is_to_be_spread() {
    let look = |world: &World| {
        let (local, mut memo) = (local("n1"), Memo::default());
        let _ = plan(world, &members(world), &Held::new(), &local, &mut memo);
        prospects(&memo, world, &local, &roster(), false)
    };
    let quiet = with(world(), service("web", &[WEB]), &["n1"]);
    assert!(look(&quiet).is_empty());
    let mut asking = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let mut n2 = node("n2");
    n2.addresses = vec!["198.51.100.2".parse().unwrap()];
    asking.put(Ok(Object::Node(n2)));
    let found = look(&asking);
    let key = |link: &str| (LinkName::from(link), "n2".parse::<NodeName>().unwrap());
    assert_eq!(
        found.keys().cloned().collect::<Vec<_>>(),
        [key("eth0"), key("eth1")]
    );
    let prospect = &found[&key("eth0")];
    assert_eq!(prospect.mac, Mac([2, 0, 0, 0, 9, 2]));
    let addresses: Vec<_> = prospect.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.202", "198.51.100.2"]);
}

#[test]
fn why_tells_of_shares() {
    let world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let local = local("n1");
    let mut hood = hood(&["n2"]);
    hood.bars.insert("eth1".into(), Bar::LargeReceive);
    let (shares, _) = shares_of(&world, "n1", &hood);
    let spread = |(place, share): (_, crate::steering::Share)| {
        let spread = crate::steering::Spread {
            share,
            before: Arc::default(),
            until: speaker_proto::Time::ms(1),
            followed: 0,
        };
        (place, spread)
    };
    let steering = Steering {
        overlay: Arc::default(),
        rows: shares.shares.into_iter().map(spread).collect(),
        unspread: shares.unspread,
        neighbourhood: Arc::new(hood),
    };
    let story = explain(&world, &members(&world), &Held::new(), &local, &id("web")).unwrap();
    let text = story.with_steering(Some(&steering)).to_string();
    let tail: Vec<_> = text.lines().rev().take(2).collect();
    assert_eq!(
        tail,
        [
            "                         192.0.2.10 on eth1 is not: the link cannot: it merges segments in hardware: ethtool -K it lro off",
            "  spread:                192.0.2.10 on eth0 over n1, n2",
        ]
    );
}

/// Its one advertisement says that packets go to other segments as well, and selects all nodes but `n2`.
fn beyond_world() -> World {
    let mut world = world();
    let mut ad = advertisement();
    ad.annotations = annotated([("heliograph.io/steering", "spread-encap")]);
    world.put(Ok(Object::L2Advertisement(ad)));
    for (name, last) in [("n1", 201), ("n2", 202)] {
        let mut node = node(name);
        node.addresses = vec![IpAddr::from([192, 0, 2, last])];
        world.put(Ok(Object::Node(node)));
    }
    world
}

/// What `n1` spreads, and by which overlay, with `n2` heard by gossip and seen nowhere.
fn beyond_of(world: &World, roster: &Roster) -> (Shares, Overlay) {
    let (local, mut memo) = (local("n1"), Memo::default());
    plan(world, &members(world), &Held::new(), &local, &mut memo);
    let overlay = overlay(world, &local, roster, beyond(&memo));
    (shares(&memo, &local, &hood(&[]), &overlay), overlay)
}

#[test]
fn a_node_that_is_only_heard_has_a_share_where_segments_may_be_left() {
    let world = with(beyond_world(), service("web", &[WEB]), &["n1"]);
    let (shares, overlay) = beyond_of(&world, &roster());
    let share = &shares.shares[&place(WEB, "eth0")];
    assert!(share.is_beyond);
    assert_eq!(*share.weights, weights(&[("n1", 1), ("n2", 1)]));
    let far = overlay.nodes[&"n2".parse().unwrap()];
    let ends = Ends {
        from: [192, 0, 2, 201].into(),
        to: [192, 0, 2, 202].into(),
    };
    assert_eq!((far.v4, far.v6), (Some(ends), None));
    assert_eq!(overlay.own, BTreeSet::from([[192, 0, 2, 201].into()]));
    assert_eq!(overlay.members, BTreeSet::from([[192, 0, 2, 202].into()]));
    assert_eq!(overlay.vips, BTreeSet::from([WEB.parse().unwrap()]));
}

#[test]
fn a_node_that_is_not_heard_has_no_share_and_may_still_send() {
    let world = with(beyond_world(), service("web", &[WEB]), &["n1"]);
    let mut roster = roster();
    for member in roster.members.values_mut() {
        Arc::make_mut(member).standing = Standing::Left;
    }
    let (shares, overlay) = beyond_of(&world, &roster);
    let share = &shares.shares[&place(WEB, "eth0")];
    assert_eq!(*share.weights, weights(&[("n1", 1)]));
    assert!(overlay.nodes.is_empty() && overlay.members.len() == 1);
}

#[test]
fn without_an_address_of_the_family_a_service_is_the_stacks() {
    let six = "2001:db8::10";
    let world = with(beyond_world(), service("web", &[WEB, six]), &["n1"]);
    let (shares, _) = beyond_of(&world, &roster());
    let why = &shares.unspread[&place(six, "eth0")];
    assert_eq!(*why, Unspread::NoAddress { is_v4: false });
    assert_eq!(
        why.to_string(),
        "this node has no address of IPv6 to send to other segments from"
    );
    assert!(shares.shares.contains_key(&place(WEB, "eth0")));
}

#[test]
fn with_policy_local_nodes_with_endpoints_serve_that_no_advertisement_selects() {
    let web = local_policy(service("web", &[WEB]));
    let mut world = with(beyond_world(), web, &["n1", "n2"]);
    let mut slice = slice("web", &["n1", "n2"]);
    slice.endpoints[1].addresses = vec!["10.0.0.2".parse().unwrap()];
    world.put(Ok(Object::EndpointSlice(slice)));
    let mut ad = advertisement();
    ad.annotations = annotated([("heliograph.io/steering", "spread-encap")]);
    ad.node_selectors = vec![super::announce::selector("kubernetes.io/hostname", "n1")];
    world.put(Ok(Object::L2Advertisement(ad)));
    let mut n1 = node("n1");
    n1.addresses = vec![IpAddr::from([192, 0, 2, 201])];
    n1.labels
        .insert("kubernetes.io/hostname".into(), "n1".into());
    world.put(Ok(Object::Node(n1)));
    let at = place(WEB, "eth0");
    let (shares, _) = beyond_of(&world, &roster());
    assert_eq!(
        *shares.shares[&at].weights,
        weights(&[("n1", 1), ("n2", 1)])
    );
    // Unless it is excluded, or drained.
    let mut n2 = node("n2");
    let label = crate::node::EXCLUDE_LABEL.to_owned();
    n2.labels.insert(label, String::new());
    let mut excluded = world.clone();
    excluded.put(Ok(Object::Node(n2)));
    let (shares, _) = beyond_of(&excluded, &roster());
    assert_eq!(*shares.shares[&at].weights, weights(&[("n1", 1)]));
    let mut draining = roster();
    for member in draining.members.values_mut() {
        Arc::make_mut(&mut Arc::make_mut(member).profile).is_draining = true;
    }
    let (shares, overlay) = beyond_of(&world, &draining);
    assert_eq!(*shares.shares[&at].weights, weights(&[("n1", 1)]));
    assert!(!overlay.nodes.is_empty(), "its connections go on");
}

#[test]
fn nothing_is_told_of_other_segments_where_no_service_goes_there() {
    let world = with(spreading_world(), service("web", &[WEB]), &["n1"]);
    let (shares, overlay) = beyond_of(&world, &roster());
    assert_eq!(overlay, Overlay::default());
    assert!(!shares.shares[&place(WEB, "eth0")].is_beyond);
}
