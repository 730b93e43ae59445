//! How far a drain is.

use super::super::snapshot::Snapshot;
use serde::Serialize;
use speaker_core::plan::{Hold, Outcome, explain};
use speaker_core::service::ServiceId;
use std::collections::BTreeSet;
use std::fmt;

/// What a node that is drained still has to do with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Progress {
    /// The node.
    pub(crate) node: String,
    /// Whether it is drained.
    pub(crate) is_draining: bool,
    /// Groups of VIPs that it has not given away yet.
    pub(crate) held: Vec<String>,
    /// Groups that another node answers for; connections that were here go on here for a while.
    pub(crate) given: Vec<String>,
    /// Services that no other node can announce, of the first [`ORPHANS_MAX`] that were announced from here.
    pub(crate) orphans: Vec<String>,
}

/// The services that are announced from here.
pub(crate) fn announced(snapshot: &Snapshot) -> BTreeSet<ServiceId> {
    let outcomes = snapshot.plan.outcomes.iter();
    let announced = outcomes.filter(|(_, outcome)| matches!(outcome, Outcome::Announced(_)));
    announced.map(|(service, _)| service.clone()).collect()
}

impl Progress {
    /// As it is now; `before` are the services that were announced when it began.
    pub(crate) fn of(snapshot: &Snapshot, before: &BTreeSet<ServiceId>) -> Self {
        let mut held = Vec::new();
        let mut given = Vec::new();
        for (group, holding) in &snapshot.held {
            match holding.hold {
                Hold::Holding | Hold::Contested | Hold::Lapsed => held.push(group.to_string()),
                Hold::Draining => given.push(group.to_string()),
                Hold::Free | Hold::Asking | Hold::Preparing | Hold::Occupied(_) => {}
            }
        }
        let is_draining = snapshot.local.is_draining;
        let looked_at = before.iter().take(ORPHANS_MAX);
        let orphans = looked_at.filter(|id| is_draining && is_orphan(snapshot, id));
        Self {
            node: snapshot.local.node.to_string(),
            is_draining,
            held,
            given,
            orphans: orphans.map(ToString::to_string).collect(),
        }
    }

    /// Whether nothing is held, and the connections had their time.
    pub(crate) fn is_done(&self) -> bool {
        self.held.is_empty() && self.given.is_empty()
    }
}

/// Whether nobody may announce a service that is there.
fn is_orphan(snapshot: &Snapshot, id: &ServiceId) -> bool {
    let Snapshot {
        world,
        alive,
        held,
        local,
        ..
    } = snapshot;
    explain(world, alive, held, local, id).is_some_and(|story| story.candidates.is_empty())
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_draining {
            return writeln!(f, "{} is not drained", self.node);
        }
        writeln!(
            f,
            "{} is drained: {} still held, {} given away with connections that may go on here",
            self.node,
            self.held.len(),
            self.given.len()
        )?;
        for service in &self.orphans {
            writeln!(
                f,
                "no other node can announce {service}: nobody answers for it"
            )?;
        }
        Ok(())
    }
}

/// Each costs an election; `speaker ctl why` tells of any other.
const ORPHANS_MAX: usize = 64;
