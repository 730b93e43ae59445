//! What happens, in words, for whoever looks into one history.

use crate::queue::MS;
use crate::world::World;
use speaker_core::plan::{Held, Hold};

impl World {
    /// Says a line, if somebody listens.
    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if self.is_told {
            let ms = self.now / MS;
            println!("{:3}.{:03} {}", ms / 1000, ms % 1000, line());
        }
    }

    /// Who holds what in the end, and what each knows of the others.
    pub(crate) fn tell_views(&self) {
        for node in &self.nodes {
            let Some(process) = &node.process else {
                continue;
            };
            self.tell(|| format!("{} {} holds {:?}", node.name, node.id, process.agent.held()));
            for member in process.agent.roster().members.values() {
                let (name, standing) = (&member.profile.name, member.standing);
                self.tell(|| format!("  {name} {standing:?}: {:?}", member.held));
            }
        }
    }

    /// What changed about a node's groups.
    pub(crate) fn tell_changes(&self, node: usize, before: &Held, after: &Held) {
        if !self.is_told || before == after {
            return;
        }
        let of = |held: &Held, group| held.get(group).map_or(Hold::Free, |holding| holding.hold);
        let name = &self.nodes[node].name;
        let groups = before.keys().chain(after.keys());
        for group in groups.collect::<std::collections::BTreeSet<_>>() {
            let (from, to) = (of(before, group), of(after, group));
            let epoch = after.get(group).map_or(0, |holding| holding.epoch.0);
            if from != to {
                self.tell(|| format!("{name} {group}: {from:?} -> {to:?}, epoch {epoch}"));
            }
        }
    }
}
