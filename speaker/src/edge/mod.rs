//! Where the node meets its networks: links, groups, announcements, settings.
//!
//! [`LinkWatch`] says which links may announce; [`Groups`] has the kernel listen to the VIPs' multicast groups;
//! [`Announcer`] sends gratuitous frames as told; [`ArpSetting`] keeps VIPs out of the kernel's own questions. Knows nothing of
//! the kernel program and its maps.

mod exclude;
mod links;
mod picture;

pub(crate) use exclude::Exclude;
pub(crate) use links::{LinkWatch, Links};
