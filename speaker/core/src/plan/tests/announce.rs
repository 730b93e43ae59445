//! Entries and reasons of single services.

use super::*;
use crate::crd::PreferredNodes;
use crate::members::Links;
use crate::node::{EXCLUDE_LABEL, Ending};
use crate::selector::{Operator, Requirement, Selector};

#[test]
fn l1_2_one_node_answers_and_the_others_know() {
    // The order for 192.0.2.10 is n2, n3, n1.
    let world = with(world(), service("web", &["192.0.2.10"]), &["n1"]);
    for name in ["n1", "n2", "n3"] {
        let plan = plan_of(&world, &local(name));
        let wanted = if name == "n2" {
            Mode::Answer
        } else {
            Mode::Known
        };
        assert_eq!(plan.l2.len(), 2);
        assert!(
            plan.l2.values().all(|entry| entry.mode == wanted),
            "{name}: {plan}"
        );
        let is_announced = matches!(plan.outcomes[&id("web")], Outcome::Announced(_));
        assert_eq!(is_announced, name == "n2");
    }
}

#[test]
fn before_everything_is_synced_a_plan_is_incomplete() {
    let mut world = with(world(), service("web", &["192.0.2.10"]), &["n1"]);
    world.synced.remove(&Kind::EndpointSlice);
    let plan = plan_of(&world, &local("n2"));
    assert!(!plan.is_complete);
    assert_eq!(plan.l2, Entries::default());
    let reason = Reason::NotSynced(Kind::EndpointSlice);
    assert_eq!(plan.outcomes[&id("web")], Outcome::Silent(reason));
}

fn edit_node(world: &mut World, name: &str, edit: impl FnOnce(&mut Node)) {
    let mut node = (*world.nodes[&name.parse().unwrap()]).clone();
    edit(&mut node);
    world.put(Ok(Object::Node(node)));
}

fn web() -> World {
    with(world(), service("web", &["192.0.2.10"]), &["n1"])
}

#[test]
fn l1_1_a_node_is_unfit_for_the_reason_that_it_names() {
    let unavailable = |node: &mut Node| node.network_unavailable = true;
    let excluded = |node: &mut Node| {
        node.labels.insert(EXCLUDE_LABEL.into(), String::new());
    };
    let mut world = web();
    edit_node(&mut world, "n2", unavailable);
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(
        reason(&plan, "web"),
        Reason::Unfit(Unfit::NetworkUnavailable)
    );
    edit_node(&mut world, "n3", excluded);
    let plan = plan_of(&world, &local("n3"));
    assert_eq!(reason(&plan, "web"), Reason::Unfit(Unfit::Excluded));
    let plan = plan_of(&world, &local("n1"));
    assert_eq!(
        announced(&plan, "web").group,
        GroupKey("192.0.2.10".parse().unwrap())
    );
    let plan = plan_of(&world, &local("n9"));
    assert_eq!(reason(&plan, "web"), Reason::Unfit(Unfit::Unknown));
}

#[test]
fn the_exclude_label_can_be_ignored() {
    let mut world = web();
    edit_node(&mut world, "n2", |node| {
        node.labels.insert(EXCLUDE_LABEL.into(), "false".into());
    });
    let mut local = local("n2");
    assert_eq!(
        reason(&plan_of(&world, &local), "web"),
        Reason::Unfit(Unfit::Excluded)
    );
    local.rules.ignores_exclude_label = true;
    announced(&plan_of(&world, &local), "web");
}

#[test]
fn l1_1_a_dead_member_is_passed_over() {
    let world = web();
    let names = ["n1", "n3"].map(|name| name.parse::<NodeName>().unwrap());
    let alive = Members::from_iter(names);
    let local = local("n3");
    let elected = elected(&world, &alive, &local, &mut Memo::default());
    assert_eq!(elected.len(), 1, "n3 comes after n2 in the order");
}

