//! BGP-4 (RFC 4271) as far as a speaker needs it that announces much and takes nothing.
//!
//! [`route`] is what is announced, [`message`] what two speakers say to each other, as values, [`wire`] the same as bytes,
//! [`session`] the machine that speaks with one peer, [`rib`] what that peer was told, and [`unnumbered`] how routers on a link are found. Nothing here knows of sockets, clocks,
//! services or how a route is chosen.

pub mod message;
pub mod rib;
pub mod route;
pub mod session;
pub mod unnumbered;
pub mod wire;

pub use message::{Capabilities, GracefulRestart, Message, Notification, Open, Update};
pub use route::{Attributes, Community, Family, LargeCommunity, Prefix, RouterId, Routes};
