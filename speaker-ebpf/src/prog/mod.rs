//! What only the kernel side has: its contexts, its maps and its entry points.

mod ctx;
mod entry;
mod maps;
mod socket;
mod way;
