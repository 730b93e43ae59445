//! `caBundle`: whom API servers trust when they call our webhooks. A pure machine for each object that has one.
//!
//! Says what to write so that every place holds just the authorities due, leaves an object alone that cert-manager injects into, and
//! gives way for a while when somebody else keeps writing there too. Knows neither clock nor API server.
//!
//! Governed by ValidatingWebhookConfiguration (admissionregistration.k8s.io/v1) and the conversion stanza of
//! CustomResourceDefinition (apiextensions.k8s.io/v1).

use crate::tls::{Certificate, bundle, pem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use speaker_proto::{Span, Time};
use std::collections::{BTreeSet, VecDeque};

/// Which object it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The ValidatingWebhookConfiguration of the configuration.
    Webhooks,
    /// The one of the operator's own resource.
    OperatorWebhooks,
    /// The CRD of BGPPeer, whose versions we convert.
    Conversion,
}

/// An object as far as it concerns us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// Its UID.
    pub(super) uid: String,
    version: String,
    /// The certificate that cert-manager injects; then the places are not ours.
    injected: Option<String>,
    places: Vec<Place>,
    /// Who of others wrote a caBundle, or the object, last.
    other: Option<String>,
}

/// Where one caBundle belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    /// JSON pointer of the clientConfig.
    client: String,
    bundle: Option<String>,
}

/// Whom bundles are to name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Trust {
    /// These, the newest first.
    pub(super) must: Vec<Certificate>,
    /// And these, if another replica still wants them: no reason to write.
    pub(super) may: Vec<Certificate>,
}

/// What to do about an object.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    /// It is as it should be, or not ours to write.
    Settled,
    /// Look again then: the leading replica may be writing this very moment.
    Wait {
        /// When.
        until: Time,
    },
    /// A JSON patch to send.
    Write(Value),
    /// Others overwrite what we write; nothing is written before `until`.
    Yield {
        /// When the next write is allowed.
        until: Time,
        /// Who it is, to be told; `None` if it was told.
        tell: Option<String>,
    },
}

/// What was done about an object so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeper {
    /// Our writes of the last hour.
    writes: VecDeque<Time>,
    wrong_since: Option<Time>,
    is_told: bool,
}

impl Keeper {
    /// Decides. `patience` is how long a wrong bundle is left to whoever else may mend it.
    pub(super) fn step(&mut self, now: Time, seen: &Seen, trust: &Trust, patience: Span) -> Step {
        while self.writes.front().is_some_and(|at| *at + HOUR <= now) {
            self.writes.pop_front();
            self.is_told = false;
        }
        let patch = seen.patch(trust);
        if patch.is_empty() || seen.injected.is_some() {
            self.wrong_since = None;
            return Step::Settled;
        }
        let since = *self.wrong_since.get_or_insert(now);
        if since + patience > now {
            return Step::Wait {
                until: since + patience,
            };
        }
        if let Some(first) = self
            .writes
            .front()
            .filter(|_| self.writes.len() >= WRITES_MAX)
        {
            let is_news = !std::mem::replace(&mut self.is_told, true);
            let other = || seen.other.clone().unwrap_or_else(|| "unknown".to_owned());
            return Step::Yield {
                until: *first + HOUR,
                tell: is_news.then(other),
            };
        }
        // Places are counted, so that they must be those that were seen.
        let path = "/metadata/resourceVersion";
        let test = json!({"op": "test", "path": path, "value": seen.version});
        Step::Write([vec![test], patch].concat().into())
    }

    /// Notes that a write was taken.
    pub(super) fn wrote(&mut self, now: Time) {
        self.writes.push_back(now);
        self.wrong_since = None;
    }
}

