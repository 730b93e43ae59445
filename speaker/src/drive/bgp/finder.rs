//! Finds the routers of links that have peers, and lets them find us.
//!
//! Follows the plan for which links these are and the links for whether they are up; the machine is
//! [`speaker_proto::bgp::unnumbered`]. The kernel is asked for its neighbours when the machine says so and not followed: that is only where
//! a router does not advertise itself. Without a peer on a link no socket is open.

use super::target::{Place, Places};
use crate::drive::clock::now;
use crate::drive::decide::View;
use crate::edge::Links;
use crate::edge::bgp::{Routers, neighbours};
use anyhow::{Context, Result};
use speaker_core::peering::PeerRemote;
use speaker_core::{Link, LinkName};
use speaker_proto::bgp::unnumbered::{Input, Output, Rivals, Unnumbered};
use speaker_proto::{Mac, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Who looks for routers, and whom they are told to.
pub(crate) struct Finder {
    views: watch::Receiver<Option<Arc<View>>>,
    links: watch::Receiver<Links>,
    places: watch::Sender<Places>,
    machine: Unnumbered,
    socket: Option<Routers>,
    found: BTreeMap<u32, Ipv6Addr>,
    /// Links whose neighbours are to be looked through.
    unlooked: BTreeSet<u32>,
}

impl Finder {
    pub(crate) fn new(
        views: watch::Receiver<Option<Arc<View>>>,
        links: watch::Receiver<Links>,
        places: watch::Sender<Places>,
    ) -> Self {
        Self {
            views,
            links,
            places,
            machine: Unnumbered::new(),
            socket: None,
            found: BTreeMap::new(),
            unlooked: BTreeSet::new(),
        }
    }

    /// Runs until the views or the links end.
    ///
    /// # Errors
    /// When they do, or routers cannot be heard.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            self.look()?;
            let due = self.machine.deadline();
            let due = due.map(|(at, _)| Duration::from(at.since(now())));
            let heard = async {
                match &self.socket {
                    Some(socket) => socket.heard().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = self.views.changed() => changed.context("the views ended")?,
                changed = self.links.changed() => changed.context("the links ended")?,
                heard = heard => {
                    let (ifindex, router) = heard.context("failed to hear routers")?;
                    self.machine.input(now(), Input::Heard { ifindex, router });
                }
                () = sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => self.machine.expire(now()),
            }
        }
    }

    /// Brings machine, socket and what is told to what is so now.
    fn look(&mut self) -> Result<()> {
        let wanted = wanted(self.views.borrow_and_update().as_deref());
        let links = self.links.borrow_and_update().clone();
        if self.socket.is_none() && !wanted.is_empty() {
            self.socket = Some(Routers::open()?);
        }
        let up = wanted.iter().filter_map(|name| link(name, &links));
        let up = up.filter(|link| link.is_usable() && link.has_ndp);
        let up: BTreeMap<u32, Mac> = up.map(|link| (link.ifindex, link.mac)).collect();
        self.machine.input(now(), Input::Links(up));
        self.flush();
        for ifindex in std::mem::take(&mut self.unlooked) {
            self.look_around(ifindex);
        }
        self.flush();
        let places: Places = wanted
            .into_iter()
            .map(|name| (name.clone(), self.place(&name, &links)))
            .collect();
        self.places.send_if_modified(|known| {
            let is_new = *known != places;
            *known = places;
            is_new
        });
        Ok(())
    }

    /// Tells the machine who is on a link, and which of them are routers.
    fn look_around(&mut self, ifindex: u32) {
        match neighbours(ifindex) {
            Ok(found) => {
                let input = Input::Neighbours {
                    ifindex,
                    routers: found.routers,
                    others: found.others,
                };
                self.machine.input(now(), input);
            }
            // It is looked again in seconds.
            Err(error) => {
                tracing::debug!(%error, "failed to look through the neighbours of a link")
            }
        }
    }

    fn place(&self, name: &LinkName, links: &Links) -> Result<Place, String> {
        let Some(link) = link(name, links) else {
            return Err(match links.others.contains(name) {
                true => format!("{name} is a port of a bridge or bond, or no link for neighbours"),
                false => format!("this node has no link {name}"),
            });
        };
        if !link.is_usable() {
            return Err(format!("{name} is down"));
        }
        if !link.has_ndp {
            return Err(format!("{name} has no link-local address"));
        }
        let router = self.found.get(&link.ifindex).copied();
        let unknown = || unknown(name, self.machine.rivals(link.ifindex));
        Ok(Place {
            ifindex: link.ifindex,
            router: router.ok_or_else(unknown)?,
        })
    }

    fn flush(&mut self) {
        while let Some(output) = self.machine.output() {
            let sent: io::Result<()> = match (output, &self.socket) {
                (Output::Found(ifindex, Some(router)), _) => {
                    self.found.insert(ifindex, router);
                    Ok(())
                }
                (Output::Found(ifindex, None), _) => {
                    self.found.remove(&ifindex);
                    Ok(())
                }
                (Output::Solicit(ifindex, mac), Some(socket)) => socket.solicit(ifindex, mac),
                (Output::Advertise(ifindex, mac), Some(socket)) => socket.advertise(ifindex, mac),
                (Output::Look(ifindex, whom), Some(socket)) => {
                    self.unlooked.insert(ifindex);
                    socket.stir(ifindex, whom)
                }
                (Output::Solicit(..) | Output::Advertise(..) | Output::Look(..), None) => Ok(()),
            };
            if let Err(error) = sent {
                // It is sent again in seconds.
                tracing::debug!(%error, "failed to speak to the routers of a link");
            }
        }
    }
}

/// Why the router of a link is not known.
fn unknown(name: &LinkName, rivals: Rivals) -> String {
    let who = match rivals {
        Rivals {
            routers: 0,
            others: 0,
        } => "no neighbour there is known as one".to_owned(),
        Rivals { routers: 0, others } => {
            format!(
                "of {others} neighbours there, none of which is known as one, nobody says which it is"
            )
        }
        Rivals { routers, .. } => {
            format!("of {routers} neighbours there that are routers nobody says which it is")
        }
    };
    format!("no router has advertised itself on {name} yet, and {who}")
}

/// The links of peers.
fn wanted(view: Option<&View>) -> BTreeSet<LinkName> {
    let peers = view.into_iter().flat_map(|view| view.plan.bgp.values());
    peers
        .filter_map(|peer| match &peer.settings.as_ref().ok()?.remote {
            PeerRemote::Link(link) => Some(link.clone()),
            PeerRemote::Address(_) => None,
        })
        .collect()
}

/// One that may have a router: also a port of a VRF, where the kernel hears and solicits on the port itself.
fn link<'a>(name: &LinkName, links: &'a Links) -> Option<&'a Link> {
    let own = links.announcing.get(name);
    own.or_else(|| links.in_vrfs.get(name))
}
