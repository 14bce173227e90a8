//! Every SIMD kernel, the detection of what this CPU can run, and the one table of tiles that
//! dispatch, tests and `doctor` iterate over.
//!
//! The crate knows no tensor type: kernels take pointers, strides and plain structs. Layout is
//! channels-last; 1D and 2D data are 3D with ones ([`Grid`]). Element-wise code is written once
//! against [`simd::Vector`] and instantiated per tier by [`simd::dispatch`].
//!
//! Naming rule of tiles: `{types}_{op}_{mr}x{nr}_{isa}`, for example `f32_gemm_14x32_avx512`.

pub mod conv;
mod denormals;
pub mod depthwise;
mod element;
pub mod eltwise;
mod floats;
pub mod gemm;
pub mod grad;
mod grid;
mod isa;
pub mod layer_norm;
pub mod measure;
pub mod norm;
pub mod pool;
pub mod resize;
pub mod simd;
pub mod softmax;
pub mod winograd;

pub use denormals::flushed;
pub use element::{Elem, Element, bf16, f16};
pub use floats::{Floats, Spread, serial};
pub use grid::Grid;
pub use isa::{Isa, IsaError, available, choose, detect};
