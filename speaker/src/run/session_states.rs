//! What BGPSessionState objects are to say, from the sessions as they can be seen.
//!
//! Sessions are looked at once a second: who reads objects would not see more, and each session has a channel of its own.

use super::bgp::Bgp;
use super::statuses::Wishes;
use crate::drive::bfd::Figures;
use crate::drive::bgp::PeerSight;
use crate::drive::clock::{now, pause};
use crate::drive::decide::View;
use anyhow::Result;
use speaker_core::peering::PeerRemote;
use speaker_core::plan::PeerSettings;
use speaker_core::status_objects::Wanted;
use speaker_core::status_objects::session::{LOOK_AGAIN, Session, calmed, wanted};
use speaker_proto::bfd;
use speaker_proto::bgp::session::State;
use speaker_proto::{NodeName, Time};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is said of the sessions of this node.
pub(super) struct OfSessions {
    node: NodeName,
    views: watch::Receiver<Option<Arc<View>>>,
    bgp: Bgp,
    /// What was wanted last.
    said: Wanted,
    /// When all states were looked at last, passing ones too.
    looked: Time,
}

impl OfSessions {
    pub(super) fn new(node: NodeName, views: watch::Receiver<Option<Arc<View>>>, bgp: Bgp) -> Self {
        Self {
            node,
            views,
            bgp,
            said: Wanted::new(),
            looked: now(),
        }
    }

    /// `None` until the first whole plan has its sessions: nothing may be taken away for the lack of it.
    fn look(&self) -> Option<Wanted> {
        let views = self.views.borrow();
        let plan = &views.as_deref()?.plan;
        let (sights, bfd) = (self.bgp.sights.borrow(), self.bgp.bfd.borrow());
        let is_begun = plan.bgp.keys().all(|peer| sights.contains_key(peer));
        let sessions = sights.values().filter_map(|sight| session(sight, &bfd));
        (plan.is_complete && is_begun).then(|| wanted(&self.node, sessions))
    }
}

impl Wishes for OfSessions {
    async fn changed(&mut self) -> Result<()> {
        pause(LOOK).await;
        Ok(())
    }

    fn have_changed(&self) -> bool {
        false
    }

    fn wanted(&mut self) -> Option<Wanted> {
        let seen = self.look()?;
        if now().since(self.looked) >= LOOK_AGAIN {
            self.looked = now();
            self.said = seen;
        } else {
            self.said = calmed(&self.said, seen);
        }
        Some(self.said.clone())
    }
}

/// `None`: nothing was ever known of the peer but its name.
fn session(sight: &PeerSight, bfd: &Figures) -> Option<Session> {
    let settings = sight.settings.as_deref()?;
    let status = sight.status.as_ref();
    Some(Session {
        remote: settings.remote.clone(),
        vrf: settings.vrf.clone(),
        state: status.map_or(State::Idle, |status| status.borrow().state),
        is_heard: settings.bfd.map(|_| is_heard(settings, bfd)),
    })
}

fn is_heard(settings: &PeerSettings, bfd: &Figures) -> bool {
    let mut up = bfd
        .sessions
        .iter()
        .filter(|(_, view)| view.state == bfd::State::Up);
    up.any(|(key, _)| {
        let is_there = match &settings.remote {
            PeerRemote::Address(ip) => key.peer == *ip && key.interface.is_none(),
            PeerRemote::Link(link) => key.interface.as_ref() == Some(link),
        };
        is_there && key.vrf == settings.vrf
    })
}

const LOOK: Duration = Duration::from_secs(1);
