//! The outputs of a transposed convolution by phases, of which each is computed by an ordinary convolution.

use ampoule_kernels::Grid;
use ampoule_kernels::conv::{Axis, phases};

/// Outputs of a transposed convolution that see the same taps.
pub struct Phase {
    /// Their grid, spread out over that of all outputs.
    pub grid: Grid,
    /// Elements from the first of all outputs to the first of these.
    pub offset: usize,
    /// First output position along depth, height and width.
    pub position: [usize; 3],
    /// The ordinary convolution's axes.
    pub axes: [Axis; 3],
    /// The kernel's tap behind each of the convolution's.
    pub taps: Vec<usize>,
}

/// The phases of the outputs on `grid` of a transposed convolution with these axes.
pub fn output_phases(axes: &[Axis; 3], grid: &Grid) -> Vec<Phase> {
    let lists = [0, 1, 2].map(|i| {
        let a = &axes[i];
        phases(a.kernel, a.stride, a.dilation, a.pad, grid.dims[i + 1])
    });
    let [depth, height, width] = &lists;
    let (h, w) = (axes[1].kernel, axes[2].kernel);
    let mut all = Vec::new();
    for z in depth {
        for y in height {
            for x in width {
                let (own, mut spread, mut offset) = ([z, y, x], *grid, 0);
                for (i, phase) in own.into_iter().enumerate() {
                    offset += phase.offset * grid.strides[i + 1];
                    spread.dims[i + 1] = phase.count;
                    spread.strides[i + 1] *= axes[i].stride;
                }
                let rows = z.taps.iter().flat_map(|a| y.taps.iter().map(move |b| a * h + b));
                all.push(Phase {
                    grid: spread,
                    offset,
                    position: own.map(|p| p.offset),
                    axes: own.map(|p| p.axis),
                    taps: rows.flat_map(|row| x.taps.iter().map(move |c| row * w + c)).collect(),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_share_out_outputs_and_taps() {
        let axis = |kernel, stride, pad| Axis { kernel, stride, dilation: 1, pad };
        let axes = [axis(1, 1, 0), axis(3, 2, 1), axis(4, 2, 1)];
        let grid = Grid::pitched([1, 3, 7, 8, 5], 9);
        let all = output_phases(&axes, &grid);
        assert_eq!(all.iter().map(|p| p.grid.pixels()).sum::<usize>(), grid.pixels());
        let mut taps: Vec<usize> = all.iter().flat_map(|p| p.taps.clone()).collect();
        taps.sort_unstable();
        assert_eq!(taps, (0..12).collect::<Vec<_>>());
        assert!(all.iter().all(|p| p.taps.len() == p.axes.iter().map(|a| a.kernel).product::<usize>()));
        assert!(all.iter().all(|p| p.offset + p.grid.extent() <= grid.extent()));
    }
}