/// All fit, but for `odd`.
fn all_but(world: &World, odd: &str, fitness: Fitness) -> Members {
    let names = world.nodes.keys().cloned();
    let fit = |name: NodeName| {
        let is_odd = name.as_str() == odd;
        (
            name,
            if is_odd {
                fitness.clone()
            } else {
                Fitness::unknown()
            },
        )
    };
    names.map(fit).collect()
}

fn elects(world: &World, members: &Members, name: &str) -> bool {
    let local = local(name);
    !elected(world, members, &local, &mut Memo::default()).is_empty()
}

#[test]
fn l1_1_a_member_that_cannot_answer_for_a_family_is_passed_over() {
    let ndp_only = MemberLink {
        name: "eth0".into(),
        mac: Mac([2, 0, 0, 0, 0, 9]),
        has_arp: false,
        has_ndp: true,
    };
    for links in [Vec::new(), vec![ndp_only]] {
        let fitness = Fitness {
            links: Links::Known(links),
            ..Fitness::unknown()
        };
        let members = all_but(&web(), "n2", fitness);
        assert!(!elects(&web(), &members, "n2"));
        assert!(elects(&web(), &members, "n3"), "the next in the order");
    }
}

#[test]
fn l1_1_a_link_that_no_advertisement_selects_does_not_help() {
    let link = |name: &str| MemberLink {
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, 9]),
        has_arp: true,
        has_ndp: true,
    };
    let mut world = web();
    let mut ad = advertisement();
    ad.interfaces = ["eth1".to_owned()].into();
    world.put(Ok(Object::L2Advertisement(ad)));
    for (name, is_elected) in [("eth0", false), ("eth1", true)] {
        let fitness = Fitness {
            links: Links::Known(vec![link(name)]),
            ..Fitness::unknown()
        };
        let members = all_but(&world, "n2", fitness);
        assert_eq!(elects(&world, &members, "n2"), is_elected, "{name}");
    }
}

#[test]
fn l1_1_a_member_in_hold_down_is_elected_only_where_nobody_else_can_be() {
    let held_down = Fitness {
        is_held_down: true,
        ..Fitness::unknown()
    };
    let members = all_but(&web(), "n2", held_down.clone());
    assert!(!elects(&web(), &members, "n2"));
    let alone: Members = [("n2".parse().unwrap(), held_down)].into_iter().collect();
    assert!(elects(&web(), &alone, "n2"));
}

#[test]
fn l6_1_a_member_that_drains_is_passed_over() {
    let draining = Fitness {
        is_draining: true,
        ..Fitness::unknown()
    };
    let members = all_but(&web(), "n2", draining);
    assert!(!elects(&web(), &members, "n2"));
    assert!(elects(&web(), &members, "n3"));
}

#[test]
fn l6_1_a_node_that_will_be_gone_is_passed_over() {
    for ending in [Ending::Deleted, Ending::Doomed, Ending::ShuttingDown] {
        let mut world = web();
        edit_node(&mut world, "n2", |node| node.ending = Some(ending));
        let plan = plan_of(&world, &local("n2"));
        assert_eq!(reason(&plan, "web"), Reason::Unfit(Unfit::Ending(ending)));
        let members = all_but(&world, "n1", Fitness::unknown());
        assert!(!elects(&world, &members, "n2"), "{ending:?}");
    }
}

#[test]
fn a_service_that_nobody_may_announce_says_why() {
    let cases: [(Service, Reason); 5] = [
        (
            Service {
                is_load_balancer: false,
                ..service("web", &["192.0.2.10"])
            },
            Reason::NotLoadBalancer,
        ),
        (
            Service {
                class: Some("x/y".into()),
                ..service("web", &["192.0.2.10"])
            },
            Reason::OtherClass {
                class: Some("x/y".into()),
            },
        ),
        (service("web", &[]), Reason::NoAddress),
        (
            service("web", &["lb.example"]),
            Reason::InvalidAddress("lb.example".into()),
        ),
        (
            service("web", &["192.0.2.10", "203.0.113.1"]),
            Reason::AddressNotAllowed,
        ),
    ];
    for (service, why) in cases {
        let plan = plan_of(&with(world(), service, &["n1"]), &local("n2"));
        assert_eq!(reason(&plan, "web"), why);
        assert_eq!(plan.l2, Entries::default());
    }
}

