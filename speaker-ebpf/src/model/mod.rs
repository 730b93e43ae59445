//! The kernel's side on the host: frames in a vector, tables in maps, and independent readings of what comes out.
//!
//! For the tests of this crate, the kernel suite (which compares it with the real program) and simulators. It knows nothing of
//! how tables come to be filled.

mod accounted;
mod check;
pub mod encap;
pub mod flow;
mod forward;
mod frame;
mod fuzz;
pub mod options;
mod spread;
mod tables;
pub mod wire;

pub use accounted::run_accounted;
pub use check::{Reply, ReplyKind, parse_reply};
pub use forward::{Hop, check_forward};
pub use frame::VecFrame;
pub use fuzz::fuzz_frame;
pub use spread::{Account, account};
pub use tables::{Limit, Tables};

use crate::logic::{Verdict, handle};

/// What the program does with `frame` under `tables`: the verdict, and the frame as it is afterwards.
pub fn run(frame: &mut VecFrame, tables: &mut Tables) -> Verdict {
    handle(frame, tables)
}
