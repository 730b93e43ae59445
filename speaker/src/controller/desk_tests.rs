//! A controller's day against objects as an API server has them, without one.

use super::super::brief::CLEARED_TOLD_MAX;
use super::super::outbox::{CONFLICTS_MAX, REQUESTS_MAX, WAIT_MIN};
use super::*;
use serde_json::json;
use speaker_core::allocator::POOL_ANNOTATION;
use speaker_proto::Span;

const NS: &str = "metallb-system";

/// A desk that has seen these objects.
struct Office {
    desk: Desk,
    now: Time,
    version: u64,
}

impl Office {
    fn new(pools: &[(&str, &str)], services: &[Value]) -> Self {
        let mut office = Self {
            desk: Desk::new(NS, None),
            now: Time::ms(1000),
            version: 100,
        };
        for (name, addresses) in pools {
            office.pool(name, addresses);
        }
        for service in services {
            office.put(Kind::Service, service.clone());
        }
        for kind in Kind::ALL {
            let told = Told::Synced;
            office.desk.take(office.now, Item { kind, told });
        }
        office
    }

    fn put(&mut self, kind: Kind, mut object: Value) -> Vec<News> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let told = Told::Put(object);
        self.desk.take(self.now, Item { kind, told })
    }

    fn pool(&mut self, name: &str, addresses: &str) {
        let pool = json!({
            "metadata": {"name": name, "namespace": NS},
            "spec": {"addresses": [addresses]},
        });
        self.put(Kind::Pool, pool);
    }

    /// What a pass and all requests after it come to: statuses as `name: addresses pool`, and what is told.
    fn settle(&mut self) -> (Vec<String>, Vec<String>) {
        let mut news = Vec::new();
        if let Some((_, told)) = self.desk.pass(self.now) {
            news.extend(told);
        }
        let mut written = Vec::new();
        while let Some(Request::Write(id, mut object)) = self.desk.next(self.now) {
            written.push(shown(&object));
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            let (told, read) = self.desk.wrote(self.now, &id, Ok(object));
            assert_eq!(read, None);
            news.extend(told);
        }
        (written, news.iter().map(told).collect())
    }
}

fn service(name: &str, ips: &[&str]) -> Value {
    let ingress: Vec<Value> = ips
        .iter()
        .map(|ip| json!({"ip": ip, "ipMode": "VIP"}))
        .collect();
    let mut service = json!({
        "metadata": {"name": name, "namespace": "a", "uid": format!("uid-{name}"), "labels": {"l": name}},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    if !ips.is_empty() {
        service["metadata"]["annotations"] = json!({POOL_ANNOTATION: "p"});
    }
    service
}

fn shown(object: &Value) -> String {
    let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
    let ips: Vec<&str> = ingress
        .into_iter()
        .flatten()
        .map(|entry| entry["ip"].as_str().unwrap())
        .collect();
    let pool = object["metadata"]["annotations"][POOL_ANNOTATION].as_str();
    let name = object["metadata"]["name"].as_str().unwrap();
    format!("{name}: {} {}", ips.join(","), pool.unwrap_or("-"))
}

fn told(news: &News) -> String {
    match news {
        News::Event(event, uid) => format!("{uid} {}", event.reason.as_str()),
        News::Cleared(id, why) => format!("{} cleared {why}", id.name),
        News::Written(id) => format!("{} written", id.name),
        News::Deleted(id) => format!("{} deleted", id.name),
        News::Failed(id, why) => format!("{} failed: {why}", id.name),
        News::Foreign(id, writer) => format!("{} by {}", id.name, writer.manager),
        News::ManyCleared(count, _) => format!("{count} cleared"),
    }
}

fn conflict() -> Failure {
    Failure::told(409, "Conflict".into(), String::new(), None)
}

fn taken(request: Option<Request>) -> (ServiceId, Value) {
    match request {
        Some(Request::Write(id, object)) => (id, object),
        other => panic!("{other:?}"),
    }
}

fn asking(mut service: Value, ip: &str) -> Value {
    service["metadata"]["annotations"]["metallb.io/loadBalancerIPs"] = json!(ip);
    service
}

#[test]
fn an_address_is_written_out_of_one_status_before_it_is_written_into_another() {
    let (waits, holds) = (service("a", &[]), service("z", &["192.0.2.0"]));
    let mut office = Office::new(&[("p", "192.0.2.0/32")], &[waits, holds.clone()]);
    office.settle();
    office.put(Kind::Service, asking(holds, "198.51.100.1"));
    assert_eq!(office.settle().0, ["z:  -", "a: 192.0.2.0 p"]);
}

#[test]
fn of_services_that_wait_for_each_other_one_is_emptied_first() {
    let (x, y) = (service("x", &["192.0.2.0"]), service("y", &["192.0.2.1"]));
    let services = [asking(x, "192.0.2.1"), asking(y, "192.0.2.0")];
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &services);
    assert_eq!(office.settle().0, ["x:  -", "y: 192.0.2.0 p"]);
    assert_eq!(office.settle().0, ["x: 192.0.2.1 p"]);
    assert_eq!(office.desk.pending(), 0);
}

#[test]
fn nothing_is_decided_before_everything_was_seen() {
    let mut desk = Desk::new(NS, None);
    assert_eq!(desk.pass(Time::ms(1)), None);
    for kind in [Kind::Service, Kind::Pool, Kind::Namespace] {
        let told = Told::Synced;
        desk.take(Time::ms(1), Item { kind, told });
        assert!(!desk.is_due(), "communities are still missing");
    }
    let told = Told::Synced;
    let kind = Kind::Community;
    desk.take(Time::ms(1), Item { kind, told });
    assert!(desk.is_due());
}

#[test]
fn a_service_is_written_once_and_told_of_then() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    let (written, told) = office.settle();
    assert_eq!(written, ["web: 192.0.2.0 p"]);
    assert_eq!(told, ["uid-web IPAllocated", "web written"]);
    assert_eq!(office.settle(), (vec![], vec![]), "and that was all");
}

