//! Nodes against what an API server keeps: how many writes, and where they end.

use super::*;
use service::{BGP, LAYER2};
use session::SESSION;

fn id(name: &str) -> Subject {
    ["default".to_owned(), name.to_owned()]
}

fn wanted_of(node: &str, services: &[(&str, &[&str])]) -> Wanted {
    let said = |&(name, links): &(&str, &[&str])| {
        let links: Vec<Value> = links.iter().map(|link| json!({"name": link})).collect();
        let status = json!({
            "node": node, "serviceName": name, "serviceNamespace": "default", "interfaces": links,
        });
        (id(name), status)
    };
    services.iter().map(said).collect()
}

fn owner(uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": uid})
}

/// What an API server keeps of the objects of all nodes.
#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    version: u64,
}

impl Server {
    fn write(&mut self, write: &Write) -> Option<Value> {
        self.version += 1;
        match write {
            Write::Delete(name) => {
                self.objects.remove(name);
                None
            }
            Write::Make(object) => {
                let prefix = object["metadata"]["generateName"].as_str().unwrap();
                let name = format!("{prefix}{}", self.version);
                let mut object = object.clone();
                object["metadata"]["name"] = json!(name);
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                self.objects.insert(name.clone(), object);
                self.objects.get(&name).cloned()
            }
            Write::Own(name, patch) => {
                let object = self.objects.get_mut(name)?;
                object["metadata"]["ownerReferences"] =
                    patch["metadata"]["ownerReferences"].clone();
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                Some(object.clone())
            }
            Write::Say(name, patch) => {
                let object = self.objects.get_mut(name)?;
                object["status"] = patch["status"].clone();
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                Some(object.clone())
            }
        }
    }

    /// Writes until nothing is left to write, and counts.
    fn settle(&mut self, node: &mut StatusObjects, wanted: &Wanted, uid: &str) -> usize {
        let mut count = 0;
        loop {
            let writes = node.writes(wanted, Some(&owner(uid)));
            if writes.is_empty() {
                return count;
            }
            for write in writes {
                count += 1;
                assert!(count < 100, "it does not come to rest: {write:?}");
                match (&write, self.write(&write)) {
                    (Write::Delete(name), _) => node.gone(name),
                    (_, Some(object)) => node.put(&object),
                    (_, None) => panic!("{write:?}: there is no such object"),
                }
            }
        }
    }

    fn told(&self, node: &mut StatusObjects) {
        self.objects.values().for_each(|object| node.put(object));
    }
}

fn node(name: &str) -> StatusObjects {
    StatusObjects::new(&LAYER2, name.parse().unwrap())
}

#[test]
fn metallb_1_6_an_announced_service_costs_two_writes_and_then_none() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    let wanted = wanted_of("n1", &[("web", &["eth0"])]);
    assert_eq!(server.settle(&mut n1, &wanted, "u1"), 2);
    assert_eq!(n1.writes(&wanted, Some(&owner("u1"))), []);
    let [object] = &server.objects.values().cloned().collect::<Vec<_>>()[..] else {
        panic!("{:?}", server.objects);
    };
    assert_eq!(object["metadata"]["generateName"], "l2-");
    assert_eq!(object["metadata"]["ownerReferences"], json!([owner("u1")]));
    let labels = json!({
        "metallb.io/node": "n1",
        "metallb.io/service-name": "web",
        "metallb.io/service-namespace": "default",
    });
    assert_eq!(object["metadata"]["labels"], labels);
    let status = json!({
        "node": "n1",
        "serviceName": "web",
        "serviceNamespace": "default",
        "interfaces": [{"name": "eth0"}],
    });
    assert_eq!(object["status"], status);
}

#[test]
fn metallb_1_6_all_links_are_said_by_naming_none() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    server.settle(&mut n1, &wanted_of("n1", &[("web", &[])]), "u1");
    let object = server.objects.values().next().unwrap();
    assert_eq!(object["status"]["interfaces"], json!([]));
}

#[test]
fn metallb_1_6_a_node_that_lost_takes_its_own_away() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    server.settle(
        &mut n1,
        &wanted_of("n1", &[("web", &[]), ("db", &[])]),
        "u1",
    );
    assert_eq!(
        server.settle(&mut n1, &wanted_of("n1", &[("db", &[])]), "u1"),
        1
    );
    assert_eq!(server.objects.len(), 1);
}

#[test]
fn metallb_1_6_the_elected_node_takes_those_of_others_away() {
    let mut server = Server::default();
    server.settle(&mut node("n1"), &wanted_of("n1", &[("web", &[])]), "u1");
    let mut n2 = node("n2");
    server.told(&mut n2);
    assert_eq!(
        n2.writes(&Wanted::new(), Some(&owner("u2"))),
        [],
        "it announces nothing"
    );
    assert_eq!(n2.fresh(&wanted_of("n2", &[("web", &[])])), [&id("web")]);
    server.settle(&mut n2, &wanted_of("n2", &[("web", &[])]), "u2");
    assert_eq!(server.objects.len(), 1);
    assert_eq!(
        server.objects.values().next().unwrap()["status"]["node"],
        "n2"
    );
    assert!(n2.fresh(&wanted_of("n2", &[("web", &[])])).is_empty());
}