#[test]
fn a_class_of_our_own_is_served_and_no_class_is_not() {
    let mut local = local("n2");
    local.rules.class = Some("x/y".into());
    let mut service = service("web", &["192.0.2.10"]);
    let plan = plan_of(&with(world(), service.clone(), &["n1"]), &local);
    assert_eq!(reason(&plan, "web"), Reason::OtherClass { class: None });
    service.class = Some("x/y".into());
    announced(&plan_of(&with(world(), service, &["n1"]), &local), "web");
}

#[test]
fn without_endpoints_an_address_is_known_and_not_answered() {
    let plan = plan_of(
        &with(world(), service("web", &["192.0.2.10"]), &[]),
        &local("n2"),
    );
    assert_eq!(reason(&plan, "web"), Reason::NoEndpoints);
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Known", "192.0.2.10 eth1 Known"]
    );
}

#[test]
fn an_endpoint_that_cannot_serve_does_not_count() {
    let mut world = web();
    let mut slice = slice("web", &["n1", "n3"]);
    for endpoint in &mut slice.endpoints {
        endpoint.can_serve = false;
    }
    world.put(Ok(Object::EndpointSlice(slice.clone())));
    assert_eq!(
        reason(&plan_of(&world, &local("n2")), "web"),
        Reason::NoEndpoints
    );
    slice.endpoints[0].can_serve = true;
    world.put(Ok(Object::EndpointSlice(slice)));
    announced(&plan_of(&world, &local("n2")), "web");
}

#[test]
fn with_policy_local_only_hosts_of_endpoints_are_candidates() {
    let service = local_policy(service("web", &["192.0.2.10"]));
    let world = with(world(), service, &["n1"]);
    announced(&plan_of(&world, &local("n1")), "web");
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(reason(&plan, "web"), Reason::Unfit(Unfit::NoLocalEndpoints));
}

#[test]
fn l4_3_an_address_of_a_node_never_enters_the_table() {
    let mut world = with(
        world(),
        service("web", &["192.0.2.10", "2001:db8::10"]),
        &["n1"],
    );
    edit_node(&mut world, "n3", |node| {
        node.addresses = vec!["192.0.2.10".parse().unwrap()]
    });
    let plan = plan_of(&world, &local("n2"));
    assert!(
        plan.l2
            .keys()
            .all(|(vip, _)| *vip == Vip("2001:db8::10".parse().unwrap()))
    );
    assert_eq!(announced(&plan, "web").vips.len(), 1);
    let problem = plan.problems.first().unwrap();
    assert_eq!(problem.field, "status.loadBalancer.ingress[0]");
    assert_eq!(problem.why, "192.0.2.10 is an address of node n3");

    let world = with(world, service("web", &["192.0.2.10"]), &["n1"]);
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(plan.l2, Entries::default());
    let (vip, node) = (Vip("192.0.2.10".parse().unwrap()), "n3".parse().unwrap());
    assert_eq!(reason(&plan, "web"), Reason::NodeAddress { vip, node });
}

#[test]
fn an_advertisement_for_another_pool_or_other_labels_does_not_match() {
    let mut world = web();
    let mut ad = advertisement();
    ad.pools = ["other".to_owned()].into();
    world.put(Ok(Object::L2Advertisement(ad.clone())));
    let plan = plan_of(&world, &local("n2"));
    let unmatched = |by| Reason::NoMatchingAdvertisement(by);
    assert_eq!(
        reason(&plan, "web"),
        unmatched(Unmatched::Pool("main".into()))
    );
    assert_eq!(plan.l2, Entries::default(), "layer 2 does not concern it");

    ad.pools = ["main".to_owned()].into();
    ad.service_selectors = vec![selector("app", "db")];
    world.put(Ok(Object::L2Advertisement(ad)));
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(reason(&plan, "web"), unmatched(Unmatched::Service));
}

