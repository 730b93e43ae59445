//! What is remembered never shows.

use super::*;
use crate::crd::BgpAdvertisement;
use crate::election::{Election, Placement};
use proptest::prelude::*;

/// One change of the world or of who is alive.
#[derive(Clone, Debug)]
enum Change {
    Endpoints(u8, Vec<u8>),
    Service {
        name: u8,
        ip: u8,
        is_local: bool,
        is_shared: bool,
    },
    NoService(u8),
    Unavailable(u8, bool),
    NoNode(u8),
    Preferred(Option<u8>),
    Alive(u8, bool),
    Xxh3(bool),
    Peer(u8, bool),
    BgpAdvertisement(Box<BgpAdvertisement>),
    NoBgpAdvertisement(u8),
    Held(u8, u8),
    Link(bool),
    Placement(u8),
    Holder(u8, u8),
    Shunned(u8, u8),
    Asks(u8, Option<u8>),
    Listens(u8),
}

fn changes() -> impl Strategy<Value = Change> {
    let nodes = proptest::collection::vec(0_u8..12, 0..4);
    prop_oneof![
        3 => (0_u8..6, nodes).prop_map(|(name, nodes)| Change::Endpoints(name, nodes)),
        3 => (0_u8..6, 0_u8..5, any::<bool>(), any::<bool>()).prop_map(
            |(name, ip, is_local, is_shared)| Change::Service { name, ip, is_local, is_shared }
        ),
        1 => (0_u8..6).prop_map(Change::NoService),
        2 => (0_u8..12, any::<bool>()).prop_map(|(n, is)| Change::Unavailable(n, is)),
        1 => (0_u8..12).prop_map(Change::NoNode),
        1 => proptest::option::of(0_u8..12).prop_map(Change::Preferred),
        2 => (0_u8..12, any::<bool>()).prop_map(|(n, is)| Change::Alive(n, is)),
        1 => any::<bool>().prop_map(Change::Xxh3),
        1 => (0_u8..3, any::<bool>()).prop_map(|(n, is)| Change::Peer(n, is)),
        2 => bgp_advertisements(),
        1 => (0_u8..3).prop_map(Change::NoBgpAdvertisement),
        2 => (0_u8..5, 0_u8..4).prop_map(|(ip, how)| Change::Held(ip, how)),
        1 => any::<bool>().prop_map(Change::Link),
        1 => (0_u8..3).prop_map(Change::Placement),
        2 => (0_u8..5, 0_u8..12).prop_map(|(ip, node)| Change::Holder(ip, node)),
        2 => (0_u8..5, 0_u8..12).prop_map(|(ip, node)| Change::Shunned(ip, node)),
        2 => (0_u8..6, proptest::option::of(0_u8..5)).prop_map(|(name, what)| Change::Asks(name, what)),
        1 => (0_u8..5).prop_map(Change::Listens),
    ]
}

fn bgp_advertisements() -> impl Strategy<Value = Change> {
    let length = prop_oneof![Just(24_u8), Just(31), Just(32)];
    let to = proptest::option::of(0_u8..3);
    (0_u8..3, length, 0_u32..2, to, any::<bool>()).prop_map(
        |(number, length, local_pref, to, is_weighted)| {
            let mut ad = bgp::bgp_advertisement(&name(number));
            ad.aggregation_length = length;
            ad.local_pref = local_pref;
            ad.peers.extend(to.map(name));
            let key = "heliograph.io/link-bandwidth".to_owned();
            let weighted = is_weighted.then(|| (key, "endpoints".to_owned()));
            ad.annotations.extend(weighted);
            Change::BgpAdvertisement(Box::new(ad))
        },
    )
}

const PLACEMENTS: [Placement; 3] = [Placement::First, Placement::Sticky, Placement::Even];

fn name(number: u8) -> String {
    format!("n{number}")
}

fn group(ip: u8) -> GroupKey {
    GroupKey([192, 0, 2, ip].into())
}

struct Scene {
    world: World,
    dead: BTreeSet<NodeName>,
    local: Local,
    /// Groups that are elected and yet not held as the others are.
    held: BTreeMap<GroupKey, Holding>,
    holders: BTreeMap<GroupKey, NodeName>,
    shunned: BTreeMap<GroupKey, BTreeSet<NodeName>>,
}

