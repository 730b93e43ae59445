//! What a resource is told of itself: its conditions, by what is there.

use super::{Asked, Desk, Request, name};
use serde_json::Value;
use speaker_core::crd::metallb::NAME;
use speaker_core::deploy::{self, Condition, State};

impl Desk {
    /// What is missing until everything is rolled out.
    pub(super) fn missing(&self) -> Option<String> {
        let mut wanted = self.wanted.iter();
        let missing = wanted.find_map(|object| {
            let live = self.live.get(&object.path()).unwrap_or(&Value::Null);
            deploy::rollout(object, live)
        });
        missing.or_else(|| {
            let left = self.left_pods().count();
            (left > 0).then(|| format!("{left} pods of what was replaced are still there"))
        })
    }

    /// The conditions to write into a resource, if they are not there.
    pub(super) fn word(&self, metallb: &Value) -> Option<Request> {
        let state = match name(metallb) {
            NAME => self.state(metallb)?,
            other => State::Degraded(Condition {
                reason: "IncorrectMetalLBResourceName",
                message: format!(
                    "Incorrect MetalLB resource name: {other}. Only one named {NAME} is acted on"
                ),
            }),
        };
        let generation = metallb["metadata"]["generation"].as_u64();
        let before = &metallb["status"]["conditions"];
        let generation = generation.unwrap_or_default();
        // The time is put in by whoever writes; what keeps its time keeps it.
        let conditions = deploy::conditions(&state, generation, before, "");
        (conditions != *before).then(|| Request::Say {
            name: name(metallb).to_owned(),
            conditions,
        })
    }

    /// How it stands; `None` while that is being found out.
    fn state(&self, metallb: &Value) -> Option<State> {
        let degraded = |reason, message| Some(State::Degraded(Condition { reason, message }));
        let metallb_at_hand = match &self.asked {
            Asked::Nothing => return None,
            Asked::Bad(faults) => {
                let place = format!("MetalLB {}/{NAME}", self.namespace);
                return degraded("InvalidSpec", format!("{place}: {}", faults.brief()));
            }
            Asked::Good(metallb) => metallb,
        };
        if !self.unsynced.is_empty() {
            let obstacle = self.obstacle.clone().unwrap_or_default();
            return degraded("FailedToDeploy", obstacle);
        }
        let mut troubles: Vec<_> = self.troubles.iter().collect();
        troubles.sort_by_key(|(_, trouble)| trouble.is_wait);
        let mut troubles = troubles.into_iter();
        // That conditions cannot be written is nothing that conditions could say.
        let trouble = troubles.find(|(place, _)| !place.starts_with(&self.resources()));
        if let Some((_, trouble)) = trouble {
            if trouble.is_wait {
                return Some(State::Progressing(trouble.what.clone()));
            }
            return degraded("FailedToDeploy", trouble.what.clone());
        }
        if self.pending().next().is_some() {
            let is_new = metallb["status"]["conditions"].is_null();
            let what = "the objects are being applied".to_owned();
            return is_new.then_some(State::Progressing(what));
        }
        if let Some(missing) = self.missing() {
            return Some(State::Progressing(missing));
        }
        Some(State::RolledOut {
            notes: metallb_at_hand.notes.join(" "),
            lacks: metallb_at_hand.foreign_bgp().map(|message| Condition {
                reason: "ForeignBGPSpeaker",
                message,
            }),
        })
    }
}
