//! Which peers are told of which routes, and why not.

use super::*;
use crate::crd::peer::{Password, Timers};
use crate::crd::{
    BfdProfile, BgpAdvertisement, BgpPeer, Community, CommunityRef, CommunityValue, PeerAsn, Remote,
};
use crate::foreign::ForeignPeers;
use crate::key::ObjectKey;
use crate::peering::BgpType;
use crate::selector::{Operator, Requirement, Selector};
use serde_json::json;
use std::time::Duration;

const CONFIG: &str = "metallb-system";

pub(super) fn peer(name: &str, address: &str) -> BgpPeer {
    BgpPeer {
        name: name.into(),
        namespace: CONFIG.into(),
        annotations: BTreeMap::new(),
        my_asn: 64512,
        peer_asn: PeerAsn::Number(64513),
        local_asn: None,
        remote: Remote::Address {
            ip: address.parse().unwrap(),
            written: address.into(),
        },
        source: None,
        port: 179,
        timers: None,
        connect_seconds: None,
        router_id: None,
        node_selectors: Vec::new(),
        password: None,
        password_secret: None,
        bfd_profile: None,
        graceful_restart: false,
        multi_hop: false,
        vrf: String::new(),
        dual_stack: false,
    }
}

pub(super) fn bgp_advertisement(name: &str) -> BgpAdvertisement {
    BgpAdvertisement {
        name: name.into(),
        namespace: CONFIG.into(),
        annotations: BTreeMap::new(),
        aggregation_length: 32,
        aggregation_length_v6: 128,
        local_pref: 0,
        communities: BTreeSet::new(),
        pools: BTreeSet::new(),
        pool_selectors: Vec::new(),
        node_selectors: Vec::new(),
        peers: BTreeSet::new(),
        service_selectors: Vec::new(),
    }
}

fn community(high: u16, low: u16) -> CommunityRef {
    CommunityRef::Value(CommunityValue::Standard(high, low))
}

fn labelled(key: &str, value: &str) -> Vec<Selector> {
    vec![Selector {
        requirements: [Requirement {
            key: key.into(),
            operator: Operator::In([value.into()].into()),
        }]
        .into(),
    }]
}

fn put(mut world: World, object: Object) -> World {
    world.put(Ok(object));
    world
}

fn with_peer(world: World, peer: BgpPeer) -> World {
    put(world, Object::BgpPeer(peer))
}

fn with_ad(world: World, ad: BgpAdvertisement) -> World {
    put(world, Object::BgpAdvertisement(ad))
}

/// Three nodes, one pool, one peer, no advertisement.
fn peered() -> World {
    let mut world = with_peer(world(), peer("tor", "10.0.0.254"));
    world.gone(&crate::ObjectKey::new(Kind::L2Advertisement, CONFIG, "all"));
    world
}

/// The same with an advertisement of everything and a service on 192.0.2.10 with endpoints on n1.
fn announcing() -> World {
    let world = with_ad(peered(), bgp_advertisement("all"));
    with(world, service("web", &["192.0.2.10"]), &["n1"])
}

fn settings(world: &World, name: &str) -> Result<Arc<PeerSettings>, Obstacle> {
    plan_of(world, &local("n1")).bgp[&PeerName::from(name)]
        .settings
        .clone()
}

/// Prefixes and attributes that a peer of n1 is told.
fn routes(world: &World, peer: &str) -> Vec<String> {
    routes_of(&plan_of(world, &local("n1")), peer)
}

fn routes_of(plan: &Plan, peer: &str) -> Vec<String> {
    let routes = plan.bgp[&PeerName::from(peer)].routes.iter();
    routes
        .map(|(prefix, told)| format!("{prefix} {told}"))
        .collect()
}

fn silent(world: &World, node: &str, service: &str) -> Reason {
    match &plan_of(world, &local(node)).bgp_outcomes[&id(service)] {
        BgpOutcome::Silent(reason) => reason.clone(),
        BgpOutcome::Announced(announced) => panic!("announced: {announced}"),
    }
}

fn problems(world: &World) -> Vec<String> {
    let plan = plan_of(world, &local("n1"));
    plan.problems.iter().map(ToString::to_string).collect()
}

/// A service of policy Local whose endpoints are on these nodes.
fn with_local(world: World, name: &str, ip: &str, nodes: &[&str]) -> World {
    let mut slice = slice(name, nodes);
    for (endpoint, last) in slice.endpoints.iter_mut().zip(1..) {
        endpoint.addresses = vec![std::net::Ipv4Addr::new(10, 0, 0, last).into()];
    }
    let world = put(world, Object::EndpointSlice(slice));
    put(world, Object::Service(local_policy(service(name, &[ip]))))
}

#[test]
fn a_cluster_that_uses_no_bgp_has_nothing_of_it_in_its_plan() {
    let plan = plan_of(
        &with(world(), service("web", &["192.0.2.10"]), &["n1"]),
        &local("n1"),
    );
    assert!(plan.bgp.is_empty() && plan.bgp_outcomes.is_empty());
    assert!(!plan.to_string().contains("BGP"));
}