impl Scene {
    fn new() -> Self {
        let mut world = world();
        for number in 0..12 {
            let mut node = node(&name(number));
            node.labels.insert("name".into(), name(number));
            world.put(Ok(Object::Node(node)));
        }
        let mut pool = pool();
        let allowed = ("heliograph.io/allow-service", "echo, steering");
        pool.annotations = [(allowed.0.to_owned(), allowed.1.to_owned())].into();
        world.put(Ok(Object::Pool(pool)));
        Self {
            world,
            dead: BTreeSet::new(),
            local: local("n1"),
            held: BTreeMap::new(),
            holders: BTreeMap::new(),
            shunned: BTreeMap::new(),
        }
    }

    /// With so many services that a few changes are looked at alone; they hold no address, so that they cost little.
    fn crowded() -> Self {
        let mut scene = Self::new();
        for number in 0..400 {
            let name = format!("s{}-{number:03}", number % 6);
            scene.world.put(Ok(Object::Service(service(&name, &[]))));
        }
        scene
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Endpoints(name, nodes) => self.serve(*name, nodes),
            Change::Service {
                name,
                ip,
                is_local,
                is_shared,
            } => {
                let mut service = service(&format!("s{name}"), &[&format!("192.0.2.{ip}")]);
                if *is_shared {
                    service = sharing(service, "k", u16::from(*name));
                }
                if *is_local {
                    service = local_policy(service);
                }
                self.world.put(Ok(Object::Service(service)));
            }
            Change::NoService(name) => {
                let key = crate::ObjectKey::new(Kind::Service, "default", format!("s{name}"));
                self.world.gone(&key);
            }
            Change::Unavailable(number, is) => {
                let mut node = node(&name(*number));
                node.network_unavailable = *is;
                node.labels.insert("name".into(), name(*number));
                self.world.put(Ok(Object::Node(node)));
            }
            Change::NoNode(number) => {
                self.world
                    .gone(&crate::ObjectKey::new(Kind::Node, "", name(*number)));
            }
            Change::Preferred(number) => self.prefer(*number),
            Change::Alive(number, true) => {
                self.dead.remove(&name(*number).parse().unwrap());
            }
            Change::Alive(number, false) => {
                self.dead.insert(name(*number).parse().unwrap());
            }
            Change::Xxh3(is) => {
                let elections = [Election::Sha256, Election::Xxh3];
                self.local.rules.election = elections[usize::from(*is)];
            }
            Change::Peer(number, true) => {
                let peer = bgp::peer(&name(*number), &format!("10.0.0.{number}"));
                self.world.put(Ok(Object::BgpPeer(peer)));
            }
            Change::Peer(number, false) => self.gone(Kind::BgpPeer, &name(*number)),
            Change::BgpAdvertisement(ad) => {
                let ad = Object::BgpAdvertisement((**ad).clone());
                self.world.put(Ok(ad));
            }
            Change::NoBgpAdvertisement(number) => {
                self.gone(Kind::BgpAdvertisement, &name(*number));
            }
            Change::Held(ip, how) => self.hold(*ip, *how),
            Change::Link(is_up) => {
                let links = self.local.links.values_mut();
                links.for_each(|link| link.is_up = *is_up);
            }
            Change::Placement(how) => self.local.rules.placement = PLACEMENTS[usize::from(*how)],
            Change::Holder(ip, node) => {
                let node = name(*node).parse().unwrap();
                self.holders.insert(group(*ip), node);
            }
            Change::Shunned(ip, node) => self.shun(group(*ip), &name(*node).parse().unwrap()),
            Change::Asks(name, what) => self.ask(&format!("s{name}"), *what),
            Change::Listens(ip) => self.listen(Vip([192, 0, 2, *ip].into())),
        }
    }

    /// A service has endpoints on these nodes and no others.
    fn serve(&mut self, service: u8, nodes: &[u8]) {
        let nodes: Vec<_> = nodes.iter().map(|n| format!("n{n}")).collect();
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        let slice = slice(&format!("s{service}"), &nodes);
        self.world.put(Ok(Object::EndpointSlice(slice)));
    }

    /// A process of this node listens at this address alone.
    fn listen(&mut self, vip: Vip) {
        let listeners = crate::steering::socket::Listeners {
            vips: BTreeSet::from([vip]),
            ..Default::default()
        };
        self.local.listeners = Arc::new(listeners);
    }

    /// One more who does not answer, or who does again.
    fn shun(&mut self, group: GroupKey, node: &NodeName) {
        let shunned = self.shunned.entry(group).or_default();
        if !shunned.remove(node) {
            shunned.insert(node.clone());
        }
    }

    /// A service asks for something that is done with its packets, in words that mean something or not, or for nothing.
    fn ask(&mut self, name: &str, what: Option<u8>) {
        let Some(service) = self.world.services.get(&id(name)) else {
            return;
        };
        let mut service = Service::clone(service);
        for word in ["echo", "steering", "closed-port"] {
            service.annotations.remove(&format!("heliograph.io/{word}"));
        }
        let words = [
            ("echo", "true"),
            ("steering", "socket"),
            ("steering", "spread"),
            ("closed-port", "drop"), // not allowed
            ("echo", "true"),
        ];
        let asked = what.map(|what| words[usize::from(what)]);
        let asked = asked.map(|(key, word)| (format!("heliograph.io/{key}"), word.to_owned()));
        service.annotations.extend(asked);
        service.proxied = service.ingress.iter().flatten().copied().collect();
        self.world.put(Ok(Object::Service(service)));
    }

    fn hold(&mut self, ip: u8, how: u8) {
        let holds = [
            Hold::Holding,
            Hold::Preparing,
            Hold::Draining,
            Hold::Contested,
        ];
        let holding = Holding {
            hold: holds[usize::from(how)],
            epoch: Epoch(2),
        };
        self.held.insert(group(ip), holding);
    }

    fn gone(&mut self, kind: Kind, name: &str) {
        let key = crate::ObjectKey::new(kind, "metallb-system", name);
        self.world.gone(&key);
    }

    fn prefer(&mut self, number: Option<u8>) {
        use crate::selector::{Operator, Requirement, Selector};
        let mut ad = advertisement();
        ad.preferred_nodes = number
            .map(|number| crate::crd::PreferredNodes {
                weight: 10,
                selector: Selector {
                    requirements: [Requirement {
                        key: "name".into(),
                        operator: Operator::In([name(number)].into()),
                    }]
                    .into(),
                },
            })
            .into_iter()
            .collect();
        self.world.put(Ok(Object::L2Advertisement(ad)));
    }

    fn members(&self) -> Members {
        let names = self.world.nodes.keys();
        let alive = names.filter(|name| !self.dead.contains(name));
        let alive: Members = alive.cloned().collect();
        let alive = alive.holding(self.holders.clone());
        alive.shunning(self.shunned.clone())
    }

    /// Some of the work, and then perhaps never the rest before something else changes.
    fn prepare_in_part(&self, memo: &mut Memo) {
        prepare(&self.world, &self.members(), &self.local, memo, 10);
    }

    /// What is wished, by a memory that saw every change or only some.
    fn wish(&self, memo: &mut Memo) -> Wishes {
        wishes(&self.world, &self.members(), &self.local, memo)
    }

    /// What is elected and planned, if elected means held.
    fn decide(&self, memo: &mut Memo) -> (BTreeSet<GroupKey>, Plan) {
        let members = self.members();
        let elected = elected(&self.world, &members, &self.local, memo);
        let holding = Holding {
            hold: Hold::Holding,
            epoch: Epoch(1),
        };
        let hold = |key: &GroupKey| self.held.get(key).copied().unwrap_or(holding);
        let held = elected.iter().map(|key| (*key, hold(key))).collect();
        let plan = plan(&self.world, &members, &held, &self.local, memo);
        (elected, plan)
    }
}

