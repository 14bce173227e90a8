//! Trained medical networks on a plain CPU.
//!
//! A [`Model`] is an ONNX file, with or without a *recipe*: a TOML text that says how images become tensors and how
//! scores become labels (in the file's metadata, or given by the caller).
//!
//! Tensors in, tensors out, by the names and in the axes of the ONNX file:
//!
//! ```
//! use ampoule::{Model, Tensor};
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/quick/discs.onnx");
//!
//! let mut model = Model::open(path)?;
//! assert_eq!(model.inputs()[0].name, "image");
//! let image = Tensor::filled(&[1, 3, 64, 64], 0.5);
//! let outputs = model.run(&[("image", image)])?;
//! assert_eq!(outputs["prob"].shape(), [1, 2, 64, 64]);
//! # Ok::<(), ampoule::Error>(())
//! ```
//!
//! A file in, labels out, with everything that the recipe says before and after:
//!
//! ```
//! use ampoule::Model;
//! # let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
//! # let [path, recipe, photo] = ["assets/quick/discs.onnx", "recipes/discs.toml", "assets/quick/test/test01.png"]
//! #     .map(|p| format!("{root}/{p}"));
//!
//! let mut model = Model::builder().threads(2).memory_limit(1 << 30).recipe_file(recipe)?.open(path)?;
//! let found = model.predict(photo)?;
//! for m in &found.measured {
//!     println!("{}: {} pixels", m.name, m.voxels);
//! }
//! let labels = found.labels.expect("this recipe's task is segmentation");
//! assert_eq!(labels.data.len(), labels.dims.iter().product::<usize>());
//! # Ok::<(), ampoule::Error>(())
//! ```
//!
//! Many cases with files written, records and resuming: [`Model::collect`] and [`Model::into_runner`] give them one by one
//! to whoever decides which is next; the command line runs them all.
#![forbid(unsafe_code)]

mod builder;
mod cases;
mod error;
mod model;
#[cfg(feature = "optimize")]
mod optimized;
mod options;
mod outputs;
mod prediction;
mod tensor;

/// INT8, pruning and training, with what they do to the results (feature `optimize`).
#[cfg(feature = "optimize")]
pub use ampoule_optimize as optimize;

/// Metrics of results against ground truth (feature `evaluate`).
#[cfg(feature = "evaluate")]
pub use ampoule_eval as evaluate;

/// Variants of models under hardware profiles, and what may be said of them (feature `study`).
#[cfg(feature = "study")]
pub use ampoule_study as study;

pub use ampoule_engine::Precision;
pub use ampoule_graph::{DType, Dim};
pub use ampoule_imaging::geometry::Affine;
pub use ampoule_imaging::nifti::{DataType, Nifti};
pub use ampoule_imaging::photo::Photo;
pub use ampoule_imaging::{Error as ImageError, Volume};
pub use ampoule_pipeline::recipe::{Kind as ImageKind, Problem};
pub use ampoule_pipeline::{
    Batch, Case, CaseResult, Collected, Error as PipelineError, Images, Measured, Outcome, OutputOptions,
    Recipe, Record, Settings, Summary, calibration, install_calibration, peak_rss_bytes,
};
pub use ampoule_zoo::shipped_recipe;
pub use builder::{Builder, model_path};
pub use cases::CaseRunner;
pub use error::{Error, Kind, Result};
pub use model::{Model, TensorInfo};
pub use outputs::Outputs;
pub use prediction::{Label, Prediction};
pub use tensor::{Tensor, TensorView};
