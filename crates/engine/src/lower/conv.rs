//! Convolutions.

use super::quantized::Int8Operands;
use super::target::{Target, reads};
use super::weights::ConstantWeights;
use super::{Lower, NO_GRID, R};
use crate::error::LowerError;
use crate::step::{Convolution, Exact, Kind};
use ampoule_graph::op::Window;
use ampoule_graph::{Node, ValueId};
use ampoule_kernels::conv::{Axis, Conv, How, Quantized, Spec, TOTALLED};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::gemm::{self, Operand};
use ampoule_kernels::winograd::Steps;
use ampoule_kernels::{Act, Elem, Grid};
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};
use ampoule_runtime::view::channels_last;
use ampoule_runtime::{View, axes};

/// Most output channels of groups that are convolved as one.
const WIDEST: usize = 64;

/// The groups of a convolution: how many, inputs and outputs of each, inputs that its plan has of a tap, and taps.
struct Groups {
    count: usize,
    inputs: usize,
    outputs: usize,
    wide: usize,
    taps: usize,
}

impl Lower<'_> {
    pub(super) fn conv(&mut self, n: &Node, window: &Window, group: usize) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let Some((w, wd, mut bias)) = self.parameters(n)? else { return Ok(false) };
        let integer = self.int8_operands(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let r = window.resolve(&x.dims[2..], &wd[2..], false)?;
        let (mut x, mut gx) = self.channels_last(n, x)?;
        let axes = axes(&r);
        let pointwise = axes.iter().all(|a| a.kernel == 1 && a.stride == 1 && a.pad == 0);
        let mut absorbed = None;
        if integer.is_none() && group == 1 && pointwise && gemm::operand(self.isa, x.elem) == Operand::F32 {
            absorbed = self.absorb(n, &mut x, true);
            gx = x.grid().ok_or(LowerError::Layout { value: "the input", wanted: "channels-last" })?;
        }
        let (m, cg) = (wd[0], wd[1]);
        if let Some(integer) = &integer
            && group == 1
            && self.normalised(y)
            && self.conv_of_sums(n, (x.clone(), gx), axes, (&w, &wd), integer)?
        {
            return Ok(true);
        }
        let mut t = self.target(y, integer.is_some(), group == 1 && self.stored_at_once((&axes, cg)))?;
        let stored = if integer.is_none() { t.stored() } else { None };
        let taps: usize = wd[2..].iter().product();
        // Channels of a word, and with whole rows of the kernel those of a row.
        let (mut axes, mut wide) = (axes, cg);
        if let Some(i) = &integer
            && group == 1
            // A layer rounded in the transform domain is that on every way of running.
            && self.steps(y).is_none()
            && let Some((rows, grid)) = self.whole_rows(n, (&x, &gx), axes[2], t.grid.dims[3], i.quantization.zero_point)
        {
            (x, gx, wide) = (rows, grid, cg * axes[2].kernel);
            axes[2] = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        }
        let macs = (t.grid.pixels() * m * cg * taps) as u64;
        let mut reads = reads(x, &t);
        let elems = [reads[0].elem, t.output.elem];
        let mut quantized = Self::quantized(&integer, &t);
        let mut scale = integer.as_ref().map(|i| Self::factors(i, m));
        if let (Some(i), Some(out), Some(q), Some(scale)) =
            (&integer, t.quantization, &mut quantized, &mut scale)
        {
            Self::requantize_directly(i, (out, t.residual.is_some()), q, &mut t.act, scale, (&mut bias, m));
        }
        let post = if quantized.is_some() || stored.is_some() { None } else { t.post };
        if cg == 1 && group > 1 && m % group == 0 {
            let weights = (0..taps * m).map(|i| w.get(i % m * taps + i / m)).collect();
            let bias = bias.unwrap_or_else(|| vec![0.0; m]);
            let filters = Filters { weights, bias, scale: scale.unwrap_or_default(), ..Filters::default() };
            if group != m {
                (reads[0], gx) = self.repeated(n, &reads[0], m / group)?;
            }
            let t = Target { post, ..t };
            self.depthwise(n, (reads, gx), axes, (filters, quantized), t, macs);
            return Ok(true);
        }
        if group == 1 && pointwise && absorbed.is_none() && stored.is_none() {
            let residual = t.residual.as_ref().map(|r| r.1);
            let spec = Spec { input: gx, output: t.grid, residual, axes, act: t.act, elems, quantized };
            if let Some(before) = self.depthwise_before(n, &reads[0], &spec) {
                let at = |_: usize, i: usize, o: usize| w.get(o * cg + i);
                let factors = (bias.as_deref(), scale.as_deref());
                let weights = self.direct_weights(&before.pointwise[0], [1, cg, m], factors, at);
                drop(w);
                self.packed_weights(n, &integer);
                self.push_separable(n, (before, weights), reads, Target { post, ..t }, macs);
                return Ok(true);
            }
        }
        let steps = self.steps(y).filter(|_| group == 1);
        let spec_of = |groups: usize| {
            let of = |grid: Grid, channels: usize| {
                let [n, d, h, w, _] = grid.dims;
                Grid { dims: [n, d, h, w, channels * groups], ..grid }
            };
            let (input, output) = (of(gx, wide), of(t.grid, m / group));
            let residual = t.residual.as_ref().map(|r| of(r.1, m / group));
            Spec { input, output, residual, axes, act: t.act, elems, quantized }
        };
        let groups = Groups { count: group, inputs: cg, outputs: m / group, wide, taps };
        let values = (bias.as_deref(), scale.as_deref(), steps);
        let how = How { merge: !self.stream, prepared: absorbed.is_some(), stored, ..How::default() };
        let parts = self.groups(&groups, &spec_of, (&w, values), how)?;
        drop(w);
        self.packed_weights(n, &integer);
        if let [ConvPart { algorithm: Algorithm::Winograd(..), .. }] = &parts[..]
            && integer.is_none()
        {
            absorbed = self.absorb(n, &mut reads[0], false);
        }
        let prologue = absorbed.map(|(what, factors)| {
            reads.extend(factors);
            what
        });
        let kind = Kind::Conv(Convolution { post, prologue, ..Convolution::plain(ConvParts::new(parts)) });
        self.push(n, kind, reads, vec![t.output], macs);
        Ok(true)
    }

    /// The parts of a convolution, of which `spec_of` says what so many groups side by side are; with the weights, bias, factors of
    /// integer sums and how they are rounded.
    fn groups(
        &mut self,
        g: &Groups,
        spec_of: &impl Fn(usize) -> Spec,
        (w, (bias, scale, steps)): (&ConstantWeights, (Option<&[f32]>, Option<&[f32]>, Option<Steps>)),
        how: How,
    ) -> R<Vec<ConvPart>> {
        let together = self.groups_together(spec_of, g.count, how);
        let (spec, parts) = (spec_of(together), g.count / together);
        let [inputs, outputs] = [g.inputs * together, g.outputs * together];
        let part = |part: usize| {
            let own = part * outputs..(part + 1) * outputs;
            let filters = |t: usize, i: usize, o: usize| {
                // Divisions for every weight take longer than packing them.
                let (t, i) = match (together, g.wide == g.inputs) {
                    (1, true) => (t, i),
                    (_, false) => (t * (g.wide / g.inputs) + i / g.inputs, i % g.inputs),
                    (_, true) if i / g.inputs != o / g.outputs => return 0.0,
                    (_, true) => (t, i % g.inputs),
                };
                w.get(((own.start + o) * g.inputs + i) * g.taps + t)
            };
            let int8 = scale.map(|s| (&s[own.clone()], steps));
            let bias = bias.map(|b| &b[own.clone()]);
            let how = How { together: parts, ..how };
            let algorithm = self.algorithm(spec, bias, int8, how, &filters)?;
            let [input, output] = [part * inputs, part * outputs];
            Ok(ConvPart { algorithm, input, output, residual: output, depth: [0, 1] })
        };
        (0..parts).map(part).collect()
    }

    /// How many of `group` groups are one convolution whose weights between groups are zero, by the estimate: a narrow
    /// group fills no register, and several of them take no longer than one. `spec_of` so many.
    fn groups_together(&self, spec_of: &impl Fn(usize) -> Spec, group: usize, how: How) -> usize {
        let cost = |groups: usize| {
            let how = How { together: group / groups, ..how };
            Conv::planned(spec_of(groups), self.isa, how).cost() * (group / groups) as f64
        };
        let narrow =
            |groups: &usize| group.is_multiple_of(*groups) && spec_of(*groups).output.channels() <= WIDEST;
        let wider = (2..=group).filter(narrow).map(|groups| (groups, cost(groups)));
        // Of equal ones the wider: it is stored in fewer pieces.
        wider.fold((1, cost(1)), |best, this| if this.1 <= best.1 { this } else { best }).0
    }

    /// A convolution of single channels.
    fn depthwise(
        &mut self,
        n: &Node,
        (mut reads, input): (Vec<View>, Grid),
        axes: [Axis; 3],
        (mut filters, quantized): (Filters, Option<Quantized>),
        t: Target,
        macs: u64,
    ) {
        if quantized.is_none() && reads[0].elem != t.output.elem {
            reads[0] = self.stored_as(n, reads[0].clone(), t.output.elem);
        }
        let (residual, elems) = (t.residual.as_ref().map(|r| r.1), [reads[0].elem, t.output.elem]);
        let plan = Depthwise { input, output: t.grid, residual, axes, act: t.act, elems, quantized };
        plan.pack(self.isa, &mut filters);
        let kind = Kind::Depthwise { plan, filters: Box::new(filters), post: t.post };
        self.push(n, kind, reads, vec![t.output], macs);
    }

    /// `x` with each channel `times` times side by side, so that several filters of a channel are one depthwise
    /// convolution; made once for all that read it.
    fn repeated(&mut self, n: &Node, x: &View, times: usize) -> R<(View, Grid)> {
        if let Some((_, _, out)) = self.repeats.iter().find(|(v, t, _)| v == x && *t == times) {
            return Ok((out.clone(), out.grid().ok_or(NO_GRID)?));
        }
        let mut dims = x.dims.clone();
        dims[1] *= times;
        let out = self.fresh(&dims, channels_last(&dims, dims[1]), x.elem);
        let mut from = x.clone();
        from.dims.insert(2, times);
        from.strides.insert(2, 0);
        self.copy(n, from, out.split(1, &[x.dims[1], times]));
        let grid = out.grid().ok_or(NO_GRID)?;
        self.repeats.push((x.clone(), times, out.clone()));
        Ok((out, grid))
    }

    /// An integer convolution whose exact sums the normalisation after it needs. Nothing is done where
    /// they could not be added up in 64 bits.
    fn conv_of_sums(
        &mut self,
        n: &Node,
        (x, gx): (View, Grid),
        axes: [Axis; 3],
        (w, wd): (&ConstantWeights, &[usize]),
        integer: &Int8Operands,
    ) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let (m, cg, taps) = (wd[0], wd[1], wd[2..].iter().product::<usize>());
        let dims = self.dims(y)?;
        let output = Grid::dense(std::array::from_fn(|i| match i {
            0 => 1,
            4 => m,
            i => (i + dims.len()).checked_sub(4).filter(|k| *k >= 2).map_or(1, |k| dims[k]),
        }));
        let elems = [x.elem, Elem::F16];
        let furthest = integer.quantization.zero_point.max(255.0 - integer.quantization.zero_point) as f64;
        let most = furthest * w.magnitudes(wd, 0).into_iter().fold(1.0, f64::max);
        // Rounding in the transform domain may make sums a little larger.
        let limit = ((1u64 << 63) as f64 / (1.5 * most * most)) as usize;
        // Items hold whole lines.
        if limit < TOTALLED.start.max(output.dims[3]) {
            return Ok(false);
        }
        let totals = Some(limit.min(TOTALLED.end));
        let zero = integer.quantization.zero_point as i32;
        let quantized = Some(Quantized {
            zero_point: zero,
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: [1.0, 0.0],
            totals,
        });
        let spec = Spec { input: gx, output, residual: None, axes, act: Act::None, elems, quantized };
        let t = self.sums_target(y)?;
        debug_assert_eq!(t.grid.dims, output.dims);
        // The largest sum fits binary16.
        let factor = 2f64.powi((libm::log2(most).ceil() as i32 - 15).max(0));
        let scale = vec![(1.0 / factor) as f32; m];
        let filters = |t: usize, i: usize, o: usize| w.get((o * cg + i) * taps + t);
        let int8 = Some((&scale[..], self.steps(y)));
        let how = How { merge: !self.stream, ..How::default() };
        let algorithm = self.algorithm(spec, None, int8, how, &filters)?;
        let unit = Self::factors(integer, m).into_iter().map(f64::from).collect();
        self.exact.insert(y, Exact { unit, factor });
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let macs = (output.pixels() * m * cg * taps) as u64;
        let kind = Kind::Conv(Convolution::plain(ConvParts::new(parts)));
        self.drop_int8_weights(n, integer);
        self.push(n, kind, vec![x], vec![t.output], macs);
        Ok(true)
    }

    /// Drops the constant weights of a node, which are packed.
    pub(super) fn packed_weights(&mut self, n: &Node, integer: &Option<Int8Operands>) {
        match integer {
            Some(i) => self.drop_int8_weights(n, i),
            None => self.packed(n, 1),
        }
    }

    /// How the values of the layer that computes `y` are rounded in the transform domain, if the model
    /// says so.
    fn steps(&self, y: ValueId) -> Option<Steps> {
        self.winograd_int8.get(&self.graph.value(y).name).copied()
    }
}
