//! The recipe of a task (one TOML text that is stored in the model file), and running it: files in, files out, case by
//! case. One path for volumes, tiles, slides and photos:
//!
//! ```text
//! collect -> read -> prepare -> predict (windows -> accumulator -> labelling) -> post -> measure -> write -> record
//! ```
#![forbid(unsafe_code)]

mod batch;
mod calibration;
mod case;
mod claim;
mod collect;
mod constant;
mod datasets;
mod decide;
mod error;
mod example;
mod field;
pub mod gallery;
mod grid;
mod grouping;
mod hash;
mod journal;
mod manifest;
mod measure;
mod memory;
mod model;
mod nearest;
mod place;
mod plan;
mod plausible;
pub mod population;
mod post;
mod predict;
mod prepare;
mod read;
pub mod recipe;
mod record;
mod results;
mod run;
mod series;
mod shard;
mod slack;
mod slides;
mod table;
mod tensor;
mod watch;
mod write;

pub use ampoule_dicom::{Scan as DicomScan, SegmentationKind, Series as DicomSeries};
pub use ampoule_files::kind as file_kind;
pub use ampoule_system::figures::{available_memory, cpu_model, peak_rss_bytes, rss_bytes, total_memory};
pub use batch::Batch;
pub use calibration::{CalibrationError, calibration, install_calibration, write_calibration};
pub use case::{Case, stem};
pub use collect::{Collected, collect, collect_series};
pub use constant::Windows;
pub use datasets::{input_exists, labelled, names_ground_truth};
pub use error::{Error, Result};
pub use example::{Example, UNKNOWN};
pub use field::field as csv_field;
pub use grouping::{Grouping, bids_subject, looks_grouped};
pub use hash::{Fingerprint, sha256_file, sha256_hex};
pub use journal::{Journal, JournalError};
pub use measure::Measured;
pub use memory::{
    Allowance, ask_memory, container_memory, held_bytes, least, limit_process, memory_limit, memory_room,
    shortage,
};
pub use model::{Model, RECIPE_KEY};
pub use nearest::nearest;
pub use plan::{CasePlan, Described, Planner, Stage};
pub use predict::{HeatMap, Planned, Settings, Timings, Workspace};
pub use read::{Images, grids_differ, read_image};
pub use recipe::Recipe;
pub use record::{OnSlide, Record, Written, sha256_case};
pub use results::{Made, results};
pub use run::{
    CaseResult, Merged, Outcome, Prediction, Progress, Runner, Summary, merge_folders, predict_case,
    predict_images, run_cases,
};
pub use series::{SeriesChoice, series_in, slide_of};
pub use shard::Shard;
pub use slides::{is_slide, open_slide};
pub use table::Table;
pub use watch::Watch;
pub use write::OutputOptions;
