//! The task that keeps sockets of service proxies: registers them, tells the agent which VIPs have some, and has the kernel take in what
//! the plan says that they serve.
//!
//! Registrations end by order, not with the socket: what comes in for a port whose proxy died is not served until it is back, and does not
//! change its way meanwhile. A new process knows those whose sockets live. Which VIPs are served by sockets is the plan's.

use super::decide::View;
use super::links::Attached;
use crate::dataplane::Chooser;
use crate::edge::{LocalRoutes, fit_listener};
use anyhow::{Context, Result, ensure};
use speaker_core::LinkName;
use speaker_core::agent::Input;
use speaker_core::steering::socket::{Front, Listeners};
use speaker_ebpf::abi::socket::SOCKETS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

/// What is wanted of the task, and where it says what came of it.
pub(crate) type Order = (Wish, oneshot::Sender<Result<Vec<Registered>>>);

/// What can be wanted.
#[derive(Debug)]
pub(crate) enum Wish {
    /// To have a socket serve a front, in place of another.
    Add {
        /// What it is to serve.
        front: Front,
        /// The socket.
        socket: OwnedFd,
        /// Whose it is, for people.
        owner: String,
    },
    /// To have none serve it any more.
    Remove(Front),
    /// To see what there is.
    List,
}

/// A registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Registered {
    /// What is served.
    pub(crate) front: Front,
    /// Whose socket it is, as whoever brought it said; `None`: an earlier process was told.
    pub(crate) owner: Option<String>,
    /// The socket is open.
    pub(crate) is_open: bool,
}

/// What an earlier process left, for an agent that begins: what sockets serve goes on being served.
///
/// # Errors
/// When the map of sockets cannot be read.
pub(crate) fn found(chooser: &Chooser) -> Result<Listeners> {
    let fronts = chooser.keys()?.into_iter().filter_map(Front::of);
    Ok(Listeners {
        vips: fronts.map(|front| front.vip).collect(),
        is_refused: chooser.refusal().is_some(),
        ..Listeners::default()
    })
}

/// What the task works with.
pub(crate) struct Means {
    /// The kernel's side of it.
    pub(crate) sockets: Chooser,
    /// The routing tables.
    pub(crate) routes: LocalRoutes,
    /// What is wanted.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// What is decided.
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    /// Where the program is.
    pub(crate) attached: watch::Receiver<Attached>,
    /// The deciding thread.
    pub(crate) inbox: SyncSender<Input>,
}

/// The task.
pub(crate) struct Registrar {
    means: Means,
    known: BTreeMap<Front, Option<String>>,
    told: Option<Arc<Listeners>>,
    routed: Option<BTreeSet<IpAddr>>,
}

impl Registrar {
    /// Goes on with what the kernel has.
    pub(crate) fn new(means: Means) -> Result<Self> {
        let keys = means.sockets.keys()?.into_iter();
        let known = keys.filter_map(Front::of).map(|front| (front, None));
        if let Some(why) = means.sockets.refusal() {
            tracing::info!(
                reason = why,
                "the kernel does not give connections to sockets by a program"
            );
        }
        Ok(Self {
            known: known.collect(),
            means,
            told: None,
            routed: None,
        })
    }