#[test]
fn a_new_pod_takes_over_what_its_predecessor_made() {
    let mut server = Server::default();
    let wanted = wanted_of("n1", &[("web", &[])]);
    server.settle(&mut node("n1"), &wanted, "u1");
    let mut again = node("n1");
    server.told(&mut again);
    assert_eq!(server.settle(&mut again, &wanted, "u2"), 1);
    let object = server.objects.values().next().unwrap();
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u2");
}

#[test]
fn of_two_objects_for_one_service_one_stays() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    let wanted = wanted_of("n1", &[("web", &[])]);
    server.settle(&mut node("n1"), &wanted, "u1");
    server.settle(&mut node("n1"), &wanted, "u1");
    assert_eq!(server.objects.len(), 2);
    server.told(&mut n1);
    assert_eq!(server.settle(&mut n1, &wanted, "u1"), 1);
    assert_eq!(server.objects.len(), 1);
}

#[test]
fn what_no_write_may_change_is_made_anew() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    let wanted = wanted_of("n1", &[("web", &[])]);
    server.settle(&mut n1, &wanted, "u1");
    let object = server.objects.values_mut().next().unwrap();
    object["status"]["serviceName"] = json!("other");
    object["metadata"]["resourceVersion"] = json!("99");
    server.told(&mut n1);
    assert_eq!(server.settle(&mut n1, &wanted, "u1"), 3);
    let object = server.objects.values().next().unwrap();
    assert_eq!(object["status"]["serviceName"], "web");
}

#[test]
fn late_news_is_no_news() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    let wanted = wanted_of("n1", &[("web", &[])]);
    let made = server
        .write(&n1.writes(&wanted, Some(&owner("u1")))[0])
        .unwrap();
    n1.put(&made);
    server.settle(&mut n1, &wanted, "u1");
    n1.put(&made);
    assert_eq!(n1.writes(&wanted, Some(&owner("u1"))), []);
}

#[test]
fn an_object_without_our_labels_is_left_alone() {
    let mut n1 = node("n1");
    n1.put(&json!({"metadata": {"name": "l2-x", "labels": {"metallb.io/node": "n1"}}}));
    n1.put(&json!({"metadata": {}}));
    assert_eq!(n1.writes(&Wanted::new(), None), []);
}

fn statuses_of(form: &'static Form, name: &str) -> StatusObjects {
    StatusObjects::new(form, name.parse().unwrap())
}

#[test]
fn metallb_1_6_in_bgp_each_node_has_an_object_of_its_own() {
    let mut server = Server::default();
    let said = |node: &str, peers: Value| {
        let status = json!({
            "node": node, "serviceName": "web", "serviceNamespace": "default", "peers": peers,
        });
        Wanted::from([(id("web"), status)])
    };
    let (mut n1, mut n2) = (statuses_of(&BGP, "n1"), statuses_of(&BGP, "n2"));
    assert_eq!(server.settle(&mut n1, &said("n1", json!(["tor"])), "u1"), 2);
    server.told(&mut n2);
    let wanted = said("n2", json!(["tor"]));
    assert!(n2.fresh(&wanted).is_empty(), "nobody else's matter to it");
    assert_eq!(server.settle(&mut n2, &wanted, "u2"), 2);
    assert_eq!(server.objects.len(), 2);
    let object = server.objects.values().next().unwrap();
    assert_eq!(object["kind"], "ServiceBGPStatus");
    assert_eq!(object["metadata"]["generateName"], "bgp-");

    // Another peer is another status, and nobody to tell is no object.
    assert_eq!(
        server.settle(&mut n1, &said("n1", json!(["spine", "tor"])), "u1"),
        1
    );
    assert_eq!(server.settle(&mut n1, &Wanted::new(), "u1"), 1);
    assert_eq!(server.objects.len(), 1);
}

#[test]
fn metallb_1_7_objects_of_frr_k8s_are_left_alone() {
    let mut server = Server::default();
    let mut n1 = statuses_of(&SESSION, "n1");
    let labels = json!({
        "frrk8s.metallb.io/node": "n1", "frrk8s.metallb.io/peer": "192.0.2.1", "frrk8s.metallb.io/vrf": "",
    });
    n1.put(&json!({"metadata": {"name": "n1-x", "labels": labels}}));
    assert_eq!(n1.writes(&Wanted::new(), None), []);

    let subject = ["", "192.0.2.1"].map(str::to_owned);
    let wanted = Wanted::from([(subject, json!({"bgpStatus": "Idle"}))]);
    assert_eq!(server.settle(&mut n1, &wanted, "u1"), 2);
    let object = server.objects.values().next().unwrap();
    assert_eq!(object["apiVersion"], "frrk8s.metallb.io/v1beta1");
    assert_eq!(object["metadata"]["generateName"], "n1-");
    let mut marked = labels;
    marked["app.kubernetes.io/managed-by"] = json!("heliograph");
    assert_eq!(object["metadata"]["labels"], marked);
    assert_eq!(
        n1.own_labels(),
        "frrk8s.metallb.io/node=n1,app.kubernetes.io/managed-by=heliograph"
    );
}

#[test]
fn what_a_later_version_says_besides_is_left_alone() {
    let (mut server, mut n1) = (Server::default(), node("n1"));
    let wanted = wanted_of("n1", &[("web", &[])]);
    server.settle(&mut n1, &wanted, "u1");
    let object = server.objects.values_mut().next().unwrap();
    object["status"]["since"] = json!("yesterday");
    object["metadata"]["resourceVersion"] = json!("99");
    server.told(&mut n1);
    assert_eq!(n1.writes(&wanted, Some(&owner("u1"))), []);
}
