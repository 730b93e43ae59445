//! The agent's events in the log, with MetalLB's event names and reasons where it has them.

use crate::ctl::{draining, name_taken};
use crate::report::log::list;
use speaker_core::agent::{Event, Story, seen_story, story};
use speaker_core::plan::{Announced, BgpAnnounced, BgpOutcome, Outcome};
use speaker_core::service::ServiceId;

/// Logs one event.
pub(super) fn log(event: &Event) {
    match event {
        Event::Outcome {
            service,
            uid: _,
            before,
            after,
            pool,
        } => {
            outcome(service, before.as_ref(), after.as_ref(), pool.as_deref());
        }
        Event::BgpOutcome {
            service,
            uid: _,
            before,
            after,
            pool,
        } => bgp_outcome(service, before.as_ref(), after.as_ref(), pool.as_deref()),
        Event::Problem(problem) => tracing::warn!(
            origin = problem.origin,
            object = %problem.object,
            field = problem.field,
            event = "problem",
            "{problem}; its last good version stays in force"
        ),
        Event::Resolved(object) => {
            tracing::info!(%object, event = "problemResolved", "sound again")
        }
        Event::Lapsed {
            groups,
            deadline,
            seen,
        } => tracing::error!(
            groups,
            late_ms = seen.since(*deadline).ns() / 1_000_000,
            event = "deadlineLapsed",
            "the deadline passed: every VIP was released and is taken again"
        ),
        Event::Hold { event, with, why } => told(&story(event, with.as_ref(), *why)),
        Event::Seen { group, with, seen } => told(&seen_story(*group, with.as_ref(), *seen)),
        Event::NameTaken(is_taken) => {
            tracing::error!(event = "nameTaken", "{}", name_taken(*is_taken));
        }
        Event::Drain(is_draining) => {
            tracing::info!(event = "drain", is_draining, "{}", draining(*is_draining));
        }
        Event::NotApplied(why) => tracing::error!(
            error = why,
            event = "planNotApplied",
            "failed to write the kernel's tables; trying again"
        ),
    }
}

fn told(story: &Story) {
    let Story {
        event,
        group,
        because,
        is_warning,
    } = story;
    if *is_warning {
        tracing::warn!(event, %group, "{because}");
    } else {
        tracing::info!(event, %group, "{because}");
    }
}

fn outcome(
    service: &ServiceId,
    before: Option<&Outcome>,
    after: Option<&Outcome>,
    pool: Option<&str>,
) {
    match (before, after) {
        (_, Some(Outcome::Announced(announced))) => {
            tracing::info!(
                event = "serviceAnnounced",
                ips = ips(announced),
                pool = pool.unwrap_or_default(),
                protocol = "layer2",
                %service,
                epoch = announced.epoch.0,
                "service has IP, announcing"
            );
            for link in &announced.missing {
                tracing::warn!(event = "announceFailed", %service, %link, "no such link on this node");
            }
        }
        (Some(Outcome::Announced(announced)), Some(Outcome::Silent(reason))) => tracing::info!(
            event = "serviceWithdrawn",
            ip = ips(announced),
            reason = reason.metallb_name(),
            %service,
            "withdrawing service announcement: {reason}"
        ),
        (Some(Outcome::Announced(announced)), None) => tracing::info!(
            event = "serviceWithdrawn",
            ip = ips(announced),
            reason = "serviceDeleted",
            %service,
            "withdrawing service announcement: the service is gone"
        ),
        (_, Some(Outcome::Silent(reason))) => {
            tracing::debug!(event = "shouldannounce", reason = reason.metallb_name(), %service, "{reason}");
        }
        (Some(Outcome::Silent(_)) | None, None) => {}
    }
}

fn bgp_outcome(
    service: &ServiceId,
    before: Option<&BgpOutcome>,
    after: Option<&BgpOutcome>,
    pool: Option<&str>,
) {
    let withdrawn = |announced: &BgpAnnounced, reason: &str, why: &str| {
        tracing::info!(
            event = "serviceWithdrawn",
            ip = list(&announced.vips),
            reason,
            protocol = "bgp",
            %service,
            "withdrawing service announcement: {why}"
        );
    };
    match (before, after) {
        (_, Some(BgpOutcome::Announced(announced))) => tracing::info!(
            event = "serviceAnnounced",
            ips = list(&announced.vips),
            pool = pool.unwrap_or_default(),
            protocol = "bgp",
            prefixes = list(&announced.prefixes),
            %service,
            "service has IP, announcing {announced}"
        ),
        (Some(BgpOutcome::Announced(announced)), Some(BgpOutcome::Silent(reason))) => {
            withdrawn(announced, reason.metallb_name(), &reason.to_string());
        }
        (Some(BgpOutcome::Announced(announced)), None) => {
            withdrawn(announced, "serviceDeleted", "the service is gone");
        }
        (_, Some(BgpOutcome::Silent(reason))) => {
            let name = reason.metallb_name();
            tracing::debug!(event = "shouldannounce", reason = name, protocol = "bgp", %service, "{reason}");
        }
        (Some(BgpOutcome::Silent(_)) | None, None) => {}
    }
}

fn ips(announced: &Announced) -> tracing::field::DebugValue<Vec<String>> {
    let vips: Vec<_> = announced.vips.iter().map(|(vip, _)| *vip).collect();
    list(&vips)
}
