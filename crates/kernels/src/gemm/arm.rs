//! The micro-kernels of 64-bit ARM.

use super::arm_accumulators::{Mixed, Pairs, Signed};
use super::tile::{entries, rows};
use super::{GemmArgs, float, int8};
use crate::simd::Neon;

entries! {
    "neon" {
        f32_24x4: 24 rows of float::Columns<Neon, 1>;
        f32_12x8: 12 rows of float::Columns<Neon, 2>;
        f32_8x12: 8 rows of float::Columns<Neon, 3>;
        f32_8x1: 8 rows of float::Thin<Neon>;
        i16_16x4: 16 rows of int8::Columns<Pairs, 1>;
        i16_10x8: 10 rows of int8::Columns<Pairs, 2>;
        i16_8x12: 8 rows of int8::Columns<Pairs, 3>;
        i16_8x1: 8 rows of int8::Thin<Pairs>;
    }
    "neon,dotprod" {
        dotprod_24x4: 24 rows of int8::Columns<Signed, 1>;
        dotprod_12x8: 12 rows of int8::Columns<Signed, 2>;
        dotprod_8x12: 8 rows of int8::Columns<Signed, 3>;
        dotprod_8x1: 8 rows of int8::Thin<Signed>;
    }
    "neon,dotprod,i8mm" {
        i8mm_24x4: 24 rows of int8::Columns<Mixed, 1>;
        i8mm_12x8: 12 rows of int8::Columns<Mixed, 2>;
        i8mm_8x12: 8 rows of int8::Columns<Mixed, 3>;
        i8mm_8x1: 8 rows of int8::Thin<Mixed>;
    }
}
