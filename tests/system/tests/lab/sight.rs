//! What a cluster's objects, events, log and metrics say of BGP. No router is there: what a node means to tell does not depend on one.

use super::cluster::{events, labels, record, state, statuses, writes};
use super::one_node::{CLIENT, NAMESPACE, NODE, OneNode, POD};
use serde_json::{Value, json};
use std::net::{IpAddr, TcpListener, TcpStream};

#[test]
fn metallb_1_6_whom_a_node_tells_is_written_down_and_goes_with_it() {
    let mut cluster = OneNode::new();
    cluster.apply(PEERS);
    cluster.apply(&advertisement("[]"));
    cluster.serve("web", IpAddr::from([192, 0, 2, 100]));
    cluster.start();
    cluster.until("one status says so", |cluster| {
        told(cluster)
            .iter()
            .map(said)
            .eq([said_of(&["spine", "tor"])])
    });
    let status = told(&cluster).remove(0);
    assert_eq!(status["metadata"]["labels"], labels("n1", "web"));
    let [name, owner] = ["/metadata/name", "/metadata/ownerReferences/0/name"]
        .map(|path| status.pointer(path).unwrap());
    assert!(name.as_str().unwrap().starts_with("bgp-"), "{name}");
    assert_eq!(owner, POD);

    let announcing = |protocol| format!("announcing from node \"n1\" with protocol \"{protocol}\"");
    cluster.until("both protocols have their event", |cluster| {
        let messages: Vec<Value> = events(cluster)
            .iter()
            .map(|e| e["message"].clone())
            .collect();
        ["layer2", "bgp"]
            .iter()
            .all(|protocol| messages.contains(&json!(announcing(protocol))))
    });
    let announced = "metallb_speaker_announced{ip=\"192.0.2.100\",node=\"n1\",protocol=\"bgp\",service=\"default/web\"} 1\n";
    cluster.until("its metrics say so", |cluster| {
        cluster.scrape("scraper").1.contains(announced)
    });

    cluster.until("the other object is there too", |cluster| {
        statuses(cluster).len() == 1
    });
    cluster.until("the configuration is good", |cluster| {
        state(cluster)["status"]["result"] == "Valid"
    });
    cluster.until("its hardware is published", |cluster| {
        record(cluster, "n1").is_some()
    });
    cluster.double.forget_requests();
    cluster.apply(&advertisement("[tor]"));
    cluster.until("the status has the peer that is left", |cluster| {
        told(cluster).iter().map(said).eq([said_of(&["tor"])])
    });
    assert_eq!(writes(&cluster).len(), 1, "{:?}", writes(&cluster));

    let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/bgpadvertisements/lan");
    assert_eq!(cluster.double.delete(&path), 200);
    cluster.until("nothing is left of it", |cluster| told(cluster).is_empty());
    assert_eq!(statuses(&cluster).len(), 1, "layer 2 goes on");
    let announced = line(&cluster, "serviceAnnounced");
    assert_eq!(announced["ips"], json!(["192.0.2.100"]), "{announced}");
    assert_eq!(announced["pool"], "lan");
    let withdrawn = line(&cluster, "serviceWithdrawn");
    assert_eq!(withdrawn["ip"], json!(["192.0.2.100"]), "{withdrawn}");
    assert_eq!(withdrawn["reason"], "notOwner");
    // Nobody asked for what only frr-k8s has.
    let requests = cluster.double.requests();
    assert!(
        requests
            .iter()
            .all(|request| !request.path.contains("bgpsessionstates"))
    );
}