#[test]
fn a_peer_is_there_before_anything_is_advertised() {
    let world = with(peered(), service("web", &["192.0.2.10"]), &["n1"]);
    let plan = plan_of(&world, &local("n1"));
    assert_eq!(plan.bgp.len(), 1);
    assert!(routes_of(&plan, "tor").is_empty() && plan.bgp_outcomes.is_empty());
}

#[test]
fn a_service_without_a_layer_2_advertisement_is_no_problem_and_announced_by_bgp() {
    let plan = plan_of(&announcing(), &local("n1"));
    assert_eq!(plan.problems, BTreeSet::new());
    assert_eq!(
        reason(&plan, "web"),
        Reason::NoMatchingAdvertisement(Unmatched::Pool("main".into()))
    );
    let outcome = &plan.bgp_outcomes[&id("web")];
    assert_eq!(outcome.to_string(), "192.0.2.10/32 to tor");
}

#[test]
fn a_service_without_a_bgp_advertisement_is_no_problem_and_announced_in_layer_2() {
    let world = put(peered(), Object::L2Advertisement(advertisement()));
    let mut ad = bgp_advertisement("others");
    ad.pools.insert("elsewhere".into());
    let world = with(with_ad(world, ad), service("web", &["192.0.2.10"]), &["n1"]);
    let node = plan_of(&world, &local("n1")).outcomes[&id("web")].clone();
    let owner = match node {
        Outcome::Silent(Reason::NotElected { owner }) => owner,
        Outcome::Announced(_) => "n1".parse().unwrap(),
        Outcome::Silent(reason) => panic!("{reason}"),
    };
    let plan = plan_of(&world, &local(owner.as_str()));
    assert_eq!(announced(&plan, "web").vips.len(), 1);
    assert_eq!(plan.problems, BTreeSet::new());
    let pool = "main".to_owned();
    let unrouted = Unrouted::NoAdvertisement { pool };
    assert_eq!(silent(&world, "n1", "web"), Reason::NoRoute(unrouted));
}

#[test]
fn metallb_4_2_unset_timers_and_local_pref_follow_the_type() {
    let of = |bgp_type| {
        let mut local = local("n1");
        local.bgp_type = bgp_type;
        let plan = plan_of(&announcing(), &local);
        let settings = plan.bgp[&PeerName::from("tor")].settings.clone().unwrap();
        let timers = (settings.hold_seconds, settings.keepalive_seconds);
        (timers, routes_of(&plan, "tor"))
    };
    let told = |pref| vec![format!("192.0.2.10/32 local-pref {pref}")];
    assert_eq!(of(BgpType::Native), ((90, 30), told(0)));
    assert_eq!(of(BgpType::Frr), ((180, 60), told(100)));
    assert_eq!(of(BgpType::FrrK8s), ((180, 60), told(100)));
}

#[test]
fn rfc4271_4_4_keepalives_come_at_most_once_a_second_and_never_without_a_hold_time() {
    let of = |hold: u64, keepalive_ms: u64| {
        let mut tor = peer("tor", "10.0.0.254");
        tor.timers = Some(Timers {
            hold: Duration::from_secs(hold),
            keepalive: Duration::from_millis(keepalive_ms),
        });
        let settings = settings(&with_peer(world(), tor), "tor").unwrap();
        (settings.hold_seconds, settings.keepalive_seconds)
    };
    assert_eq!(of(10, 3333), (10, 3));
    assert_eq!(of(3, 500), (3, 1));
    assert_eq!(of(9, 0), (9, 3));
    assert_eq!(of(0, 0), (0, 0));
    assert_eq!(of(100_000, 30_000), (65_535, 30));
}

#[test]
fn metallb_1_4_a_local_asn_stands_for_ours() {
    let mut tor = peer("tor", "10.0.0.254");
    tor.local_asn = Some(65000);
    assert_eq!(
        settings(&with_peer(world(), tor), "tor").unwrap().my_asn,
        65000
    );
}

#[test]
fn rfc6286_2_1_the_router_id_is_given_or_follows_from_addresses_and_at_last_from_the_name() {
    let of = |given: Option<&str>, source: Option<&str>, addresses: &[&str]| {
        let mut tor = peer("tor", "10.0.0.254");
        tor.router_id = given.map(|ip| ip.parse().unwrap());
        tor.source = source.map(|ip| ip.parse().unwrap());
        let mut me = node("n1");
        me.addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let world = put(with_peer(world(), tor), Object::Node(me));
        settings(&world, "tor").map(|settings| settings.router_id.to_string())
    };
    let addresses = [
        "2001:db8::1",
        "169.254.1.1",
        "127.0.0.1",
        "10.0.0.2",
        "10.0.0.1",
    ];
    assert_eq!(of(Some("1.2.3.4"), None, &addresses), Ok("1.2.3.4".into()));
    assert_eq!(
        of(None, Some("10.9.9.9"), &addresses),
        Ok("10.9.9.9".into())
    );
    assert_eq!(of(None, None, &addresses), Ok("10.0.0.1".into()));
    let hashed = of(None, None, &["2001:db8::1"]).unwrap();
    assert_eq!(of(None, None, &[]), Ok(hashed.clone()));
    let first: u8 = hashed.split('.').next().unwrap().parse().unwrap();
    assert!((1..=223).contains(&first), "{hashed}");
    for none in ["::1", "0.0.0.0"] {
        let ip = none.parse().unwrap();
        assert_eq!(
            of(Some(none), None, &addresses),
            Err(Obstacle::RouterId(ip))
        );
    }
}

