//! Every field of every kind, there and back.

use super::*;
use crate::manifest::{DEFAULT_NAMESPACE, of_value, read};

fn world(objects: impl IntoIterator<Item = super::super::Manifests>) -> World {
    let mut world = World::default();
    for object in objects.into_iter().flat_map(|read| read.objects) {
        world.put(Ok(object.unwrap()));
    }
    world
}

fn check(text: &str) {
    let before = world([read("f.yaml", text, DEFAULT_NAMESPACE)]);
    let written = write(&before).map(|value| of_value("state", value, DEFAULT_NAMESPACE));
    assert_eq!(world(written), before);
}

#[test]
fn what_was_written_reads_as_the_same() {
    check(include_str!("write_tests.yaml"));
}

#[test]
fn one_selector_written_in_two_ways_is_written_once() {
    let text = "
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: a}
spec:
  nodeSelectors:
    - {matchLabels: {a: b}}
    - {matchExpressions: [{key: a, operator: In, values: [b]}]}
";
    let before = world([read("f.yaml", text, DEFAULT_NAMESPACE)]);
    let written = write(&before).map(|value| of_value("state", value, DEFAULT_NAMESPACE));
    assert_eq!(
        world(written).l2_advertisements["a"].node_selectors.len(),
        1
    );
}