pub(super) fn selector(key: &str, value: &str) -> Selector {
    let requirement = Requirement {
        key: key.to_owned(),
        operator: Operator::In([value.to_owned()].into()),
    };
    Selector {
        requirements: [requirement].into(),
    }
}

#[test]
fn a_service_that_may_share_and_an_advertisement_by_labels_do_not_go_together() {
    let mut ad = advertisement();
    ad.service_selectors = vec![selector("app", "web")];
    let mut service = service("web", &["192.0.2.10"]);
    service.labels.insert("app".into(), "web".into());
    let mut world = with(world(), service.clone(), &["n1"]);
    world.put(Ok(Object::L2Advertisement(ad)));
    announced(&plan_of(&world, &local("n2")), "web");
    let world = with(world, sharing(service, "", 80), &["n1"]);
    let why = Reason::SharedIpWithServiceSelector {
        advertisement: "all".into(),
    };
    assert_eq!(reason(&plan_of(&world, &local("n2")), "web"), why);
}

#[test]
fn a_node_that_no_advertisement_selects_knows_the_address() {
    let mut world = web();
    let mut ad = advertisement();
    ad.node_selectors = vec![selector("rack", "1")];
    world.put(Ok(Object::L2Advertisement(ad)));
    edit_node(&mut world, "n1", |node| {
        node.labels.insert("rack".into(), "1".into());
    });
    announced(&plan_of(&world, &local("n1")), "web");
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(reason(&plan, "web"), Reason::Unfit(Unfit::NotSelected));
    assert_eq!(
        reason(&plan, "web").metallb_name(),
        "noMatchingAdvertisement"
    );
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Known", "192.0.2.10 eth1 Known"]
    );
}

fn with_interfaces(names: &[&str]) -> World {
    let mut world = web();
    let mut ad = advertisement();
    ad.interfaces = names.iter().map(|name| (*name).to_owned()).collect();
    world.put(Ok(Object::L2Advertisement(ad)));
    world
}

#[test]
fn l4_1_links_that_are_not_selected_are_known() {
    let plan = plan_of(&with_interfaces(&["eth1"]), &local("n2"));
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Known", "192.0.2.10 eth1 Answer"]
    );
    let eth1 = LinkName::from("eth1");
    assert_eq!(announced(&plan, "web").vips[0].1, [eth1]);
}

#[test]
fn a_link_below_one_that_answers_lets_requests_pass() {
    let mut local = local("n2");
    let upper = Link {
        below: Some(1),
        ..link(3)
    };
    local.links.insert("mac0".into(), upper);
    let plan = plan_of(&with_interfaces(&["mac0"]), &local);
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth1 Known", "192.0.2.10 mac0 Answer"]
    );
    let both = plan_of(&with_interfaces(&["eth0", "mac0"]), &local);
    assert_eq!(modes(&both)[0], "192.0.2.10 eth0 Answer");
}

#[test]
fn a_listed_link_that_does_not_exist_is_told_and_gates_only_this_node() {
    let plan = plan_of(&with_interfaces(&["eth1", "eth9"]), &local("n2"));
    assert_eq!(announced(&plan, "web").missing, ["eth9".into()]);
    let world = with_interfaces(&["eth9"]);
    let plan = plan_of(&world, &local("n2"));
    let why = Reason::NoUsableLink {
        missing: vec!["eth9".into()],
        unusable: vec![],
    };
    assert_eq!(reason(&plan, "web"), why);
    let owner = "n2".parse().unwrap();
    assert_eq!(
        reason(&plan_of(&world, &local("n3")), "web"),
        Reason::NotElected { owner }
    );
}

