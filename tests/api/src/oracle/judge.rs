//! Follows a cluster from rest to rest.

use super::{Picture, Violation, at_rest, moves};
use serde_json::Value;

/// Who changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, or the API server by itself.
    User,
    /// A controller.
    Controller,
}

/// What was seen of a cluster since it was at rest.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    rest: Picture,
    during: Vec<Picture>,
    last: Picture,
}

impl Judge {
    /// Takes note of what the cluster is after a change, and says what is wrong with the change.
    pub fn changed(&mut self, picture: Picture, actor: Actor) -> Vec<Violation> {
        let violations = match actor {
            Actor::User => {
                self.follow(&picture);
                self.during.push(picture.clone());
                Vec::new()
            }
            Actor::Controller => {
                let mut violations = moves::given(&self.rest, &self.last, &picture);
                violations.extend(moves::untouched(&self.last, &picture));
                violations
            }
        };
        self.last = picture;
        violations
    }

    /// What a user takes from a status, the controller need not keep.
    fn follow(&mut self, picture: &Picture) {
        for (id, service) in &picture.services {
            let had = self.last.services.get(id).map(|had| &had.held);
            let is_taken = had.is_some_and(|had| *had != service.held);
            if let Some(rest) = self.rest.services.get_mut(id).filter(|_| is_taken) {
                rest.held.clone_from(&service.held);
            }
        }
    }

    /// Says what is wrong with the cluster now that nothing happens any more. `events` are those of its services, in the
    /// order in which they were last told.
    pub fn rested(&mut self, events: &[Value]) -> Vec<Violation> {
        let mut violations = at_rest(&self.last, events);
        violations.extend(moves::kept(&self.rest, &self.during, &self.last));
        self.rest = self.last.clone();
        self.during.clear();
        violations
    }
}