impl Target {
    /// Its kind.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Webhooks | Self::OperatorWebhooks => "ValidatingWebhookConfiguration",
            Self::Conversion => "CustomResourceDefinition",
        }
    }

    /// Its group and version.
    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Self::Webhooks | Self::OperatorWebhooks => "admissionregistration.k8s.io/v1",
            Self::Conversion => "apiextensions.k8s.io/v1",
        }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "metallb-webhook-configuration",
            Self::OperatorWebhooks => "metallb-operator-webhook-configuration",
            Self::Conversion => "bgppeers.metallb.io",
        }
    }

    /// The path of all of its kind.
    pub(super) fn collection(self) -> String {
        let plural = match self {
            Self::Webhooks | Self::OperatorWebhooks => "validatingwebhookconfigurations",
            Self::Conversion => "customresourcedefinitions",
        };
        format!("/apis/{}/{plural}", self.api_version())
    }

    /// Its own path.
    pub(super) fn path(self) -> String {
        format!("{}/{}", self.collection(), self.name())
    }

    /// Takes from an object what concerns us.
    pub(super) fn read(self, object: &Value) -> Seen {
        let metadata = &object["metadata"];
        let places = match self {
            Self::Webhooks | Self::OperatorWebhooks => webhook_places(object),
            Self::Conversion => conversion_place(object).into_iter().collect(),
        };
        Seen {
            uid: text(&metadata["uid"]),
            version: text(&metadata["resourceVersion"]),
            injected: metadata["annotations"][INJECTION]
                .as_str()
                .map(str::to_owned),
            places,
            other: other_writer(metadata),
        }
    }
}

fn webhook_places(object: &Value) -> Vec<Place> {
    let webhooks = object["webhooks"].as_array().into_iter().flatten();
    let places = webhooks.enumerate().map(|(at, webhook)| Place {
        client: format!("/webhooks/{at}/clientConfig"),
        bundle: webhook["clientConfig"]["caBundle"]
            .as_str()
            .map(str::to_owned),
    });
    places.collect()
}

fn conversion_place(object: &Value) -> Option<Place> {
    let conversion = &object["spec"]["conversion"];
    let client = conversion["webhook"]["clientConfig"].as_object()?;
    Some(Place {
        client: "/spec/conversion/webhook/clientConfig".to_owned(),
        bundle: client
            .get("caBundle")
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

impl Seen {
    /// Whether whoever calls through it believes that authority.
    pub(super) fn trusts(&self, root: &Certificate) -> bool {
        self.injected.is_some()
            || self.places.iter().all(|place| {
                let held = place.bundle.as_deref().map(ders);
                held.is_some_and(|held| held.contains(root.der.as_ref()))
            })
    }

    fn patch(&self, trust: &Trust) -> Vec<Value> {
        let set = |roots: &[Certificate]| -> BTreeSet<Vec<u8>> {
            roots.iter().map(|root| root.der.to_vec()).collect()
        };
        let (must, may) = (set(&trust.must), set(&trust.may));
        let is_wrong = |place: &&Place| {
            let held = place.bundle.as_deref().map(ders).unwrap_or_default();
            !must.is_subset(&held) || held.difference(&must).any(|one| !may.contains(one))
        };
        let text = STANDARD.encode(pem(&trust.must));
        let wrong = self.places.iter().filter(is_wrong);
        let step = |place: &Place| {
            let path = format!("{}/caBundle", place.client);
            json!({"op": "add", "path": path, "value": text})
        };
        wrong.map(step).collect()
    }
}

/// The certificates of a bundle in any order; none where it cannot be read.
fn ders(text: &str) -> BTreeSet<Vec<u8>> {
    let pem = STANDARD.decode(text).unwrap_or_default();
    let read = bundle(&pem).unwrap_or_default();
    read.into_iter().map(|one| one.der.to_vec()).collect()
}

/// The field manager other than us that wrote a caBundle last, or else the object.
fn other_writer(metadata: &Value) -> Option<String> {
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let others = entries.filter(|entry| {
        entry["manager"] != MANAGER && entry["subresource"].as_str().is_none_or(str::is_empty)
    });
    let last =
        others.max_by_key(|entry| (owns_bundle(&entry["fieldsV1"]), text(&entry["time"])))?;
    Some(text(&last["manager"]))
}

fn owns_bundle(fields: &Value) -> bool {
    fields.as_object().is_some_and(|fields| {
        let mut below = fields.iter();
        below.any(|(name, below)| name == "f:caBundle" || owns_bundle(below))
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Our name in `managedFields`.
pub(super) const MANAGER: &str = "heliograph-webhook";
/// By which cert-manager is told to keep the bundles of an object.
const INJECTION: &str = "cert-manager.io/inject-ca-from";
/// Writes an hour to one object: a tool that reverts them must not be met by a loop, and an operator's edits are fewer.
const WRITES_MAX: usize = 6;
const HOUR: Span = Span::s(3600);

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