#[test]
fn after_a_restart_those_that_hold_addresses_come_first_and_nothing_is_written_for_them() {
    let held = service("z", &["192.0.2.0"]);
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[service("a", &[]), held]);
    let (written, told) = office.settle();
    assert_eq!(written, ["a: 192.0.2.1 p"]);
    assert_eq!(told, ["uid-a IPAllocated", "a written"]);
}

#[test]
fn an_address_on_its_way_into_a_status_is_given_to_nobody_else() {
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[service("web", &[])]);
    office.desk.pass(office.now);
    let (id, object) = taken(office.desk.next(office.now));
    // The watch still tells the old status, of this service and of another one that sorts before it.
    let mut stale = service("web", &[]);
    stale["metadata"]["labels"] = json!({"l": "changed meanwhile"});
    office.put(Kind::Service, stale);
    office.put(Kind::Service, service("b", &[]));
    office.desk.pass(office.now);
    let (other, second) = taken(office.desk.next(office.now));
    assert_eq!(
        (other.name.as_str(), shown(&second)),
        ("b", "b: 192.0.2.1 p".into())
    );
    let (_, read) = office.desk.wrote(office.now, &id, Err(conflict()));
    assert_eq!(read, Some(Request::Read(id, 0)));
    drop(object);
}

#[test]
fn a_conflict_is_decided_anew_from_the_object_as_it_is() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    office.desk.pass(office.now);
    let (id, _) = taken(office.desk.next(office.now));
    let (news, read) = office.desk.wrote(office.now, &id, Err(conflict()));
    assert_eq!((news, read), (vec![], Some(Request::Read(id.clone(), 0))));
    let mut newer = service("web", &[]);
    newer["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "192.0.2.3"});
    office.version = 900;
    newer["metadata"]["resourceVersion"] = json!("900");
    assert_eq!(office.desk.read(office.now, &id, Ok(newer)), []);
    let (written, told) = office.settle();
    assert_eq!(written, ["web: 192.0.2.3 p"]);
    assert_eq!(told, ["uid-web IPAllocated", "web written"], "told once");
}

#[test]
fn conflicts_without_end_are_waited_out() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    for n in 0.. {
        office.desk.pass(office.now);
        let (id, _) = taken(office.desk.next(office.now));
        let (news, read) = office.desk.wrote(office.now, &id, Err(conflict()));
        let Some(Request::Read(id, count)) = read else {
            assert_eq!(n, CONFLICTS_MAX);
            assert!(matches!(&news[..], [News::Failed(..)]));
            break;
        };
        assert_eq!(count, n);
        let mut newer = service("web", &[]);
        newer["metadata"]["resourceVersion"] = json!((900 + n).to_string());
        office.desk.read(office.now, &id, Ok(newer));
    }
    assert_eq!(office.desk.next(office.now), None);
    assert_eq!(office.desk.due(), Some(office.now + WAIT_MIN));
}

