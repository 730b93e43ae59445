//! Whether the pods of a DaemonSet or Deployment are all there in their newest form.
//!
//! Governed by the statuses of apps/v1: counts count only once the controller has seen the generation that they are about.

use super::Object;
use serde_json::Value;

/// What is missing until `wanted`, which the API server has as `live`, is rolled out; `None`: nothing, or it makes no pods.
pub fn rollout(wanted: &Object, live: &Value) -> Option<String> {
    let counts = match wanted.kind.as_str() {
        "DaemonSet" => [
            "desiredNumberScheduled",
            "updatedNumberScheduled",
            "numberAvailable",
        ],
        "Deployment" => ["replicas", "updatedReplicas", "availableReplicas"],
        _makes_no_pods => return None,
    };
    let (metadata, spec, status) = (&live["metadata"], &live["spec"], &live["status"]);
    let title = wanted.title();
    if number(&status["observedGeneration"]) < number(&metadata["generation"])
        || status.get("observedGeneration").is_none()
    {
        return Some(format!("{title} has not been looked at since it changed"));
    }
    let [there, updated, available] = counts.map(|count| number(&status[count]));
    let asked = match wanted.kind.as_str() {
        "Deployment" => number(&spec["replicas"]),
        _of_nodes => there,
    };
    // Pods of before that are still there count among those that are there.
    if updated >= asked && available >= asked && there <= asked {
        return None;
    }
    Some(format!(
        "{title}: of {asked} pods {updated} are up to date and {available} available"
    ))
}

/// A count; API servers leave zeros out.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Options, running};
    use super::*;
    use serde_json::json;

    fn of(kind: &str) -> Object {
        let objects = running(&Options::new("metallb-system", "c", "s"));
        objects.into_iter().find(|one| one.kind == kind).unwrap()
    }

    fn check(kind: &str, live: &Value, missing: Option<&str>) {
        assert_eq!(rollout(&of(kind), live).as_deref(), missing, "{live}");
    }

    #[test]
    fn speakers_are_there_once_every_node_has_the_newest() {
        let live = |updated, available, seen| {
            json!({
                "metadata": {"generation": 2},
                "status": {
                    "observedGeneration": seen, "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": updated, "numberAvailable": available,
                },
            })
        };
        check("DaemonSet", &live(3, 3, 2), None);
        let waits = "DaemonSet speaker has not been looked at since it changed";
        check("DaemonSet", &live(3, 3, 1), Some(waits));
        let missing = "DaemonSet speaker: of 3 pods 2 are up to date and 3 available";
        check("DaemonSet", &live(2, 3, 2), Some(missing));
        let missing = "DaemonSet speaker: of 3 pods 3 are up to date and 2 available";
        check("DaemonSet", &live(3, 2, 2), Some(missing));
        check(
            "DaemonSet",
            &json!({"metadata": {"generation": 1}}),
            Some(waits),
        );
    }

    #[test]
    fn a_controller_of_before_that_is_still_there_counts() {
        let live = |replicas, available| {
            json!({
                "metadata": {"generation": 1}, "spec": {"replicas": 1},
                "status": {
                    "observedGeneration": 1, "replicas": replicas,
                    "updatedReplicas": 1, "availableReplicas": available,
                },
            })
        };
        check("Deployment", &live(1, 1), None);
        let missing = "Deployment controller: of 1 pods 1 are up to date and 1 available";
        check("Deployment", &live(2, 1), Some(missing));
    }

    #[test]
    fn what_makes_no_pods_is_there_at_once() {
        check("ConfigMap", &json!({}), None);
    }
}