#[test]
fn a_session_carries_the_family_of_its_transport_or_both() {
    let of = |change: &dyn Fn(&mut BgpPeer)| {
        let mut tor = peer("tor", "10.0.0.254");
        change(&mut tor);
        let settings = settings(&with_peer(world(), tor), "tor").unwrap();
        settings
            .families
            .iter()
            .map(|f| f.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&|_| {}), ["ipv4"]);
    let v6 = |tor: &mut BgpPeer| {
        tor.remote = Remote::Address {
            ip: "2001:db8::fe".parse().unwrap(),
            written: "2001:db8::fe".into(),
        };
    };
    assert_eq!(of(&v6), ["ipv6"]);
    assert_eq!(of(&|tor| tor.dual_stack = true), ["ipv4", "ipv6"]);
    let link = |tor: &mut BgpPeer| tor.remote = Remote::Interface("eth1".into());
    assert_eq!(of(&link), ["ipv4", "ipv6"]);
}

#[test]
fn a_profile_that_comes_later_is_waited_for_and_resolved() {
    let mut tor = peer("tor", "10.0.0.254");
    tor.bfd_profile = Some("fast".into());
    let world = with_peer(peered(), tor);
    let obstacle = Obstacle::NoBfdProfile("fast".into());
    assert_eq!(settings(&world, "tor"), Err(obstacle));
    let told = "plan: BGPPeer metallb-system/tor: spec.bfdProfile: there is no BFDProfile fast yet";
    assert_eq!(problems(&world), [told]);
    let profile = BfdProfile {
        name: "fast".into(),
        namespace: CONFIG.into(),
        receive_interval: Some(50),
        transmit_interval: None,
        detect_multiplier: Some(5),
        echo_interval: None,
        echo_mode: true,
        passive_mode: true,
        minimum_ttl: None,
    };
    let world = put(world, Object::BfdProfile(profile));
    let expected = BfdSettings {
        receive_ms: 50,
        transmit_ms: 300,
        multiplier: 5,
        is_passive: true,
        wants_echo: true,
        minimum_ttl: 254,
    };
    assert_eq!(settings(&world, "tor").unwrap().bfd, Some(expected));
    assert_eq!(problems(&world), [""; 0]);
}

#[test]
fn what_an_operator_should_know_of_a_peer_is_noted() {
    let mut tor = peer("tor", "10.0.0.254");
    let told = |tor: &BgpPeer, profile: Option<bool>| {
        let mut world = with_peer(peered(), tor.clone());
        if let Some(echo_mode) = profile {
            let profile = BfdProfile {
                name: "fast".into(),
                namespace: CONFIG.into(),
                receive_interval: None,
                transmit_interval: None,
                detect_multiplier: None,
                echo_interval: None,
                echo_mode,
                passive_mode: false,
                minimum_ttl: None,
            };
            world = put(world, Object::BfdProfile(profile));
        }
        settings(&world, "tor").unwrap().notes()
    };
    assert_eq!(told(&tor, None), [""; 0]);
    tor.graceful_restart = true;
    let slow = "graceful restart without BFD: a node that dies gets its packets for 90 s more, the hold time";
    assert_eq!(told(&tor, None), [slow]);
    tor.timers = Some(Timers {
        hold: Duration::from_secs(30),
        keepalive: Duration::from_secs(10),
    });
    assert_eq!(told(&tor, None), [""; 0]);
    tor.timers = None;
    tor.bfd_profile = Some("fast".into());
    assert_eq!(told(&tor, Some(false)), [""; 0]);
    let echo = "echoMode has no effect: BFD runs without echo packets";
    assert_eq!(told(&tor, Some(true)), [echo]);
}

#[test]
fn a_password_is_never_shown_and_a_secret_is_named() {
    let mut tor = peer("tor", "10.0.0.254");
    tor.password = Some(Password("hunter2".into()));
    let plan = plan_of(&with_peer(world(), tor.clone()), &local("n1"));
    assert!(!format!("{plan:?}{plan}").contains("hunter2"));
    tor.password_secret = Some(crate::crd::schema::SecretReference {
        name: "tor".into(),
        namespace: String::new(),
    });
    let both = with_peer(world(), tor.clone());
    assert_eq!(settings(&both, "tor"), Err(Obstacle::TwoPasswords));
    tor.password = None;
    let expected = PasswordFrom::Secret {
        namespace: CONFIG.into(),
        name: "tor".into(),
    };
    let settings = settings(&with_peer(world(), tor), "tor").unwrap();
    assert_eq!(settings.password, Some(expected));
}

#[test]
fn of_two_peers_at_one_address_the_first_by_name_has_the_session() {
    let world = with_peer(peered(), peer("again", "10.0.0.254"));
    assert!(settings(&world, "again").is_ok());
    let obstacle = Obstacle::SameAs("again".into());
    assert_eq!(settings(&world, "tor"), Err(obstacle));
    let mut elsewhere = peer("tor", "10.0.0.254");
    elsewhere.vrf = "red".into();
    assert!(settings(&with_peer(world, elsewhere), "tor").is_ok());
}

