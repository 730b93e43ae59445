use super::*;
use crate::manifest;

/// A world of manifests, all kinds synced.
fn world(text: &str) -> World {
    let mut world = World::default();
    world.assignments = Some(Assignments::new());
    for object in manifest::read("test.yaml", text, manifest::DEFAULT_NAMESPACE).objects {
        assert!(object.is_ok(), "{object:?}");
        world.put(object);
    }
    for kind in Kind::ALL {
        world.synced(kind);
    }
    world
}

fn pool(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], {spec}}}\n"
    )
}

/// Who holds what, as text.
fn check(allocation: &Allocation, expected: &[&str]) {
    let held: Vec<_> = allocation
        .assignments
        .iter()
        .map(|(id, a)| format!("{} {} {}", id.name, a.pool, list(&a.ips)))
        .collect();
    assert_eq!(held, expected);
}

#[test]
fn the_first_free_address_is_given() {
    let text = pool("p", "addresses: [192.0.2.0/30]") + &service("a", "") + &service("b", "");
    let allocation = allocate(&world(&text), &Assignments::new(), None);
    check(
        &allocation,
        &[r#"a p ["192.0.2.0"]"#, r#"b p ["192.0.2.1"]"#],
    );
}
