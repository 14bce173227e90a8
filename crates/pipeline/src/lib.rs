//! The recipe of a task (one TOML text that rides in the model file), and running it: file in,
//! files out, case by case.
#![forbid(unsafe_code)]

mod cases;
mod error;
mod example;
mod model;
mod output;
pub mod photos;
pub mod recipe;
pub mod slides;
mod stages;
mod system;

pub use cases::{Batch, Case, CaseResult, Outcome, Progress, collect_inputs, record_failures, run_cases};
pub use error::{Error, Result};
pub use example::{Example, UNKNOWN};
pub use model::{Model, RECIPE_KEY};
pub use output::{CaseFiles, Sidecar, sha256_file, sha256_hex};
pub use recipe::Recipe;
pub use stages::{Prediction, Settings, Timings, Workspace, predict};
pub use system::{available_memory, cpu_model, peak_rss_bytes, total_memory};