#[test]
fn a_source_of_another_family_is_an_obstacle() {
    let mut tor = peer("tor", "10.0.0.254");
    let ip = "2001:db8::1".parse().unwrap();
    tor.source = Some(ip);
    let settings = settings(&with_peer(world(), tor), "tor");
    assert_eq!(settings, Err(Obstacle::SourceFamily(ip)));
}

#[test]
fn where_somebody_elses_frr_k8s_speaks_only_peers_that_say_so_have_a_session() {
    let mut local = local("n1");
    local.bgp_type = BgpType::FrrK8sExternal;
    let mut own = peer("own", "10.0.0.253");
    let key = "heliograph.io/own-bgp".to_owned();
    own.annotations = BTreeMap::from([(key, "true".to_owned())]);
    let plan = plan_of(&with_peer(announcing(), own), &local);
    let session = |name: &str| plan.bgp[&PeerName::from(name)].settings.clone();
    assert_eq!(session("tor"), Err(Obstacle::ForeignSpeaker));
    assert!(session("own").is_ok());
    assert_eq!(plan.problems, BTreeSet::new(), "it is what was asked for");
}

#[test]
fn a_peer_of_somebody_elses_frr_configuration_is_left_to_it_and_a_problem() {
    let configuration = json!({
        "metadata": {"namespace": "frr-k8s-system", "name": "edge"},
        "spec": {"bgp": {"routers": [{"asn": 64512, "neighbors": [{"asn": 64513, "address": "10.0.0.254"}]}]}},
    });
    let mut local = local("n1");
    local.foreign = ForeignPeers::of(&[configuration]);
    let mut own = peer("tor", "10.0.0.254");
    let other = peer("other", "10.0.0.253");
    let world = with_peer(announcing(), other);
    let plan = plan_of(&world, &local);
    let session = |plan: &Plan, name: &str| plan.bgp[&PeerName::from(name)].settings.clone();
    let why = Obstacle::ForeignConfiguration("frr-k8s-system/edge".to_owned());
    assert_eq!(session(&plan, "tor"), Err(why.clone()));
    assert!(session(&plan, "other").is_ok());
    let problems: Vec<String> = plan.problems.iter().map(ToString::to_string).collect();
    let told = "FRRConfiguration frr-k8s-system/edge has it, so that somebody else's frr-k8s speaks to it, and there is no heliograph.io/own-bgp: \"true\"";
    assert!(
        matches!(&*problems, [only] if only.ends_with(told)),
        "{problems:?}"
    );
    let story = explain(&world, &members(&world), &Held::new(), &local, &id("web")).unwrap();
    assert!(story.to_string().contains(told), "{story}");
    own.annotations = BTreeMap::from([("heliograph.io/own-bgp".to_owned(), "true".to_owned())]);
    let plan = plan_of(&with_peer(announcing(), own), &local);
    assert!(session(&plan, "tor").is_ok());
    assert_eq!(plan.problems, BTreeSet::new());
}

#[test]
fn every_type_is_read_by_its_word_and_no_word_is_native() {
    for known in BgpType::ALL {
        assert_eq!(known.as_str().parse(), Ok(known));
    }
    assert_eq!("".parse(), Ok(BgpType::Native));
    let refused = "bird".parse::<BgpType>();
    let why = "\"bird\" is none of native, frr, frr-k8s, frr-k8s-external";
    assert_eq!(refused, Err(why.to_owned()));
}

#[test]
fn annotations_of_a_peer_are_in_its_settings() {
    let mut tor = peer("tor", "10.0.0.254");
    tor.annotations = BTreeMap::from([
        ("heliograph.io/gtsm".to_owned(), "require".to_owned()),
        ("heliograph.io/own-bgp".to_owned(), "true".to_owned()),
        ("heliograph.io/drain-prepend".to_owned(), "3".to_owned()),
    ]);
    let settings = settings(&with_peer(world(), tor), "tor").unwrap();
    assert!(settings.requires_ttl_255 && settings.dials_anyway);
    assert_eq!(settings.drain_prepends, 3);
}

#[test]
fn a_node_has_the_peers_that_select_it() {
    let mut tor = peer("tor", "10.0.0.254");
    tor.node_selectors = labelled("rack", "a");
    let world = with_peer(announcing(), tor);
    assert!(plan_of(&world, &local("n1")).bgp.is_empty());
    assert_eq!(
        silent(&world, "n1", "web"),
        Reason::NoRoute(Unrouted::NoPeer)
    );
    let mut me = node("n1");
    me.labels.insert("rack".into(), "a".into());
    let world = put(world, Object::Node(me));
    assert_eq!(routes(&world, "tor").len(), 1);
    assert!(plan_of(&world, &local("n2")).bgp.is_empty());
}

