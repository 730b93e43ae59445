//! What became of services, told once for each change: in layer 2 and in BGP apart, since each has its own reasons.

use super::{Agent, Event};
use crate::crd::Pool;
use crate::plan::{BgpOutcome, Plan, Reason, Unrouted};
use crate::service::ServiceId;
use speaker_proto::shared_map::SharedMap;
use std::sync::Arc;

impl Agent {
    /// Tells what another plan changes.
    pub(super) fn tell(&mut self, plan: &Plan) {
        let before = Arc::clone(&self.plan);
        for service in differing(&before.outcomes, &plan.outcomes) {
            self.event(Event::Outcome {
                before: before.outcomes.get(&service).cloned(),
                pool: self.pool(&service),
                uid: self.uid(&service),
                after: plan.outcomes.get(&service).cloned(),
                service,
            });
        }
        for service in differing(&before.bgp_outcomes, &plan.bgp_outcomes) {
            let pool = self.pool(&service);
            // Without any BGPAdvertisement there are no outcomes, and yet the service may be there.
            let is_left = plan.outcomes.contains_key(&service);
            let unadvertised = || {
                let pool = pool.clone().unwrap_or_default();
                BgpOutcome::Silent(Reason::NoRoute(Unrouted::NoAdvertisement { pool }))
            };
            let after = plan.bgp_outcomes.get(&service).cloned();
            self.event(Event::BgpOutcome {
                before: before.bgp_outcomes.get(&service).cloned(),
                after: after.or_else(|| is_left.then(unadvertised)),
                uid: self.uid(&service),
                service,
                pool,
            });
        }
    }

    fn pool(&self, id: &ServiceId) -> Option<String> {
        if let Some(assignments) = &self.world.assignments {
            return Some(assignments.get(id)?.pool.clone());
        }
        let ingress = &self.world.services.get(id)?.ingress;
        let holds = |pool: &&Arc<Pool>| {
            let mut ips = ingress.iter().flatten();
            !ingress.is_empty() && ips.all(|ip| pool.contains(*ip))
        };
        Some(self.world.pools.values().find(holds)?.name.clone())
    }

    fn uid(&self, id: &ServiceId) -> String {
        let service = self.world.services.get(id);
        service.map_or_else(String::new, |service| service.uid.clone())
    }
}

/// Services of which something else became, and after them those that are gone.
fn differing<O: PartialEq>(
    before: &SharedMap<ServiceId, O>,
    after: &SharedMap<ServiceId, O>,
) -> impl Iterator<Item = ServiceId> {
    let differing = after.differing(before, PartialEq::eq).into_iter();
    let (there, gone): (Vec<_>, Vec<_>) = differing
        .cloned()
        .partition(|service| after.contains_key(service));
    there.into_iter().chain(gone)
}
