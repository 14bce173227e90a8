//! Trained networks in other people's packages, turned into one ONNX file with its recipe inside.
//!
//! Weights are read without Python and without executing anything: pickles by a machine that knows
//! only tensors and plain containers (`ampoule-torch`), TensorFlow graphs as data ([`tf`]), Keras archives as HDF5 files ([`keras`]). The network
//! itself is built here ([`architectures`]); only numbers come from the package.
//!
//! A new architecture is one file in `architectures/` with a row in its table, and one row of [`CATALOG`]
//! (`docs/adding-an-architecture.md`).
#![forbid(unsafe_code)]

pub mod architectures;
mod catalog;
mod error;
mod fetch;
mod frameworks;
pub mod keras;
mod locate;
pub mod tf;
pub mod torch;
mod weights;

pub use ampoule_torch::Archive;
pub use ampoule_torch::InputShape;
pub use catalog::{CATALOG, Entry, entry, shipped_recipe, shipped_recipes};
pub use error::{Error, Result};
pub use fetch::{From, bring, build, fetch, import};
pub use frameworks::totalsegmentator::{Task, tasks};
pub use frameworks::{Opened, is_folder, open, open_shaped};
pub use locate::{Folders, Located, locate};
pub use weights::{Weights, half_weights};