#[test]
fn metallb_4_1_two_advertisements_of_one_prefix_unite_their_communities() {
    let mut one = bgp_advertisement("one");
    one.communities.insert(community(1, 1));
    let mut two = bgp_advertisement("two");
    two.communities.extend([community(1, 1), community(2, 2)]);
    let large = CommunityValue::Large(1, 2, 3);
    two.communities.insert(CommunityRef::Value(large));
    let world = with_ad(with_ad(announcing(), one), two);
    let expected = "192.0.2.10/32 local-pref 0, communities 1:1 2:2 large:1:2:3";
    assert_eq!(routes(&world, "tor"), [expected]);
}

#[test]
fn metallb_4_1_two_lengths_make_two_prefixes_with_attributes_of_their_own() {
    let mut wide = bgp_advertisement("wide");
    wide.aggregation_length = 24;
    wide.local_pref = 50;
    let world = with_ad(announcing(), wide);
    assert_eq!(
        routes(&world, "tor"),
        ["192.0.2.0/24 local-pref 50", "192.0.2.10/32 local-pref 0"]
    );
}

#[test]
fn metallb_4_1_one_prefix_with_two_local_prefs_is_not_announced() {
    let mut other = bgp_advertisement("other");
    other.local_pref = 50;
    let world = with_ad(announcing(), other);
    let reason = silent(&world, "n1", "web");
    assert_eq!(reason.metallb_name(), "conflictingAdvertisements");
    let told = "BGPAdvertisements all and other give 192.0.2.10/32 different localPref";
    assert_eq!(reason.to_string(), told);
    assert_eq!(routes(&world, "tor"), [""; 0]);
}

#[test]
fn local_prefs_conflict_by_family_and_by_shared_peer_only() {
    let mut other = bgp_advertisement("other");
    other.local_pref = 50;
    other.aggregation_length = 24;
    // The IPv6 length is the same, but the service has no IPv6 address.
    let world = with_ad(announcing(), other.clone());
    assert_eq!(routes(&world, "tor").len(), 2);
    other.aggregation_length = 32;
    other.peers.insert("spine".into());
    let world = with_peer(with_ad(announcing(), other), peer("spine", "10.0.0.253"));
    let mut all = bgp_advertisement("all");
    all.peers.insert("tor".into());
    let world = with_ad(world, all);
    assert_eq!(routes(&world, "tor"), ["192.0.2.10/32 local-pref 0"]);
    assert_eq!(routes(&world, "spine"), ["192.0.2.10/32 local-pref 50"]);
}

#[test]
fn an_advertisement_goes_to_its_peers_and_a_name_without_a_peer_is_a_problem() {
    let mut all = bgp_advertisement("all");
    all.peers.extend(["tor".into(), "gone".into()]);
    let world = with_peer(with_ad(announcing(), all), peer("spine", "10.0.0.253"));
    assert_eq!(routes(&world, "tor").len(), 1);
    assert_eq!(routes(&world, "spine"), [""; 0]);
    let told = "plan: BGPAdvertisement metallb-system/all: spec.peers: there is no BGPPeer gone";
    assert_eq!(problems(&world), [told]);
    let mut all = bgp_advertisement("all");
    all.peers.insert("gone".into());
    let world = with_ad(world, all);
    assert_eq!(
        silent(&world, "n1", "web"),
        Reason::NoRoute(Unrouted::OtherPeers)
    );
}

#[test]
fn an_unnamed_community_is_waited_for_and_nothing_is_announced_without_it() {
    let mut all = bgp_advertisement("all");
    all.communities
        .insert(CommunityRef::Named("no-export".into()));
    let mut world = announcing();
    world.gone(&ObjectKey::new(Kind::BgpAdvertisement, CONFIG, "all"));
    let world = with_ad(world, all);
    assert_eq!(routes(&world, "tor"), [""; 0]);
    let why = "no Community gives \"no-export\" a value yet: until then it announces nothing";
    assert_eq!(
        silent(&world, "n1", "web").to_string(),
        format!("BGPAdvertisement all: {why}")
    );
    let told = format!("plan: BGPAdvertisement metallb-system/all: spec.communities: {why}");
    assert_eq!(problems(&world), [told]);
    let names = Community {
        name: "names".into(),
        namespace: CONFIG.into(),
        created: None,
        communities: [("no-export".to_owned(), "65535:65281".to_owned())].into(),
    };
    let world = put(world, Object::Community(names));
    let told = "192.0.2.10/32 local-pref 0, communities 65535:65281";
    assert_eq!(routes(&world, "tor"), [told]);
    assert_eq!(problems(&world), [""; 0]);
}

