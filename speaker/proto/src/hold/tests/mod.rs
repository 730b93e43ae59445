//! The rules by their numbers, each in a small cluster on a virtual clock, and random histories of one.

mod contest;
mod direct;
mod moving;
mod passing;
mod random;
mod taking;
mod world;
