//! Resampling with every set of features against plain loops.

use crate::common::{Stored, error, random};
use ampoule_kernels::conv::ConvPointers;
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::{Elem, Features, Grid};

pub fn blends_the_named_samples(isa: Features) {
    for (c, gap) in [(1, 0), (5, 0), (16, 3), (21, 0)] {
        let gi = Grid::pitched([1, 2, 3, 4, c], c + gap);
        let go = Grid::dense([1, 3, 2, 5, c]);
        let axis = |n: usize, m: usize, seed: u64| {
            let w = random(m * 2, seed);
            Samples { width: 2, at: (0..m * 2).map(|i| (i * 7 + i / 2) % n).collect(), weight: w }
        };
        let plan = Resize {
            input: gi,
            output: go,
            axes: [axis(2, 3, 1), axis(3, 2, 2), axis(4, 5, 3)],
            elem: Elem::F32,
        };
        let x = random(gi.extent(), 4);
        let mut got = vec![0.0; go.extent()];
        let mut line = vec![0.0; plan.scratch()];
        let p = ConvPointers::new(x.as_ptr(), got.as_mut_ptr(), std::ptr::null());
        for i in 0..plan.items() {
            // SAFETY: buffers have the grids' extents.
            unsafe { plan.run(isa, i, p, &mut line) };
        }
        let mut want = Vec::new();
        let [sz, sy, sx] = &plan.axes;
        for z in 0..3 {
            for y in 0..2 {
                for xx in 0..5 {
                    for ch in 0..c {
                        let mut s = 0.0;
                        for i in 0..2 {
                            for j in 0..2 {
                                for k in 0..2 {
                                    let at = sz.at[z * 2 + i] * gi.strides[1]
                                        + sy.at[y * 2 + j] * gi.strides[2]
                                        + sx.at[xx * 2 + k] * gi.strides[3];
                                    s += x[at + ch]
                                        * sz.weight[z * 2 + i]
                                        * sy.weight[y * 2 + j]
                                        * sx.weight[xx * 2 + k];
                                }
                            }
                        }
                        want.push(s);
                    }
                }
            }
        }
        assert!(error(&got, &want) < 1e-5, "{c} channels on {}", isa.name());
    }
}

pub fn picks_single_samples(isa: Features) {
    for (c, gap) in [(1, 0), (5, 0), (16, 3), (33, 1), (70, 0)] {
        let gi = Grid::pitched([2, 2, 3, 4, c], c + gap);
        let go = Grid::pitched([2, 3, 2, 5, c], c + gap);
        let axis = |n: usize, m: usize| Samples {
            width: 1,
            at: (0..m).map(|i| i * 7 % n).collect(),
            weight: vec![1.0; m],
        };
        let axes = [axis(2, 3), axis(3, 2), axis(4, 5)];
        for elem in [Elem::F32, Elem::Bf16, Elem::F16, Elem::U8] {
            let plan = Resize { input: gi, output: go, axes: axes.clone(), elem };
            let x: Vec<f32> = (0..gi.extent()).map(|i| (i % 251) as f32).collect();
            let (mut input, mut got) = (Stored::new(&x, elem), Stored::new(&vec![0.0; go.extent()], elem));
            let p = ConvPointers { input: input.ptr(), output: got.ptr(), residual: std::ptr::null() };
            let mut line = vec![0.0; plan.scratch()];
            for i in 0..plan.items() {
                // SAFETY: buffers have the grids' extents.
                unsafe { plan.run(isa, i, p, &mut line) };
            }
            let mut want = vec![0.0; go.extent()];
            for (i, pixel) in (0..go.pixels()).map(|i| (i, go.pixel() * i)) {
                let [xx, y, z, n] = [i % 5, i / 5 % 2, i / 10 % 3, i / 30];
                let from = n * gi.strides[0]
                    + axes[0].at[z] * gi.strides[1]
                    + axes[1].at[y] * gi.strides[2]
                    + axes[2].at[xx] * gi.strides[3];
                want[pixel..pixel + c].copy_from_slice(&input.values()[from..from + c]);
            }
            assert_eq!(got.values(), want, "{c} channels of {elem:?} on {}", isa.name());
        }
    }
}
