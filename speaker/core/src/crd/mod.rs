//! MetalLB's custom resources: as in YAML, and parsed into what the planner and the allocator use.

pub mod advertisement;
pub mod community;
pub mod pool;
pub mod schema;

pub use advertisement::{L2Advertisement, PreferredNodes};
pub use community::Community;
pub use pool::{AddressRange, Pool, ServiceAllocation};