#[test]
fn metallb_4_1_an_advertisement_that_is_edited_to_an_unknown_community_stays_as_it_was() {
    let names = |value: &str| {
        Object::Community(Community {
            name: "names".into(),
            namespace: CONFIG.into(),
            created: None,
            communities: [("mine".to_owned(), value.to_owned())].into(),
        })
    };
    let mut all = bgp_advertisement("all");
    all.communities.insert(CommunityRef::Named("mine".into()));
    let mut world = put(with_ad(announcing(), all.clone()), names("1:2"));
    let told = ["192.0.2.10/32 local-pref 0, communities 1:2"];
    assert_eq!(routes(&world, "tor"), told);
    // A name that nobody gives, and another length that is not in force with it.
    all.communities.insert(CommunityRef::Named("later".into()));
    all.aggregation_length = 24;
    world = with_ad(world, all.clone());
    assert_eq!(routes(&world, "tor"), told);
    let problem = "plan: BGPAdvertisement metallb-system/all: spec.communities: no Community gives \"later\" a value yet: \
                   until then its version before stays in force";
    assert_eq!(problems(&world), [problem]);
    // The values are those of then, even if nobody gives them any more.
    world.gone(&ObjectKey::new(Kind::Community, CONFIG, "names"));
    assert_eq!(routes(&world, "tor"), told);
    let mut both = names("1:3");
    if let Object::Community(both) = &mut both {
        both.communities
            .insert("later".to_owned(), "1:4".to_owned());
    }
    world = put(world, both);
    let told = ["192.0.2.0/24 local-pref 0, communities 1:3 1:4"];
    assert_eq!(routes(&world, "tor"), told);
    assert_eq!(problems(&world), [""; 0]);
    // Deleted and written anew it is a new one, and waits.
    all.communities.insert(CommunityRef::Named("never".into()));
    world.gone(&ObjectKey::new(Kind::BgpAdvertisement, CONFIG, "all"));
    world = with_ad(world, all);
    assert_eq!(routes(&world, "tor"), [""; 0]);
}

#[test]
fn one_unready_advertisement_takes_nothing_from_another() {
    let mut other = bgp_advertisement("other");
    other
        .communities
        .insert(CommunityRef::Named("later".into()));
    let world = with_ad(announcing(), other);
    assert_eq!(routes(&world, "tor"), ["192.0.2.10/32 local-pref 0"]);
}

#[test]
fn metallb_1_3_a_route_has_at_most_63_communities() {
    let world = |count: u16, more: u16| {
        let mut all = bgp_advertisement("all");
        all.communities = (0..count).map(|low| community(1, low)).collect();
        let mut other = bgp_advertisement("other");
        other.communities = (0..more).map(|low| community(2, low)).collect();
        with_ad(with_ad(announcing(), all), other)
    };
    assert_eq!(routes(&world(63, 0), "tor").len(), 1);
    // The second advertisement is still good.
    assert_eq!(routes(&world(64, 0), "tor"), ["192.0.2.10/32 local-pref 0"]);
    assert_eq!(problems(&world(64, 0)).len(), 1);
    let prefix = Prefix::of("192.0.2.10".parse().unwrap(), 32);
    let unrouted = Unrouted::TooManyCommunities { prefix, count: 64 };
    let reason = silent(&world(63, 1), "n1", "web");
    assert_eq!(reason, Reason::NoRoute(unrouted));
}

#[test]
fn metallb_4_1_policy_local_announces_where_endpoints_are_and_cluster_where_any_is() {
    let world = with_local(announcing(), "api", "192.0.2.20", &["n2"]);
    let outcomes = |node: &str| {
        let plan = plan_of(&world, &local(node));
        ["web", "api"].map(|name| plan.bgp_outcomes[&id(name)].to_string())
    };
    assert_eq!(
        outcomes("n1"),
        [
            "192.0.2.10/32 to tor",
            "this node has no endpoint that can serve, and the policy is Local"
        ]
    );
    assert_eq!(
        outcomes("n2"),
        ["192.0.2.10/32 to tor", "192.0.2.20/32 to tor"]
    );
}

#[test]
fn metallb_4_1_without_endpoints_the_reason_follows_the_policy() {
    let world = with(announcing(), service("web", &["192.0.2.10"]), &[]);
    assert_eq!(silent(&world, "n1", "web"), Reason::NoEndpoints);
    let world = with(world, local_policy(service("web", &["192.0.2.10"])), &[]);
    let unfit = Reason::Unfit(Unfit::NoLocalEndpoints);
    assert_eq!(silent(&world, "n1", "web"), unfit);
}

#[test]
fn metallb_4_1_the_reasons_come_in_order() {
    let mut me = node("n1");
    me.network_unavailable = true;
    me.labels
        .insert(crate::node::EXCLUDE_LABEL.into(), String::new());
    let world = put(announcing(), Object::Node(me.clone()));
    let world = with(world, service("web", &["192.0.2.10"]), &[]);
    let check = |world: &World, expected: &str| {
        assert_eq!(silent(world, "n1", "web").metallb_name(), expected);
    };
    check(&world, "nodeNetworkUnavailable");
    let mut other = bgp_advertisement("other");
    other.local_pref = 1;
    check(&with_ad(world.clone(), other), "conflictingAdvertisements");
    let mut picky = bgp_advertisement("all");
    picky.service_selectors = labelled("app", "none");
    check(&with_ad(world.clone(), picky), "noMatchingAdvertisement");
    let mut elsewhere = bgp_advertisement("all");
    elsewhere.node_selectors = labelled("rack", "none");
    check(&with_ad(world.clone(), elsewhere), "notOwner");
    check(
        &with(world.clone(), service("web", &[]), &[]),
        "noIPAllocated",
    );
    me.network_unavailable = false;
    let world = put(world, Object::Node(me));
    check(&world, "nodeLabeledExcludeBalancers");
    let mut ignoring = local("n1");
    ignoring.rules.ignores_exclude_label = true;
    let outcome = plan_of(&world, &ignoring).bgp_outcomes[&id("web")].clone();
    assert_eq!(outcome, BgpOutcome::Silent(Reason::NoEndpoints));
}

