//! Service objects as the API server has them, kept so that a status can be written without reading first.
//!
//! A write of a status carries the whole object, or labels and annotations are lost. Kept is its text without
//! `managedFields`, which the server knows better and which would double the memory: about 1 kB a service. Versions
//! are opaque, but within one server they only grow: what a watch tells late of a service that was just written is left
//! out. Knows nothing of addresses.

use serde_json::{Map, Value, json};
use speaker_core::allocator::POOL_ANNOTATION;
use speaker_core::convergence::Target;
use speaker_core::service::ServiceId;
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The services whose statuses may have to be written.
#[derive(Default)]
pub(super) struct Stock(BTreeMap<ServiceId, Raw>);

struct Raw {
    /// The object as JSON.
    text: Box<[u8]>,
    uid: String,
    version: String,
    at: Time,
    writer: Option<Writer>,
}

/// Who wrote the addresses in a status last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Writer {
    /// The field manager.
    pub(super) manager: String,
    /// When, by the API server's clock.
    pub(super) time: String,
}

/// What came of a new version of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It is taken.
    New {
        /// Whoever wrote the status since the last version, if somebody did.
        writer: Option<Writer>,
    },
    /// It is older than what is known.
    Stale,
}

impl Stock {
    /// Takes an object, and its `managedFields` out of it.
    pub(super) fn put(&mut self, now: Time, id: &ServiceId, object: &mut Value) -> Arrival {
        let known = self.0.get(id);
        let (uid, version) = (text(object, "uid"), text(object, "resourceVersion"));
        if known.is_some_and(|known| known.is_after(now, &uid, &version)) {
            return Arrival::Stale;
        }
        let writer = writer(object);
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let is_kept = object["spec"]["type"] == "LoadBalancer"
            || object["metadata"]["annotations"][POOL_ANNOTATION].is_string()
            || object["status"]["loadBalancer"]["ingress"].is_array();
        let before = known.and_then(|known| known.writer.clone());
        let is_known = known.is_some();
        if is_kept {
            let raw = Raw {
                text: serde_json::to_vec(object)
                    .expect("JSON values are JSON")
                    .into_boxed_slice(),
                uid,
                version,
                at: now,
                writer: writer.clone(),
            };
            self.0.insert(id.clone(), raw);
        } else {
            self.0.remove(id);
        }
        let writer = writer.filter(|writer| is_known && before.as_ref() != Some(writer));
        Arrival::New { writer }
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, id: &ServiceId) {
        self.0.remove(id);
    }

    /// Whether an object is the one that is known, unchanged.
    pub(super) fn has(&self, now: Time, id: &ServiceId, object: &Value) -> bool {
        self.0.get(id).is_some_and(|known| {
            now.since(known.at) < LATE_MAX
                && known.uid == text(object, "uid")
                && known.version == text(object, "resourceVersion")
        })
    }

    /// The UID of a service.
    pub(super) fn uid(&self, id: &ServiceId) -> &str {
        self.0.get(id).map_or("", |raw| &raw.uid)
    }

    /// The object as it must be written; `None` if there is none.
    pub(super) fn written(&self, id: &ServiceId, target: &Target) -> Option<Value> {
        let mut object = self.object(id)?;
        write(&mut object, target);
        Some(object)
    }

    /// The object as it was read.
    pub(super) fn object(&self, id: &ServiceId) -> Option<Value> {
        let raw = self.0.get(id)?;
        Some(serde_json::from_slice(&raw.text).expect("it was made from a value"))
    }
}

impl Raw {
    fn is_after(&self, now: Time, uid: &str, version: &str) -> bool {
        let number = |text: &str| text.parse::<u128>().ok();
        self.uid == uid
            && now.since(self.at) < LATE_MAX
            && number(&self.version)
                .zip(number(version))
                .is_some_and(|(known, version)| version < known)
    }
}

/// Puts into an object what it must say; all else stays as it is.
fn write(object: &mut Value, target: &Target) {
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Service");
    let ips = target.ips.iter();
    let ingress = ips.map(|ip| match target.is_proxied {
        Some(true) => json!({"ip": ip.to_string(), "ipMode": "Proxy"}),
        Some(false) | None => json!({"ip": ip.to_string()}),
    });
    let ingress: Vec<Value> = ingress.collect();
    object["status"]["loadBalancer"] = match ingress.is_empty() {
        true => json!({}),
        false => json!({"ingress": ingress}),
    };
    let annotations = &mut object["metadata"]["annotations"];
    match &target.pool {
        Some(pool) => annotations[POOL_ANNOTATION] = json!(pool),
        None => {
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove(POOL_ANNOTATION);
            }
        }
    }
}

/// Whoever wrote `status.loadBalancer` last, by the object's `managedFields`.
fn writer(object: &Value) -> Option<Writer> {
    let entries = object["metadata"]["managedFields"].as_array()?.iter();
    let of_status = entries.filter(|entry| {
        entry["subresource"] == "status"
            && !entry["fieldsV1"]["f:status"]["f:loadBalancer"].is_null()
    });
    let field = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    of_status
        .map(|entry| Writer {
            manager: field(entry, "manager"),
            time: field(entry, "time"),
        })
        .max_by(|a, b| a.time.cmp(&b.time))
}

fn text(object: &Value, field: &str) -> String {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let found = metadata.and_then(|metadata: &Map<String, Value>| metadata.get(field)?.as_str());
    found.unwrap_or_default().to_owned()
}