#[test]
fn a_write_whose_answer_was_lost_is_found_by_the_watch() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    office.desk.pass(office.now);
    let (id, _) = taken(office.desk.next(office.now));
    let slow = Failure::Slow(std::time::Duration::from_secs(5));
    let (news, _) = office.desk.wrote(office.now, &id, Err(slow));
    assert!(matches!(&news[..], [News::Failed(..)]), "told once");
    let news = office.put(Kind::Service, service("web", &["192.0.2.0"]));
    let told: Vec<String> = news.iter().map(told).collect();
    assert_eq!(told, ["uid-web IPAllocated", "web written"]);
    assert_eq!((office.desk.pending(), office.settle().0.len()), (0, 0));
}

#[test]
fn failures_are_tried_ever_more_rarely_and_as_the_server_asks() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    office.desk.pass(office.now);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let (id, _) = taken(office.desk.next(office.now));
        let busy = Failure::told(503, String::new(), String::new(), None);
        office.desk.wrote(office.now, &id, Err(busy));
        let due = office.desk.due().unwrap();
        waits.push(due.since(office.now).ns() / 1_000_000);
        office.now = due;
    }
    assert_eq!((waits[0], waits[1], waits[9]), (250, 500, 30_000));
    let (id, _) = taken(office.desk.next(office.now));
    let asked = Failure::told(429, String::new(), String::new(), Some(45));
    office.desk.wrote(office.now, &id, Err(asked));
    assert_eq!(office.desk.due(), Some(office.now + Span::s(45)));
}

#[test]
fn a_service_that_is_gone_is_a_success() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
    office.desk.pass(office.now);
    let (id, _) = taken(office.desk.next(office.now));
    let gone = Failure::told(404, "NotFound".into(), String::new(), None);
    assert_eq!(
        office.desk.wrote(office.now, &id, Err(gone)),
        (vec![], None)
    );
    assert_eq!(office.desk.pending(), 0);
    let told_gone = Told::Gone("a".into(), "web".into());
    let item = Item {
        kind: Kind::Service,
        told: told_gone,
    };
    let news = office.desk.take(office.now, item);
    assert_eq!(news.iter().map(told).collect::<Vec<_>>(), ["web deleted"]);
}

#[test]
fn a_service_of_another_type_loses_address_and_annotation_and_another_gets_it() {
    let held = service("held", &["192.0.2.0"]);
    let mut office = Office::new(&[("p", "192.0.2.0/32")], &[held, service("waits", &[])]);
    let (written, told) = office.settle();
    assert_eq!(
        (written, told),
        (vec![], vec!["uid-waits AllocationFailed".to_owned()])
    );
    let mut other = service("held", &["192.0.2.0"]);
    other["spec"]["type"] = json!("ClusterIP");
    office.put(Kind::Service, other);
    let (written, told) = office.settle();
    assert_eq!(written, ["held:  -", "waits: 192.0.2.0 p"]);
    assert_eq!(
        told,
        [
            "held cleared notLoadBalancer",
            "held written",
            "uid-waits IPAllocated",
            "waits written"
        ]
    );
}

#[test]
fn what_stands_is_told_once() {
    let mut office = Office::new(
        &[("p", "192.0.2.0/32")],
        &[service("a", &["192.0.2.0"]), service("b", &[])],
    );
    assert_eq!(office.settle().1, ["uid-b AllocationFailed"]);
    office.put(Kind::Namespace, json!({"metadata": {"name": "n"}}));
    assert!(office.desk.is_due());
    assert_eq!(office.settle().1, Vec::<String>::new());
}

#[test]
fn of_two_that_hold_one_address_the_younger_loses_it() {
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[]);
    for (name, created) in [
        ("young", "2026-01-02T00:00:00Z"),
        ("old", "2026-01-01T00:00:00Z"),
    ] {
        let mut service = service(name, &["192.0.2.0"]);
        service["metadata"]["creationTimestamp"] = json!(created);
        office.put(Kind::Service, service);
    }
    let (written, told) = office.settle();
    assert_eq!(written, ["young: 192.0.2.1 p"]);
    assert_eq!(
        told,
        [
            "young cleared ipInUse",
            "uid-young ClearAssignment",
            "uid-young IPAllocated",
            "young written"
        ]
    );
    assert_eq!(office.desk.duplicates, 1);
}