#[test]
fn a_drain_leaves_routes_to_the_sessions() {
    let mut draining = local("n1");
    draining.is_draining = true;
    assert_eq!(
        routes_of(&plan_of(&announcing(), &draining), "tor").len(),
        1
    );
}

#[test]
fn an_aggregated_prefix_stays_while_a_service_in_it_is_announced() {
    let mut wide = bgp_advertisement("all");
    wide.aggregation_length = 24;
    let world = with_ad(announcing(), wide);
    let world = with(world, service("api", &["192.0.2.20"]), &["n1"]);
    assert_eq!(routes(&world, "tor"), ["192.0.2.0/24 local-pref 0"]);
    let world = with(world, service("web", &["192.0.2.10"]), &[]);
    assert_eq!(routes(&world, "tor"), ["192.0.2.0/24 local-pref 0"]);
    let world = with(world, service("api", &["192.0.2.20"]), &[]);
    assert_eq!(routes(&world, "tor"), [""; 0]);
}

#[test]
fn a_prefix_that_reaches_past_the_range_of_an_address_is_not_announced() {
    let mut wide = bgp_advertisement("all");
    wide.aggregation_length = 23;
    let world = with_ad(announcing(), wide);
    let prefix = Prefix::of("192.0.2.10".parse().unwrap(), 23);
    let range = pool().ranges[0];
    let unrouted = Unrouted::PrefixTooShort { prefix, range };
    assert_eq!(silent(&world, "n1", "web"), Reason::NoRoute(unrouted));
    let told = "plan: BGPAdvertisement metallb-system/all: spec.aggregationLength: \
                23 reaches past 192.0.2.0-192.0.2.255 of IPAddressPool main";
    assert_eq!(problems(&world), [told]);
}

#[test]
fn a_range_that_is_added_to_a_pool_takes_nothing_from_the_others() {
    let mut wide = bgp_advertisement("all");
    wide.aggregation_length = 24;
    let mut main = pool();
    main.ranges.push(AddressRange {
        first: "198.51.100.0".parse().unwrap(),
        last: "198.51.100.15".parse().unwrap(),
    });
    let world = put(with_ad(announcing(), wide), Object::Pool(main));
    let world = with(world, service("api", &["198.51.100.1"]), &["n1"]);
    assert_eq!(routes(&world, "tor"), ["192.0.2.0/24 local-pref 0"]);
    assert_eq!(problems(&world).len(), 1);
}

#[test]
fn services_of_one_address_with_one_advertisement_make_one_route() {
    let world = with_ad(peered(), bgp_advertisement("all"));
    let world = with(
        world,
        sharing(service("a", &["192.0.2.10"]), "k", 80),
        &["n1"],
    );
    let world = with(
        world,
        sharing(service("b", &["192.0.2.10"]), "k", 81),
        &["n1"],
    );
    assert_eq!(routes(&world, "tor"), ["192.0.2.10/32 local-pref 0"]);
}

/// Two services that share an address and have an advertisement each, by label.
fn apart(pref: [u32; 2]) -> World {
    let mut world = peered();
    for (i, name) in ["b", "a"].into_iter().enumerate() {
        let mut ad = bgp_advertisement(name);
        ad.service_selectors = labelled("app", name);
        ad.local_pref = pref[i];
        ad.communities
            .insert(community(1, u16::try_from(i).unwrap()));
        let port = 80 + u16::try_from(i).unwrap();
        let mut service = sharing(service(name, &["192.0.2.10"]), "k", port);
        service.labels.insert("app".into(), name.into());
        let second = i64::try_from(i).unwrap();
        service.created = Some(jiff::Timestamp::from_second(second).unwrap());
        world = with(with_ad(world, ad), service, &["n1"]);
    }
    world
}

#[test]
fn metallb_4_1_services_that_share_an_address_unite_their_communities() {
    let told = "192.0.2.10/32 local-pref 7, communities 1:0 1:1";
    assert_eq!(routes(&apart([7, 7]), "tor"), [told]);
}

#[test]
fn of_services_that_disagree_about_one_prefix_the_older_has_it() {
    let world = apart([7, 8]);
    let told = "192.0.2.10/32 local-pref 7, communities 1:0";
    assert_eq!(routes(&world, "tor"), [told]);
    let reason = silent(&world, "n1", "a");
    assert_eq!(reason.metallb_name(), "conflictingAdvertisements");
    let why = "BGPAdvertisements b and a give 192.0.2.10/32 different localPref, and default/b has it first";
    assert_eq!(reason.to_string(), why);
    let world = with(world, service("b", &["192.0.2.11"]), &["n1"]);
    let told = "192.0.2.10/32 local-pref 8, communities 1:1";
    assert_eq!(routes(&world, "tor"), [told]);
}

