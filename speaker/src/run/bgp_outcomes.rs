//! What becomes of services in BGP, in the log and as events on them, by MetalLB's names.
//!
//! Follows the views, of which a later one may be all that is seen: what came and went in between is not told. That a service is announced
//! means that peers are to be told; whether they are is the sessions' to say.

use crate::drive::decide::View;
use crate::report::events::{EventSender, Severity, Subject};
use crate::report::log::list;
use anyhow::{Context, Result};
use speaker_core::World;
use speaker_core::diff::{Change, diff};
use speaker_core::plan::{BgpAnnounced, BgpOutcome};
use speaker_core::service::ServiceId;
use speaker_proto::NodeName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;

type Outcomes = BTreeMap<ServiceId, BgpOutcome>;

/// Tells of each change, for ever.
///
/// # Errors
/// When the views end.
pub(super) async fn follow(
    mut views: watch::Receiver<Option<Arc<View>>>,
    node: NodeName,
    events: Option<EventSender>,
) -> Result<()> {
    let mut before = Outcomes::new();
    loop {
        views.changed().await.context("the views ended")?;
        let view = views.borrow_and_update().clone();
        let Some(view) = view.filter(|view| view.plan.is_complete) else {
            continue;
        };
        for story in stories(&before, &view.plan.bgp_outcomes) {
            log(&story, &view.world);
            if let (Story::Begun(id, _), Some(events)) = (&story, &events) {
                assigned(events, &view.world, id, &node);
            }
        }
        before.clone_from(&view.plan.bgp_outcomes);
    }
}

/// What happened to a service.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Story {
    /// It is announced, and was not.
    Begun(ServiceId, Arc<BgpAnnounced>),
    /// It is announced in another way.
    Changed(ServiceId, Arc<BgpAnnounced>),
    /// It is not announced any more, for this reason by MetalLB's name and in words.
    Ended(ServiceId, &'static str, String),
}

fn stories(before: &Outcomes, after: &Outcomes) -> Vec<Story> {
    let was = |id: &ServiceId| matches!(before.get(id), Some(BgpOutcome::Announced(_)));
    let story = |change| match change {
        Change::Put(id, BgpOutcome::Announced(announced)) => Some(match was(&id) {
            true => Story::Changed(id, announced),
            false => Story::Begun(id, announced),
        }),
        Change::Put(id, BgpOutcome::Silent(reason)) => {
            let words = reason.to_string();
            was(&id).then(|| Story::Ended(id, reason.metallb_name(), words))
        }
        Change::Remove(id) => {
            let words = "it is gone, or no BGPAdvertisement is there any more".to_owned();
            was(&id).then_some(Story::Ended(id, "serviceDeleted", words))
        }
    };
    diff(before, after).into_iter().filter_map(story).collect()
}

fn log(story: &Story, world: &World) {
    match story {
        Story::Begun(service, announced) | Story::Changed(service, announced) => tracing::info!(
            event = "serviceAnnounced",
            ips = list(&ips(world, service)),
            prefixes = list(&announced.prefixes),
            protocol = "bgp",
            %service,
            "service has IP, announcing"
        ),
        Story::Ended(service, reason, words) => tracing::info!(
            event = "serviceWithdrawn",
            ip = list(&ips(world, service)),
            reason,
            protocol = "bgp",
            %service,
            "withdrawing service announcement: {words}"
        ),
    }
}

fn assigned(events: &EventSender, world: &World, id: &ServiceId, node: &NodeName) {
    let Some(service) = world.services.get(id) else {
        return;
    };
    let subject = Subject::service(&id.namespace, &id.name, &service.uid);
    let message = format!("announcing from node \"{node}\" with protocol \"bgp\"");
    events.tell(subject, Severity::Normal, "nodeAssigned", message);
}

/// The addresses of a service.
fn ips(world: &World, id: &ServiceId) -> Vec<IpAddr> {
    let given = world.assignments.as_ref().and_then(|given| given.get(id));
    match (given, world.services.get(id)) {
        (Some(given), _) => given.ips.clone(),
        (None, Some(service)) => service.ingress.iter().flatten().copied().collect(),
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::plan::Reason;

    fn id() -> ServiceId {
        ServiceId {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        }
    }

    fn announced(prefixes: &[&str]) -> BgpOutcome {
        let prefix = |text: &&str| {
            let ip = text.parse().unwrap();
            speaker_proto::bgp::Prefix::of(ip, 32)
        };
        BgpOutcome::Announced(Arc::new(BgpAnnounced {
            prefixes: prefixes.iter().map(prefix).collect(),
            peers: Arc::default(),
            left_out: Vec::new(),
        }))
    }

    fn of(outcome: Option<BgpOutcome>) -> Outcomes {
        outcome.map(|outcome| (id(), outcome)).into_iter().collect()
    }

    fn check(before: Option<BgpOutcome>, after: Option<BgpOutcome>, expected: Option<&str>) {
        let stories = stories(&of(before), &of(after));
        let kinds: Vec<&str> = stories
            .iter()
            .map(|story| match story {
                Story::Begun(..) => "begun",
                Story::Changed(..) => "changed",
                Story::Ended(_, reason, _) => reason,
            })
            .collect();
        assert_eq!(kinds, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_service_begins_changes_and_ends_and_silence_is_told_only_after_that() {
        let silent = || BgpOutcome::Silent(Reason::NoEndpoints);
        check(None, Some(announced(&["192.0.2.1"])), Some("begun"));
        check(
            Some(silent()),
            Some(announced(&["192.0.2.1"])),
            Some("begun"),
        );
        let one = Some(announced(&["192.0.2.1"]));
        check(
            one.clone(),
            Some(announced(&["192.0.2.2"])),
            Some("changed"),
        );
        check(one.clone(), one.clone(), None);
        check(one.clone(), Some(silent()), Some("noEndpoints"));
        check(one, None, Some("serviceDeleted"));
        check(None, Some(silent()), None);
        check(Some(silent()), None, None);
    }
}
