//! Where the node meets its networks: links, groups, frames, settings.
//!
//! [`LinkWatch`] says which links may announce; [`Groups`] has the kernel listen to the VIPs' multicast groups;
//! [`FrameSender`] sends what the announcing and probing machines say, [`Ears`] hears the answers; [`ArpSetting`] keeps VIPs out of the kernel's own questions.
//! [`LocalRoutes`] has the kernel take VIPs' packets that sockets serve.
//! [`gossip`] brings sealed datagrams to other speakers and theirs here, [`bfd`] BFD's packets.
//! Knows nothing of the kernel program and its maps, nor of which VIPs are ours.

mod arp_setting;
pub(crate) mod bfd;
pub(crate) mod bgp;
mod ears;
mod exclude;
pub(crate) mod gossip;
mod groups;
mod links;
mod listener;
mod local_routes;
mod packet;
mod picture;
pub(crate) mod timex;

pub(crate) use arp_setting::{ArpSetting, restore as restore_arp_setting};
pub(crate) use ears::{Counts as EarCounts, Ears};
pub(crate) use exclude::Exclude;
pub(crate) use groups::{Groups, Member, clean as clean_groups};
pub(crate) use links::{LinkWatch, Links, links_now};
pub(crate) use listener::fit as fit_listener;
pub(crate) use local_routes::{LocalRoutes, clean as clean_routes};
pub(crate) use packet::FrameSender;

#[cfg(test)]
mod netns_tests;