    /// Does what is ordered until nobody can order any more.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            self.tend();
            tokio::select! {
                order = self.means.orders.recv() => {
                    let Some((wish, answer)) = order else {
                        return Ok(());
                    };
                    // Whoever went away meanwhile does not want to know.
                    drop(answer.send(self.obey(wish)));
                }
                Ok(()) = self.means.views.changed() => {}
                Ok(()) = self.means.attached.changed() => {}
                () = sleep(AGAIN) => self.routed = None,
            }
        }
    }

    fn obey(&mut self, wish: Wish) -> Result<Vec<Registered>> {
        match wish {
            Wish::Add {
                front,
                socket,
                owner,
            } => self.add(front, &socket, owner)?,
            Wish::Remove(front) => {
                ensure!(
                    self.known.contains_key(&front),
                    "no socket is registered for {front}"
                );
                self.means.sockets.remove(front.into())?;
                self.known.remove(&front);
                tracing::info!(%front, event = "socketRemoved", "a socket serves no longer");
                self.tell();
            }
            Wish::List => {}
        }
        self.list()
    }

    fn add(&mut self, front: Front, socket: &OwnedFd, owner: String) -> Result<()> {
        if let Some(why) = self.means.sockets.refusal() {
            anyhow::bail!("the kernel does not give connections to sockets by a program: {why}");
        }
        if self.known.len() >= SOCKETS_MAX as usize {
            let open = self.means.sockets.keys()?;
            self.known
                .retain(|front, _| open.contains(&(*front).into()));
        }
        ensure!(
            self.known.len() < SOCKETS_MAX as usize || self.known.contains_key(&front),
            "{SOCKETS_MAX} sockets are registered, and there is room for no more: speaker ctl socket remove"
        );
        fit_listener(socket.as_fd(), &front)
            .with_context(|| format!("the socket cannot serve {front}"))?;
        self.means.sockets.attach(true)?;
        self.means.sockets.put(front.into(), socket.as_fd())?;
        tracing::info!(%front, owner, event = "socketRegistered", "a socket serves");
        self.known.insert(front, Some(owner));
        self.tell();
        Ok(())
    }

    fn list(&self) -> Result<Vec<Registered>> {
        let open = self.means.sockets.keys()?;
        let rows = self.known.iter().map(|(front, owner)| Registered {
            front: *front,
            owner: owner.clone(),
            is_open: open.contains(&(*front).into()),
        });
        Ok(rows.collect())
    }

    /// Brings everything to what is known now. What fails is tried again after [`AGAIN`].
    fn tend(&mut self) {
        let attached = self.means.sockets.attach(!self.known.is_empty());
        let routed = self.route();
        for failed in [attached, routed].into_iter().filter_map(Result::err) {
            tracing::warn!(
                error = format!("{failed:#}"),
                event = "socketsFailed",
                "sockets cannot serve VIPs"
            );
        }
        self.tell();
    }

    /// Has the kernel take in what the plan in force says.
    fn route(&mut self) -> Result<()> {
        let Some(view) = self.means.views.borrow_and_update().clone() else {
            return Ok(());
        };
        // Of a plan that must not be applied nothing is true.
        if !view.plan.is_complete {
            return Ok(());
        }
        let wanted = view.plan.served.vips().into_iter().map(|vip| vip.0);
        let wanted: BTreeSet<IpAddr> = wanted.collect();
        if self.routed.as_ref() != Some(&wanted) {
            // At the first time what an earlier process left may go.
            self.means.routes.sync(&wanted)?;
            self.routed = Some(wanted);
        }
        Ok(())
    }

    /// Tells the agent what changed.
    fn tell(&mut self) {
        let attached = self.means.attached.borrow_and_update();
        let unmarked = attached.values().filter(|report| {
            let hook = report.hook;
            hook.is_some_and(|hook| hook.is_xdp())
        });
        let listeners = Listeners {
            vips: self.known.keys().map(|front| front.vip).collect(),
            is_refused: self.means.sockets.refusal().is_some(),
            unmarked: unmarked
                .map(|report| LinkName::from(report.link.as_str()))
                .collect(),
        };
        drop(attached);
        if self.told.as_deref() == Some(&listeners) {
            return;
        }
        let listeners = Arc::new(listeners);
        // What finds no room is told the next time.
        let input = Input::Listeners(Arc::clone(&listeners));
        if self.means.inbox.try_send(input).is_ok() {
            self.told = Some(listeners);
        }
    }
}

/// What failed is tried again, and what others took away is put back.
const AGAIN: Duration = Duration::from_secs(10);
/// Orders under way; people give them one by one.
pub(crate) const ORDERS: usize = 16;
