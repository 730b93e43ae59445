//! Whether somebody else allocates in this cluster: then this controller writes nothing and says so.
//!
//! Two signs. A pod of MetalLB's controller in our namespace, until it is gone: recognised by MetalLB's labels and by not
//! being ours (`docs/controller.md`, "Take-over"). And a field manager other than us and `kubectl` that writes other
//! addresses into a service of ours while we lead: whatever it is, it goes by other knowledge than ours. A pod that cannot be looked
//! for is taken to be there.

use crate::api::{Api, Call, Failure};
use crate::drive::clock::{now, pause};
use serde_json::Value;
use speaker_core::service::ServiceId;
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Who else allocates, in words; `None`: nobody.
pub(super) type Rival = Option<String>;

/// Looks for foreign pods until it is dropped.
pub(super) struct Lookout {
    api: Api,
    namespace: String,
    /// The name of our own pod.
    own: Option<String>,
    rival: watch::Sender<Option<Rival>>,
    was_blocked: bool,
}

impl Lookout {
    /// What it sees comes through the receiver; `None` at first, before it has looked.
    pub(super) fn new(
        api: Api,
        namespace: &str,
        own: Option<&str>,
    ) -> (Self, watch::Receiver<Option<Rival>>) {
        let (rival, seen) = watch::channel(None);
        let lookout = Self {
            api,
            namespace: namespace.to_owned(),
            own: own.map(str::to_owned),
            rival,
            was_blocked: false,
        };
        (lookout, seen)
    }

    /// Looks now and then, more often while there is somebody.
    pub(super) async fn run(mut self) {
        loop {
            let seen = match self.look().await {
                Ok(pods) => rival(&pods, self.own.as_deref()),
                // What was seen last stays true; before the first look nobody can say that there is none.
                Err(failure) if self.rival.borrow().is_none() => Some(format!(
                    "the pods of namespace {} cannot be listed ({failure})",
                    self.namespace
                )),
                Err(_) => {
                    pause(LOOK_BLOCKED).await;
                    continue;
                }
            };
            let is_blocked = seen.is_some();
            // What the last pod has sent may still land: the way is clear only at the second look.
            if is_blocked || !std::mem::replace(&mut self.was_blocked, false) {
                self.rival.send_if_modified(|known| {
                    let differs = known.as_ref() != Some(&seen);
                    *known = Some(seen);
                    differs
                });
            }
            self.was_blocked |= is_blocked;
            let is_clear = matches!(&*self.rival.borrow(), Some(None));
            pause(if is_clear { LOOK_CLEAR } else { LOOK_BLOCKED }).await;
        }
    }

    async fn look(&self) -> Result<Vec<Value>, Failure> {
        let mut pods = Vec::new();
        for selector in SELECTORS {
            let path = format!(
                "/api/v1/namespaces/{}/pods?labelSelector={selector}&limit={PODS_MAX}",
                self.namespace
            );
            let mut list = self.api.call(Call::get(path)).await?;
            if let Value::Array(items) = list["items"].take() {
                pods.extend(items);
            }
        }
        Ok(pods)
    }
}

