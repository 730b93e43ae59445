//! The program follows the links, and the agent hears of them.
//!
//! On each change the program is brought to the links that announce (off the runtime's workers: some drivers reset the
//! link on attaching), then the agent is told. Attaching that failed is tried again, ever more slowly.

use crate::dataplane::{AttachReport, Dataplane};
use crate::edge::{ArpSetting, Links};
use anyhow::{Context, Result};
use speaker_core::agent::Input;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// What the links' task knows, for whoever wants to see it.
pub(crate) type Attached = BTreeMap<u32, AttachReport>;

/// The program, the setting and where the results go.
pub(crate) struct Follow {
    /// The loaded program.
    pub(crate) dataplane: Dataplane,
    /// `arp_announce`; `None`: not to be touched.
    pub(crate) arp_setting: Option<ArpSetting>,
    /// The deciding thread.
    pub(crate) inbox: SyncSender<Input>,
    /// Where the program is.
    pub(crate) attached: watch::Sender<Attached>,
}

impl Follow {
    /// Follows `links` until their watch ends.
    pub(crate) async fn run(mut self, mut links: watch::Receiver<Links>) -> Result<()> {
        let mut retry_after = RETRY_MIN;
        loop {
            let now = links.borrow_and_update().clone();
            let is_whole;
            (self, is_whole) = spawn_blocking(move || {
                let is_whole = self.take(now);
                (self, is_whole)
            })
            .await
            .context("the links' task failed")?;
            retry_after = if is_whole {
                RETRY_MIN
            } else {
                (retry_after * 2).min(RETRY_MAX)
            };
            let changed = async {
                if is_whole {
                    links.changed().await.is_ok()
                } else {
                    tokio::select! {
                        changed = links.changed() => changed.is_ok(),
                        () = sleep(retry_after) => true,
                    }
                }
            };
            if !changed.await {
                return Ok(());
            }
        }
    }

    /// Brings everything to one picture of the links. Whether all of it worked.
    fn take(&mut self, links: Links) -> bool {
        for (link, why) in &links.refused {
            tracing::warn!(%link, reason = why, op = "attach", "link cannot announce");
        }
        let wanted: BTreeMap<u32, String> = links
            .announcing
            .iter()
            .map(|(name, link)| (link.ifindex, name.to_string()))
            .collect();
        for report in self.dataplane.sync_links(&wanted) {
            tell(&report);
        }
        let failed_settings = self
            .arp_setting
            .as_mut()
            .map(|setting| setting.apply(&wanted))
            .unwrap_or_default();
        for (link, error) in &failed_settings {
            tracing::warn!(
                link,
                error = format!("{error:#}"),
                "failed to set arp_announce"
            );
        }
        self.attached
            .send_replace(self.dataplane.attached().clone());
        let told = self.inbox.send(Input::Links {
            announcing: links.announcing,
            others: links.others,
        });
        told.is_ok()
            && failed_settings.is_empty()
            && self
                .dataplane
                .attached()
                .values()
                .all(AttachReport::is_attached)
    }
}

fn tell(report: &AttachReport) {
    let steps = report.explained();
    match report.hook {
        Some(hook) => tracing::info!(
            link = report.link,
            ifindex = report.ifindex,
            %hook,
            steps,
            event = "programAttached",
            "program attached"
        ),
        None => tracing::error!(
            link = report.link,
            ifindex = report.ifindex,
            steps,
            event = "programNotAttached",
            "program not attached: nothing is answered on this link"
        ),
    }
}

const RETRY_MIN: Duration = Duration::from_secs(1);
/// A link that refuses the program keeps refusing it; now and then is enough.
const RETRY_MAX: Duration = Duration::from_secs(60);
