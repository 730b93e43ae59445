//! The harm that the double does on purpose comes as it was asked for, and passes.

use crate::http::{Answer, Place};
use api_tests::{Double, Fault, Options, Rule};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn a_request_is_refused_so_often_and_then_served() {
    let cluster = Cluster::start();
    cluster.fail(Rule {
        method: "POST".to_owned(),
        path: "/configmaps".to_owned(),
        skip: 1,
        times: 2,
        fault: Fault::Refuse {
            code: 429,
            retry_after: 3,
        },
        ..Rule::default()
    });
    let statuses: Vec<_> = (0..4)
        .map(|n| cluster.make(&format!("m{n}")).status)
        .collect();
    assert_eq!(statuses, [201, 429, 429, 201]);
    assert!(
        cluster.double.get(&format!("{MAPS}/m1")).is_none(),
        "a refused request did something"
    );
}

#[test]
fn an_answer_is_swallowed_after_the_deed() {
    let cluster = Cluster::start();
    cluster.fail(once("POST", Fault::Swallow));
    assert!(cluster.send("POST", MAPS, &map("m")).is_err());
    assert!(cluster.double.get(&format!("{MAPS}/m")).is_some());
    cluster.fail(once("POST", Fault::Drop));
    assert!(cluster.send("POST", MAPS, &map("n")).is_err());
    assert!(cluster.double.get(&format!("{MAPS}/n")).is_none());
}

#[test]
fn a_body_breaks_off() {
    let cluster = Cluster::start();
    cluster.fail(once("GET", Fault::Cut { after: 0 }));
    assert!(
        cluster
            .send("GET", MAPS, &Value::Null)
            .unwrap()
            .body()
            .is_err()
    );
    assert!(
        cluster
            .send("GET", MAPS, &Value::Null)
            .unwrap()
            .body()
            .is_ok()
    );
}

