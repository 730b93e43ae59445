//! Which BGP peers this node has, what their sessions are to be like, and which routes each of them gets.
//!
//! All of it follows from the world and from what this node knows of itself. Nothing here knows of sessions: whether a peer is
//! up, what it said, and how a drain is told to it (GRACEFUL_SHUTDOWN, then withdrawal) is up to the machine that runs the session.
//! The rules are those of MetalLB's page on BGP mode.

mod peer;

pub use peer::{
    BfdSettings, BgpType, Obstacle, PasswordFrom, PeerName, PeerPlan, PeerRemote, PeerSettings,
};

use crate::local::Local;
use crate::problem::Problem;
use crate::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The peers of this node.
pub(super) fn peers(world: &World, local: &Local) -> BTreeMap<PeerName, PeerPlan> {
    let sessions = peer::sessions(world, local).into_iter();
    let plan = |settings| PeerPlan {
        settings,
        routes: Arc::default(),
    };
    sessions
        .map(|(name, settings)| (name, plan(settings)))
        .collect()
}

/// What stands in the way of their sessions.
pub(super) fn problems(world: &World, local: &Local) -> Vec<Problem> {
    let sessions = peer::sessions(world, local).into_iter();
    let problem = |(name, settings): (PeerName, Result<_, Obstacle>)| {
        let peer = world.bgp_peers.get(&*name.0)?;
        Some(peer::problem(peer, settings.as_ref().err()?))
    };
    sessions.filter_map(problem).collect()
}
