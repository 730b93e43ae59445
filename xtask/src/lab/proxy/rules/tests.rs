//! Rules of the service proxy for each policy and family.

use super::super::manifest::Protocol;
use super::*;

fn frontend(vip: &str, policy: Policy, endpoints: &[(&str, &str)]) -> Frontend {
    Frontend {
        service: "default/web".to_owned(),
        vip: vip.parse().unwrap(),
        protocol: Protocol::Tcp,
        port: 80,
        policy,
        is_left_alone: false,
        is_http: true,
        endpoints: endpoints
            .iter()
            .map(|(at, node)| (at.parse().unwrap(), (*node).to_owned()))
            .collect(),
    }
}

const TWO: &[(&str, &str)] = &[("10.244.1.11:8080", "n1"), ("10.244.2.11:8080", "n2")];

#[test]
fn policy_cluster_masquerades_and_takes_any_endpoint() {
    let text = rules(&[frontend("192.0.2.100", Policy::Cluster, TWO)], "n3");
    let name = "default/web/tcp/192.0.2.100/80";
    assert!(text.contains(&format!("192.0.2.100 . tcp . 80 : goto external-{name}")));
    assert!(text.contains(&format!(
        "jump mark-for-masquerade\n    goto service-{name}"
    )));
    assert!(text.contains("numgen random mod 2"));
}

#[test]
fn policy_local_keeps_the_client_and_takes_the_nodes_own() {
    let text = rules(&[frontend("192.0.2.100", Policy::Local, TWO)], "n2");
    assert!(text.contains("numgen random mod 1"));
    assert!(text.contains("dnat to 10.244.2.11:8080"));
    assert!(!text.contains("10.244.1.11"));
    assert!(!text.contains("jump mark-for-masquerade\n    goto service-"));
}

#[test]
fn policy_local_drops_where_it_has_no_endpoint() {
    let text = rules(&[frontend("192.0.2.100", Policy::Local, TWO)], "n3");
    assert!(text.contains("192.0.2.100 . tcp . 80 : drop"));
    assert!(!text.contains("dnat"));
}

#[test]
fn policy_cluster_rejects_without_any_endpoint() {
    let text = rules(&[frontend("2001:db8::100", Policy::Cluster, &[])], "n3");
    assert!(text.contains("2001:db8::100 . tcp . 80 : goto reject-chain"));
}

#[test]
fn families_go_to_tables_of_their_own() {
    let v6 = frontend(
        "2001:db8::100",
        Policy::Cluster,
        &[("[fd00::1]:8080", "n1")],
    );
    let text = rules(&[v6], "n1");
    let (v4, v6) = text.split_once("table ip6").unwrap();
    assert!(!v4.contains("dnat"));
    assert!(v6.contains("dnat to [fd00::1]:8080"));
    assert!(v6.contains("ip6 daddr . meta l4proto . th dport vmap @service-ips"));
}