#[test]
fn of_many_services_that_move_each_has_one_event_and_all_are_told_together() {
    let count = CLEARED_TOLD_MAX + 1;
    let services: Vec<Value> = (0..count)
        .map(|n| service(&format!("{n:03}"), &[&format!("192.0.2.{n}")]))
        .collect();
    let mut office = Office::new(&[("p", "192.0.2.0/24")], &services);
    assert_eq!(office.settle(), (vec![], vec![]));
    office.pool("p", "198.51.100.0/24");
    let (written, told) = office.settle();
    assert_eq!((written.len(), told.len()), (count, 3 * count + 1));
    assert_eq!(told[0], "33 cleared");
    let of_one = [
        "000 cleared ipNotAllowed",
        "uid-000 IPAllocated",
        "000 written",
    ];
    assert_eq!(told[1..4], of_one);
}

#[test]
fn a_frozen_pool_frees_nothing_and_is_said_to_be_at_fault() {
    let mut office = Office::new(
        &[("p", "nonsense")],
        &[service("web", &["192.0.2.0"]), service("new", &[])],
    );
    let (passed, _) = office.desk.pass(office.now).unwrap();
    assert_eq!(office.desk.next(office.now), None);
    assert_eq!(passed.config_problems.len(), 1);
    assert_eq!(passed.usage, BTreeMap::new());
    office.pool("p", "192.0.2.0/31");
    assert_eq!(office.settle().0, ["new: 192.0.2.1 p"]);
}

#[test]
fn an_edit_that_makes_a_pool_unreadable_changes_nothing() {
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[service("web", &["192.0.2.0"])]);
    office.settle();
    office.pool("p", "nonsense");
    office.put(Kind::Service, service("new", &[]));
    let (passed, _) = office.desk.pass(office.now).unwrap();
    assert_eq!(passed.config_problems.len(), 1, "it is said all the same");
    assert_eq!(
        office.settle().0,
        ["new: 192.0.2.1 p"],
        "the last good version is in force"
    );
}

#[test]
fn a_service_that_cannot_be_read_keeps_what_its_status_says() {
    let mut odd = service("odd", &["192.0.2.0"]);
    odd["spec"]["ports"] = json!([{"port": 0}]);
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[odd, service("new", &[])]);
    assert_eq!(office.settle().0, ["new: 192.0.2.1 p"]);
}

#[test]
fn what_was_decided_and_not_begun_is_forgotten_when_somebody_else_allocates() {
    let mut office = Office::new(&[("p", "192.0.2.0/31")], &[service("web", &[])]);
    office.desk.pass(office.now);
    office.desk.forget_intentions(office.now);
    assert_eq!(
        (office.desk.next(office.now), office.desk.pending()),
        (None, 0)
    );
    office.put(Kind::Service, service("web", &["192.0.2.1"]));
    assert_eq!(
        office.settle().0,
        Vec::<String>::new(),
        "the other's choice stays"
    );
}

#[test]
fn eight_requests_are_under_way_at_a_time() {
    let services: Vec<Value> = (0..20).map(|n| service(&format!("s{n}"), &[])).collect();
    let mut office = Office::new(&[("p", "192.0.2.0/24")], &services);
    office.desk.pass(office.now);
    let begun = std::iter::from_fn(|| office.desk.next(office.now)).count();
    assert_eq!(begun, REQUESTS_MAX);
}

#[test]
fn events_give_way_only_while_statuses_wait_for_others() {
    let services: Vec<Value> = (0..=REQUESTS_MAX)
        .map(|n| service(&format!("s{n}"), &[]))
        .collect();
    let mut office = Office::new(&[("p", "192.0.2.0/24")], &services);
    office.desk.pass(office.now);
    assert!(!office.desk.is_pressed(), "nothing is begun");
    let begun = std::iter::from_fn(|| office.desk.next(office.now));
    let begun: Vec<Request> = begun.collect();
    assert!(office.desk.is_pressed(), "one waits for eight");
    let (id, _) = taken(begun.into_iter().next());
    let refused = Failure::told(503, String::new(), "no".to_owned(), Some(3600));
    office.desk.wrote(office.now, &id, Err(refused));
    assert!(!office.desk.is_pressed(), "two wait, but not for others");
}

