//! What the inference engine and training share: threads, memory and where values lie in it.
//!
//! [`Pool`] runs the items of a step in parallel, [`plan`] places buffers by their lifetimes in one
//! [`Arena`], and a [`View`] says where a value lies there. Results never depend on the number of
//! threads.

mod arena;
mod axes;
mod error;
mod plan;
mod pool;
pub mod view;

pub use arena::Arena;
pub use axes::axes;
pub use error::OutOfMemory;
pub use plan::{Block, Plan, plan};
pub use pool::Pool;
pub use view::View;
