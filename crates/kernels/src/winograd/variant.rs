//! The variants of the algorithm.

use crate::gemm::Operand;

/// Which minimal filtering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Output positions of a tile along each axis: 4 or 2.
    pub tile: usize,
    /// How transformed inputs and weights are stored and multiplied.
    pub domain: Operand,
    /// Whether values are rounded to INT8 in the transform domain (Winograd INT8): then it is another function than
    /// the direct convolution, though the same one with every set of features.
    pub rounded: bool,
}

/// What each transform position of values less their zero point is multiplied by before it is rounded to
/// a signed byte, times 2^15: `(d·step + 2^14) >> 15`, row by row. Between 1 and 32767.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(pub [i16; 16]);

impl Steps {
    /// Steps under which magnitudes up to `most` of each position fit a byte.
    pub fn of(most: [f32; 16]) -> Self {
        Steps(most.map(|m| (127.0 / m.max(1.0) * 32768.0).clamp(1.0, 32767.0) as i16))
    }
}

impl Variant {
    /// F(4×4, 3×3) in float32.
    pub const F4: Variant = Variant { tile: 4, domain: Operand::F32, rounded: false };
    /// F(2×2, 3×3) in float32: for images of few tiles, and with less than twice the weights.
    pub const F2: Variant = Variant { tile: 2, domain: Operand::F32, rounded: false };
    /// F(2×2, 3×3) in bfloat16: hardly less exact than a direct product of bfloat16.
    pub const F2_BF16: Variant = Variant { tile: 2, domain: Operand::Bf16, rounded: false };
    /// F(4×4, 3×3) in bfloat16: the fastest; its error is that of INT8.
    pub const F4_BF16: Variant = Variant { tile: 4, domain: Operand::Bf16, rounded: false };
    /// F(2×2, 3×3) of INT8 in 16 bits: the sums of the direct convolution, bit for bit.
    pub const F2_EXACT: Variant = Variant { tile: 2, domain: Operand::I16, rounded: false };
    /// F(2×2, 3×3) with values rounded to INT8 in the transform domain.
    pub const F2_INT8: Variant = Variant { tile: 2, domain: Operand::U8, rounded: true };

    /// Positions of the transform: (tile + 3 - 1)².
    pub fn points(self) -> usize {
        (self.tile + 2) * (self.tile + 2)
    }
}
