//! MetalLB's custom resources as they stand in YAML: names and types of fields, nothing more.
//!
//! What the values mean, and which of them make sense, is up to the domain types beside this folder. Fields that are
//! not listed here are dropped, as the API server drops them; so nothing read by these types is ever written back whole.

pub mod advertisement;
pub mod bfd;
pub mod community;
pub mod operator;
pub mod peer;
pub mod pool;
pub mod status;
pub mod v1beta1;

pub use advertisement::{
    BGPAdvertisement, BGPAdvertisementSpec, L2Advertisement, L2AdvertisementSpec,
    PreferredNodeSelector,
};
pub use bfd::{BFDProfile, BFDProfileSpec};
pub use community::{Community, CommunitySpec, NamedCommunity};
pub use operator::{MetalLB, MetalLBSpec};
pub use peer::{BGPPeer, BGPPeerSpec, SecretReference};
pub use pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocationSpec};
pub use status::{ConfigurationState, ServiceBGPStatus, ServiceL2Status};
