//! What the inference engine and training share: threads, memory, where values lie in it, and safe entry
//! points to the kernels.
//!
//! [`Pool`] runs the items of a step in parallel, [`plan`] places buffers by their lifetimes in one
//! [`Arena`], a [`View`] says where a value lies there, and [`run`] checks bounds and overlaps once for a step
//! before it lets workers write disjoint parts. Results never depend on the number of threads.

mod arena;
mod axes;
mod block;
mod cpu;
mod error;
mod layout;
mod parts;
mod phases;
mod plan;
mod pool;
pub mod run;
pub mod view;

pub use arena::Arena;
pub use axes::axes;
pub use block::{Area, Memory};
pub use cpu::{Cpu, Scratch};
pub use error::OutOfMemory;
pub use parts::{Pair, Parts};
pub use phases::{Phase, output_phases};
pub use plan::{Block, Plan, plan};
pub use pool::Pool;
pub use view::View;