/// What comes that late is believed all the same: a server that was restored from a backup counts from below, and may give
/// the same version to another content.
const LATE_MAX: Span = Span::s(60);

/// Which service an object is.
pub(super) fn id(object: &Value) -> ServiceId {
    let text = |field: &str| {
        let text = object["metadata"][field].as_str();
        text.unwrap_or_default().to_owned()
    };
    ServiceId {
        namespace: text("namespace"),
        name: text("name"),
    }
}

/// What a status says, for an object of which nothing else can be read, and the pool that it names.
pub(super) fn held(object: &Value) -> (Vec<IpAddr>, String) {
    let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
    let ips = ingress.into_iter().flatten();
    let ips = ips.filter_map(|entry| entry["ip"].as_str()?.parse().ok());
    let pool = object["metadata"]["annotations"][POOL_ANNOTATION].as_str();
    (ips.collect(), pool.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ServiceId {
        ServiceId {
            namespace: "a".into(),
            name: "web".into(),
        }
    }

    fn object(version: &str, manager: &str, time: &str) -> Value {
        json!({
            "metadata": {
                "name": "web", "namespace": "a", "uid": "u", "resourceVersion": version,
                "labels": {"l": "1"},
                "annotations": {"other": "x"},
                "finalizers": ["f"],
                "managedFields": [
                    {"manager": "kubectl", "time": "2026-01-01T00:00:09Z", "fieldsV1": {"f:spec": {}}},
                    {"manager": manager, "time": time, "subresource": "status",
                     "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}},
                ],
            },
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9", "ipMode": "VIP"}]}, "conditions": [{"type": "c"}]},
        })
    }

    #[test]
    fn a_status_is_written_and_all_else_stays() {
        let mut stock = Stock::default();
        stock.put(Time::ms(1), &id(), &mut object("7", "m", "t"));
        let target = Target {
            ips: vec!["192.0.2.1".parse().unwrap()],
            pool: Some("p".into()),
            is_proxied: None,
        };
        let proxied = Target {
            is_proxied: Some(true),
            ..target.clone()
        };
        let written = stock.written(&id(), &proxied).unwrap();
        assert_eq!(
            written["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "192.0.2.1", "ipMode": "Proxy"}])
        );
        let written = stock.written(&id(), &target).unwrap();
        assert_eq!(
            written,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": "web", "namespace": "a", "uid": "u", "resourceVersion": "7",
                    "labels": {"l": "1"},
                    "annotations": {"other": "x", POOL_ANNOTATION: "p"},
                    "finalizers": ["f"],
                },
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1"},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}, "conditions": [{"type": "c"}]},
            })
        );
        let cleared = stock.written(&id(), &Target::default()).unwrap();
        assert_eq!(cleared["status"]["loadBalancer"], json!({}));
        assert_eq!(cleared["metadata"]["annotations"], json!({"other": "x"}));
    }

    #[test]
    fn an_older_version_of_the_same_object_is_left_out_for_a_while() {
        let mut stock = Stock::default();
        let mut put = |ms, version, uid: &str| {
            let mut object = object(version, "m", "t");
            object["metadata"]["uid"] = json!(uid);
            stock.put(Time::ms(ms), &id(), &mut object) == Arrival::Stale
        };
        assert!(!put(1, "10", "u"));
        assert!(put(2, "9", "u"));
        assert!(!put(3, "10", "u"));
        assert!(!put(4, "9", "v"), "another object of the same name");
        assert!(put(5, "8", "v"));
        assert!(!put(70_000, "8", "v"), "restored from a backup");
        assert!(!put(70_001, "opaque", "v"));
    }

    #[test]
    fn the_same_version_is_known_for_a_while() {
        let mut stock = Stock::default();
        let known = object("10", "m", "t");
        stock.put(Time::ms(1), &id(), &mut known.clone());
        assert!(stock.has(Time::ms(2), &id(), &known));
        assert!(!stock.has(Time::ms(2), &id(), &object("11", "m", "t")));
        assert!(
            !stock.has(Time::ms(70_000), &id(), &known),
            "restored from a backup"
        );
        let mut other = known;
        other["metadata"]["uid"] = json!("v");
        assert!(!stock.has(Time::ms(2), &id(), &other));
    }

    #[test]
    fn a_new_writer_of_the_status_is_told_once() {
        let mut stock = Stock::default();
        let mut put = |version, manager, time| {
            let mut object = object(version, manager, time);
            match stock.put(Time::ms(1), &id(), &mut object) {
                Arrival::New { writer } => writer.map(|writer| writer.manager),
                Arrival::Stale => panic!("stale"),
            }
        };
        let early = "2026-01-01T00:00:01Z";
        assert_eq!(put("1", "controller", early), None, "before our time");
        assert_eq!(put("2", "controller", early), None);
        let late = "2026-01-01T00:00:02Z";
        assert_eq!(put("3", "controller", late).as_deref(), Some("controller"));
        assert_eq!(put("4", "heliograph", late).as_deref(), Some("heliograph"));
    }

    #[test]
    fn services_that_have_nothing_of_ours_are_not_kept() {
        let mut stock = Stock::default();
        let mut other = json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "spec": {"type": "ClusterIP"}, "status": {"loadBalancer": {}}});
        stock.put(Time::ms(1), &id(), &mut other);
        assert!(stock.0.is_empty());
    }
}
