//! The server that the suite runs against: the double, or a real one if it is asked for.

use crate::http::Place;
use crate::matching::Meanings;
use api_tests::{Double, Key, Options, Users};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// A server.
pub(crate) enum Server {
    /// Ours.
    Double(Box<Double>),
}

impl Server {
    /// A fresh double.
    pub(crate) fn start() -> Self {
        let mut users = Users::new();
        for account in ["speaker", "controller"] {
            let name = format!("system:serviceaccount:metallb-system:{account}");
            users.add(&format!("pp-{account}-token"), &name, &[]);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let options = Options {
            crds: Some(root.join("deploy/crds")),
            users,
            is_tls: false,
            ..Options::default()
        };
        let double = Double::start(options).unwrap();
        // As it was recorded: MetalLB's own definition, without a webhook yet.
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
        let mut peers = double.get(path).unwrap();
        peers["spec"]["conversion"] = json!({"strategy": "None"});
        peers["metadata"]["annotations"] =
            json!({"controller-gen.kubebuilder.io/version": "v0.19.0"});
        let key = Key::new(
            "customresourcedefinitions.apiextensions.k8s.io",
            "",
            "bgppeers.metallb.io",
        );
        double.plant(key, peers);
        Self::Double(Box::new(double))
    }

    /// Tells where a webhook is, if the server can be told.
    pub(crate) fn place_hook(&self, host: &str, address: SocketAddr) {
        match self {
            Self::Double(double) => double.place(host, address),
        }
    }

    /// Forgets old changes.
    pub(crate) fn compact(&self) {
        match self {
            Self::Double(double) => double.compact(),
        }
    }

    pub(crate) fn is_double(&self) -> bool {
        match self {
            Self::Double(_) => true,
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Double(double) => Place {
                address: double.address(),
                tls: None,
            },
        }
    }

    /// Headers that say who one is.
    pub(crate) fn credentials(&self, user: &str) -> Option<(String, String)> {
        let token = match user {
            "anonymous" => return None,
            "speaker" | "controller" => format!("pp-{user}-token"),
            other => other.to_owned(),
        };
        Some(("Authorization".to_owned(), format!("Bearer {token}")))
    }

    /// The newest resourceVersion.
    pub(crate) fn revision(&self) -> u64 {
        let headers: Vec<_> = self.credentials("admin").into_iter().collect();
        let answer = self
            .place()
            .send("GET", "/api/v1/namespaces?limit=1", &headers, b"");
        let body: Value = serde_json::from_slice(&answer.unwrap().body().unwrap()).unwrap();
        body["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Puts the recorded outcome of a write in place, in a double.
    pub(crate) fn plant(&self, meanings: &mut Meanings, recorded: &Value) {
        let Self::Double(double) = self;
        let metadata = &recorded["metadata"];
        // What the recording names for the first time gets a meaning of its own.
        let told = recorded.to_string();
        for word in ["uid", "clusterip", "nodeport"] {
            for number in 1..100 {
                let placeholder = format!("<{word}:{number}>");
                if told.contains(&placeholder) && meanings.get(&placeholder).is_none() {
                    let meaning = match word {
                        "uid" => format!("aaaaaaaa-0000-4000-8000-{number:012}"),
                        "clusterip" => format!("10.96.250.{number}"),
                        _port => (32000 + number).to_string(),
                    };
                    meanings.bind(&placeholder, &meaning);
                }
            }
        }
        let mut object = meanings.fill(recorded);
        let told = object
            .to_string()
            .replace("<time>", "2026-01-01T00:00:00.000000Z");
        object = serde_json::from_str(&told).unwrap();
        let path = double.path(&object);
        let Some((place, name)) = path.rsplit_once('/') else {
            return;
        };
        let plural = place.rsplit('/').next().unwrap();
        let group = object["apiVersion"]
            .as_str()
            .unwrap()
            .split_once('/')
            .map(|(group, _)| group);
        let resource = group.map_or(plural.to_owned(), |group| format!("{plural}.{group}"));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let key = Key::new(&resource, namespace, name);
        let rest = object
            .get("spec")
            .is_some_and(|spec| spec.get("...").is_some());
        let there = double.get(&path);
        let same = there.is_some_and(|mut there| {
            there["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
            there == object
        });
        if same || rest {
            return;
        }
        let planted = double.plant(key, object);
        let revision = planted["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        let placeholder = metadata["resourceVersion"].as_str().unwrap_or_default();
        if meanings.get(placeholder).is_none() {
            meanings.bind(placeholder, &revision);
        }
    }
}
