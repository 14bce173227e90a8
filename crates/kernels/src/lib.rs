//! Every kernel, the detection of what this CPU can run, and the registry that dispatch, tests,
//! micro-benchmarks and `ampoule doctor` share.
//!
//! The crate knows no tensor type: kernels take pointers, strides and plain structs. Layout is
//! channels-last; 1D and 2D data are 3D with ones ([`Grid`]). A kernel needs a set of CPU
//! [`Features`]; of those that compute an [`Operation`] the first one in its table runs whose set is
//! allowed. Generic kernels are written once against [`simd::Vector`] and compiled by
//! [`simd::dispatch`] for every backend.
//!
//! Names: micro-kernels are `{operand}_gemm_{mr}x{nr}_{feature set}`, for example
//! `f32_gemm_14x32_avx512`; others are `{operation}_{backend}`.

mod act;
mod choose;
pub mod conv;
pub mod costs;
mod denormals;
pub mod depthwise;
mod elem;
pub mod eltwise;
mod features;
mod floats;
pub mod gemm;
pub mod grad;
mod grid;
pub mod layer_norm;
pub mod measure;
pub mod norm;
mod operation;
pub mod pool;
pub mod reduce;
pub mod registry;
pub mod resize;
pub mod simd;
pub mod softmax;
mod tile_registers;
pub mod winograd;

pub use act::Act;
pub use choose::{FeatureSetError, available, choose, detect};
pub use costs::{Costs, costs};
pub use denormals::flushed;
pub use elem::{Elem, bf16, f16};
pub use features::{FEATURE_SETS, Feature, FeatureSet, Features};
pub use floats::{Floats, Spread, serial};
pub use grid::Grid;
pub use operation::{Family, Operation, Source};
pub use simd::Element;
pub use tile_registers::{Availability, TileRegisters, availability as tile_registers};
