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
//! Whoever wants files written, folders of cases and resuming uses the command line, or the crates behind this one:
//! [`ampoule_pipeline`], [`ampoule_engine`].
#![forbid(unsafe_code)]

mod builder;
mod error;
mod model;
mod options;
mod outputs;
mod prediction;
mod tensor;

/// INT8, pruning and training, with what they do to the results (feature `optimize`).
#[cfg(feature = "optimize")]
pub use ampoule_optimize as optimize;

pub use ampoule_engine::Precision;
pub use ampoule_graph::{DType, Dim};
pub use ampoule_imaging::Volume;
pub use ampoule_imaging::geometry::Affine;
pub use ampoule_pipeline::Measured;
pub use builder::Builder;
pub use error::{Error, Kind, Result};
pub use model::{Model, TensorInfo};
pub use outputs::Outputs;
pub use prediction::{Label, Prediction};
pub use tensor::Tensor;
