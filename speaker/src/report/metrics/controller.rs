//! The controller's page: MetalLB's figures of the allocator and of the configuration, and ours of what is written.

use super::{Page, Process};
use crate::report::{ApiFigures, PoolFigures};
use anyhow::Result;
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;

/// The figures of a controller at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct ControllerFigures {
    /// By pool; empty unless this process leads.
    pub(crate) pools: BTreeMap<String, PoolFigures>,
    /// Faulty objects and services that lack what they ask for, by kind.
    pub(crate) problems: BTreeMap<String, u64>,
    /// Whether every kind of object has been seen whole.
    pub(crate) is_config_loaded: bool,
    /// Whether what is configured is not in force: an object is faulty or in the way of another, or somebody else allocates.
    pub(crate) is_config_stale: bool,
    /// Changes of objects taken so far.
    pub(crate) updates: u64,
    /// Of those, the faulty ones.
    pub(crate) update_errors: u64,
    /// Whether this process leads.
    pub(crate) leads: bool,
    /// Whether another process leads, and this one waits.
    pub(crate) waits: bool,
    /// Whether it writes nothing because somebody else allocates.
    pub(crate) is_blocked: bool,
    /// Services whose status is still to be written.
    pub(crate) pending: u64,
    /// Statuses written.
    pub(crate) writes: u64,
    /// Writes that failed; conflicts are none.
    pub(crate) write_failures: u64,
    /// Writes that met a newer version.
    pub(crate) conflicts: u64,
    /// Addresses taken from a service because another one has them.
    pub(crate) duplicates: u64,
    /// The connection to the API server.
    pub(crate) api: ApiFigures,
    /// The webhooks.
    pub(crate) webhooks: WebhookFigures,
}

/// What the webhooks did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WebhookFigures {
    /// Reviews taken.
    pub(crate) requests: u64,
    /// Of those, the ones that got no verdict.
    pub(crate) failures: u64,
    /// Writes of a `caBundle`.
    pub(crate) bundle_writes: u64,
    /// Times that somebody else kept overwriting one.
    pub(crate) contests: u64,
    /// When the certificate in use ends, in seconds since 1970; `None`: there is none.
    pub(crate) certificate_until_s: Option<i64>,
}

/// The text of one scrape.
pub(crate) fn render(
    figures: &ControllerFigures,
    process: &Process,
    log_lines_lost: u64,
) -> Result<String> {
    let page = Page(Registry::new());
    // A replica that waits for its turn has loaded nothing, and nobody should be alarmed by that.
    if !figures.waits {
        page.config(
            [figures.updates, figures.update_errors],
            figures.is_config_loaded,
            figures.is_config_stale,
        )?;
    }
    page.allocator(&figures.pools)?;
    page.problems(&figures.problems)?;
    page.controller(figures)?;
    page.webhooks(&figures.webhooks)?;
    page.api(&figures.api)?;
    page.process(process, log_lines_lost)?;
    Ok(TextEncoder::new().encode_to_string(&page.0.gather())?)
}

impl Page {
    fn controller(&self, figures: &ControllerFigures) -> Result<()> {
        self.gauge(
            "heliograph_controller_leads",
            "1 if this controller is the one that writes",
            figures.leads.into(),
        )?;
        self.gauge(
            "heliograph_controller_blocked",
            "1 if this controller writes nothing because somebody else allocates in this cluster",
            figures.is_blocked.into(),
        )?;
        self.gauge(
            "heliograph_controller_pending",
            "Services whose status is still to be written",
            i64::try_from(figures.pending).unwrap_or(i64::MAX),
        )?;
        let counters = [
            (
                "heliograph_controller_writes_total",
                "Statuses of services written",
                figures.writes,
            ),
            (
                "heliograph_controller_write_failures_total",
                "Writes of statuses that failed and are tried again",
                figures.write_failures,
            ),
            (
                "heliograph_controller_conflicts_total",
                "Writes of statuses that met a newer version of the service",
                figures.conflicts,
            ),
            (
                "heliograph_controller_duplicates_total",
                "Addresses taken from a service because another one has them and does not share",
                figures.duplicates,
            ),
        ];
        for (name, help, value) in counters {
            self.counter(name, help, value)?;
        }
        Ok(())
    }

    fn webhooks(&self, figures: &WebhookFigures) -> Result<()> {
        self.counter(
            "heliograph_webhook_requests_total",
            "Reviews that the API server sent",
            figures.requests,
        )?;
        self.counter(
            "heliograph_webhook_failures_total",
            "Reviews that got no verdict",
            figures.failures,
        )?;
        self.counter(
            "heliograph_webhook_ca_bundle_writes_total",
            "Writes of a caBundle, at the start or because it was overwritten",
            figures.bundle_writes,
        )?;
        self.counter(
            "heliograph_webhook_ca_bundle_contests_total",
            "Times that writing a caBundle was given up for a while because somebody else keeps overwriting it",
            figures.contests,
        )?;
        if let Some(until) = figures.certificate_until_s {
            self.gauge(
                "heliograph_webhook_certificate_expiry_timestamp_seconds",
                "When the webhooks' certificate ends, in seconds since 1970",
                until,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_of_metallb_find_their_names() {
        let figures = ControllerFigures {
            pools: BTreeMap::from([(
                "p".to_owned(),
                PoolFigures {
                    used_v4: 1,
                    total_v4: 4,
                    ..PoolFigures::default()
                },
            )]),
            is_config_loaded: true,
            leads: true,
            duplicates: 2,
            webhooks: WebhookFigures {
                contests: 3,
                certificate_until_s: Some(1_800_000_000),
                ..WebhookFigures::default()
            },
            ..ControllerFigures::default()
        };
        let text = render(&figures, &Process::default(), 0).unwrap();
        for line in [
            "metallb_allocator_addresses_in_use_total{pool=\"p\"} 1",
            "metallb_allocator_addresses_total{pool=\"p\"} 4",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "heliograph_controller_leads 1",
            "heliograph_controller_duplicates_total 2",
            "heliograph_webhook_ca_bundle_contests_total 3",
            "heliograph_webhook_certificate_expiry_timestamp_seconds 1800000000",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_replica_that_waits_alarms_nobody() {
        let figures = ControllerFigures {
            waits: true,
            ..ControllerFigures::default()
        };
        let text = render(&figures, &Process::default(), 0).unwrap();
        assert!(!text.contains("config_loaded_bool"), "{text}");
        assert!(text.contains("heliograph_controller_leads 0"), "{text}");
    }
}
