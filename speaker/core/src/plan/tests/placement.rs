//! Where groups are, under each placement.

use super::*;
use crate::election::Placement;

/// Twelve services with an address each.
fn dozen() -> World {
    (10..22).fold(world(), |world, last| {
        let service = service(&format!("s{last}"), &[&format!("192.0.2.{last}")]);
        with(world, service, &["n1"])
    })
}

/// Who owns each group, as `viewer` works it out.
fn owners(
    world: &World,
    placement: Placement,
    alive: &[&str],
    holders: &BTreeMap<GroupKey, NodeName>,
    viewer: &str,
) -> BTreeMap<GroupKey, NodeName> {
    let names = alive.iter().map(|name| name.parse::<NodeName>().unwrap());
    let members = Members::from_iter(names.clone()).holding(holders.clone());
    let mut local = local(viewer);
    local.rules.placement = placement;
    let wishes = wishes(world, &members, &local, &mut Memo::default());
    let owner = |id| {
        names
            .clone()
            .find(|name| crate::members::node_id(name) == id)
    };
    let owners = wishes.iter();
    owners
        .filter_map(|(group, wish)| Some((*group, wish.owner.and_then(owner)?)))
        .collect()
}

fn moved(before: &BTreeMap<GroupKey, NodeName>, after: &BTreeMap<GroupKey, NodeName>) -> usize {
    after
        .iter()
        .filter(|(group, node)| before.get(group) != Some(node))
        .count()
}

fn loads(owners: &BTreeMap<GroupKey, NodeName>) -> Vec<usize> {
    let mut loads: BTreeMap<&NodeName, usize> = BTreeMap::new();
    owners
        .values()
        .for_each(|node| *loads.entry(node).or_default() += 1);
    loads.into_values().collect()
}

#[test]
fn sticky_groups_stay_when_a_better_node_comes_back() {
    let world = dozen();
    let none = BTreeMap::new();
    let two = owners(&world, Placement::Sticky, &["n1", "n3"], &none, "n1");
    let first = owners(&world, Placement::First, &["n1", "n2", "n3"], &none, "n1");
    assert!(moved(&two, &first) > 0, "n2 would take some");
    let stuck = owners(&world, Placement::Sticky, &["n1", "n2", "n3"], &two, "n1");
    assert_eq!(stuck, two);
}

#[test]
fn sticky_groups_leave_a_dead_node_for_the_first_in_the_order() {
    let world = dozen();
    let none = BTreeMap::new();
    let three = owners(&world, Placement::Sticky, &["n1", "n2", "n3"], &none, "n1");
    let two = owners(&world, Placement::Sticky, &["n1", "n3"], &three, "n1");
    let of_n2 = three.values().filter(|node| node.as_str() == "n2").count();
    assert_eq!(moved(&three, &two), of_n2);
}

#[test]
fn an_even_spread_gives_every_node_its_share_and_moves_no_more_than_that_takes() {
    let world = dozen();
    let none = BTreeMap::new();
    let two = owners(&world, Placement::Even, &["n1", "n3"], &none, "n1");
    assert_eq!(loads(&two), [6, 6]);
    let three = owners(&world, Placement::Even, &["n1", "n2", "n3"], &two, "n1");
    assert_eq!(loads(&three), [4, 4, 4]);
    assert_eq!(moved(&two, &three), 4);
    let again = owners(&world, Placement::Even, &["n1", "n2", "n3"], &three, "n1");
    assert_eq!(again, three, "nothing moves at rest");
}

/// The world with an advertisement that says this.
fn saying(world: World, annotations: &[(&str, &str)]) -> World {
    let mut ad = advertisement();
    let annotations = annotations.iter();
    let ours = annotations.map(|(key, value)| (format!("heliograph.io/{key}"), (*value).into()));
    ad.annotations = ours.collect();
    let mut world = world;
    world.put(Ok(Object::L2Advertisement(ad)));
    world
}

#[test]
fn l1_2_an_advertisement_says_where_its_services_are_whatever_the_flag() {
    let (none, all) = (BTreeMap::new(), ["n1", "n2", "n3"]);
    let two = owners(&dozen(), Placement::First, &["n1", "n3"], &none, "n1");
    let then = |annotations: &[(&str, &str)], flag| {
        owners(&saying(dozen(), annotations), flag, &all, &two, "n1")
    };
    let first = owners(&dozen(), Placement::First, &all, &two, "n1");
    assert!(moved(&two, &first) > 0, "n2 would take some");
    let sticky = [("sticky", "true")];
    assert_eq!(then(&sticky, Placement::First), two);
    let hash = [("spread-policy", "hash")];
    assert_eq!(then(&hash, Placement::Sticky), first);
    assert_eq!(then(&[hash[0], sticky[0]], Placement::Even), two);
    for even in [
        &[("spread-policy", "even")][..],
        &[("spread-policy", "even"), sticky[0]],
    ] {
        assert_eq!(loads(&then(even, Placement::First)), [4, 4, 4]);
    }
    let nonsense = [("sticky", "yes"), ("spread-policy", "odd")];
    assert_eq!(
        then(&nonsense, Placement::First),
        first,
        "as if they said nothing"
    );
}

#[test]
fn l1_2_groups_to_be_spread_are_spread_among_each_other() {
    let mut world = dozen();
    let mut ad = advertisement();
    ad.name = "even".into();
    let key = "heliograph.io/spread-policy".to_owned();
    ad.annotations = [(key, "even".to_owned())].into();
    // For half of the services.
    ad.service_selectors = vec![super::announce::selector("half", "even")];
    world.put(Ok(Object::L2Advertisement(ad)));
    for last in 10..16 {
        let mut service = service(&format!("s{last}"), &[&format!("192.0.2.{last}")]);
        service.labels = [("half".to_owned(), "even".to_owned())].into();
        world.put(Ok(Object::Service(service)));
    }
    let (none, all) = (BTreeMap::new(), ["n1", "n2", "n3"]);
    let of = owners(&world, Placement::First, &all, &none, "n1");
    let first = owners(&dozen(), Placement::First, &all, &none, "n1");
    let is_even = |group: &GroupKey| *group < GroupKey("192.0.2.16".parse().unwrap());
    let part = |owners: &BTreeMap<GroupKey, NodeName>, even| {
        let part = owners.iter().filter(|(group, _)| is_even(group) == even);
        part.map(|(group, node)| (*group, node.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(loads(&part(&of, true)), [2, 2, 2]);
    assert_eq!(part(&of, false), part(&first, false));
}

#[test]
fn l1_2_why_says_where_a_group_is_if_not_with_the_first() {
    let local = local("n1");
    let told = |world: &World| {
        let service = id("s10");
        let story = explain(world, &members(world), &Held::new(), &local, &service).unwrap();
        (story.placement.clone(), story.to_string())
    };
    assert_eq!(told(&dozen()).0, None);
    let (placement, text) = told(&saying(dozen(), &[("sticky", "true")]));
    let placement = placement.unwrap();
    assert!(placement.starts_with("sticky: "), "{placement}");
    assert!(
        text.contains(&format!("placement:             {placement}")),
        "{text}"
    );
}

#[test]
fn every_node_works_out_the_same_placement() {
    let world = dozen();
    let all = ["n1", "n2", "n3"];
    for placement in [Placement::First, Placement::Sticky, Placement::Even] {
        let holders = owners(&world, placement, &["n1", "n2"], &BTreeMap::new(), "n1");
        let [a, b, c] = all.map(|viewer| owners(&world, placement, &all, &holders, viewer));
        assert_eq!((&a, &a), (&b, &c), "{placement}");
    }
}
