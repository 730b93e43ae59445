//! What suites share that need no kernel: the table of frames, checked here against the model and by the kernel suite against
//! the loaded program, what fuzz targets do with their input, and a cluster that plays recorded sequences.

pub mod bfd;
pub mod bgp;
pub mod cluster;
pub mod frames;
pub mod manifests;
pub mod reviews;
