//! What is published counts, and for how long after it is gone.

use super::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn macs(last: &[u8]) -> BTreeSet<Mac> {
    last.iter()
        .map(|last| Mac([2, 0, 0, 0, 0, *last]))
        .collect()
}

fn record(name: &str, last: &[u8]) -> Value {
    let name = object_name(&node(name)).unwrap();
    object(&name, &macs(last), None)
}

fn known(hardware: &Hardware) -> Vec<(String, usize)> {
    let others = hardware.others(&node("n1")).into_values();
    let mut others: Vec<_> = others
        .map(|other| (other.name.to_string(), other.macs.len()))
        .collect();
    others.sort();
    others
}

#[test]
fn l2_3_what_a_node_publishes_is_read_as_it_was_written() {
    let mut hardware = Hardware::default();
    assert!(hardware.put(&record("n2", &[1, 2])));
    assert!(!hardware.put(&record("n2", &[1, 2])), "nothing new");
    assert!(hardware.put(&record("n1", &[7])));
    let others = hardware.others(&node("n1"));
    assert_eq!(others.len(), 1, "what this node says is not of another");
    let other = &others[&node_id(&node("n2"))];
    assert_eq!((&other.name, &other.macs), (&node("n2"), &macs(&[1, 2])));
}

#[test]
fn l2_3_what_is_gone_counts_for_a_day() {
    let mut hardware = Hardware::default();
    hardware.put(&record("n2", &[1]));
    assert!(hardware.gone("speaker-n2", 1_000));
    assert!(!hardware.gone("speaker-n2", 2_000), "it is gone since then");
    assert!(!hardware.expire(1_000 + 24 * 3_600 - 1));
    assert_eq!(known(&hardware), [("n2".to_owned(), 1)]);
    assert!(hardware.expire(1_000 + 24 * 3_600));
    assert_eq!(known(&hardware), []);
}

#[test]
fn l2_3_what_came_back_does_not_expire() {
    let mut hardware = Hardware::default();
    hardware.put(&record("n2", &[1]));
    hardware.gone("speaker-n2", 1_000);
    assert!(hardware.put(&record("n2", &[1])));
    assert!(!hardware.expire(u64::MAX));
}

#[test]
fn l2_3_the_next_process_knows_it_and_forgets_what_it_does_not_see_again() {
    let mut hardware = Hardware::default();
    hardware.put(&record("n2", &[1]));
    hardware.put(&record("n3", &[2, 3]));
    hardware.gone("speaker-n3", 1_000);
    let mut next = Hardware::parse(&hardware.text(), 5_000).unwrap();
    assert_eq!(known(&next), known(&hardware));
    next.put(&record("n2", &[1]));
    next.expire(1_000 + 24 * 3_600);
    assert_eq!(known(&next), [("n2".to_owned(), 1)]);
    assert!(Hardware::parse("{}", 0).is_err());
    let newer = hardware.text().replace("\"version\":1", "\"version\":2");
    let why = Hardware::parse(&newer, 0).unwrap_err();
    assert_eq!(why, "is heliograph-hardware 2, not heliograph-hardware 1");
}

#[test]
fn what_makes_no_sense_is_nobodys_hardware() {
    let mut hardware = Hardware::default();
    for (name, said) in [
        ("speaker-", "02:00:00:00:00:01"),
        ("speaker-N 2", "02:00:00:00:00:01"),
        ("metallb-excludel2", "02:00:00:00:00:01"),
    ] {
        let object = json!({"metadata": {"name": name}, "data": {"macs": said}});
        assert!(!hardware.put(&object), "{name}");
    }
    let said = "ff:ff:ff:ff:ff:ff 01:00:5e:00:00:01 00:00:00:00:00:00 2:0:0:0:0:1 \
                02:00:00:00:00:01:02 02:00:00:00:00 x 02:00:00:00:00:09";
    hardware.put(&json!({"metadata": {"name": "speaker-n2"}, "data": {"macs": said}}));
    assert_eq!(known(&hardware), [("n2".to_owned(), 1)]);
}

#[test]
fn a_thousand_nodes_are_known_and_no_more() {
    let mut hardware = Hardware::default();
    for n in 0..=MEMBERS_MAX {
        let is_taken = hardware.put(&record(&format!("m{n}"), &[1]));
        assert_eq!(is_taken, n < MEMBERS_MAX, "{n}");
    }
    let many: BTreeSet<Mac> = (0..=255).map(|n| Mac([2, 0, 0, 0, 1, n])).collect();
    let object = object("speaker-m0", &many, None);
    hardware.put(&object);
    let first = &hardware.others(&node("n1"))[&node_id(&node("m0"))];
    assert_eq!(first.macs.len(), MACS_MAX);
}

#[test]
fn an_object_is_written_again_when_it_says_something_else() {
    let owner = json!({"uid": "u1"});
    let wanted = object("speaker-n2", &macs(&[1]), Some(&owner));
    assert!(says(&wanted, &wanted));
    let mut live = wanted.clone();
    live["metadata"]["labels"]["other"] = json!("x");
    assert!(says(&live, &wanted), "labels of others are theirs");
    for (pointer, value) in [
        ("/data/macs", json!("02:00:00:00:00:07")),
        ("/metadata/ownerReferences/0/uid", json!("u0")),
        ("/metadata/labels/heliograph.io~1record", json!("y")),
    ] {
        let mut live = wanted.clone();
        *live.pointer_mut(pointer).unwrap() = value;
        assert!(!says(&live, &wanted), "{pointer}");
    }
    assert_eq!(object_name(&node(&"n".repeat(245))).unwrap().len(), 253);
    assert_eq!(object_name(&node(&"n".repeat(246))), None);
}
