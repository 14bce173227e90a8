//! What this CPU reaches: each tile of the table on data in the first-level cache, and the memory
//! bandwidth. For `doctor`, for the micro-benchmark example, and
//! for the choice of the best tier.

use crate::Elem;
use crate::gemm::{Act, Epilogue, GemmArgs, MicroKernel, Requantize, Tap};
use std::time::{Duration, Instant};

/// Multiply-accumulates per second of one core on `kernel`, best of several rounds that
/// last `round` each. `None` where the CPU lacks what it needs.
pub fn kernel_macs(kernel: &MicroKernel, round: Duration) -> Option<f64> {
    if !kernel.features.supported() {
        return None;
    }
    let k = 288;
    // Large enough for either type; what the bits mean does not matter to the time.
    let a = vec![0.5f32; kernel.mr * k];
    let b = vec![0.25f32; kernel.nr * k];
    let mut c = vec![0f32; kernel.mr * kernel.nr];
    let taps = [Tap { a: 0, b: 0 }];
    let scale = vec![1f32; kernel.nr];
    let requantize = Requantize {
        scale: scale.as_ptr(),
        start: std::ptr::null(),
        residual: (Elem::F32, [1.0, 0.0]),
        post: None,
        output: [1.0, 0.0],
        totals: [std::ptr::null_mut(); 2],
    };
    let args = GemmArgs {
        a: a.as_ptr().cast(),
        a_row: k as isize,
        taps: &taps,
        run: k,
        b: b.as_ptr(),
        c: c.as_mut_ptr().cast(),
        c_row: kernel.nr as isize,
        m: kernel.mr,
        n: kernel.nr,
        epilogue: Epilogue {
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            residual_row: 0,
            act: Act::None,
            elem: Elem::F32,
            requantize: kernel.a.integer().then_some(requantize),
        },
    };
    let macs = (kernel.mr * kernel.nr * k) as f64;
    let mut best = 0f64;
    for _ in 0..5 {
        let (start, mut runs) = (Instant::now(), 0u32);
        while start.elapsed() < round {
            for _ in 0..64 {
                // SAFETY: the CPU has the features and the buffers have the sizes that the arguments say.
                unsafe { (kernel.run)(&args) };
            }
            runs += 64;
        }
        best = best.max(macs * runs as f64 / start.elapsed().as_secs_f64());
    }
    std::hint::black_box(&c);
    Some(best)
}

/// Bytes per second of one core streaming `a = b + s·c` over three arrays of `bytes` each, counting
/// two reads and one write; best of several rounds.
pub fn triad_bytes(bytes: usize) -> f64 {
    let n = bytes / 4;
    let (b, c) = (vec![1f32; n], vec![2f32; n]);
    let mut a = vec![0f32; n];
    let mut best = 0f64;
    for _ in 0..4 {
        let start = Instant::now();
        for ((x, y), z) in a.iter_mut().zip(&b).zip(&c) {
            *x = y + 3.0 * z;
        }
        std::hint::black_box(&a);
        best = best.max(12.0 * n as f64 / start.elapsed().as_secs_f64());
    }
    best
}
