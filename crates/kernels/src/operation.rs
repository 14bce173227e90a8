//! What kernels compute: every operation of the crate, with the family that it belongs to.

use crate::elem::Elem;

/// Operations that are named together in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Matrix products by tiles of accumulators; also those of convolutions.
    Gemm,
    /// Matrix products of a few columns, with the reduction in the lanes.
    ThinGemm,
    /// What convolutions do to their input before the products.
    Convolution,
    /// Winograd transforms.
    Winograd,
    /// Depthwise convolutions.
    Depthwise,
    /// Element-wise functions.
    Elementwise,
    /// Statistics and maps per channel or row.
    Norm,
    /// Pooling.
    Pool,
    /// Resampling.
    Resize,
    /// Softmax.
    Softmax,
    /// Gradients.
    Gradient,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 11] = [
        Family::Gemm,
        Family::ThinGemm,
        Family::Convolution,
        Family::Winograd,
        Family::Depthwise,
        Family::Elementwise,
        Family::Norm,
        Family::Pool,
        Family::Resize,
        Family::Softmax,
        Family::Gradient,
    ];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Family::Gemm => "gemm",
            Family::ThinGemm => "thin-gemm",
            Family::Convolution => "convolution",
            Family::Winograd => "winograd",
            Family::Depthwise => "depthwise",
            Family::Elementwise => "elementwise",
            Family::Norm => "norm",
            Family::Pool => "pool",
            Family::Resize => "resize",
            Family::Softmax => "softmax",
            Family::Gradient => "gradient",
        }
    }
}

/// Where the kernels of an operation come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Written by hand for a set of features: rows of a table.
    Table,
    /// Written once against [`crate::simd::Vector`] and compiled for every backend.
    Generic,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $family:ident, $source:ident, [$($elem:ident),*]
        $(else $fallback:ident)?;)*) => {
        /// An operation. Its kernels compete with one another: the best that the allowed features run
        /// is the one that runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &[Operation] = &[$(Operation::$variant,)*];

            /// Lower-case name, as in those of kernels.
            pub fn name(self) -> &'static str {
                match self {
                    $(Operation::$variant => $name,)*
                }
            }

            /// The family that it belongs to.
            pub fn family(self) -> Family {
                match self {
                    $(Operation::$variant => Family::$family,)*
                }
            }

            /// Where its kernels come from.
            pub const fn source(self) -> Source {
                match self {
                    $(Operation::$variant => Source::$source,)*
                }
            }

            /// How the input may be stored.
            pub fn elems(self) -> &'static [Elem] {
                match self {
                    $(Operation::$variant => &[$(Elem::$elem),*],)*
                }
            }

            /// Whether the input may be stored as bfloat16.
            pub fn bf16(self) -> bool {
                self.elems().contains(&Elem::Bf16)
            }

            /// What runs in its place where no kernel of it does; `None` for operations that have kernels
            /// for every set of features.
            pub fn fallback(self) -> Option<Operation> {
                match self {
                    $(Operation::$variant => operations!(@fallback $($fallback)?),)*
                }
            }
        }
    };
    (@fallback $fallback:ident) => { Some(Operation::$fallback) };
    (@fallback) => { None };
}