#[test]
fn a_newer_version_that_comes_before_the_answer_counts() {
    for (ip, is_kept) in [("192.0.2.0", true), ("192.0.2.1", false)] {
        let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &[])]);
        office.desk.pass(office.now);
        let (id, mut object) = taken(office.desk.next(office.now));
        object["metadata"]["resourceVersion"] = json!("500");
        office.version = 600;
        office.put(Kind::Service, service("web", &[ip]));
        let (news, read) = office.desk.wrote(office.now, &id, Ok(object));
        assert_eq!((read, office.desk.pending()), (None, 0));
        let told: Vec<String> = news.iter().map(told).collect();
        assert_eq!(
            told.contains(&"web written".to_owned()),
            is_kept,
            "{told:?}"
        );
        assert_eq!(
            office.settle().0,
            Vec::<String>::new(),
            "either may be held"
        );
    }
}

#[test]
fn who_writes_other_addresses_into_a_service_of_ours_is_told() {
    let by = |name: &str, ip: &str, class: Option<&str>, manager: &str| {
        let mut service = service(name, &[ip]);
        service["spec"]["loadBalancerClass"] = json!(class);
        service["metadata"]["managedFields"] = json!([{
            "manager": manager, "time": "2026-01-01T00:00:00Z", "subresource": "status",
            "fieldsV1": {"f:status": {"f:loadBalancer": {}}},
        }]);
        service
    };
    let class = Some("example.test/other");
    let begin = [
        by("web", "192.0.2.0", None, "first"),
        by("classed", "192.0.2.1", class, "first"),
    ];
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &begin);
    office.settle();
    let mut put = |service| -> Vec<String> {
        let news = office.put(Kind::Service, service);
        news.iter().map(told).collect()
    };
    assert_eq!(
        put(by("classed", "192.0.2.2", class, "second")),
        Vec::<String>::new()
    );
    assert_eq!(
        put(by("web", "192.0.2.0", None, "adorner")),
        Vec::<String>::new(),
        "it left the address as it was"
    );
    assert_eq!(
        put(by("web", "192.0.2.3", None, "second")),
        ["web by second"]
    );
}

#[test]
fn a_service_without_a_cluster_ip_loses_its_address_and_no_event_tells_of_it() {
    let mut office = Office::new(&[("p", "192.0.2.0/30")], &[service("web", &["192.0.2.0"])]);
    assert_eq!(office.settle().0, [] as [String; 0]);
    let mut bare = service("web", &["192.0.2.0"]);
    bare["spec"]["clusterIPs"] = json!([]);
    office.put(Kind::Service, bare);
    let (passed, _) = office.desk.pass(office.now).unwrap();
    let why = &passed.service_problems[0];
    assert_eq!(
        (why.field.as_str(), why.why.as_str()),
        ("spec.clusterIPs", "it has no cluster IP")
    );
    let (written, told) = office.settle();
    assert_eq!(written, ["web:  -"]);
    assert_eq!(told, ["web cleared noClusterIPs", "web written"]);
}

#[test]
fn services_that_came_are_looked_at_once_each() {
    let mut office = Office::new(
        &[("p", "192.0.2.0/30")],
        &[service("old", &["192.0.2.0"]), service("new", &[])],
    );
    let came = |office: &mut Office| {
        let (passed, _) = office.desk.pass(office.now).unwrap();
        let came = passed.came.into_iter();
        came.map(|(id, is_met)| (id.name, is_met))
            .collect::<Vec<_>>()
    };
    let first = [("new".to_owned(), false), ("old".to_owned(), true)];
    assert_eq!(came(&mut office), first);
    assert_eq!(came(&mut office), []);
    office.put(Kind::Service, service("old", &["192.0.2.0"]));
    let gone = Told::Gone("a".to_owned(), "new".to_owned());
    office.put(Kind::Service, service("new", &[]));
    office.desk.take(
        office.now,
        Item {
            kind: Kind::Service,
            told: gone,
        },
    );
    assert_eq!(came(&mut office), [("old".to_owned(), true)]);
}

#[test]
fn who_decides_nothing_judges_the_configuration_once_after_each_change() {
    let mut office = Office::new(&[("p", "192.0.2.0-nonsense")], &[service("web", &[])]);
    let judged = |office: &mut Office| office.desk.judge().map(|problems| problems.len());
    assert_eq!(judged(&mut office), Some(1));
    assert_eq!(judged(&mut office), None);
    office.pool("p", "192.0.2.0/30");
    assert_eq!(judged(&mut office), Some(0));
    // What the allocator would do is still to be done.
    assert_eq!(office.settle().0, ["web: 192.0.2.0 p"]);
    let mut fresh = Desk::new(NS, None);
    assert_eq!(fresh.judge(), None, "nothing has been seen");
}
