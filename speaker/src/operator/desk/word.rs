//! What a resource is told of itself: its conditions, by what is there.

use super::{Asked, Desk, Request, name};
use serde_json::Value;
use speaker_core::crd::metallb::NAME;
use speaker_core::deploy::{self, Condition, State};
use std::collections::BTreeSet;

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
            lacks: (metallb_at_hand
                .foreign_bgp()
                .or_else(|| self.foreign_peers()))
            .map(|message| Condition {
                reason: "ForeignBGPSpeaker",
                message,
            }),
        })
    }

    /// The peers that somebody else's frr-k8s has, each once whatever number of nodes says so.
    fn foreign_peers(&self) -> Option<String> {
        let told: BTreeSet<&str> = self
            .foreign
            .values()
            .flat_map(|told| told.lines())
            .collect();
        let left_out = told.len().saturating_sub(PEERS_TOLD_MAX);
        let mut lines: Vec<String> = told
            .iter()
            .take(PEERS_TOLD_MAX)
            .map(|one| (*one).to_owned())
            .collect();
        if left_out > 0 {
            lines.push(format!("and {left_out} more"));
        }
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

const PEERS_TOLD_MAX: usize = 10; // ConfigurationStates name all
