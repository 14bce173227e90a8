//! Hostile input from outside: every attack has an exit code, words, and bounds on memory and time.
//!
//! Files are made here, byte by byte or message by message; none is kept in the repository.

#![cfg(unix)]

#[path = "hostile/graphs.rs"]
mod graphs;
#[path = "hostile/harness.rs"]
mod harness;
#[path = "hostile/images.rs"]
mod images;
#[path = "hostile/limits.rs"]
mod limits;
mod program;
#[path = "hostile/system.rs"]
mod system;
