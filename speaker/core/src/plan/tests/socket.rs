//! Which VIPs sockets serve, and why not.

use super::*;
use crate::allocator::{Assignment, Assignments};
use crate::steering::socket::{Listeners, Unserved};

const SOCKET: (&str, &str) = ("heliograph.io/steering", "socket");
const WEB: &str = "192.0.2.10";

/// A service on eth0 and eth1 of n1 whose advertisement asks for sockets, and that proxies are to leave alone.
fn proxied_world() -> World {
    let mut world = world();
    let mut ad = advertisement();
    ad.annotations = BTreeMap::from([(SOCKET.0.to_owned(), SOCKET.1.to_owned())]);
    world.put(Ok(Object::L2Advertisement(ad)));
    with(world, proxied(service("web", &[WEB])), &["n1"])
}

fn proxied(service: Service) -> Service {
    Service {
        proxied: service.ingress.iter().flatten().copied().collect(),
        ..service
    }
}

fn vip() -> Vip {
    Vip(WEB.parse().unwrap())
}

/// n1 has a socket for the VIP.
fn listening() -> Listeners {
    Listeners {
        vips: BTreeSet::from([vip()]),
        ..Listeners::default()
    }
}

fn served(world: &World, listeners: Listeners) -> (Served, String) {
    let local = Local {
        listeners: Arc::new(listeners),
        ..local("n1")
    };
    let held = Held::new();
    let plan = plan(world, &members(world), &held, &local, &mut Memo::default());
    let story = explain(world, &members(world), &held, &local, &id("web")).unwrap();
    let told = story.with_sockets(&plan.served).to_string();
    (plan.served, told)
}

fn at(link: &str) -> (Vip, LinkName) {
    (vip(), link.into())
}

#[test]
fn what_has_a_socket_is_served_on_every_link_whether_held_or_not() {
    let (served, told) = served(&proxied_world(), listening());
    assert_eq!(served.rows, BTreeSet::from([at("eth0"), at("eth1")]));
    assert_eq!(served.not, BTreeMap::new());
    assert_eq!(served.vips(), BTreeSet::from([vip()]));
    assert!(
        told.contains("served by sockets:     192.0.2.10 on eth0\n"),
        "{told}"
    );
}

#[test]
fn nobody_asks_and_no_socket_serves() {
    let world = with(world(), proxied(service("web", &[WEB])), &["n1"]);
    assert_eq!(served(&world, listening()).0, Served::default());
}

#[test]
fn each_cause_that_leaves_a_vip_to_the_stack_is_told() {
    let unmarked = Listeners {
        unmarked: BTreeSet::from(["eth0".into()]),
        ..listening()
    };
    let refused = Listeners {
        is_refused: true,
        ..listening()
    };
    for (listeners, why) in [
        (Listeners::default(), Unserved::Nobody),
        (refused, Unserved::Refused),
        (unmarked, Unserved::Unmarked),
    ] {
        let (served, told) = served(&proxied_world(), listeners);
        assert_eq!(served.not[&at("eth0")], why);
        let line = format!("not 192.0.2.10 on eth0: {why}\n");
        assert!(told.contains(&line), "{told}");
    }
    let world = with(proxied_world(), service("web", &[WEB]), &["n1"]);
    let (left, _) = served(&world, listening());
    assert_eq!(left.not[&at("eth0")], Unserved::TakenByProxy);
}

/// There is no status that a kube-proxy could go by.
#[test]
fn without_an_api_server_no_status_needs_to_say_it() {
    let mut world = with(proxied_world(), service("web", &[WEB]), &["n1"]);
    let given = Assignment {
        ips: vec![vip().0],
        pool: pool().name,
        sharing: None,
    };
    let given: Assignments = [(id("web"), given)].into_iter().collect();
    world.assignments = Some(Arc::new(given));
    assert_eq!(served(&world, listening()).0.rows.len(), 2);
}

#[test]
fn who_shares_an_address_must_ask_for_sockets_too() {
    let mut world = world();
    world.put(Ok(Object::Pool(Pool {
        annotations: BTreeMap::from([(
            "heliograph.io/allow-service".to_owned(),
            "steering".to_owned(),
        )]),
        ..pool()
    })));
    let mut web = proxied(sharing(service("web", &[WEB]), "key", 80));
    web.annotations
        .insert(SOCKET.0.to_owned(), SOCKET.1.to_owned());
    let other = proxied(sharing(service("other", &[WEB]), "key", 81));
    let world = with(with(world, web, &["n1"]), other, &["n1"]);
    let (left, _) = served(&world, listening());
    assert_eq!(left.not[&at("eth0")], Unserved::SharedWith(id("other")));
}
