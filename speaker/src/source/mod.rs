//! Where objects come from: a directory of manifests, or an API server ([`kube`]).
//!
//! [`spawn`] reads it and follows every change by inotify; [`Allocations`] writes the addresses that the speakers
//! give, by whoever holds the lock. Objects pass through: what is kept is only which file holds which of them. Knows
//! nothing of what an object means.

mod allocations;
mod dir;
mod folder;
mod hardware;
pub(crate) mod kube;
mod secrets;
mod settle;
mod state;
mod tree;
mod watch;

use speaker_core::allocator::Assignments;
use speaker_core::manifest::Note;
use speaker_core::{Kind, Object, ObjectKey, Problem};
use std::sync::Arc;

pub(crate) use allocations::Allocations;
pub(crate) use dir::spawn;
pub(crate) use hardware::HardwareFile;
pub(crate) use secrets::secrets;
pub(crate) use state::StateFile;

/// What a source tells.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is the large one"
)]
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// A new version of an object, or what is wrong with it. A problem right after its own object stands beside it.
    Put(Result<Object, Problem>),
    /// An object is gone, or what was wrong with a document.
    Gone(ObjectKey),
    /// Every object of this kind has been told.
    Synced(Kind),
    /// The addresses in force.
    Assignments(Arc<Assignments>),
    /// Whether this process holds the lock on the addresses; they have been told before it does.
    Allocates(bool),
    /// Something was left aside.
    Note(Note),
}
