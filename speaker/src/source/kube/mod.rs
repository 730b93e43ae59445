//! Where objects come from in a cluster: one list and watch for each kind, as light for the API server as may be.
//!
//! What a reflector tells is turned into the events of any source on arrival and dropped; nothing is kept here but the
//! names that are known. Knows neither connection nor clock: the tasks that own them are in `drive/reflect`.

mod reflector;

pub(crate) use reflector::{Reflector, Step, Told, Watched};

use super::Event;
use serde_json::Value;
use speaker_core::manifest;
use speaker_core::{Kind, ObjectKey};

/// Which objects a process wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scope {
    /// The kinds.
    pub(crate) kinds: Vec<Kind>,
    /// Where configuration objects count; those of other namespaces are not asked for.
    pub(crate) namespace: String,
    /// Whether services of other types are wanted: whoever writes statuses must see a type go away.
    pub(crate) all_services: bool,
}

/// What a reflector of one kind told.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Item {
    /// The kind.
    pub(crate) kind: Kind,
    /// What is so.
    pub(crate) told: Told,
}

impl Scope {
    /// What to ask for to follow `kind`; `None` if no API server has it.
    pub(crate) fn watched(&self, kind: Kind) -> Option<Watched> {
        let (version, plural) = served(kind)?;
        let base = match version.contains('/') {
            true => format!("/apis/{version}"),
            false => format!("/api/{version}"),
        };
        let path = match kind.is_config() {
            true => format!("{base}/namespaces/{}/{plural}", self.namespace),
            false => format!("{base}/{plural}"),
        };
        let (labels, fields) = match kind {
            // A service of type LoadBalancer cannot be headless.
            Kind::EndpointSlice => (
                "kubernetes.io/service-name,!service.kubernetes.io/headless",
                "",
            ),
            Kind::Service if !self.all_services => ("", "spec.type=LoadBalancer"),
            Kind::Service
            | Kind::Namespace
            | Kind::Node
            | Kind::Pool
            | Kind::L2Advertisement
            | Kind::Community
            | Kind::BgpPeer
            | Kind::BgpAdvertisement
            | Kind::BfdProfile
            | Kind::Document => ("", ""),
        };
        Some(Watched {
            path,
            labels: labels.to_owned(),
            fields: fields.to_owned(),
        })
    }
}

impl Item {
    /// The same as a source's events.
    pub(crate) fn events(self, namespace: &str) -> Vec<Event> {
        let kind = self.kind;
        match self.told {
            Told::Put(object) => put(kind, object, namespace),
            Told::Gone(namespace, name) => vec![Event::Gone(ObjectKey::new(kind, namespace, name))],
            Told::Synced => vec![Event::Synced(kind)],
        }
    }
}

/// The items of a typed list do not say what they are.
fn put(kind: Kind, mut object: Value, namespace: &str) -> Vec<Event> {
    if let (Some((version, _)), Some(map)) = (served(kind), object.as_object_mut()) {
        map.insert("apiVersion".to_owned(), version.into());
        map.insert("kind".to_owned(), kind.as_str().into());
    }
    // Fields that are not known here come with newer servers and are nobody's mistake: no notes.
    let read = manifest::of_value(ORIGIN, object, namespace);
    read.objects.into_iter().map(Event::Put).collect()
}

/// The version that is stored, and the plural.
const fn served(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Namespace => Some(("v1", "namespaces")),
        Kind::Node => Some(("v1", "nodes")),
        Kind::Service => Some(("v1", "services")),
        Kind::EndpointSlice => Some(("discovery.k8s.io/v1", "endpointslices")),
        Kind::Pool => Some(("metallb.io/v1beta1", "ipaddresspools")),
        Kind::L2Advertisement => Some(("metallb.io/v1beta1", "l2advertisements")),
        Kind::Community => Some(("metallb.io/v1beta1", "communities")),
        Kind::BgpPeer => Some(("metallb.io/v1beta2", "bgppeers")),
        Kind::BgpAdvertisement => Some(("metallb.io/v1beta1", "bgpadvertisements")),
        Kind::BfdProfile => Some(("metallb.io/v1beta1", "bfdprofiles")),
        Kind::Document => None,
    }
}

/// What problems of objects of the API server go by.
const ORIGIN: &str = "api";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope(all_services: bool) -> Scope {
        Scope {
            kinds: Kind::ALL.to_vec(),
            namespace: "metallb-system".to_owned(),
            all_services,
        }
    }

    #[test]
    fn every_kind_but_documents_has_a_path() {
        for kind in Kind::ALL {
            assert!(scope(true).watched(kind).is_some(), "{kind:?}");
        }
        assert_eq!(scope(true).watched(Kind::Document), None);
    }

    #[test]
    fn configuration_is_asked_for_in_its_namespace_only() {
        let watched = scope(false).watched(Kind::Pool).unwrap();
        let path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
        assert_eq!(watched.path, path);
    }

    #[test]
    fn a_speaker_asks_for_load_balancers_alone() {
        let fields = |all| scope(all).watched(Kind::Service).unwrap().fields;
        assert_eq!(fields(false), "spec.type=LoadBalancer");
        assert_eq!(fields(true), "");
    }

    #[test]
    fn an_item_of_a_list_is_read_as_its_kind() {
        let object = json!({"metadata": {"name": "n1", "labels": {"a": "b"}}});
        let item = Item {
            kind: Kind::Node,
            told: Told::Put(object),
        };
        let events = item.events("metallb-system");
        let [Event::Put(Ok(object))] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(object.key(), ObjectKey::new(Kind::Node, "", "n1"));
    }

    #[test]
    fn what_is_wrong_with_an_object_names_it() {
        let object = json!({"metadata": {"name": "p", "namespace": "metallb-system"}, "spec": {"addresses": ["x"]}});
        let item = Item {
            kind: Kind::Pool,
            told: Told::Put(object),
        };
        let events = item.events("metallb-system");
        let [Event::Put(Err(problem))] = events.as_slice() else {
            panic!("{events:?}");
        };
        let why = "api: IPAddressPool metallb-system/p: spec.addresses[0]: \"x\" is neither address/bits nor first-last";
        assert_eq!(problem.to_string(), why);
    }
}
