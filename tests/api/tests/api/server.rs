//! The server that the suite runs against: the double, or a real one if it is asked for.

use crate::http::Place;
use crate::matching::Meanings;
use crate::real::{Real, wanted};
use api_tests::{Double, Key, Options, Users};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A server.
pub(crate) enum Server {
    /// Ours.
    Double(Box<Double>),
    /// A real one, that others use too.
    Real(&'static Real),
}

impl Server {
    /// A fresh double, or the real server that is asked for.
    pub(crate) fn start() -> Self {
        match wanted() {
            None => Self::double(),
            Some(real) => {
                let server = Self::Real(real);
                server.install();
                server
            }
        }
    }

    /// Brings our definitions into a real server, as the recording's server had them: without a webhook.
    fn install(&self) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let mut headers: Vec<_> = self.credentials("admin").into_iter().collect();
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        for entry in fs::read_dir(root().join("deploy/crds")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut definition: Value = serde_norway::from_str(&text).unwrap();
            definition["spec"]["conversion"] = json!({"strategy": "None"});
            let body = definition.to_string();
            let answer = self.place().send("POST", path, &headers, body.as_bytes());
            let status = answer.unwrap().status;
            assert!(
                [201, 409].contains(&status),
                "a definition is answered {status}"
            );
        }
    }

    /// Whether it can be asked as this user.
    pub(crate) fn knows(&self, user: &str) -> bool {
        let is_account = ["speaker", "controller"].contains(&user);
        match self {
            Self::Double(_) => true,
            Self::Real(real) => real.has_accounts || !is_account,
        }
    }

    fn double() -> Self {
        let mut users = Users::new();
        for account in ["speaker", "controller"] {
            let name = format!("system:serviceaccount:metallb-system:{account}");
            users.add(&format!("pp-{account}-token"), &name, &[]);
        }
        let options = Options {
            crds: Some(root().join("deploy/crds")),
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
            Self::Real(_) => {}
        }
    }

    /// Forgets old changes.
    pub(crate) fn compact(&self) {
        match self {
            Self::Double(double) => double.compact(),
            Self::Real(_) => {}
        }
    }

    pub(crate) fn is_double(&self) -> bool {
        match self {
            Self::Double(_) => true,
            Self::Real(_) => false,
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Double(double) => Place {
                address: double.address(),
                tls: None,
            },
            Self::Real(real) => real.place.clone(),
        }
    }

    /// Headers that say who one is.
    pub(crate) fn credentials(&self, user: &str) -> Option<(String, String)> {
        let token = match user {
            "anonymous" => return None,
            "speaker" | "controller" => format!("pp-{user}-token"),
            "admin" => match self {
                Self::Double(_) => "admin".to_owned(),
                Self::Real(real) => real.token.clone()?,
            },
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
        let Self::Double(double) = self else {
            return;
        };
        let metadata = &recorded["metadata"];
        // What the recording names for the first time gets a meaning of its own.
        let told = recorded.to_string();
        for word in ["uid", "clusterip", "nodeport"] {
            for number in 1..100 {
                let mark = format!("<{word}:{number}>");
                if told.contains(&mark) && meanings.get(&mark).is_none() {
                    let meaning = match word {
                        "uid" => format!("aaaaaaaa-0000-4000-8000-{number:012}"),
                        "clusterip" => format!("10.96.250.{number}"),
                        _port => (32000 + number).to_string(),
                    };
                    meanings.bind(&mark, &meaning);
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
        let mark = metadata["resourceVersion"].as_str().unwrap_or_default();
        if meanings.get(mark).is_none() {
            meanings.bind(mark, &revision);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