/// What pods stand for somebody else who allocates.
fn rival(pods: &[Value], own: Option<&str>) -> Rival {
    let name = |pod: &Value| {
        pod["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let image_of_own = pods
        .iter()
        .find(|pod| own.is_some_and(|own| name(pod) == own))
        .and_then(image);
    let is_foreign = |pod: &&Value| {
        let has_ended = matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
        let is_own = own.is_some_and(|own| name(pod) == own);
        let is_marked = ["labels", "annotations"]
            .iter()
            .any(|place| !pod["metadata"][place][MARK].is_null());
        let is_like_own = image_of_own.is_some() && image(pod) == image_of_own;
        !(has_ended || is_own || is_marked || is_like_own)
    };
    let foreign: Vec<String> = pods.iter().filter(is_foreign).map(name).collect();
    let first = foreign.first()?;
    Some(format!(
        "pod {first} of MetalLB's controller is still there"
    ))
}

/// The image of a pod's first container.
fn image(pod: &Value) -> Option<&str> {
    pod["spec"]["containers"][0]["image"].as_str()
}

/// Foreign writers of statuses: the first service that each wrote, and when it was last seen.
#[derive(Default)]
pub(super) struct Writers(BTreeMap<String, (ServiceId, Time)>);

impl Writers {
    /// A field manager wrote other addresses into a service of ours while we lead.
    pub(super) fn seen(&mut self, manager: &str, service: &ServiceId) {
        // People mend by hand, and what they write is taken over if the pools allow it.
        if manager == FIELD_MANAGER || manager.starts_with("kubectl") {
            return;
        }
        // The first service stays named: what is told changes with who writes, not with every write.
        if let Some((_, last)) = self.0.get_mut(manager) {
            *last = now();
        } else if self.0.len() < WRITERS_MAX {
            let first = (service.clone(), now());
            self.0.insert(manager.to_owned(), first);
        }
    }

    /// Whoever wrote lately.
    pub(super) fn rival(&mut self, now: Time) -> Rival {
        self.0.retain(|_, (_, at)| now.since(*at) < QUIET);
        let (manager, (service, _)) = self.0.first_key_value()?;
        Some(format!(
            "field manager {manager:?} writes statuses too, such as that of service {service}"
        ))
    }
}

/// As whom we write; what `managedFields` shows.
pub(super) const FIELD_MANAGER: &str = "heliograph";
/// Label or annotation of our own pods, whatever its value.
const MARK: &str = "heliograph.io/part";
/// MetalLB's controllers: by its manifests, and by its chart.
const SELECTORS: [&str; 2] = [
    "app%3Dmetallb%2Ccomponent%3Dcontroller",
    "app.kubernetes.io%2Fcomponent%3Dcontroller",
];
const PODS_MAX: u32 = 50; // one would do
const LOOK_CLEAR: Duration = Duration::from_secs(15);
const LOOK_BLOCKED: Duration = Duration::from_secs(2);
const WRITERS_MAX: usize = 16; // one would do
const QUIET: Span = Span::s(300); // a controller that allocates writes within that time, or does no harm

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, image: &str, labels: Value, phase: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"image": image}]},
            "status": {"phase": phase},
        })
    }

    fn check(pods: &[Value], own: Option<&str>, foreign: Option<&str>) {
        let told = foreign.map(|pod| format!("pod {pod} of MetalLB's controller is still there"));
        assert_eq!(rival(pods, own), told);
    }

    #[test]
    fn a_pod_that_is_not_ours_is_a_rival_until_it_is_gone() {
        let theirs = pod(
            "controller-a",
            "quay.io/metallb/controller:v0.16.1",
            json!({}),
            "Running",
        );
        check(
            std::slice::from_ref(&theirs),
            Some("controller-b"),
            Some("controller-a"),
        );
        let mut leaving = theirs;
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        check(&[leaving], Some("controller-b"), Some("controller-a"));
        let ended = pod("controller-a", "x", json!({}), "Failed");
        check(&[ended], Some("controller-b"), None);
        check(&[], None, None);
    }

    #[test]
    fn our_own_pods_are_no_rivals() {
        let own = pod("c-1", "heliograph:1", json!({}), "Running");
        let replica = pod("c-2", "heliograph:1", json!({}), "Running");
        check(&[own.clone(), replica], Some("c-1"), None);
        let newer = pod(
            "c-3",
            "heliograph:2",
            json!({MARK: "controller"}),
            "Pending",
        );
        check(&[own.clone(), newer], Some("c-1"), None);
        let unmarked = pod("c-4", "heliograph:2", json!({}), "Running");
        check(&[own, unmarked], Some("c-1"), Some("c-4"));
    }

    #[test]
    fn who_writes_statuses_beside_us_is_a_rival_for_a_while() {
        let id = ServiceId {
            namespace: "a".into(),
            name: "web".into(),
        };
        let mut writers = Writers::default();
        for harmless in [FIELD_MANAGER, "kubectl-edit", "kubectl"] {
            writers.seen(harmless, &id);
        }
        assert_eq!(writers.rival(now()), None);
        writers.seen("controller", &id);
        let rival = writers.rival(now()).unwrap();
        let mut other = id.clone();
        other.name = "second".into();
        writers.seen("controller", &other);
        assert_eq!(writers.rival(now()), Some(rival.clone()), "told once");
        assert!(
            rival.contains("\"controller\"") && rival.contains("a/web"),
            "{rival}"
        );
        assert_eq!(writers.rival(now() + QUIET), None);
    }
}
