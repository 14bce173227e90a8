//! Layers that join, move and gate features.

use super::{Draw, MOST_VALUES};
use ampoule_graph::Tensor;
use ampoule_graph::op::{
    Binary, Coordinates, Interpolation, Nearest, Op, PadMode, Reduction, Resize, Unary, Window,
};

impl Draw<'_> {
    fn ints(&mut self, values: &[i64]) -> ampoule_graph::ValueId {
        self.net.b.constant("ints", Tensor::i64(&[values.len()], values))
    }

    /// With a value from before: added, multiplied, or put beside it.
    pub(super) fn join(&mut self) {
        let fits: Vec<usize> =
            (0..self.kept.len()).filter(|&i| self.kept[i].1[2..] == self.dims[2..]).collect();
        if fits.is_empty() {
            return;
        }
        let (other, dims) = self.kept[self.bytes.one_of(&fits)].clone();
        match self.bytes.below(4) {
            0 | 1 if dims == self.dims => {
                let y = self.net.b.add(self.x, other);
                self.becomes(y, dims, "added".into());
            }
            2 if dims == self.dims => {
                let y = self.net.b.node(Op::Binary(Binary::Mul), &[other, self.x]);
                self.becomes(y, dims, "multiplied".into());
            }
            _ => {
                let mut all = self.dims.clone();
                all[1] += dims[1];
                if all.iter().product::<usize>() <= MOST_VALUES {
                    let y = self.net.b.concat(&[other, self.x]);
                    self.becomes(y, all, "beside".into());
                }
            }
        }
    }

    pub(super) fn resize(&mut self) {
        let n = self.axes();
        let scale = self.bytes.one_of(&[2.0f32, 0.5, 3.0, 1.5]);
        let coordinates =
            self.bytes.one_of(&[Coordinates::HalfPixel, Coordinates::Asymmetric, Coordinates::AlignCorners]);
        let interpolation = match self.bytes.below(3) {
            0 => Interpolation::Nearest(Nearest::Floor),
            1 => Interpolation::Linear,
            _ if n == 2 => Interpolation::Cubic { a: -0.75, exclude_outside: false },
            _ => Interpolation::Linear,
        };
        let space: Vec<usize> = self.dims[2..].iter().map(|&s| (s as f32 * scale).floor() as usize).collect();
        let dims = [&self.dims[..2], &space[..]].concat();
        // Sizes that do not divide make coordinates that lie on a voxel's border: ties of rounding, not errors.
        if space.iter().any(|&s| s < 2) || dims.iter().product::<usize>() > MOST_VALUES {
            return;
        }
        let scales: Vec<f32> = [1.0, 1.0].into_iter().chain(vec![scale; n]).collect();
        let scales = self.net.b.constant("scales", Tensor::f32(&[n + 2], &scales));
        let what = format!("resize {scale} {interpolation:?} {coordinates:?}");
        let op = Op::Resize(Resize { interpolation, coordinates, antialias: false, axes: vec![], aspect: 0 });
        let y = self.net.b.node_opt(op, &[Some(self.x), None, Some(scales)]);
        self.becomes(y, dims, what);
    }

    /// Squeeze and excitation.
    pub(super) fn gate(&mut self) {
        let (n, c) = (self.axes(), self.dims[1]);
        let narrow = self.bytes.one_of(&[1, 4, 8, 6]);
        let squeezed = match self.bytes.coin() {
            true => self.net.b.node(Op::GlobalAveragePool, &[self.x]),
            false => {
                let axes: Vec<i64> = (2..2 + n as i64).collect();
                let axes = self.ints(&axes);
                let op = Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false };
                self.net.b.node(op, &[self.x, axes])
            }
        };
        let one = || Window::of(&vec![1; n]);
        let hidden = self.net.conv(squeezed, [c, narrow], one());
        let hidden = self
            .net
            .b
            .unary(hidden, if self.bytes.coin() { Unary::Relu } else { Unary::Swish { alpha: 1.0 } });
        let gate = self.net.conv(hidden, [narrow, c], one());
        let gate = match self.bytes.coin() {
            true => self.net.b.unary(gate, Unary::Sigmoid),
            false => self.net.b.unary(gate, Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }),
        };
        let y = self.net.b.node(Op::Binary(Binary::Mul), &[self.x, gate]);
        self.becomes(y, self.dims.clone(), "gated".into());
    }

    /// With a constant: a number, one for each channel, or one for each place.
    pub(super) fn broadcast(&mut self) {
        let ones = vec![1; self.axes()];
        let sizes = match self.bytes.below(4) {
            0 => vec![],
            1 => [&[self.dims[1]], &ones[..]].concat(),
            2 => [&[1], &self.dims[2..]].concat(),
            _ => vec![*self.dims.last().expect("axes")],
        };
        let op = self.bytes.one_of(&[Binary::Add, Binary::Mul, Binary::Sub, Binary::Div]);
        let constant = match op {
            Binary::Div => {
                let n = sizes.iter().product::<usize>();
                let positive = self.net.positive(n).to_f32().expect("floats");
                Tensor::f32(&sizes, &positive)
            }
            _ => self.net.tensor(&sizes),
        };
        let constant = self.net.b.constant("c", constant);
        let swapped = self.bytes.coin() && op != Binary::Div;
        let inputs = if swapped { [constant, self.x] } else { [self.x, constant] };
        let y = self.net.b.node(Op::Binary(op), &inputs);
        self.becomes(y, self.dims.clone(), format!("{op:?} {sizes:?} swapped {swapped}"));
    }

    /// Multiplied by what is left of some axes.
    pub(super) fn reduced(&mut self) {
        let kind = self.bytes.one_of(&[
            Reduction::Mean,
            Reduction::Max,
            Reduction::Sum,
            Reduction::L2,
            Reduction::Min,
        ]);
        let rank = self.dims.len() as i64;
        let axes = match self.bytes.below(4) {
            0 => vec![1],
            1 => (2..rank).collect(),
            2 => vec![rank - 1],
            _ => vec![-1, 1],
        };
        let list = self.ints(&axes);
        let op = Op::Reduce { kind, keep_dims: true, noop_with_empty_axes: false };
        let small = self.net.b.node(op, &[self.x, list]);
        let small = self.net.b.unary(small, Unary::Sigmoid);
        let y = self.net.b.node(Op::Binary(Binary::Mul), &[small, self.x]);
        self.becomes(y, self.dims.clone(), format!("times {kind:?} over {axes:?}"));
    }

    /// Padded, cut, turned in its channels or folded into them.
    pub(super) fn moved(&mut self) {
        let (n, rank) = (self.axes(), self.dims.len());
        match self.bytes.below(5) {
            0 => {
                let (before, after) = (self.bytes.below(3) as i64, self.bytes.below(3) as i64);
                let mode = self.bytes.one_of(&[PadMode::Constant, PadMode::Reflect, PadMode::Edge]);
                let dims: Vec<usize> = self
                    .dims
                    .iter()
                    .enumerate()
                    .map(|(i, &d)| if i < 2 { d } else { d + (before + after) as usize })
                    .collect();
                if self.dims[2..].iter().any(|&s| s < 3) || dims.iter().product::<usize>() > MOST_VALUES {
                    return;
                }
                let at = |p: i64| [vec![0, 0], vec![p; n]].concat();
                let pads = [at(before), at(after)].concat();
                let pads = self.ints(&pads);
                let y = self.net.b.node(Op::Pad { mode }, &[self.x, pads]);
                self.becomes(y, dims, format!("pad {mode:?} {before} {after}"));
            }
            1 => {
                let axis = 1 + self.bytes.below(rank - 1);
                let (step, start) = (1 + self.bytes.below(2), self.bytes.below(2));
                if self.dims[axis] < 3 {
                    return;
                }
                let end = self.dims[axis] - self.bytes.below(2);
                let parts = [start as i64, end as i64, axis as i64, step as i64].map(|v| self.ints(&[v]));
                let y = self.net.b.node(Op::Slice, &[self.x, parts[0], parts[1], parts[2], parts[3]]);
                let mut dims = self.dims.clone();
                dims[axis] = (end - start).div_ceil(step);
                self.becomes(y, dims, format!("slice axis {axis} {start}..{end} by {step}"));
            }
            2 if n == 2 && self.dims[1].is_multiple_of(4) => {
                let (b, c, h, w) = (self.dims[0], self.dims[1], self.dims[2], self.dims[3]);
                let column_row = self.bytes.coin();
                let y = self.net.b.node(Op::DepthToSpace { block: 2, column_row }, &[self.x]);
                self.becomes(y, vec![b, c / 4, 2 * h, 2 * w], format!("depth to space {column_row}"));
            }
            3 if n == 2 && self.dims[2..].iter().all(|s| s.is_multiple_of(2)) => {
                let (b, c, h, w) = (self.dims[0], self.dims[1], self.dims[2], self.dims[3]);
                let y = self.net.b.node(Op::SpaceToDepth { block: 2 }, &[self.x]);
                self.becomes(y, vec![b, 4 * c, h / 2, w / 2], "space to depth".into());
            }
            _ => self.shuffled(),
        }
    }

    /// Channels in another order, by groups.
    fn shuffled(&mut self) {
        let c = self.dims[1];
        let groups: Vec<usize> = (2..=c).filter(|g| c.is_multiple_of(*g)).collect();
        if groups.is_empty() {
            return;
        }
        let g = self.bytes.one_of(&groups);
        let size = |list: Vec<usize>| list.into_iter().map(|v| v as i64).collect::<Vec<_>>();
        let split = size([&[self.dims[0], g, c / g], &self.dims[2..]].concat());
        let (split, whole) = (self.ints(&split), self.ints(&size(self.dims.clone())));
        let y = self.net.b.node(Op::Reshape { allow_zero: false }, &[self.x, split]);
        let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..self.dims.len() + 1).collect();
        let y = self.net.b.node(Op::Transpose { perm }, &[y]);
        let y = self.net.b.node(Op::Reshape { allow_zero: false }, &[y, whole]);
        self.becomes(y, self.dims.clone(), format!("shuffled by {g}"));
    }
}
