//! What holds of any services and pools.

use super::ask::Ask;
use super::ledger::Ledger;
use super::shelf::Shelves;
use super::*;
use crate::crd::{AddressRange, Pool};
use crate::service::{Family, FamilyPolicy, Protocol, ServicePort, TrafficPolicy};
use proptest::prelude::*;
use speaker_proto::shared_map::SharedMap;
use std::collections::BTreeSet;
use std::sync::Arc;

fn service(name: usize, wish: &Wish) -> Service {
    let both = [Family::V4, Family::V6];
    let families = match wish.families {
        0 => vec![Family::V4],
        1 => vec![Family::V6],
        _ => both.to_vec(),
    };
    let mut annotations = BTreeMap::new();
    if !wish.key.is_empty() {
        annotations.insert("metallb.io/allow-shared-ip".to_owned(), wish.key.to_owned());
    }
    if !wish.pool.is_empty() {
        annotations.insert("metallb.io/address-pool".to_owned(), wish.pool.to_owned());
    }
    Service {
        id: ServiceId {
            namespace: "n".into(),
            name: format!("s{name:02}"),
        },
        uid: String::new(),
        created: None,
        labels: BTreeMap::new(),
        annotations,
        is_load_balancer: true,
        class: None,
        cluster_ips: Vec::new(),
        family_policy: match wish.families {
            0 | 1 => FamilyPolicy::SingleStack,
            2 => FamilyPolicy::PreferDualStack,
            _ => FamilyPolicy::RequireDualStack,
        },
        families,
        policy: TrafficPolicy::Cluster,
        is_by_client: false,
        load_balancer_ip: None,
        source_ranges: Vec::new(),
        ports: wish.ports.iter().map(|port| port_of(*port)).collect(),
        selector: BTreeMap::new(),
        ingress: Vec::new(),
        proxied: BTreeSet::new(),
    }
}

fn port_of(port: u16) -> ServicePort {
    ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port,
    }
}

#[derive(Clone, Debug)]
struct Wish {
    families: u8,
    key: &'static str,
    pool: &'static str,
    ports: BTreeSet<u16>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let key = prop_oneof![Just(""), Just("k"), Just("j")];
    let pool = prop_oneof![4 => Just(""), 1 => Just("p0"), 1 => Just("p1"), 1 => Just("none")];
    let ports = prop::collection::btree_set(1_u16..6, 1..4);
    (0_u8..4, key, pool, ports).prop_map(|(families, key, pool, ports)| Wish {
        families,
        key,
        pool,
        ports,
    })
}

/// Short ranges of both families in any order, apart from each other.
fn pools() -> impl Strategy<Value = World> {
    let range = (any::<bool>(), 0_u8..24, 1_u8..8);
    let ranges = prop::collection::vec(range, 1..4);
    let pool = (ranges, any::<bool>(), any::<bool>());
    prop::collection::vec(pool, 0..3).prop_map(|raw| {
        let mut world = World::default();
        let mut base = 0_u32;
        for (i, (ranges, auto_assign, avoid_buggy_ips)) in raw.into_iter().enumerate() {
            let mut addresses = Vec::new();
            for (is_v4, start, count) in ranges {
                base += 64;
                let first = base + u32::from(start);
                addresses.push(short_range(is_v4, first, first + u32::from(count)));
            }
            let name = format!("p{i}");
            let pool = Pool {
                name: name.clone(),
                namespace: "metallb-system".into(),
                created: None,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                ranges: addresses,
                auto_assign,
                avoid_buggy_ips,
                allocation: None,
            };
            world.pools.insert(name, Arc::new(pool));
        }
        for kind in Kind::ALL {
            world.synced(kind);
        }
        world.assignments = Some(Arc::default());
        world
    })
}

fn short_range(is_v4: bool, first: u32, last: u32) -> AddressRange {
    let address = |n: u32| match is_v4 {
        true => IpAddr::V4((0xc000_0200 + n).into()),
        false => IpAddr::V6((0x2001_0db8_u128 << 96 | u128::from(n)).into()),
    };
    AddressRange {
        first: address(first),
        last: address(last),
    }
}

fn with_services(mut world: World, wishes: &[Wish]) -> World {
    world.services = SharedMap::default();
    for (i, wish) in wishes.iter().enumerate() {
        let service = service(i, wish);
        world.services.insert(service.id.clone(), Arc::new(service));
    }
    world
}

