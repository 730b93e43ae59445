//! Why this process is being stopped, and so what becomes of its VIPs: a pure function of what is known at the signal.
//!
//! A restart leaves the kernel answering until the next process is there; a drain gives everything to others first; a removal
//! drains and then leaves nothing behind. In doubt it is a drain: it costs a move, while a restart that is none leaves a VIP dark. The rules
//! are in `docs/layer2.md`, "Stops". It knows nothing of signals and of how an API server is asked.

use crate::node::Node;
use speaker_proto::{Span, Time};
use std::fmt;

/// A view of the own objects that is older than this is no ground for a restart.
pub const VIEW_AGE_MAX: Span = Span::s(30);
/// The taint by which the cluster autoscaler says that it will delete a node.
pub const AUTOSCALER_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// What the process stops for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopIntent {
    /// Another process follows within the restart grace.
    Restart,
    /// The node goes out of service, or it is not known what happens.
    Drain,
    /// The speaker is taken away from this node for good.
    Remove,
}

/// The intent, and the fact that decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// What it stops for.
    pub intent: StopIntent,
    /// Why, for the log and `ctl`.
    pub because: &'static str,
}

/// What is known of the own objects in a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnObjects {
    /// When the source last confirmed the view.
    pub seen: Time,
    /// The own Pod carries a deletionTimestamp.
    pub is_pod_deleted: bool,
    /// The own DaemonSet; `None`: it is gone.
    pub daemon_set: Option<OwnDaemonSet>,
    /// The own Node; `None`: it is gone.
    pub node: Option<OwnNode>,
}

/// What counts of the own DaemonSet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnDaemonSet {
    /// It carries a deletionTimestamp.
    pub is_deleted: bool,
    /// Its pod template's node selector and required affinity select this node.
    pub selects_node: bool,
}

/// What counts of the own Node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnNode {
    /// It carries a deletionTimestamp.
    pub is_deleted: bool,
    /// It carries the label that excludes it from external load balancers, and that counts.
    pub is_excluded: bool,
    /// The autoscaler announced its end.
    pub is_doomed: bool,
    /// The kubelet says that the node shuts down (Ready is False with its message).
    pub is_shutting_down: bool,
}

/// The kubelet's words in the Ready condition of a node that shuts down.
pub const SHUTDOWN_MESSAGE: &str = "node is shutting down";

/// What a signal to stop means now. `own` is `None` without an API server (a directory of manifests): there the own Node's
/// manifest and `is_draining`, what an operator asked for, are all that is known.
pub fn intent(now: Time, is_draining: bool, own: Option<&OwnObjects>, node: Option<&Node>) -> Stop {
    if is_draining {
        return drain("a drain is under way");
    }
    match own {
        Some(own) => in_cluster(now, own),
        None if node.is_some_and(Node::is_excluded) => drain("the node's label excludes it"),
        None => restart("the manifests say nothing against it"),
    }
}

fn in_cluster(now: Time, own: &OwnObjects) -> Stop {
    match own.daemon_set {
        _ if now.since(own.seen) > VIEW_AGE_MAX => {
            return drain("what is known of the own pod is older than 30 s");
        }
        None => return remove("the DaemonSet is gone"),
        Some(set) if set.is_deleted => return remove("the DaemonSet is being deleted"),
        Some(set) if !set.selects_node => return remove("the DaemonSet does not select the node"),
        Some(_) => {}
    }
    match own.node {
        None => drain("the Node is gone"),
        Some(node) if node.is_deleted => drain("the Node is being deleted"),
        Some(node) if node.is_excluded => drain("the node's label excludes it"),
        Some(node) if node.is_doomed => drain("the autoscaler announced the node's end"),
        Some(node) if node.is_shutting_down => drain("the node shuts down"),
        Some(_) if own.is_pod_deleted => restart("the DaemonSet follows its pod with another"),
        Some(_) => restart("the pod is not deleted: its container is started again"),
    }
}

const fn restart(because: &'static str) -> Stop {
    Stop {
        intent: StopIntent::Restart,
        because,
    }
}

const fn drain(because: &'static str) -> Stop {
    Stop {
        intent: StopIntent::Drain,
        because,
    }
}

const fn remove(because: &'static str) -> Stop {
    Stop {
        intent: StopIntent::Remove,
        because,
    }
}

impl fmt::Display for StopIntent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "restart",
            Self::Drain => "drain",
            Self::Remove => "remove",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: Time = Time::ms(100_000);

    fn sound() -> OwnObjects {
        OwnObjects {
            seen: NOW,
            is_pod_deleted: true,
            daemon_set: Some(OwnDaemonSet {
                is_deleted: false,
                selects_node: true,
            }),
            node: Some(OwnNode {
                is_deleted: false,
                is_excluded: false,
                is_doomed: false,
                is_shutting_down: false,
            }),
        }
    }

    #[track_caller]
    fn check(expected: StopIntent, change: impl FnOnce(&mut OwnObjects)) {
        let mut own = sound();
        change(&mut own);
        let stop = intent(NOW, false, Some(&own), None);
        assert_eq!(stop.intent, expected, "{}", stop.because);
    }

    fn node(own: &mut OwnObjects) -> &mut OwnNode {
        own.node.as_mut().unwrap()
    }

    fn set(own: &mut OwnObjects) -> &mut OwnDaemonSet {
        own.daemon_set.as_mut().unwrap()
    }

    #[test]
    fn a_pod_that_is_followed_by_another_restarts() {
        check(StopIntent::Restart, |_| {});
        check(StopIntent::Restart, |own| own.is_pod_deleted = false);
    }

    #[test]
    fn a_speaker_that_is_taken_away_is_removed() {
        check(StopIntent::Remove, |own| own.daemon_set = None);
        check(StopIntent::Remove, |own| set(own).is_deleted = true);
        check(StopIntent::Remove, |own| set(own).selects_node = false);
    }

    #[test]
    fn a_node_that_goes_out_of_service_is_drained() {
        check(StopIntent::Drain, |own| own.node = None);
        check(StopIntent::Drain, |own| node(own).is_deleted = true);
        check(StopIntent::Drain, |own| node(own).is_excluded = true);
        check(StopIntent::Drain, |own| node(own).is_doomed = true);
        check(StopIntent::Drain, |own| node(own).is_shutting_down = true);
    }

    #[test]
    fn an_old_view_is_no_ground_for_a_restart() {
        check(StopIntent::Drain, |own| {
            own.seen = NOW - VIEW_AGE_MAX - Span::ms(1);
        });
        check(StopIntent::Restart, |own| own.seen = NOW - VIEW_AGE_MAX);
    }

    #[test]
    fn without_an_api_server_a_signal_restarts_unless_a_drain_was_asked_for() {
        assert_eq!(intent(NOW, false, None, None).intent, StopIntent::Restart);
        assert_eq!(intent(NOW, true, None, None).intent, StopIntent::Drain);
        let labels = BTreeMap::from([(crate::node::EXCLUDE_LABEL.to_owned(), String::new())]);
        let excluded = Node {
            name: "n1".parse().unwrap(),
            labels,
            addresses: Vec::new(),
            network_unavailable: false,
        };
        assert_eq!(
            intent(NOW, false, None, Some(&excluded)).intent,
            StopIntent::Drain
        );
    }
}
