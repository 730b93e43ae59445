//! What the world is and what should be true of this node.
//!
//! Objects come in parsed ([`object`], [`crd`]), gather in a [`World`], and one pure function,
//! [`plan::plan`], says what this node should answer for. No client, no async, no clock, no kernel.
#![forbid(unsafe_code)]

pub mod admission;
pub mod agent;
pub mod allocator;
pub mod annotations;
pub mod config;
pub mod convergence;
pub mod crd;
pub mod deploy;
pub mod diff;
pub mod doctor;
pub mod duration;
pub mod election;
pub mod events;
pub mod failures;
pub mod fence;
pub mod foreign;
pub mod hardware;
pub mod key;
pub mod link;
pub mod local;
pub mod manifest;
pub mod meeting;
pub mod members;
pub mod names;
pub mod node;
pub mod object;
pub mod peering;
pub mod plan;
pub mod problem;
pub mod selector;
pub mod service;
pub mod state;
pub mod status_objects;
pub mod steering;
pub mod stop;
pub mod tables;
mod typed;
pub mod world;

pub use key::{Kind, ObjectKey};
pub use link::{Link, LinkName};
pub use local::Local;
pub use members::Members;
pub use object::Object;
pub use plan::{Plan, plan};
pub use problem::Problem;
pub use world::World;