operations! {
    /// Products of float32.
    GemmF32 = "f32_gemm", Gemm, Table, [F32];
    /// Products of bfloat16 pairs.
    GemmBf16 = "bf16_gemm", Gemm, Table, [Bf16] else GemmF32;
    /// Products of INT8 widened to 16 bits.
    GemmI16 = "i16_gemm", Gemm, Table, [U8];
    /// Products of INT8, packed 4-wide (VNNI).
    GemmU8 = "u8_gemm", Gemm, Table, [U8] else GemmI16;
    /// Products of float32 for a few columns.
    ThinGemmF32 = "f32_thin_gemm", ThinGemm, Table, [F32] else GemmF32;
    /// Products of bfloat16 pairs for a few columns.
    ThinGemmBf16 = "bf16_thin_gemm", ThinGemm, Table, [Bf16] else ThinGemmF32;
    /// Products of INT8 widened to 16 bits for a few columns.
    ThinGemmI16 = "i16_thin_gemm", ThinGemm, Table, [U8] else GemmI16;
    /// Products of INT8, packed 4-wide (VNNI), for a few columns.
    ThinGemmU8 = "u8_thin_gemm", ThinGemm, Table, [U8] else ThinGemmI16;
    /// INT8 accumulators to outputs: scale, bias, residual, activation, quantization.
    Requantize = "requantize", Gemm, Generic, [U8];
    /// bfloat16 inputs widened to float32.
    WidenInput = "widen_input", Convolution, Generic, [Bf16];
    /// Float32 inputs split into bfloat16 terms.
    SplitInput = "split_input", Convolution, Generic, [F32];
    /// INT8 inputs widened to 16 bits, less the zero point.
    SubtractZeroPoint = "subtract_zero_point", Convolution, Generic, [U8];
    /// Filters into the transform domain.
    WinogradFilter = "winograd_filter", Winograd, Generic, [F32];
    /// Tiles of the input into the transform domain.
    WinogradInput = "winograd_input", Winograd, Generic, [F32, Bf16];
    /// Products back to outputs.
    WinogradOutput = "winograd_output", Winograd, Generic, [F32, Bf16];
    /// Quantized tiles of the input into the transform domain.
    WinogradInt8Input = "winograd_int8_input", Winograd, Generic, [U8];
    /// Integer products back to outputs.
    WinogradInt8Output = "winograd_int8_output", Winograd, Generic, [U8];
    /// Depthwise convolution in float32 arithmetic.
    Depthwise = "depthwise", Depthwise, Generic, [F32, Bf16, U8];
    /// Depthwise convolution by integer dot products.
    DepthwiseInt8 = "int8_depthwise", Depthwise, Table, [U8] else Depthwise;
    /// Functions of one value.
    Unary = "unary", Elementwise, Generic, [F32, Bf16, F16, U8];
    /// Functions of two values.
    Binary = "binary", Elementwise, Generic, [F32, Bf16];
    /// Sums and sums of squares per channel.
    ChannelSums = "channel_sums", Norm, Generic, [F32, Bf16];
    /// `act(x·scale + shift + residual)` per channel.
    Affine = "affine", Norm, Generic, [F32, Bf16, F16, U8];
    /// Layer normalisation of rows.
    LayerNorm = "layer_norm", Norm, Generic, [F32, Bf16];
    /// Maximum and average pooling.
    Pool = "pool", Pool, Generic, [F32, Bf16, F16, U8];
    /// Separable resampling.
    Resize = "resize", Resize, Generic, [F32, Bf16, F16, U8];
    /// Softmax of rows.
    Softmax = "softmax", Softmax, Generic, [F32, Bf16];
    /// Reductions along rows or over rows.
    Reduce = "reduce", Norm, Generic, [F32, Bf16];
    /// Weighted sums of rows.
    WeightedRows = "weighted_rows", Norm, Generic, [F32, Bf16];
    /// Weight gradients of convolutions and matrix products.
    WeightGradient = "weight_gradient", Gradient, Generic, [F32];
    /// The normalisation with the activation after it, in training.
    MapForward = "map_forward", Gradient, Generic, [F32];
    /// Sums of gradients per channel.
    MapSums = "map_sums", Gradient, Generic, [F32];
    /// The gradient of the normalisation's input.
    MapBackward = "map_backward", Gradient, Generic, [F32];
    /// Values added to others.
    Accumulate = "accumulate", Gradient, Generic, [F32];
    /// The gradient of a maximum pooling's input.
    MaxPoolBackward = "max_pool_backward", Gradient, Generic, [F32];
}
