//! Float sums that are stored as bytes, tile by tile.

use super::Stored;
use crate::gemm::{GemmArgs, Lines, MicroKernel};
use crate::{Elem, Features, eltwise};

/// Most sums of a tile.
const MOST: usize = 1024;

/// Where the sums of a tile wait, and the bytes that they become.
pub(super) struct Waiting {
    sums: [f32; MOST],
    bytes: [u8; MOST],
}

impl Waiting {
    pub fn new() -> Self {
        Waiting { sums: [0.0; MOST], bytes: [0; MOST] }
    }

    /// Computes a tile, and stores its sums as `stored` says.
    ///
    /// # Safety
    /// See [`MicroKernel::run`], with bytes for C; `isa` must be supported.
    pub unsafe fn run(&mut self, isa: Features, panel: &MicroKernel, args: &GemmArgs, stored: Stored) {
        let (nr, count) = (panel.nr, args.m * panel.nr);
        assert!(count <= MOST && args.epilogue.residual.is_null(), "a tile that does not fit");
        let mut tile = *args;
        (tile.c, tile.c_row, tile.epilogue.elem) = (self.sums.as_mut_ptr().cast(), nr as isize, Elem::F32);
        tile.lines = args.lines.map(|l| Lines { c: (l.rows * nr) as isize, ..l });
        // SAFETY: passed on from the caller; the buffers hold a tile.
        unsafe {
            (panel.run)(&tile);
            let (sums, bytes) = (self.sums.as_mut_ptr(), self.bytes.as_mut_ptr());
            if let Some(f) = stored.post {
                eltwise::unary::<f32, f32>(isa, f, sums, sums, count);
            }
            eltwise::unary::<f32, u8>(isa, stored.quantizer, sums, bytes, count);
            for (first, part) in args.stored_lines() {
                for m in 0..part.m {
                    let to = part.c.wrapping_offset(m as isize * part.c_row);
                    bytes.add((first + m) * nr).copy_to_nonoverlapping(to, part.n);
                }
            }
        }
    }
}
