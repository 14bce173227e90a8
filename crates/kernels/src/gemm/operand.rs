//! What products are made of.

use crate::elem::bf16;
use crate::simd::Element;

/// What A and the 32-bit groups of B are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// float32; a group is one of them.
    F32,
    /// bfloat16; a group is a pair of neighbouring k.
    Bf16,
    /// Unsigned INT8; B is packed 4-wide (VNNI): a group is four signed INT8 weights of neighbouring k.
    U8,
    /// INT8 less its zero point in 16 bits; a group is a pair of weights.
    I16,
}

impl Operand {
    /// Bytes of a value of A.
    pub fn size(self) -> usize {
        4 / self.per_group()
    }

    /// Values of a run that a group of B holds.
    pub const fn per_group(self) -> usize {
        match self {
            Operand::F32 => 1,
            Operand::Bf16 | Operand::I16 => 2,
            Operand::U8 => 4,
        }
    }

    /// Whether sums are integers.
    pub fn integer(self) -> bool {
        matches!(self, Operand::U8 | Operand::I16)
    }

    /// Lower-case name, as in those of tiles.
    pub fn name(self) -> &'static str {
        match self {
            Operand::F32 => "f32",
            Operand::Bf16 => "bf16",
            Operand::U8 => "u8",
            Operand::I16 => "i16",
        }
    }

    /// The group of values that `at` gives for places 0 to `count` below [`Operand::per_group`].
    pub(crate) fn group(self, count: usize, at: impl Fn(usize) -> f32) -> f32 {
        let value = |i: usize| if i < count { at(i) } else { 0.0 };
        match self {
            Operand::F32 => value(0),
            Operand::Bf16 => {
                let bits = |i: usize| bf16::of(value(i)).to_bits() as u32;
                f32::from_bits(bits(0) | bits(1) << 16)
            }
            Operand::I16 => {
                let bits = |i: usize| value(i) as i16 as u16 as u32;
                f32::from_bits(bits(0) | bits(1) << 16)
            }
            Operand::U8 => f32::from_ne_bytes([0, 1, 2, 3].map(|i| value(i) as i8 as u8)),
        }
    }
}
