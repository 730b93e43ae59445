//! What suites share that need no kernel: the table of frames, checked here against the model and by the kernel suite against
//! the loaded program.

pub mod frames;
