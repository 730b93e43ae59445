//! Services that share addresses.

use super::*;
use crate::allocator::Assignment;

fn owner(world: &World, name: &str) -> Vec<String> {
    let nodes = world.nodes.keys();
    let announces = |node: &&NodeName| {
        let plan = plan_of(world, &local(node.as_str()));
        matches!(plan.outcomes[&id(name)], Outcome::Announced(_))
    };
    nodes.filter(announces).map(ToString::to_string).collect()
}

#[test]
fn l1_3_services_that_share_an_address_are_on_one_node() {
    let first = sharing(service("a", &["192.0.2.10"]), "k", 80);
    let second = sharing(service("b", &["192.0.2.10"]), "k", 81);
    let world = with(with(world(), first, &["n1"]), second, &["n3"]);
    assert_eq!(owner(&world, "a"), ["n2"]);
    assert_eq!(owner(&world, "b"), ["n2"]);
}

#[test]
fn l1_3_both_families_of_a_group_live_on_one_node() {
    // Alone, 2001:db8::10 would be on n1 and 192.0.2.10 on n2.
    let dual = service("a", &["192.0.2.10", "2001:db8::10"]);
    let world = with(world(), dual, &["n1"]);
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(plan.l2.len(), 4);
    assert!(plan.l2.values().all(|entry| entry.mode == Mode::Answer));
}

#[test]
fn l1_3_the_key_is_the_lowest_first_address() {
    let first = sharing(service("a", &["2001:db8::10"]), "k", 80);
    let second = sharing(service("b", &["192.0.2.20", "2001:db8::10"]), "k", 81);
    let world = with(with(world(), first, &["n1"]), second, &["n1"]);
    let plan = plan_of(&world, &local("n1"));
    let key = GroupKey("192.0.2.20".parse().unwrap());
    assert!(plan.l2.values().all(|entry| entry.group == key));
}

#[test]
fn l1_3_a_group_lives_where_all_its_services_can() {
    let with_backend = |mut service: Service| {
        service.policy = TrafficPolicy::Local;
        service
    };
    let first = with_backend(sharing(service("a", &["192.0.2.10"]), "k", 80));
    let second = with_backend(sharing(service("b", &["192.0.2.10"]), "k", 81));
    let world = with(
        with(world(), first, &["n2", "n3"]),
        second.clone(),
        &["n1", "n3"],
    );
    assert_eq!(owner(&world, "a"), ["n3"]);
    assert_eq!(owner(&world, "b"), ["n3"]);

    let world = with(world, second, &["n1"]);
    let plan = plan_of(&world, &local("n1"));
    let with = vec![id("a")];
    assert_eq!(reason(&plan, "b"), Reason::NoCommonCandidate { with });
    assert_eq!(reason(&plan, "a"), Reason::Unfit(Unfit::NoLocalEndpoints));
    assert!(plan.l2.values().all(|entry| entry.mode == Mode::Known));
}

#[test]
fn a_service_without_endpoints_does_not_hold_the_others_back() {
    let first = sharing(service("a", &["192.0.2.10"]), "k", 80);
    let second = sharing(service("b", &["192.0.2.10"]), "k", 81);
    let world = with(with(world(), first, &["n1"]), second, &[]);
    let plan = plan_of(&world, &local("n2"));
    announced(&plan, "a");
    assert_eq!(reason(&plan, "b"), Reason::NoEndpoints);
}

/// Two services on one address and which of them is left out.
fn left_out(edit: impl FnOnce(&mut Service, &mut Service)) -> Vec<String> {
    let mut first = sharing(service("a", &["192.0.2.10"]), "k", 80);
    let mut second = sharing(service("b", &["192.0.2.10"]), "k", 81);
    edit(&mut first, &mut second);
    let world = with(with(world(), first, &["n1"]), second, &["n1"]);
    let plan = plan_of(&world, &local("n2"));
    let is_duplicate =
        |outcome: &Outcome| matches!(outcome, Outcome::Silent(Reason::DuplicateAddress { .. }));
    let outcomes = plan
        .outcomes
        .iter()
        .filter(|(_, outcome)| is_duplicate(outcome));
    let names: Vec<_> = outcomes.map(|(id, _)| id.name.clone()).collect();
    assert_eq!(plan.problems.len(), names.len());
    names
}

#[test]
fn two_may_share_by_key_port_and_backend() {
    assert_eq!(left_out(|_, _| {}), [""; 0]);
    assert_eq!(left_out(|_, b| b.annotations.clear()), ["b"]);
    assert_eq!(left_out(|_, b| b.ports[0].port = 80), ["b"]);
    assert_eq!(
        left_out(|_, b| {
            b.ports[0].port = 80;
            b.ports[0].protocol = Protocol::Udp;
        }),
        [""; 0]
    );
    let local_with_pods_of_its_own = |service: &mut Service| {
        service.policy = TrafficPolicy::Local;
        service.selector.insert("app".into(), "b".into());
    };
    assert_eq!(left_out(|_, b| local_with_pods_of_its_own(b)), ["b"]);
    assert_eq!(
        left_out(|a, b| {
            a.policy = TrafficPolicy::Local;
            local_with_pods_of_its_own(b);
        }),
        ["b"]
    );
    let empty_key = |service: &mut Service| {
        for value in service.annotations.values_mut() {
            value.clear();
        }
    };
    assert_eq!(
        left_out(|a, b| {
            empty_key(a);
            empty_key(b);
        }),
        ["b"]
    );
}