#[test]
fn a_peer_of_somebody_elses_frr_configuration_is_left_to_it_until_the_bgppeer_says_otherwise() {
    let mut cluster = OneNode::new();
    cluster.apply(FRR_CONFIGURATIONS);
    cluster.apply(PEERS);
    cluster.apply(&advertisement("[]"));
    cluster.apply(FRR_CONFIGURATION);
    cluster.serve("web", IpAddr::from([192, 0, 2, 100]));
    cluster.start();
    let why = "FRRConfiguration frr-k8s-system/edge has it";
    cluster.until("it is left to it", |cluster| {
        cluster.ctl(&["bgp"]).contains(why)
    });
    for words in [&["why", "default/web"][..], &["status"]] {
        cluster.until("it is said wherever one looks", |cluster| {
            cluster.ctl(words).contains(why)
        });
    }
    cluster.until("the configuration is a problem", |cluster| {
        state(cluster)["status"].to_string().contains(why)
    });
    cluster.until("its metrics say so", |cluster| {
        is_foreign(cluster, "tor", true) && is_foreign(cluster, "spine", false)
    });
    let own = PEERS.replace(
        "{name: tor, namespace: metallb-system}",
        "{name: tor, namespace: metallb-system, annotations: {heliograph.io/own-bgp: 'true'}}",
    );
    cluster.apply(&own);
    cluster.until("it is dialled", |cluster| {
        let said = cluster.ctl(&["bgp"]);
        said.contains("tor") && !said.contains(why)
    });
    cluster.until("it is foreign no more", |cluster| {
        is_foreign(cluster, "tor", false)
    });
}

#[test]
fn a_peer_that_another_process_of_the_node_has_is_left_to_it_and_told_until_it_is_free() {
    let mut cluster = OneNode::new();
    let listening = cluster.client().enter(|| TcpListener::bind((CLIENT, 179)));
    let router = listening.unwrap().unwrap();
    let other = cluster.node().enter(|| TcpStream::connect((CLIENT, 179)));
    let other = other.unwrap().unwrap();
    let (theirs, _) = router.accept().unwrap();
    cluster.apply(PEERS);
    cluster.start();
    cluster.until("it is left to the other", |cluster| {
        is_foreign(cluster, "tor", true) && is_foreign(cluster, "spine", false)
    });
    let said = cluster.ctl(&["bgp"]);
    assert!(said.contains("another process of this node"), "{said}");
    drop((other, theirs));
    cluster.until("it is dialled", |cluster| is_foreign(cluster, "tor", false));
    let (_, from) = router.accept().unwrap();
    assert_eq!(from.ip(), NODE.parse::<IpAddr>().unwrap());
}

#[test]
fn metallb_1_7_sessions_are_written_down_where_frr_k8s_is_asked_for() {
    let mut cluster = OneNode::new();
    cluster.apply(PEERS);
    cluster.apply(OF_FRR_K8S);
    cluster.start_with(&["--bgp-type", "frr-k8s"]);
    cluster.until("each peer has its object", |cluster| {
        sessions(cluster).len() == 2
    });
    cluster.until("they say how it goes", |cluster| {
        let is_down = |object: &Value| {
            let (bgp, bfd) = (
                &object["status"]["bgpStatus"],
                &object["status"]["bfdStatus"],
            );
            bgp.as_str().is_some_and(|state| state != "Established") && bfd.is_string()
        };
        sessions(cluster).iter().all(is_down)
    });
    let objects = sessions(&cluster);
    let of = |peer: &str| {
        objects
            .iter()
            .find(|object| object["status"]["peer"] == peer)
            .unwrap()
    };
    let tor = of("192.0.2.2");
    assert_eq!(tor["status"]["bfdStatus"], "Down");
    assert_eq!(
        (&tor["status"]["node"], &tor["status"]["vrf"]),
        (&json!("n1"), &json!(""))
    );
    assert_eq!(tor["metadata"]["ownerReferences"][0]["name"], POD);
    assert!(tor["metadata"]["name"].as_str().unwrap().starts_with("n1-"));
    assert_eq!(
        tor["metadata"]["labels"],
        json!({
            "frrk8s.metallb.io/node": "n1", "frrk8s.metallb.io/peer": "192.0.2.2", "frrk8s.metallb.io/vrf": "",
            "app.kubernetes.io/managed-by": "heliograph",
        })
    );
    let spine = of("2001-0db8-0000-0000-0000-0000-0000-0003");
    assert_eq!(spine["status"]["bfdStatus"], "N/A");

    let path = format!("/apis/metallb.io/v1beta2/namespaces/{NAMESPACE}/bgppeers/spine");
    assert_eq!(cluster.double.delete(&path), 200);
    cluster.until("a peer that is gone has none", |cluster| {
        sessions(cluster).len() == 1
    });
    assert_eq!(
        all_sessions(&cluster).len(),
        2,
        "that of frr-k8s is left alone"
    );
}

