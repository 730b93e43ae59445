//! The tasks that attend to this node's links: attaching, announcing, groups, and claims of others.

use super::{Parts, claims, link_changes};
use crate::ctl;
use crate::drive::announce::{Announcer, GratuitousSent, Means};
use crate::drive::decide::View;
use crate::drive::links::{Attached, Follow};
use crate::edge::LinkWatch;
use crate::settings::Settings;
use anyhow::Result;
use speaker_core::agent::Input;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

/// Who hears of links, and whom they are told by.
pub(super) struct Around {
    /// The deciding thread.
    pub(super) inbox: SyncSender<Input>,
    /// What it decided.
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
    /// `ctl watch`.
    pub(super) changes: broadcast::Sender<ctl::Event>,
}

/// What is known of links for whoever shows it.
pub(super) struct Attended {
    /// Where the program is.
    pub(super) attached: watch::Receiver<Attached>,
    /// Gratuitous frames sent.
    pub(super) gratuitous: watch::Receiver<GratuitousSent>,
}

/// Starts them.
///
/// # Errors
/// When links cannot be watched, or a map cannot be opened.
pub(super) fn links(
    settings: &Settings,
    parts: Parts,
    around: Around,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Attended> {
    let (watch_links, links) = LinkWatch::open(settings.excluded.clone())?;
    let claims = parts.dataplane.claims()?;
    let (sent, gratuitous) = watch::channel(BTreeMap::new());
    let means = Means {
        frames: parts.frames,
        askers: parts.dataplane.askers()?,
        groups: parts.groups,
        deadline: parts.dataplane.deadline()?,
        sent,
    };
    let (claimed_in, claimed) = mpsc::channel(CLAIMED);
    tasks.spawn(Announcer::new(means, around.views.clone()).run(claimed));
    let (attached_in, attached) = watch::channel(Attached::new());
    let follow = Follow {
        dataplane: parts.dataplane,
        arp_setting: parts.arp_setting,
        inbox: around.inbox,
        attached: attached_in,
    };
    tasks.spawn(link_changes::follow(links.clone(), around.changes.clone()));
    let hearers = claims::Hearers {
        views: around.views,
        changes: around.changes,
        claimed: claimed_in,
    };
    tasks.spawn(claims::follow(claims, hearers));
    tasks.spawn(watch_links.run());
    tasks.spawn(follow.run(links));
    Ok(Attended {
        attached,
        gratuitous,
    })
}

/// Claims that the announcer may be behind; each is defended once in ten seconds anyway.
const CLAIMED: usize = 64;
