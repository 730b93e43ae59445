//! BGP sessions: one task for each peer, and one that tells them what the plan wants.
//!
//! [`Sessions`] follows the views of the deciding thread; what it tells a session's task ([`session`]) goes through a channel of
//! one place that is overwritten, so that a peer which does not read delays nobody. Each task owns a machine of
//! [`speaker_proto::bgp::session`], its connections ([`line`]) and its clock. What a session is told is worked out in [`target`], what
//! can be seen of it is [`sight`], and whom BFD watches [`liveness`]; [`finder`] finds the routers of links, and at the [`posts`] routers find us. Nothing here decides which routes there are.

mod finder;
mod line;
mod liveness;
mod posts;
mod session;
mod sessions;
mod sight;
mod target;

pub(crate) use finder::Finder;
pub(crate) use posts::Unwelcome;
pub(crate) use sessions::{Command, DRAIN_TEXT, Means, Sessions};
pub(crate) use sight::{PeerSight, Sights, Told};
pub(crate) use target::{Keyless, Keys, Places, label};