#[test]
fn a_request_lies_in_the_socket_for_a_while() {
    let cluster = Cluster::start();
    cluster.fail(once("POST", Fault::Before { millis: 300 }));
    let begun = Instant::now();
    assert_eq!(cluster.make("m").status, 201);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_list_is_stale() {
    let cluster = Cluster::start();
    cluster.make("a");
    cluster.make("b");
    cluster.fail(once("GET", Fault::Stale { revisions: 1 }));
    let names = |mut answer: Answer| {
        let list: Value = serde_json::from_slice(&answer.body().unwrap()).unwrap();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(names(cluster.send("GET", MAPS, &Value::Null).unwrap()), 1);
    assert_eq!(names(cluster.send("GET", MAPS, &Value::Null).unwrap()), 2);
}

#[test]
fn a_watch_repeats_itself_expires_and_breaks() {
    let cluster = Cluster::start();
    cluster.fail(once("GET", Fault::Repeat));
    let mut watch = cluster.watch("");
    cluster.make("a");
    let (one, two) = (watch.line().unwrap(), watch.line().unwrap());
    assert_eq!(one, two);
    cluster.fail(once("GET", Fault::Expire { after: 1 }));
    let mut watch = cluster.watch("");
    cluster.make("b");
    assert_eq!(watch.line().unwrap().unwrap()["type"], "ADDED");
    let last = watch.line().unwrap().unwrap();
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(watch.line().unwrap(), None);
    cluster.fail(once("GET", Fault::Cut { after: 1 }));
    let mut watch = cluster.watch("");
    cluster.make("c");
    cluster.make("d");
    assert_eq!(watch.line().unwrap().unwrap()["type"], "ADDED");
    assert!(watch.line().is_err());
}

#[test]
fn a_watch_that_stalls_says_no_more_and_stays_open_while_another_goes_on() {
    let mut cluster = Cluster::start();
    cluster.fail(once("GET", Fault::Stall { after: 1 }));
    let mut stalled = cluster.watch("");
    let mut other = cluster.watch("");
    for name in ["a", "b"] {
        cluster.make(name);
        let line = other.line().unwrap().unwrap();
        assert_eq!(line["object"]["metadata"]["name"], name);
    }
    cluster.double.stop();
    let first = stalled.line().unwrap().unwrap();
    assert_eq!(first["object"]["metadata"]["name"], "a");
    // The second did not come, and it was the stop that ended it: a watch that closes ends without an error.
    assert!(stalled.line().is_err());
}

#[test]
fn what_was_compacted_is_too_old() {
    let cluster = Cluster::start();
    let old = cluster.revision();
    cluster.make("a");
    cluster.double.compact();
    let mut watch = cluster.watch(&format!("&resourceVersion={old}"));
    assert_eq!(
        watch.line().unwrap().unwrap()["object"]["reason"],
        "Expired"
    );
}

#[test]
fn a_restart_breaks_watches_and_keeps_objects() {
    let mut cluster = Cluster::start();
    cluster.make("a");
    let before = cluster.revision();
    let mut watch = cluster.watch(&format!("&resourceVersion={before}"));
    cluster.double.stop();
    assert!(watch.line().is_err());
    assert!(cluster.send("GET", MAPS, &Value::Null).is_err());
    cluster.double.resume().unwrap();
    let mut watch = cluster.watch(&format!("&resourceVersion={before}"));
    cluster.make("b");
    assert_eq!(
        watch.line().unwrap().unwrap()["object"]["metadata"]["name"],
        "b"
    );
}

#[test]
fn requests_are_logged_with_their_users_and_verbs() {
    let cluster = Cluster::start();
    cluster.make("a");
    drop(cluster.send("GET", MAPS, &Value::Null));
    drop(cluster.watch(""));
    drop(cluster.send("DELETE", &format!("{MAPS}/a"), &Value::Null));
    let told: Vec<_> = cluster
        .double
        .requests()
        .into_iter()
        .map(|entry| (entry.user, entry.verb, entry.code))
        .collect();
    let admin = |verb: &str, code| ("admin".to_owned(), verb.to_owned(), code);
    let wanted = [
        admin("create", 201),
        admin("list", 200),
        admin("watch", 200),
        admin("delete", 200),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn the_program_takes_rules_over_http() {
    let cluster = Cluster::start();
    let rules =
        json!([{"method": "GET", "fault": {"refuse": {"code": 500, "retryAfter": 0}}, "times": 1}]);
    assert_eq!(
        cluster
            .send("POST", "/double/faults?seed=7", &rules)
            .unwrap()
            .status,
        200
    );
    assert_eq!(cluster.send("GET", MAPS, &Value::Null).unwrap().status, 500);
    assert_eq!(cluster.send("GET", MAPS, &Value::Null).unwrap().status, 200);
    let wrong = json!([{"fault": "explode"}]);
    assert_eq!(
        cluster
            .send("POST", "/double/faults", &wrong)
            .unwrap()
            .status,
        400
    );
}

#[test]
fn chance_can_be_had_again() {
    let outcomes = || {
        let cluster = Cluster::start();
        let rule = Rule {
            percent: 40,
            fault: Fault::Refuse {
                code: 500,
                retry_after: 0,
            },
            ..Rule::default()
        };
        cluster.double.faults(vec![rule], 42);
        let statuses = (0..30).map(|_| cluster.send("GET", MAPS, &Value::Null).unwrap().status);
        statuses.collect::<Vec<_>>()
    };
    let first = outcomes();
    assert_eq!(first, outcomes());
    assert!(first.contains(&500) && first.contains(&200), "{first:?}");
}

fn once(method: &str, fault: Fault) -> Rule {
    Rule {
        method: method.to_owned(),
        times: 1,
        fault,
        ..Rule::default()
    }
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

struct Cluster {
    double: Double,
}

impl Cluster {
    fn start() -> Self {
        let double = Double::start(Options {
            is_tls: false,
            ..Options::default()
        });
        Self {
            double: double.unwrap(),
        }
    }

    fn fail(&self, rule: Rule) {
        self.double.faults(vec![rule], 1);
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Answer> {
        let place = Place {
            address: self.double.address(),
            tls: None,
        };
        let headers = [
            ("Authorization".to_owned(), "Bearer admin".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        let bytes = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        place.send(method, path, &headers, bytes.as_bytes())
    }

    fn make(&self, name: &str) -> Answer {
        self.send("POST", MAPS, &map(name)).unwrap()
    }

    /// A watch on ConfigMaps from now on, or as the query says.
    fn watch(&self, query: &str) -> Answer {
        let from = match query {
            "" => format!("&resourceVersion={}", self.revision()),
            query => query.to_owned(),
        };
        self.send("GET", &format!("{MAPS}?watch=1{from}"), &Value::Null)
            .unwrap()
    }

    fn revision(&self) -> String {
        let list = self.double.get(MAPS).unwrap();
        list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}