#[test]
fn a_duplicate_has_no_route() {
    let world = with(announcing(), service("zzz", &["192.0.2.10"]), &["n1"]);
    let reason = silent(&world, "n1", "zzz");
    assert!(
        matches!(reason, Reason::DuplicateAddress { .. }),
        "{reason}"
    );
    assert_eq!(routes(&world, "tor").len(), 1);
}

#[test]
fn an_address_of_a_node_has_no_route() {
    let mut other = node("n2");
    other.addresses = vec!["192.0.2.10".parse().unwrap()];
    let world = put(announcing(), Object::Node(other));
    let reason = silent(&world, "n1", "web");
    assert!(matches!(reason, Reason::NodeAddress { .. }), "{reason}");
}

#[test]
fn each_family_goes_to_the_peers_that_carry_it() {
    let world = with_ad(peered(), bgp_advertisement("all"));
    let world = with(
        world,
        service("web", &["192.0.2.10", "2001:db8::10"]),
        &["n1"],
    );
    let plan = plan_of(&world, &local("n1"));
    let told = "192.0.2.10/32 to tor; to no peer: 2001:db8::10";
    assert_eq!(plan.bgp_outcomes[&id("web")].to_string(), told);
    let world = with_peer(world, peer("six", "2001:db8::fe"));
    assert_eq!(routes(&world, "tor"), ["192.0.2.10/32 local-pref 0"]);
    assert_eq!(routes(&world, "six"), ["2001:db8::10/128 local-pref 0"]);
    let world = with(world, service("web", &["2001:db8::10"]), &["n1"]);
    let mut world = world;
    world.gone(&crate::ObjectKey::new(Kind::BgpPeer, CONFIG, "six"));
    let unrouted = Unrouted::NoFamily(speaker_proto::bgp::Family::V6);
    assert_eq!(silent(&world, "n1", "web"), Reason::NoRoute(unrouted));
}

#[test]
fn annotations_of_an_advertisement_are_told() {
    let annotated = |name: &str, annotations: &[(&str, &str)]| {
        let mut ad = bgp_advertisement(name);
        let annotations = annotations.iter();
        let own = annotations.map(|(k, v)| (format!("heliograph.io/{k}"), (*v).to_owned()));
        ad.annotations = own.collect();
        ad
    };
    let all = annotated(
        "all",
        &[("prepend", "3"), ("med", "50"), ("link-bandwidth", "1000")],
    );
    let world = with_ad(announcing(), all);
    let told = "192.0.2.10/32 local-pref 0, med 50, prepend 3, link-bandwidth 1000";
    assert_eq!(routes(&world, "tor"), [told]);
    // Who says nothing agrees with everybody.
    let world = with_ad(world, bgp_advertisement("plain"));
    assert_eq!(routes(&world, "tor"), [told]);
    let world = with_ad(world, annotated("other", &[("med", "51")]));
    let why = "BGPAdvertisements all and other give 192.0.2.10/32 different heliograph.io/med";
    assert_eq!(silent(&world, "n1", "web").to_string(), why);
}

#[test]
fn link_bandwidth_by_endpoints_counts_those_on_the_node_and_only_for_policy_local() {
    let mut all = bgp_advertisement("all");
    let key = "heliograph.io/link-bandwidth".to_owned();
    all.annotations.insert(key, "endpoints".into());
    let world = with_ad(announcing(), all);
    assert_eq!(routes(&world, "tor"), ["192.0.2.10/32 local-pref 0"]);
    let world = with_local(world, "api", "192.0.2.20", &["n1", "n2", "n1"]);
    let told = |node: &str| routes_of(&plan_of(&world, &local(node)), "tor")[1].clone();
    assert_eq!(
        told("n1"),
        "192.0.2.20/32 local-pref 0, link-bandwidth 2500000"
    );
    assert_eq!(
        told("n2"),
        "192.0.2.20/32 local-pref 0, link-bandwidth 1250000"
    );
}

#[test]
fn peers_that_are_told_the_same_share_one_table_and_keep_it_while_nothing_changes() {
    let world = with_peer(announcing(), peer("spine", "10.0.0.253"));
    let mut memo = Memo::default();
    let mut plan_now = |world: &World| {
        plan(
            world,
            &members(world),
            &Held::new(),
            &local("n1"),
            &mut memo,
        )
    };
    let routes = |plan: &Plan, peer: &str| Arc::clone(&plan.bgp[&PeerName::from(peer)].routes);
    let first = plan_now(&world);
    assert!(Arc::ptr_eq(
        &routes(&first, "tor"),
        &routes(&first, "spine")
    ));
    let mut later = node("n2");
    later.labels.insert("x".into(), "y".into());
    let world = put(world, Object::Node(later));
    let second = plan_now(&world);
    assert!(Arc::ptr_eq(&routes(&first, "tor"), &routes(&second, "tor")));
    let world = with(world, service("api", &["192.0.2.20"]), &["n1"]);
    let third = plan_now(&world);
    let told = routes(&third, "tor");
    assert_eq!(told.len(), 2);
    let mut attributes = told.values();
    let (Some(a), Some(b)) = (attributes.next(), attributes.next()) else {
        panic!("two routes");
    };
    assert!(Arc::ptr_eq(a, b));
}
