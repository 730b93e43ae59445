//! The tasks that attend to this node's links: attaching, announcing, groups, and claims of others.

use super::{Parts, claims, link_changes, serving};
use crate::ctl;
use crate::drive::announce::{self, Announcer, GratuitousSent};
use crate::drive::decide::View;
use crate::drive::fences;
use crate::drive::links::{Attached, Follow};
use crate::drive::probe::{Counts, Finding, Prober};
use crate::drive::vicinity::{Means, Watcher};
use crate::edge::{Ears, FrameSender, LinkWatch, Links};
use crate::settings::Settings;
use anyhow::Result;
use speaker_core::agent::Input;
use speaker_core::fence::Raised;
use speaker_proto::vicinity;
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
    /// What probing did.
    pub(super) probed: watch::Receiver<Counts>,
    /// What asking for other nodes did.
    pub(super) neighbours: watch::Receiver<vicinity::Counts>,
    /// The links themselves.
    pub(super) links: watch::Receiver<Links>,
    /// Sockets that serve VIPs.
    pub(super) sockets: ctl::SocketOrders,
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
    let means = announce::Means {
        frames: parts.frames,
        askers: parts.dataplane.askers()?,
        groups: parts.groups,
        deadline: parts.dataplane.deadline()?,
        sent,
    };
    let (contested_in, contested) = mpsc::channel(CONTESTED);
    let orders = announce::Orders {
        contested,
        claims: parts.ends.claims,
    };
    tasks.spawn(Announcer::new(means, around.views.clone()).run(orders));
    let found = found(around.inbox.clone());
    let (shown, probed) = watch::channel(Counts::default());
    let prober = Prober::new(FrameSender::open()?, Ears::open()?, found, shown);
    tasks.spawn(prober.run(parts.ends.probe));
    let (neighbours_in, neighbours) = watch::channel(vicinity::Counts::default());
    let means = Means {
        orders: parts.ends.prospects,
        links: links.clone(),
        inbox: around.inbox.clone(),
        shown: neighbours_in,
    };
    let watcher = Watcher::new(FrameSender::open()?, Ears::open()?, means);
    tasks.spawn(watcher.run());
    let tables = parts.dataplane.tables()?;
    let views = around.views.clone();
    tasks.spawn(fences::run(tables, views, raised(around.inbox.clone())));
    let (attached_in, attached) = watch::channel(Attached::new());
    let hearing = (around.views.clone(), attached.clone(), around.inbox.clone());
    let sockets = serving::spawn(parts.serving, hearing, tasks)?;
    let raised_inbox = around.inbox.clone();
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
        claimed: contested_in,
        raised: Box::new(raised(raised_inbox)),
    };
    tasks.spawn(claims::follow(claims, hearers));
    tasks.spawn(watch_links.run());
    tasks.spawn(follow.run(links.clone()));
    Ok(Attended {
        attached,
        gratuitous,
        probed,
        neighbours,
        links,
        sockets,
    })
}

/// Brings findings to the deciding thread; `false`: it has no room.
fn found(inbox: SyncSender<Input>) -> impl Fn(Finding) -> bool {
    move |finding| {
        let input = match finding {
            Finding::Probed {
                group,
                nonce,
                answered,
            } => Input::Probed {
                group,
                nonce,
                answered,
            },
            Finding::Missing { group, is_certain } => Input::Missing { group, is_certain },
            Finding::Answering(group) => Input::Answering(group),
            Finding::Unexpected { group, mac } => Input::Unexpected { group, mac },
        };
        inbox.try_send(input).is_ok()
    }
}

/// Brings fences to the deciding thread; `false`: it has no room.
fn raised(inbox: SyncSender<Input>) -> impl Fn(Raised) -> bool {
    move |raised| inbox.try_send(raised.into()).is_ok()
}

/// Claims that the announcer may be behind; each is defended once in ten seconds anyway.
const CONTESTED: usize = 64;
