//! MetalLB's custom resources: as in YAML, and parsed into what the planner and the allocator use.

pub mod advertisement;
pub mod bfd;
pub mod bgp_advertisement;
pub mod community;
pub mod conversion;
pub mod metallb;
pub mod peer;
pub mod pool;
mod read;
pub mod schema;

pub use advertisement::{L2Advertisement, PreferredNodes};
pub use bfd::BfdProfile;
pub use bgp_advertisement::{BgpAdvertisement, CommunityRef};
pub use community::{Community, CommunityValue};
pub use metallb::MetalLb;
pub use peer::{BgpPeer, PeerAsn, Remote};
pub(crate) use pool::Cover;
pub use pool::{AddressRange, Pool, ServiceAllocation};
pub(crate) use read::{Unread, read};

use crate::problem::Faults;
use std::collections::BTreeSet;

/// A list of names, none of which may stand there twice.
fn once(field: &str, names: Vec<String>, faults: &mut Faults) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (i, name) in names.into_iter().enumerate() {
        if seen.contains(&name) {
            faults.push(
                format!("{field}[{i}]"),
                format!("{name:?} stands there twice"),
            );
        }
        seen.insert(name);
    }
    seen
}
