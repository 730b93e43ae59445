//! What becomes of packets that routes bring: which entries there are, and over whom they are spread.

use super::bgp::{bgp_advertisement, peer};
use super::*;
use crate::selector::{Operator, Requirement, Selector};
use crate::steering::socket::Listeners;
use crate::steering::{Neighbourhood, Overlay, Weights};
use speaker_ebpf::abi::options::Closed;

const WEB: &str = "192.0.2.10";

fn annotated<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.map(|(key, value)| (format!("heliograph.io/{key}"), value.to_owned()));
    pairs.into()
}

/// A peer, a service with an endpoint on n1, and a BGPAdvertisement that says this; no other.
fn announcing<const N: usize>(pairs: [(&str, &str); N]) -> World {
    let mut world = both(pairs);
    let l2 = crate::ObjectKey::new(Kind::L2Advertisement, "metallb-system", "all");
    world.gone(&l2);
    world
}

/// The same beside an L2Advertisement that says nothing.
fn both<const N: usize>(pairs: [(&str, &str); N]) -> World {
    let mut world = with(world(), service("web", &[WEB]), &["n1"]);
    world.put(Ok(Object::BgpPeer(peer("tor", "10.0.0.254"))));
    let mut ad = bgp_advertisement("all");
    ad.annotations = annotated(pairs);
    world.put(Ok(Object::BgpAdvertisement(ad)));
    world
}

fn hood(nodes: &[&str]) -> Neighbourhood {
    let node = |name: &&str| {
        let node: NodeName = name.parse().unwrap();
        (("eth0".into(), node), Mac([2, 0, 0, 0, 9, 9]))
    };
    Neighbourhood {
        nodes: nodes.iter().map(node).collect(),
        bars: BTreeMap::new(),
    }
}

/// The plan of a node with the entries that routes make, and how it would spread.
fn planned(world: &World, local: &Local, followed: &[&str]) -> (Plan, Shares) {
    let mut memo = Memo::default();
    let held = held(world, local);
    let mut plan = plan(world, &members(world), &held, local, &mut memo);
    let followed = followed.iter().map(|ip| Vip(ip.parse().unwrap())).collect();
    routes(&memo, local, &plan.bgp_outcomes, &followed, &mut plan.l2);
    let near = hood(&["n2", "n3"]);
    let shares = shares(&memo, local, &near, &Overlay::default());
    (plan, shares)
}

fn entries(plan: &Plan) -> Vec<String> {
    let entry = |((vip, link), entry): (&(Vip, LinkName), &L2Entry)| {
        let routed = if entry.is_routed { " routed" } else { "" };
        format!("{vip} {link} {:?}{routed}", entry.mode)
    };
    plan.l2.iter().map(entry).collect()
}

fn weights(nodes: &[&str]) -> Weights {
    let weights = nodes.iter().map(|node| (node.parse().unwrap(), 1));
    weights.collect()
}

fn place(link: &str) -> (Vip, LinkName) {
    (Vip(WEB.parse().unwrap()), link.into())
}

#[test]
fn what_routes_bring_is_the_stacks_unless_somebody_asks_for_more() {
    let (plan, shares) = planned(&announcing([]), &local("n1"), &[]);
    assert_eq!(entries(&plan), Vec::<String>::new());
    assert_eq!(shares, Shares::default());
    for asked in [
        [("steering", "spread")],
        [("steering", "socket")],
        [("closed-port", "drop")],
        [("echo", "true")],
    ] {
        let (plan, _) = planned(&announcing(asked), &local("n1"), &[]);
        let routed = ["eth0", "eth1"].map(|link| format!("{WEB} {link} Passive routed"));
        assert_eq!(entries(&plan), routed, "{asked:?}");
    }
}

#[test]
fn it_is_spread_over_all_nodes_that_advertisements_select_from_each_of_them_alike() {
    let world = announcing([("steering", "spread")]);
    for (node, others) in [("n1", ["n2", "n3"]), ("n2", ["n1", "n3"])] {
        let mut memo = Memo::default();
        let local = local(node);
        plan(&world, &members(&world), &Held::new(), &local, &mut memo);
        let shares = shares(&memo, &local, &hood(&others), &Overlay::default());
        let at = &shares.shares[&place("eth0")];
        assert_eq!(*at.weights, weights(&["n1", "n2", "n3"]));
        let alone = &shares.shares[&place("eth1")];
        assert_eq!(*alone.weights, weights(&[node]), "nobody was seen there");
    }
}

#[test]
fn a_node_that_no_advertisement_selects_has_no_share_and_no_entry() {
    let mut world = announcing([("steering", "spread")]);
    let mut chosen = node("n1");
    chosen.labels = [("rack".to_owned(), "a".to_owned())].into();
    world.put(Ok(Object::Node(chosen.clone())));
    chosen.name = "n2".parse().unwrap();
    world.put(Ok(Object::Node(chosen)));
    let mut ad = bgp_advertisement("all");
    ad.annotations = annotated([("steering", "spread")]);
    ad.node_selectors = vec![Selector {
        requirements: [Requirement {
            key: "rack".into(),
            operator: Operator::In(["a".into()].into()),
        }]
        .into(),
    }];
    world.put(Ok(Object::BgpAdvertisement(ad)));
    let (_, shares) = planned(&world, &local("n1"), &[]);
    let at = &shares.shares[&place("eth0")];
    assert_eq!(*at.weights, weights(&["n1", "n2"]));
    let (plan, shares) = planned(&world, &local("n3"), &[]);
    assert_eq!(entries(&plan), Vec::<String>::new());
    assert_eq!(shares, Shares::default());
}

