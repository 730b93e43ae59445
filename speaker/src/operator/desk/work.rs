//! What is to be done: for a resource, and without one. Each is a list of which the first that is due is done.

use super::conversion::{conversion_path, unconversion};
use super::{Asked, Desk, Request};
use serde_json::Value;
use speaker_core::deploy::Object;
use std::collections::BTreeSet;

impl Desk {
    /// What is to be done for the resource: objects, then conversion, then what is not wanted any more.
    pub(super) fn work(&self) -> Vec<Request> {
        let pending = self.pending().cloned().map(Box::new);
        let mut work: Vec<Request> = pending.map(Request::Apply).collect();
        if !self.wanted.is_empty() && !self.done.contains(&conversion_path()) {
            work.push(Request::Convert { by_webhook: true });
        }
        if matches!(self.asked, Asked::Bad(_)) || !work.is_empty() {
            return work;
        }
        let wanted: BTreeSet<String> = self.wanted.iter().map(Object::path).collect();
        let strays = self.live.keys().filter(|path| !wanted.contains(*path));
        let strays = strays.filter(|path| !path.contains(PODS));
        work.extend(strays.map(|path| Request::Delete {
            path: path.clone(),
            with_pods: false,
        }));
        work.extend(self.next_left());
        // MetalLB's webhooks answer until ours do.
        if self.missing().is_none() {
            work.extend(self.leftovers());
        }
        work
    }

    /// What is wanted and not there as it should be.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Object> {
        self.wanted.iter().filter(|object| {
            let applied = self.applied.get(&object.path());
            applied.is_none_or(|applied| applied.is_stale || applied.wanted != object.body)
        })
    }

    /// Pods of what was replaced because it selected others than ours.
    pub(super) fn left_pods(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.live.iter().filter(|(path, _)| path.contains(PODS))
    }

    /// The pod of before that goes next. A speaker of ours comes to a node only when its ports are free there, so that nodes are gone through
    /// one by one: as long as each has one of either that can serve. (Pods of before where no speaker is to be are exchanged beside.)
    fn next_left(&self) -> Option<Request> {
        let mut sets = self.wanted.iter().filter(|one| one.kind == "DaemonSet");
        let set = self.live.get(&sets.next()?.path())?;
        let (status, generation) = (&set["status"], &set["metadata"]["generation"]);
        let count = |name: &str| status[name].as_u64().unwrap_or_default();
        let is_seen = status["observedGeneration"].as_u64() >= generation.as_u64();
        let is_ending = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        let left = u64::try_from(self.left_pods().count()).ok()?;
        let is_served = count("numberAvailable") + left >= count("desiredNumberScheduled");
        if !is_seen || !is_served || self.left_pods().any(|(_, pod)| is_ending(pod)) {
            return None;
        }
        let (path, _) = self.left_pods().next()?;
        Some(Request::Delete {
            path: path.clone(),
            with_pods: false,
        })
    }

    fn leftovers(&self) -> Vec<Request> {
        let leftovers = LEFTOVERS.iter().map(|(group, name, is_theirs_alone)| {
            let (group, plural) = group.rsplit_once('/').unwrap_or_default();
            let path = format!("/{group}/namespaces/{}/{plural}/{name}", self.namespace);
            Request::Clear {
                path,
                is_theirs_alone: *is_theirs_alone,
            }
        });
        leftovers
            .filter(|request| !self.done.contains(&self.place(request)))
            .collect()
    }

    /// What is to be done so that nothing stays: the first stage that is not over.
    pub(super) fn removal(&self) -> Vec<Request> {
        let with = |plural: &str| {
            let of = format!("/{plural}/");
            let paths = self.live.keys().filter(move |path| path.contains(&of));
            paths.cloned().collect::<Vec<String>>()
        };
        if self.live.is_empty() {
            return Vec::new();
        }
        let delete = |path: &String, with_pods| Request::Delete {
            path: path.clone(),
            with_pods,
        };
        let webhooks = with("validatingwebhookconfigurations");
        if !webhooks.is_empty() {
            return webhooks.iter().map(|path| delete(path, false)).collect();
        }
        if !self.done.contains(&unconversion()) {
            return vec![Request::Convert { by_webhook: false }];
        }
        let pods = [with("deployments"), with("daemonsets"), with("pods")].concat();
        if !pods.is_empty() {
            let is_ending =
                |path: &&String| !self.live[*path]["metadata"]["deletionTimestamp"].is_null();
            let asked = pods.iter().filter(|path| !is_ending(path));
            let asked = asked.map(|path| delete(path, !path.contains(PODS)));
            return asked.collect();
        }
        let left = LEFT_BY_PODS
            .map(|place| place.replace("{}", &self.namespace))
            .into_iter()
            .filter(|path| !self.done.contains(path));
        let left: Vec<String> = left.collect();
        if !left.is_empty() {
            return left.iter().map(|path| delete(path, false)).collect();
        }
        self.live.keys().map(|path| delete(path, false)).collect()
    }
}

/// What MetalLB's operator has beside what we have, by group, plural and name, and whether it may be somebody else's too.
pub(super) const LEFTOVERS: [(&str, &str, bool); 8] = [
    ("apis/apps/v1/deployments", "webhook-server", false),
    (
        "apis/apps/v1/deployments",
        "metallb-operator-webhook-server",
        false,
    ),
    ("apis/apps/v1/deployments", "frr-k8s-webhook-server", true),
    ("apis/apps/v1/deployments", "frr-k8s-statuscleaner", true),
    ("apis/apps/v1/daemonsets", "frr-k8s", true),
    ("api/v1/configmaps", "frr-startup", true),
    // They select our pods too, and would let nobody reach the webhooks.
    (
        "apis/networking.k8s.io/v1/networkpolicies",
        "metallb-controller",
        true,
    ),
    (
        "apis/networking.k8s.io/v1/networkpolicies",
        "metallb-webhook",
        true,
    ),
];
const PODS: &str = "/pods/";
/// What our pods make and nobody owns.
const LEFT_BY_PODS: [&str; 2] = [
    "/api/v1/namespaces/{}/secrets/metallb-webhook-cert",
    "/apis/coordination.k8s.io/v1/namespaces/{}/leases/heliograph-controller",
];
