//! What a direct convolution takes, by estimate.

use super::axis::Segment;
use super::{Conv, Split};
use crate::gemm::{MicroKernel, Operand};

/// Nanoseconds for each byte that items copy within the second-level cache.
const COPIED: f64 = 0.03;

impl Conv {
    /// Estimated nanoseconds of one run on one core, to compare with the cost of a Winograd plan.
    pub fn cost(&self) -> f64 {
        let panels = self.panels(self.isa);
        let width: f64 = panels.iter().map(|p| p.column_cost()).sum();
        let taps: usize = self.spec.axes.iter().map(|a| a.kernel).product();
        let weights = (taps * self.spec.input.channels()) as f64 * width;
        let size = (self.operand.size() * self.how.split.map_or(1, Split::terms)) as f64;
        // Splitting reads the input and writes its terms, in cache but not for nothing.
        let split = if self.how.split.is_some() { 8.0 + 4.0 * size } else { 0.0 };
        let values = (self.spec.input.pixels() * self.spec.input.channels()) as f64;
        let costs = crate::costs(self.isa);
        let products = match self.on_matrix_unit() {
            true => panels.iter().map(|p| self.unit_cost(p)).sum(),
            false => {
                let rate = panels.first().map_or(1.0, |p| costs.rate(p));
                self.spec.output.pixels() as f64 * weights * self.products() as f64 / rate
            }
        };
        let copies = if self.padded { COPIED * (4 * self.scratch() * self.items) as f64 } else { 0.0 };
        products + copies + (size * weights + split * values) * costs.memory
    }

    /// Whether there may be pads to copy.
    pub(super) fn may_be_padded(&self) -> bool {
        let kernels = self.spec.axes.map(|a| a.kernel);
        let outputs: usize = self.spec.output.dims.iter().product();
        !self.how.prepared
            && self.operand != Operand::I16
            && kernels[1..].iter().any(|k| *k > 1)
            && outputs * self.spec.input.channels() * kernels.iter().product::<usize>() > 0
    }

    /// Whether its products are those of a matrix unit, which takes whole registers of rows and whole groups of runs: a
    /// copy of the input with its pads may be faster there than the input as it lies.
    pub(super) fn on_matrix_unit(&self) -> bool {
        self.panels(self.isa).iter().all(|p| p.on_matrix_unit())
    }

    /// Whether rows of tiles run over the ends of padded lines.
    pub(super) fn spans(&self) -> bool {
        self.padded && self.on_matrix_unit() && self.spec.axes[1..].iter().all(|a| a.stride == 1)
    }

    /// Products of terms.
    fn products(&self) -> usize {
        self.how.split.map_or(1, |s| s.products().len())
    }

    /// Nanoseconds of the products of a panel on the matrix unit.
    fn unit_cost(&self, panel: &MicroKernel) -> f64 {
        let [n, d, h, w, _] = self.spec.output.dims;
        let blocks = h.div_ceil(self.block_h.max(1)) * w.div_ceil(self.block_w.max(1));
        let of_segments = |(sy, sx): (&Segment, &Segment)| {
            let (tall, wide) = (sy.end - sy.start, sx.end - sx.start);
            let (lines, length) = if self.along_x(sy, sx) { (tall, wide) } else { (wide, tall) };
            lines as f64 * self.line_cost(panel, length, (sy, sx))
        };
        let slice: f64 = match self.spans() {
            true => {
                let length =
                    (self.block_h.min(h) - 1) * self.pitch(self.block_w.min(w)) + self.block_w.min(w);
                let one = (&self.segments[1][0], &self.segments[2][0]);
                blocks as f64 * self.line_cost(panel, length, one)
            }
            false => {
                let pairs =
                    self.segments[1].iter().flat_map(|y| self.segments[2].iter().map(move |x| (y, x)));
                pairs.map(of_segments).sum()
            }
        };
        slice * (n * d) as f64
    }

    /// Nanoseconds of so many rows that see the taps of two segments.
    fn line_cost(&self, panel: &MicroKernel, length: usize, (sy, sx): (&Segment, &Segment)) -> f64 {
        let tiles = length.div_ceil(panel.mr).max(1);
        let [depth, down, across] = [self.spec.axes[0].kernel, sy.last - sy.first, sx.last - sx.first];
        let c = self.channels();
        let contiguous = self.contiguous(c, if self.padded { c } else { self.spec.input.strides[3] });
        let (taps, run) = if contiguous { (depth * down, across * c) } else { (depth * down * across, c) };
        let costs = crate::costs(self.isa);
        tiles as f64 * costs.tile(panel, length.div_ceil(tiles), taps * self.products(), run)
    }
}