#[test]
fn a_link_without_carrier_is_known_until_it_has_one() {
    let mut local = local("n2");
    local.links.get_mut(&"eth1".into()).unwrap().has_carrier = false;
    let plan = plan_of(&web(), &local);
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Answer", "192.0.2.10 eth1 Known"]
    );
    let plan = plan_of(&with_interfaces(&["eth1"]), &local);
    let why = Reason::NoUsableLink {
        missing: vec![],
        unusable: vec!["eth1".into()],
    };
    assert_eq!(reason(&plan, "web"), why);
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Known", "192.0.2.10 eth1 Known"]
    );
}

#[test]
fn each_family_needs_a_link_that_speaks_it() {
    let mut local = local("n1");
    local.links.get_mut(&"eth0".into()).unwrap().has_ndp = false;
    local.links.get_mut(&"eth1".into()).unwrap().has_arp = false;
    let service = service("web", &["192.0.2.20", "2001:db8::20"]);
    let world = with(world(), local_policy(service), &["n1"]);
    let plan = plan_of(&world, &local);
    assert_eq!(
        modes(&plan),
        [
            "192.0.2.20 eth0 Answer",
            "192.0.2.20 eth1 Known",
            "2001:db8::20 eth0 Known",
            "2001:db8::20 eth1 Answer",
        ]
    );
}

#[test]
fn the_hold_decides_and_the_election_does_not() {
    let world = web();
    let key = GroupKey("192.0.2.10".parse().unwrap());
    let cases = [
        (Hold::Free, Mode::Known),
        (Hold::Asking, Mode::Known),
        (Hold::Preparing, Mode::Known),
        (Hold::Occupied(Mac([2, 9, 9, 9, 9, 9])), Mode::Known),
        (Hold::Holding, Mode::Answer),
        (Hold::Draining, Mode::Draining),
        (Hold::Contested, Mode::Known),
        (Hold::Lapsed, Mode::Known),
    ];
    for (hold, mode) in cases {
        for (name, elected) in [("n2", true), ("n3", false)] {
            let held = Held::from([(
                key,
                Holding {
                    hold,
                    epoch: Epoch(3),
                },
            )]);
            let plan = plan(
                &world,
                &members(&world),
                &held,
                &local(name),
                &mut Memo::default(),
            );
            assert!(
                plan.l2.values().all(|entry| entry.mode == mode),
                "{hold:?} {name}"
            );
            let epoch = if mode == Mode::Known { 0 } else { 3 };
            assert!(plan.l2.values().all(|entry| entry.epoch == Epoch(epoch)));
            match (&plan.outcomes[&id("web")], hold) {
                (Outcome::Announced(announced), Hold::Holding) => {
                    assert_eq!(announced.epoch, Epoch(3));
                }
                (Outcome::Silent(reason), _) if elected => {
                    assert_eq!(*reason, Reason::NotHeld(hold))
                }
                (Outcome::Silent(reason), _) => {
                    assert_eq!(
                        *reason,
                        Reason::NotElected {
                            owner: "n2".parse().unwrap()
                        }
                    );
                }
                (outcome, _) => panic!("{hold:?} {name}: {outcome}"),
            }
        }
    }
}

#[test]
fn advertisements_that_say_the_same_of_nodes_weigh_each_for_itself() {
    let mut world = web();
    for name in ["n1", "n2", "n3"] {
        edit_node(&mut world, name, |node| {
            node.labels.insert("name".into(), name.into());
        });
    }
    let preferring = |ad: &str, node: &str, weight| L2Advertisement {
        name: ad.into(),
        preferred_nodes: vec![PreferredNodes {
            weight,
            selector: selector("name", node),
        }],
        ..advertisement()
    };
    for ad in [
        preferring("all", "n1", 10),
        preferring("b", "n1", 10),
        preferring("c", "n3", 15),
    ] {
        world.put(Ok(Object::L2Advertisement(ad)));
    }
    announced(&plan_of(&world, &local("n1")), "web");
    world.gone(&crate::ObjectKey::new(
        Kind::L2Advertisement,
        "metallb-system",
        "b",
    ));
    announced(&plan_of(&world, &local("n3")), "web");
}