#[test]
fn with_policy_local_nodes_with_endpoints_have_shares() {
    let mut world = announcing([("steering", "spread")]);
    world.put(Ok(Object::Service(local_policy(service("web", &[WEB])))));
    let mut slice = slice("web", &["n1", "n2"]);
    slice.endpoints[1].addresses = vec!["10.0.0.2".parse().unwrap()];
    world.put(Ok(Object::EndpointSlice(slice)));
    let (plan, shares) = planned(&world, &local("n1"), &[]);
    let at = &shares.shares[&place("eth0")];
    assert_eq!(*at.weights, weights(&["n1", "n2"]));
    assert_eq!(entries(&plan).len(), 2);
    let (plan, _) = planned(&world, &local("n3"), &[]);
    assert_eq!(entries(&plan), Vec::<String>::new(), "it has no endpoint");
}

/// Where it drains its routes go in order, and packets come until they are gone.
#[test]
fn a_node_that_drains_sends_on_what_still_comes_and_has_no_share() {
    let world = announcing([("steering", "spread")]);
    let mut local = local("n1");
    local.is_draining = true;
    let mut members = members(&world);
    members.by_name.remove(&local.node);
    let mut memo = Memo::default();
    let mut plan = plan(&world, &members, &Held::new(), &local, &mut memo);
    let nobody = BTreeSet::new();
    routes(&memo, &local, &plan.bgp_outcomes, &nobody, &mut plan.l2);
    let routed = ["eth0", "eth1"].map(|link| format!("{WEB} {link} Passive routed"));
    assert_eq!(entries(&plan), routed);
    let shares = shares(&memo, &local, &hood(&["n2", "n3"]), &Overlay::default());
    let at = &shares.shares[&place("eth0")];
    assert_eq!(*at.weights, weights(&["n2", "n3"]));
}

#[test]
fn a_vip_of_both_protocols_has_one_entry_and_what_either_advertisement_asks_for() {
    let world = both([("steering", "spread")]);
    let modes = ["n1", "n2", "n3"].map(|node| {
        let (plan, shares) = planned(&world, &local(node), &[]);
        assert!(shares.shares.contains_key(&place("eth0")));
        let mut all = entries(&plan);
        assert_eq!(all.len(), 2, "{all:?}");
        all.remove(0)
    });
    let count = |word: &str| modes.iter().filter(|text| text.contains(word)).count();
    assert_eq!((count("Answer"), count("Known")), (1, 2), "{modes:?}");
    assert_eq!(count("routed"), 3, "{modes:?}");
}

#[test]
fn advertisements_of_both_protocols_must_agree() {
    let mut world = both([("closed-port", "drop"), ("steering", "spread")]);
    let mut ad = advertisement();
    ad.annotations = annotated([("closed-port", "reject"), ("steering", "stack")]);
    world.put(Ok(Object::L2Advertisement(ad)));
    let (plan, shares) = planned(&world, &local("n1"), &[]);
    assert_eq!(shares, Shares::default());
    assert_eq!(plan.options, BTreeMap::new());
    let told: Vec<_> = plan.problems.iter().map(|p| p.why.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|why| why.contains("do not agree")),
        "{told:?}"
    );
}

#[test]
fn options_are_asked_for_by_a_bgp_advertisement() {
    let world = announcing([("closed-port", "reject"), ("echo", "true")]);
    let (plan, _) = planned(&world, &local("n1"), &[]);
    let options = &plan.options[&Vip(WEB.parse().unwrap())];
    assert_eq!((options.closed, options.is_echo), (Closed::Reject, true));
}

#[test]
fn sockets_serve_what_routes_bring() {
    let world = announcing([("steering", "socket")]);
    let mut world = world;
    let mut web = service("web", &[WEB]);
    web.proxied = [WEB.parse().unwrap()].into();
    world.put(Ok(Object::Service(web)));
    let mut local = local("n1");
    local.listeners = Arc::new(Listeners {
        vips: [Vip(WEB.parse().unwrap())].into(),
        ..Listeners::default()
    });
    let (plan, _) = planned(&world, &local, &[]);
    assert_eq!(
        plan.served.rows,
        [place("eth0"), place("eth1")].into(),
        "{:?}",
        plan.served.not
    );
}

#[test]
fn what_was_spread_lately_keeps_its_entry() {
    let (plan, _) = planned(&announcing([]), &local("n1"), &[WEB]);
    let routed = ["eth0", "eth1"].map(|link| format!("{WEB} {link} Passive routed"));
    assert_eq!(entries(&plan), routed);
    let (plan, _) = planned(&announcing([]), &local("n1"), &["192.0.2.99"]);
    assert_eq!(entries(&plan), Vec::<String>::new());
}

/// A router would send it connections of others as soon as it hears of it.
#[test]
fn who_finds_out_who_is_there_announces_only_what_is_not_spread() {
    let mut local = local("n1");
    local.is_finding = true;
    for (asked, is_waiting) in [("spread", true), ("spread-encap", true), ("stack", false)] {
        let (plan, _) = planned(&announcing([("steering", asked)]), &local, &[]);
        let finding = BgpOutcome::Silent(Reason::NoRoute(Unrouted::Finding));
        let outcome = &plan.bgp_outcomes[&id("web")];
        assert_eq!(*outcome == finding, is_waiting, "{asked}: {outcome:?}");
        let told: usize = plan.bgp.values().map(|peer| peer.routes.len()).sum();
        assert_eq!(told, usize::from(!is_waiting));
    }
}
