//! Frontends that the service proxy reads from manifests.

use super::*;

/// The frontends of one file of manifests, and how many faults it has.
fn read(text: &str) -> (Vec<Frontend>, usize) {
    let mut read = Read::default();
    read.file(Path::new("m.yaml"), text);
    (read.frontends(), read.faults.len())
}

const SERVICE: &str = "
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, ports: [{name: http, port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.100}]}}
";

const SLICE: &str = "
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.1.11], nodeName: n1}
- {addresses: [10.244.2.11], nodeName: n2, conditions: {ready: false}}
- {addresses: ['fd00::1'], nodeName: n3}
";

#[test]
fn ready_endpoints_of_the_family_serve() {
    let (frontends, faults) = read(&format!("{SERVICE}---{SLICE}"));
    assert_eq!(faults, 0);
    assert_eq!(frontends.len(), 1);
    assert_eq!(frontends[0].service, "default/web");
    assert_eq!(frontends[0].policy, Policy::Cluster);
    let endpoints = vec![("10.244.1.11:8080".parse().unwrap(), "n1".to_owned())];
    assert_eq!(frontends[0].endpoints, endpoints);
}

#[test]
fn a_broken_document_hides_no_other() {
    let (frontends, faults) = read(&format!(
        "kind: [\n---{SERVICE}---\nkind: Service\nspec: 7\n"
    ));
    assert_eq!((frontends.len(), faults), (1, 2));
}

#[test]
fn the_allocators_addresses_come_before_the_status() {
    let mut read = Read::default();
    let given = "version: 1\nallocations:\n- {service: default/web, pool: p, addresses: ['::7']}\n";
    read.file(Path::new("m/allocations.yaml"), given);
    read.file(Path::new("m/web.yaml"), SERVICE);
    let vips: Vec<IpAddr> = read
        .frontends()
        .iter()
        .map(|frontend| frontend.vip)
        .collect();
    assert_eq!(vips, ["::7".parse::<IpAddr>().unwrap()]);
}

#[test]
fn only_load_balancers_have_addresses() {
    let (frontends, _) = read(&SERVICE.replace("LoadBalancer,", "ClusterIP,"));
    assert_eq!(frontends, []);
}
