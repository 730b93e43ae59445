//! What the controller says of a service: MetalLB's log lines and events, each once per change.

use super::desk::News;
use crate::report::events::{EventSender, Subject};
use crate::report::log::list;
use speaker_core::allocator::{Assignments, Event, EventReason};
use speaker_core::service::ServiceId;

/// Tells a piece of news. Foreign writers are told by whoever judges them.
pub(super) fn tell(events: &EventSender, assignments: &Assignments, news: &News) {
    match news {
        News::Event(event, uid) => {
            log(assignments, event);
            let ServiceId { namespace, name } = &event.service;
            let subject = Subject::service(namespace, name, uid);
            events.tell(subject, event.reason.told(), &*event.message);
        }
        News::Cleared(service, reason) => {
            tracing::info!(event = "clearAssignment", reason, %service, "what the service held is taken from it");
        }
        News::Written(service) => {
            tracing::info!(event = "serviceUpdated", %service, "updated service object");
        }
        News::Deleted(service) => {
            tracing::info!(event = "serviceDeleted", %service, "service deleted");
        }
        News::Failed(service, error) => {
            tracing::warn!(
                op = "updateServiceStatus", %service, error,
                "the status cannot be written; trying again"
            );
        }
        News::ManyCleared(services, why) => {
            tracing::info!(
                event = "clearAssignment",
                services,
                "many services lose what they hold, as the first: {why}"
            );
        }
        News::Foreign(..) => {}
    }
}

/// Tells that a service which came was looked at, and whether it says already what it must.
pub(super) fn came((service, is_met): (&ServiceId, &bool)) {
    tracing::debug!(event = "startUpdate", %service, "looking at the service");
    if *is_met {
        tracing::debug!(event = "noChange", %service, "the service says what it must");
    }
    tracing::debug!(event = "endUpdate", %service, "looked at the service");
}

fn log(assignments: &Assignments, event: &Event) {
    let service = &event.service;
    match event.reason {
        EventReason::Allocated => {
            let held = assignments.get(service);
            let ips = held.map_or(&[][..], |held| &held.ips);
            match event.message.strip_prefix(ADDITIONAL) {
                Some(ip) => tracing::info!(
                    event = "ipAllocated", ip = ip.trim_matches('"'), %service,
                    "Additional IP address assigned by controller"
                ),
                None => tracing::info!(
                    event = "ipAllocated", ip = list(ips), %service,
                    "IP address assigned by controller"
                ),
            }
        }
        EventReason::AdditionFailed => {
            tracing::info!(event = "tryAssignAdditionalIP", %service, "{}", event.message);
        }
        EventReason::LoadBalancerFailed => {
            tracing::error!(event = "loadbalancerIP", %service, error = event.message, "invalid requested loadbalancer IPs");
        }
        EventReason::ClearAssignment => {
            tracing::info!(event = "clearAssignment", %service, "{}", event.message);
        }
        EventReason::AllocationFailed
        | EventReason::StatusFamilies
        | EventReason::NotEnoughClusterIps
        | EventReason::DeprecatedAnnotation => {
            tracing::warn!(event = event.reason.as_str(), %service, "{}", event.message);
        }
    }
}

const ADDITIONAL: &str = "Assigned additional IP ";
