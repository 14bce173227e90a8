//! How the values of a tensor are stored. Arithmetic is in float32 whatever the storage, but for the
//! integer sums of quantized tensors.

pub use half::{bf16, f16};

/// A storage type, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Elem {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// bfloat16: the upper half of a float32, rounded to nearest even.
    Bf16,
    /// IEEE 754 binary16. Only what lies between an integer convolution and the normalisation after
    /// it is stored so, scaled into its range.
    F16,
    /// A quantized value, 0 to 255; signed ones are stored 128 higher. Scale and zero point are the
    /// business of whoever reads it.
    U8,
}

impl Elem {
    /// Whether it is bfloat16.
    pub const fn is_bf16(self) -> bool {
        matches!(self, Elem::Bf16)
    }

    /// Whether it is a quantized value.
    pub const fn is_u8(self) -> bool {
        matches!(self, Elem::U8)
    }

    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Elem::F32 => 4,
            Elem::Bf16 | Elem::F16 => 2,
            Elem::U8 => 1,
        }
    }
}
