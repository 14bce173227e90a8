//! The micro-kernels of integer products on SSE4.1, AVX2 and AVX-512.

use super::GemmArgs;
use super::int8::{Columns, Thin};
use super::tile::{entries, rows};
use super::x86_accumulators::{Xmm, Ymm, Zmm};

entries! {
    "sse4.1" {
        sse41_12x4: 12 rows of Columns<Xmm, 1>;
        sse41_6x8: 6 rows of Columns<Xmm, 2>;
        sse41_4x12: 4 rows of Columns<Xmm, 3>;
        sse41_4x1: 4 rows of Thin<Xmm>;
    }
    "avx2,fma" {
        avx2_12x8: 12 rows of Columns<Ymm<false>, 1>;
        avx2_6x16: 6 rows of Columns<Ymm<false>, 2>;
        avx2_4x1: 4 rows of Thin<Ymm<false>>;
    }
    "avx2,fma,avxvnni" {
        avx2vnni_12x8: 12 rows of Columns<Ymm<true>, 1>;
        avx2vnni_6x16: 6 rows of Columns<Ymm<true>, 2>;
        avx2vnni_4x1: 4 rows of Thin<Ymm<true>>;
    }
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma" {
        avx512_24x16: 24 rows of Columns<Zmm<false>, 1>;
        avx512_12x32: 12 rows of Columns<Zmm<false>, 2>;
        avx512_8x48: 8 rows of Columns<Zmm<false>, 3>;
        avx512_8x1: 8 rows of Thin<Zmm<false>>;
    }
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma" {
        avx512vnni_24x16: 24 rows of Columns<Zmm<true>, 1>;
        avx512vnni_14x32: 14 rows of Columns<Zmm<true>, 2>;
        avx512vnni_9x48: 9 rows of Columns<Zmm<true>, 3>;
        avx512vnni_8x1: 8 rows of Thin<Zmm<true>>;
    }
}