#[test]
fn the_last_service_may_leave_together_with_a_node() {
    let mut scene = Scene::new();
    let mut memo = Memo::default();
    scene.change(&Change::Service {
        name: 1,
        ip: 1,
        is_local: false,
        is_shared: false,
    });
    scene.decide(&mut memo);
    scene.change(&Change::NoService(1));
    scene.change(&Change::NoNode(3));
    assert_eq!(
        scene.decide(&mut memo),
        (
            BTreeSet::new(),
            Plan {
                is_complete: true,
                ..Plan::default()
            }
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_plan_with_memory_of_many_services_is_the_plan_without(
        steps in proptest::collection::vec(proptest::collection::vec(changes(), 1..4), 1..20),
    ) {
        let mut scene = Scene::crowded();
        let mut memo = Memo::default();
        for changes in &steps {
            changes.iter().for_each(|change| scene.change(change));
            scene.prepare_in_part(&mut memo);
            // Not every plan follows wishes, nor the other way round.
            if changes.len() != 2 {
                prop_assert_eq!(scene.wish(&mut memo), scene.wish(&mut Memo::default()));
            }
            if changes.len() != 3 {
                prop_assert_eq!(scene.decide(&mut memo), scene.decide(&mut Memo::default()));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_plan_with_memory_is_the_plan_without(
        changes in proptest::collection::vec(changes(), 1..40),
    ) {
        let mut scene = Scene::new();
        let mut memo = Memo::default();
        for change in &changes {
            scene.change(change);
            scene.prepare_in_part(&mut memo);
            prop_assert_eq!(scene.wish(&mut memo), scene.wish(&mut Memo::default()));
            prop_assert_eq!(scene.decide(&mut memo), scene.decide(&mut Memo::default()));
        }
    }

    #[test]
    fn a_plan_prepared_over_many_changes_is_the_same(
        changes in proptest::collection::vec(changes(), 1..40),
    ) {
        let mut scene = Scene::new();
        let mut memo = Memo::default();
        for change in &changes {
            scene.change(change);
            scene.prepare_in_part(&mut memo);
        }
        prop_assert_eq!(scene.decide(&mut memo), scene.decide(&mut Memo::default()));
    }

    #[test]
    fn peers_are_told_what_is_announced_and_nothing_else(
        changes in proptest::collection::vec(changes(), 20..60),
    ) {
        let mut scene = Scene::new();
        changes.iter().for_each(|change| scene.change(change));
        let (_, plan) = scene.decide(&mut Memo::default());
        let announced = plan.bgp_outcomes.values().filter_map(|outcome| match outcome {
            BgpOutcome::Announced(announced) => Some(announced),
            BgpOutcome::Silent(_) => None,
        });
        let announced: Vec<_> = announced.collect();
        let is_told = |peer: &PeerName, prefix: &Prefix| plan.bgp[peer].routes.contains_key(prefix);
        for one in &announced {
            for peer in one.peers.iter() {
                prop_assert!(one.prefixes.iter().any(|prefix| is_told(peer, prefix)));
            }
            for prefix in &one.prefixes {
                prop_assert!(one.peers.iter().any(|peer| is_told(peer, prefix)));
            }
        }
        for (peer, peer_plan) in &plan.bgp {
            for prefix in peer_plan.routes.keys() {
                let asks = |one: &&Arc<BgpAnnounced>| {
                    one.peers.contains(peer) && one.prefixes.contains(prefix)
                };
                prop_assert!(announced.iter().any(asks));
            }
        }
    }

    #[test]
    fn no_group_has_two_owners_and_each_with_a_candidate_has_one(
        changes in proptest::collection::vec(changes(), 1..20),
    ) {
        let mut scene = Scene::new();
        changes.iter().for_each(|change| scene.change(change));
        scene.change(&Change::Link(true));
        scene.held.clear();
        let mut owners: BTreeMap<GroupKey, usize> = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        let members = scene.members();
        for name in members.names().cloned() {
            scene.local.node = name;
            let (elected, plan) = scene.decide(&mut Memo::default());
            elected.iter().for_each(|key| *owners.entry(*key).or_default() += 1);
            wanted.extend(plan.outcomes.values().filter_map(|outcome| match outcome {
                Outcome::Announced(announced) => Some(announced.group),
                Outcome::Silent(_) => None,
            }));
        }
        prop_assert!(owners.values().all(|count| *count == 1));
        prop_assert_eq!(wanted, owners.into_keys().collect::<BTreeSet<_>>());
    }
}