/// The last line of the log about an event of BGP, once there is one.
#[track_caller]
fn line(cluster: &OneNode, event: &str) -> Value {
    cluster.until(event, |cluster| find(cluster, event).is_some());
    find(cluster, event).expect("nothing is taken out of a log")
}

fn find(cluster: &OneNode, event: &str) -> Option<Value> {
    let log = cluster.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines = lines.filter(|line| line["event"] == event && line["protocol"] == "bgp");
    lines.next_back()
}

fn told(cluster: &OneNode) -> Vec<Value> {
    cluster.list(&format!(
        "/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/servicebgpstatuses"
    ))
}

fn said(object: &Value) -> Value {
    object["status"].clone()
}

fn said_of(peers: &[&str]) -> Value {
    json!({"node": "n1", "serviceName": "web", "serviceNamespace": "default", "peers": peers})
}

fn all_sessions(cluster: &OneNode) -> Vec<Value> {
    cluster.list(&format!(
        "/apis/frrk8s.metallb.io/v1beta1/namespaces/{NAMESPACE}/bgpsessionstates"
    ))
}

/// Whether a scraper is told that a peer is, or is not, left to another speaker.
fn is_foreign(cluster: &OneNode, peer: &str, wanted: bool) -> bool {
    let value = u8::from(wanted);
    let line = format!("heliograph_bgp_peer_foreign{{name=\"{peer}\"}} {value}\n");
    cluster.scrape("scraper").1.contains(&line)
}

/// Those that the speaker wrote.
pub(super) fn sessions(cluster: &OneNode) -> Vec<Value> {
    let mut objects = all_sessions(cluster);
    objects.retain(|object| object["metadata"]["name"] != "of-frr-k8s");
    objects
}

fn advertisement(peers: &str) -> String {
    format!(
        "\
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{name: lan, namespace: metallb-system}}
spec: {{peers: {peers}}}
"
    )
}

const PEERS: &str = "\
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 100}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2, bfdProfile: fast}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: spine, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: '2001:db8::3', dualStackAddressFamily: true}
";

/// The definition that frr-k8s brings, in short.
const FRR_CONFIGURATIONS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: frrconfigurations.frrk8s.metallb.io}
spec:
  group: frrk8s.metallb.io
  scope: Namespaced
  names: {kind: FRRConfiguration, listKind: FRRConfigurationList, plural: frrconfigurations, singular: frrconfiguration}
  versions:
    - name: v1beta1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// Of somebody who wants routes of the same router.
const FRR_CONFIGURATION: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: frr-k8s-system}
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: edge, namespace: frr-k8s-system}
spec:
  bgp:
    routers:
      - {asn: 64512, neighbors: [{asn: 64513, address: 192.0.2.2}]}
";

/// As an frr-k8s would have written it that still runs.
const OF_FRR_K8S: &str = "\
apiVersion: frrk8s.metallb.io/v1beta1
kind: BGPSessionState
metadata:
  name: of-frr-k8s
  namespace: metallb-system
  labels: {frrk8s.metallb.io/node: n1, frrk8s.metallb.io/peer: 192.0.2.9, frrk8s.metallb.io/vrf: ''}
";