#[test]
fn the_older_of_two_keeps_the_address() {
    let at = |second| jiff::Timestamp::from_second(second).ok();
    let unshared = |a: &mut Service, b: &mut Service| {
        a.annotations.clear();
        b.annotations.clear();
    };
    assert_eq!(left_out(unshared), ["b"], "by name");
    let by_uid = |a: &mut Service, b: &mut Service| {
        unshared(a, b);
        (a.uid, b.uid) = ("2".into(), "1".into());
    };
    assert_eq!(left_out(by_uid), ["a"], "by UID before the name");
    let by_creation = |a: &mut Service, b: &mut Service| {
        by_uid(a, b);
        (a.created, b.created) = (at(5), at(6));
    };
    assert_eq!(left_out(by_creation), ["b"], "by creation before the UID");
    let by_having_one = |a: &mut Service, b: &mut Service| {
        unshared(a, b);
        b.created = at(6);
    };
    assert_eq!(left_out(by_having_one), ["a"], "none is younger than any");
}

#[test]
fn the_other_address_of_a_duplicate_is_known() {
    let first = service("a", &["192.0.2.10"]);
    let second = service("b", &["192.0.2.10", "2001:db8::10"]);
    let world = with(with(world(), first, &["n1"]), second, &["n1"]);
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(
        modes(&plan),
        [
            "192.0.2.10 eth0 Answer",
            "192.0.2.10 eth1 Answer",
            "2001:db8::10 eth0 Known",
            "2001:db8::10 eth1 Known",
        ]
    );
}

#[test]
fn assignments_come_before_the_status() {
    let mut world = with(world(), service("web", &["192.0.2.66"]), &["n1"]);
    let assignment = Assignment {
        ips: vec!["192.0.2.10".parse().unwrap()],
        pool: "main".into(),
        sharing: None,
    };
    world.assignments = Some(std::sync::Arc::new([(id("web"), assignment)].into()));
    let plan = plan_of(&world, &local("n2"));
    assert_eq!(
        modes(&plan),
        ["192.0.2.10 eth0 Answer", "192.0.2.10 eth1 Answer"]
    );
    world.assignments = Some(std::sync::Arc::default());
    assert_eq!(
        reason(&plan_of(&world, &local("n2")), "web"),
        Reason::NoAddress
    );
}

#[test]
fn an_explanation_lists_every_node_once() {
    let first = local_policy(sharing(service("a", &["192.0.2.10"]), "k", 80));
    let second = local_policy(sharing(service("b", &["192.0.2.10"]), "k", 81));
    let world = with(with(world(), first, &["n2", "n3"]), second, &["n1", "n3"]);
    let local = local("n2");
    let held = held(&world, &local);
    let story = explain(&world, &members(&world), &held, &local, &id("a")).unwrap();
    assert!(!story.announced);
    assert_eq!(story.because, "n3 is elected");
    assert_eq!(story.reason, Some("notOwner"));
    assert_eq!(story.shares_with, ["default/b"]);
    let candidates: Vec<_> = story.candidates.iter().map(|c| c.node.as_str()).collect();
    assert_eq!(candidates, ["n3"]);
    let others: Vec<_> = story
        .others
        .iter()
        .map(|o| (o.node.as_str(), o.because.as_deref()))
        .collect();
    assert_eq!(
        others,
        [
            (
                "n1",
                Some("has no endpoint that can serve, and the policy is Local")
            ),
            (
                "n2",
                Some("is no candidate of a service that shares the address")
            ),
        ]
    );
    assert!(explain(&world, &members(&world), &held, &local, &id("nobody")).is_none());
}

#[test]
fn an_explanation_reads_from_the_fact_to_the_details() {
    let service = local_policy(service("web", &["192.0.2.10"]));
    let world = with(world(), service, &["n1", "n3"]);
    let mut local = local("n2");
    local.links.get_mut(&"eth1".into()).unwrap().has_carrier = false;
    let story = explain(&world, &members(&world), &Held::new(), &local, &id("web")).unwrap();
    let expected = "\
default/web is not announced by n2: this node has no endpoint that can serve, and the policy is Local
  what would change it: let a pod behind it become ready on the node, or set externalTrafficPolicy to Cluster
  addresses: 192.0.2.10
  candidates, in order:  n3 (score 0)
                         n1 (score 0)
  no candidates:         n2 has no endpoint that can serve, and the policy is Local
  links of n2:           eth0 can answer: it speaks ARP and NDP
                         eth1 cannot answer: it has no carrier
";
    assert_eq!(story.to_string(), expected);
    let json = serde_json::to_value(&story).unwrap();
    assert_eq!(json["reason"], "noLocalEndpoints");
    assert_eq!(json["candidates"][0]["node"], "n3");
    assert_eq!(json["links"][1]["usable"], false);
}
