//! Why this process is being stopped, and so what becomes of its VIPs: a pure function of what is known at the signal.
//!
//! A restart leaves the kernel answering until the next process is there; a drain gives everything to others first; a removal
//! drains and then leaves nothing behind. In doubt it is a drain: it costs a move, while a restart that is none leaves a VIP dark. The rules
//! are in `docs/layer2.md`, "Stops". It knows nothing of signals and of how an API server is asked.

mod owner;

pub use owner::{Owner, controller};

use crate::node::{Ending, Node};
use std::fmt;

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

/// What is known at the signal.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// An operator asked for a drain.
    pub is_draining: bool,
    /// No other member is alive.
    pub is_alone: bool,
    /// The label that excludes a node has no effect.
    pub ignores_exclude_label: bool,
    /// The own Node; `None`: there is none.
    pub node: Option<&'a Node>,
    /// What becomes of the process.
    pub own: Own,
}

/// What the API server says of the own pod, and how fresh that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
    /// It is not asked: objects come from a directory, or the process runs in no pod.
    Unasked,
    /// It does not tell, or what it told of the Node is older than 30 s.
    Untold,
    /// It told just now.
    Pod {
        /// The pod carries a deletionTimestamp, or is gone.
        is_deleted: bool,
        /// What makes another one.
        owner: Owner,
    },
}

/// What a signal to stop means.
pub fn intent(known: &Known<'_>) -> Stop {
    if known.is_draining {
        return drain("a drain is under way");
    }
    match known.own {
        // To others nothing can be given, so that a drain is only darkness.
        Own::Untold if known.is_alone => {
            restart("nothing is known of the own pod, and no other speaker is there")
        }
        Own::Untold => drain("nothing is known of the own pod, or it is older than 30 s"),
        Own::Unasked => {
            of_node(known).unwrap_or(restart("nothing says that the node goes out of service"))
        }
        Own::Pod { is_deleted, owner } => of_pod(is_deleted, owner, known),
    }
}

fn of_pod(is_deleted: bool, owner: Owner, known: &Known<'_>) -> Stop {
    match owner {
        Owner::Gone => return remove("the DaemonSet is gone"),
        Owner::Deleted => return remove("the DaemonSet is being deleted"),
        Owner::Elsewhere => return remove("the DaemonSet does not select the node"),
        Owner::Here | Owner::Nobody => {}
    }
    if let Some(stop) = of_node(known) {
        return stop;
    }
    if known.node.is_none() {
        return drain("the Node is gone");
    }
    match (is_deleted, owner) {
        (false, _) => restart("the pod is not deleted: its container is started again"),
        (true, Owner::Here) => restart("the DaemonSet follows its pod with another"),
        (true, Owner::Nobody | Owner::Gone | Owner::Deleted | Owner::Elsewhere) => {
            drain("the pod is deleted, and no DaemonSet makes another")
        }
    }
}

/// What the own Node says against a restart.
fn of_node(known: &Known<'_>) -> Option<Stop> {
    let node = known.node?;
    let because = match node.ending {
        Some(Ending::Deleted) => "the Node is being deleted",
        Some(Ending::Doomed) => "the autoscaler announced the node's end",
        Some(Ending::ShuttingDown) => "the node shuts down",
        None if node.is_excluded() && !known.ignores_exclude_label => {
            "the node's label excludes it"
        }
        None => return None,
    };
    Some(drain(because))
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
    use crate::node::EXCLUDE_LABEL;
    use std::collections::BTreeMap;

    fn node() -> Node {
        Node {
            name: "n1".parse().unwrap(),
            labels: BTreeMap::new(),
            addresses: Vec::new(),
            network_unavailable: false,
            ending: None,
        }
    }

    fn excluded() -> Node {
        let labels = BTreeMap::from([(EXCLUDE_LABEL.to_owned(), String::new())]);
        Node { labels, ..node() }
    }

    const FOLLOWED: Own = Own::Pod {
        is_deleted: true,
        owner: Owner::Here,
    };

    #[track_caller]
    fn check(expected: StopIntent, own: Own, node: Option<&Node>) {
        let stop = intent(&known(own, node));
        assert_eq!(stop.intent, expected, "{}", stop.because);
    }

    fn known(own: Own, node: Option<&Node>) -> Known<'_> {
        Known {
            is_draining: false,
            is_alone: false,
            ignores_exclude_label: false,
            node,
            own,
        }
    }

    fn pod(is_deleted: bool, owner: Owner) -> Own {
        Own::Pod { is_deleted, owner }
    }

    #[test]
    fn a_pod_that_is_followed_by_another_restarts() {
        check(StopIntent::Restart, FOLLOWED, Some(&node()));
        let killed = pod(false, Owner::Here);
        check(StopIntent::Restart, killed, Some(&node()));
        let of_nobody = pod(false, Owner::Nobody);
        check(StopIntent::Restart, of_nobody, Some(&node()));
    }

    #[test]
    fn a_pod_that_nothing_makes_again_is_drained() {
        check(StopIntent::Drain, pod(true, Owner::Nobody), Some(&node()));
    }

    #[test]
    fn a_speaker_that_is_taken_away_is_removed() {
        for owner in [Owner::Gone, Owner::Deleted, Owner::Elsewhere] {
            check(StopIntent::Remove, pod(true, owner), Some(&node()));
        }
    }

    #[test]
    fn a_node_that_goes_out_of_service_is_drained() {
        check(StopIntent::Drain, FOLLOWED, None);
        check(StopIntent::Drain, FOLLOWED, Some(&excluded()));
        for ending in [Ending::Deleted, Ending::Doomed, Ending::ShuttingDown] {
            let node = Node {
                ending: Some(ending),
                ..node()
            };
            check(StopIntent::Drain, FOLLOWED, Some(&node));
            check(StopIntent::Drain, Own::Unasked, Some(&node));
        }
    }

    #[test]
    fn a_label_that_has_no_effect_drains_nothing() {
        let excluded = excluded();
        let known = Known {
            ignores_exclude_label: true,
            ..known(FOLLOWED, Some(&excluded))
        };
        assert_eq!(intent(&known).intent, StopIntent::Restart);
    }

    #[test]
    fn in_doubt_everything_is_given_away_if_there_is_somebody_to_take_it() {
        check(StopIntent::Drain, Own::Untold, Some(&node()));
        let known = Known {
            is_alone: true,
            ..known(Own::Untold, None)
        };
        assert_eq!(intent(&known).intent, StopIntent::Restart);
    }

    #[test]
    fn without_an_api_server_a_signal_restarts_unless_a_drain_was_asked_for() {
        check(StopIntent::Restart, Own::Unasked, None);
        check(StopIntent::Restart, Own::Unasked, Some(&node()));
        check(StopIntent::Drain, Own::Unasked, Some(&excluded()));
        let known = Known {
            is_draining: true,
            ..known(Own::Unasked, None)
        };
        assert_eq!(intent(&known).intent, StopIntent::Drain);
    }
}
