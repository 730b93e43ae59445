//! What suites share that need no kernel: the table of frames, checked here against the model and by the kernel suite against
//! the loaded program, and what fuzz targets do with their input.

pub mod frames;
pub mod manifests;
pub mod reviews;
