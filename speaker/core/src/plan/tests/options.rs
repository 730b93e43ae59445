//! Who asks for which options of a VIP, and what is wrong with how it does.

use super::*;
use speaker_ebpf::abi::options::Closed;

const VIP: &str = "192.0.2.10";

fn annotated<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.map(|(key, value)| (format!("heliograph.io/{key}"), value.to_owned()));
    pairs.into()
}

/// Its pool lets services say everything, and its one advertisement says this.
fn asking<const N: usize>(pairs: [(&str, &str); N]) -> World {
    let mut world = world();
    let mut ad = advertisement();
    ad.annotations = annotated(pairs);
    world.put(Ok(Object::L2Advertisement(ad)));
    let mut pool = pool();
    pool.annotations = annotated([("allow-service", "closed-port, echo, source-ranges")]);
    world.put(Ok(Object::Pool(pool)));
    world
}

fn web<const N: usize>(pairs: [(&str, &str); N]) -> Service {
    let mut service = sharing(service("web", &[VIP]), "key", 80);
    service.annotations.extend(annotated(pairs));
    service
}

fn options_of(world: &World) -> (Option<VipOptions>, Vec<String>) {
    let plan = plan_of(world, &local("n1"));
    let options = plan.options.get(&Vip(VIP.parse().unwrap())).cloned();
    let problems = plan.problems.iter().map(ToString::to_string);
    (options, problems.collect())
}

#[test]
fn nobody_asks_and_nothing_is_done() {
    let (options, problems) = options_of(&with(asking([]), web([]), &["n1"]));
    assert_eq!((options, problems), (None, Vec::new()));
}

#[test]
fn an_advertisement_asks_for_all_its_services() {
    let world = asking([("closed-port", "reject"), ("echo", "true")]);
    let (options, problems) = options_of(&with(world, web([]), &["n1"]));
    let options = options.unwrap();
    assert_eq!((options.closed, options.is_echo), (Closed::Reject, true));
    assert!(options.ports.contains_key(&(Protocol::Tcp, 80)));
    assert!(problems.is_empty(), "{problems:?}");
    let text = options.to_string();
    assert_eq!(text, "closed ports are refused; pings are answered");
}

#[test]
fn a_service_goes_before_its_advertisements_where_its_pool_lets_it() {
    let world = asking([("closed-port", "reject")]);
    let service = web([("closed-port", "drop")]);
    let mut world = with(world, service, &["n1"]);
    assert_eq!(options_of(&world).0.unwrap().closed, Closed::Drop);
    world.put(Ok(Object::Pool(pool())));
    let (options, problems) = options_of(&world);
    assert_eq!(options.unwrap().closed, Closed::Reject);
    let [problem] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert!(problem.contains("allow-service"), "{problem}");
}

#[test]
fn advertisements_that_do_not_agree_are_a_problem_and_nothing_is_done() {
    let mut world = asking([("closed-port", "reject")]);
    let mut other = advertisement();
    other.name = "other".into();
    other.annotations = annotated([("closed-port", "drop")]);
    world.put(Ok(Object::L2Advertisement(other)));
    let (options, problems) = options_of(&with(world, web([]), &["n1"]));
    assert_eq!(options, None);
    assert!(problems[0].contains("do not agree"), "{problems:?}");
}

#[test]
fn a_vip_has_what_all_its_services_ask_for_and_the_ports_of_all() {
    let world = asking([("echo", "true")]);
    let world = with(world, web([("closed-port", "drop")]), &["n1"]);
    let mut other = sharing(service("other", &[VIP]), "key", 443);
    let both = with(world.clone(), other.clone(), &["n1"]);
    let (options, _) = options_of(&both);
    let options = options.unwrap();
    assert_eq!((options.closed, options.is_echo), (Closed::Pass, true));
    assert!(options.disagrees.is_some());
    assert!(
        options.to_string().contains("not all its services"),
        "{options}"
    );
    other
        .annotations
        .extend(annotated([("closed-port", "drop")]));
    let (options, _) = options_of(&with(world, other, &["n1"]));
    let options = options.unwrap();
    assert_eq!((options.closed, options.disagrees), (Closed::Drop, None));
    let ports: Vec<u16> = options.ports.keys().map(|(_, port)| *port).collect();
    assert_eq!(ports, [80, 443]);
}

#[test]
fn sources_are_of_the_service_that_asks_and_of_the_family_of_the_vip() {
    let mut service = web([("source-ranges", "program")]);
    service.source_ranges = ["198.51.100.7/24", " 2001:db8::/32"]
        .map(str::to_owned)
        .into();
    let other = sharing(super::service("other", &[VIP]), "key", 443);
    let world = with(with(asking([]), service, &["n1"]), other, &["n1"]);
    let (options, problems) = options_of(&world);
    let options = options.unwrap();
    let sources: Vec<String> = options.ports[&(Protocol::Tcp, 80)]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(sources, ["198.51.100.0/24"]);
    assert!(options.ports[&(Protocol::Tcp, 443)].is_empty());
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(options.to_string(), "80/TCP only from 198.51.100.0/24");
}

#[test]
fn a_range_that_is_none_is_a_problem_and_sources_are_left_to_the_proxy() {
    let mut service = web([("source-ranges", "program")]);
    service.source_ranges = vec!["198.51.100.0/24".into(), "home".into()];
    let (options, problems) = options_of(&with(asking([]), service, &["n1"]));
    assert_eq!(options, None);
    assert!(
        problems[0].contains("spec.loadBalancerSourceRanges[1]"),
        "{problems:?}"
    );
}

#[test]
fn why_tells_what_is_done() {
    let world = with(asking([("echo", "true")]), web([]), &["n1"]);
    let local = local("n1");
    let held = held(&world, &local);
    let story = explain(&world, &members(&world), &held, &local, &id("web")).unwrap();
    let text = story.with_options(&plan_of(&world, &local)).to_string();
    assert!(text.contains("options:"), "{text}");
    assert!(text.contains("192.0.2.10: pings are answered"), "{text}");
}