/// Every holder may have what it holds, beside all the others.
fn assert_lawful(world: &World, assignments: &Assignments) {
    let mut users: BTreeMap<IpAddr, Vec<&Service>> = BTreeMap::new();
    for (id, assignment) in assignments {
        let service = &world.services[id];
        let families = ask::families(&assignment.ips).unwrap();
        let wanted: BTreeSet<_> = service.families.iter().copied().collect();
        let is_partly = service.family_policy == FamilyPolicy::PreferDualStack;
        assert!(families == wanted || (is_partly && families.is_subset(&wanted)));
        for ip in &assignment.ips {
            assert!(world.pools[&assignment.pool].contains(*ip));
            users.entry(*ip).or_default().push(service);
        }
    }
    for users in users.values() {
        for (i, one) in users.iter().enumerate() {
            for other in &users[i + 1..] {
                let (one, other) = (Ask::of(one), Ask::of(other));
                let key = |ask: &Ask| ask.sharing.as_ref().map(|s| s.key.clone());
                assert!(key(&one).is_some() && key(&one) == key(&other));
                assert!(one.ports.is_disjoint(&other.ports));
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_changes_what_is_held_is_lawful_and_stays(
        world in pools(),
        first in prop::collection::vec(wish(), 0..12),
        second in prop::collection::vec(wish(), 0..12),
    ) {
        let before = with_services(world.clone(), &first);
        let one = allocate(&before, &Assignments::new(), None).assignments;
        assert_lawful(&before, &one);
        let after = with_services(world, &second);
        let two = allocate(&after, &one, None).assignments;
        assert_lawful(&after, &two);
        for (id, held) in &one {
            // Without a change of its own nobody loses anything.
            let is_same = after.services.get(id).is_some_and(|service| *service == before.services[id]);
            if is_same {
                let now = two.get(id).map(|a| a.ips.as_slice()).unwrap_or_default();
                prop_assert!(now.starts_with(&held.ips), "{id}: {:?} then {now:?}", held.ips);
            }
        }
        prop_assert_eq!(&allocate(&after, &two, None).assignments, &two);
    }

    #[test]
    fn the_next_usable_address_is_what_a_full_scan_finds(
        world in pools(),
        wishes in prop::collection::vec(wish(), 0..40),
    ) {
        let services: Vec<_> = wishes.iter().enumerate().map(|(i, wish)| service(i, wish)).collect();
        let mut shelves = Shelves::new(&world);
        let mut ledger = Ledger::default();
        for (i, service) in services.iter().enumerate() {
            let Some(place) = i.checked_rem(world.pools.len()) else { break };
            let ask = Ask::of(service);
            let family = service.families[0];
            let shelf = shelves.at(place);
            let found = shelf.usable(family, &ledger, &ask);
            let addresses = shelf.pool.ranges.iter().flat_map(addresses);
            let usable = |ip: &IpAddr| {
                Family::of(*ip) == family && shelf.pool.contains(*ip) && ledger.may_join(*ip, &ask)
            };
            prop_assert_eq!(found, addresses.into_iter().find(usable));
            if let Some(ip) = found {
                ledger.take(ip, service, &ask);
                shelves.taken(ip, &ask);
            }
        }
    }

    #[test]
    fn blocks_cover_a_range_and_nothing_else(first in 0_u32..2000, count in 0_u32..2000) {
        let range = short_range(true, first, first + count);
        let mut next = Some(range.first);
        for block in range.blocks() {
            prop_assert_eq!(Some(block.first), next);
            let size = 1_u32 << block.host_bits;
            let (IpAddr::V4(low), IpAddr::V4(high)) = (block.first, block.last) else { unreachable!() };
            prop_assert_eq!(low.to_bits() % size, 0);
            prop_assert_eq!(high.to_bits() - low.to_bits(), size - 1);
            next = Some(IpAddr::V4((high.to_bits() + 1).into()));
        }
        let IpAddr::V4(last) = range.last else { unreachable!() };
        prop_assert_eq!(next, Some(IpAddr::V4((last.to_bits() + 1).into())));
    }

    #[test]
    fn allocations_are_read_as_they_were_written(
        world in pools(),
        wishes in prop::collection::vec(wish(), 0..12),
    ) {
        let world = with_services(world, &wishes);
        let assignments = allocate(&world, &Assignments::new(), None).assignments;
        let text = text::render(&assignments);
        prop_assert_eq!(text::parse("allocations.yaml", &text), Ok(assignments));
    }

    #[test]
    fn no_text_of_allocations_makes_the_reader_fall(text in "\\PC{0,200}") {
        let _ = text::parse("allocations.yaml", &text);
    }
}

fn addresses(range: &AddressRange) -> Vec<IpAddr> {
    let blocks = range.blocks().flat_map(|block| {
        let count = 1_u32 << block.host_bits;
        (0..count).map(move |i| match block.first {
            IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() + i).into()),
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() + u128::from(i)).into()),
        })
    });
    blocks.collect()
}
