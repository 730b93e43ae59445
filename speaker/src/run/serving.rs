//! Joins the control socket and the task that keeps sockets of service proxies.

use crate::ctl::{SocketOrders, SocketSight, SocketWish};
use crate::dataplane::Chooser;
use crate::drive::decide::View;
use crate::drive::links::Attached;
use crate::drive::sockets::{Means, ORDERS, Order, Registered, Registrar, Wish};
use crate::edge::LocalRoutes;
use anyhow::{Context, Result};
use speaker_core::agent::Input;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// What the task hears and whom it tells.
type Hearing = (
    watch::Receiver<Option<Arc<View>>>,
    watch::Receiver<Attached>,
    SyncSender<Input>,
);

/// Starts it; how orders get there.
///
/// # Errors
/// When the map of sockets cannot be read.
pub(super) fn spawn(
    (sockets, routes): (Chooser, LocalRoutes),
    (views, attached, inbox): Hearing,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<SocketOrders> {
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let means = Means {
        sockets,
        routes,
        orders,
        views,
        attached,
        inbox,
    };
    tasks.spawn(Registrar::new(means)?.run());
    Ok(Arc::new(move |wish| {
        Box::pin(obeyed(orders_in.clone(), wish))
    }))
}

async fn obeyed(orders: mpsc::Sender<Order>, wish: SocketWish) -> Result<Vec<SocketSight>> {
    let wish = match wish {
        SocketWish::Add(front, socket, owner) => Wish::Add {
            front,
            socket,
            owner,
        },
        SocketWish::Remove(front) => Wish::Remove(front),
        SocketWish::List => Wish::List,
    };
    let (answer, answered) = oneshot::channel();
    let sent = orders.send((wish, answer)).await;
    sent.ok().context("the task that keeps sockets has ended")?;
    let there = answered.await;
    let there = there.context("the task that keeps sockets has ended")??;
    let sight = |registered: Registered| SocketSight {
        front: registered.front.to_string(),
        owner: registered.owner,
        is_open: registered.is_open,
    };
    Ok(there.into_iter().map(sight).collect())
}
