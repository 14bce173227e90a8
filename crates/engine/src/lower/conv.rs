//! Convolutions, transposed convolutions, matrix products with constant weights.

use super::quantized::{Code, Integer};
use super::{Lower, R, Residual};
use crate::Precision;
use crate::step::{Algorithm, ConvPart, Convolution, Exact, Kind, MatMul, Norm};
use ampoule_graph::op::Window;
use ampoule_graph::{DType, Node, Op, Tensor, ValueId};
use ampoule_kernels::conv::{Axis, Conv, Phase, Quantized, Spec, TOTALLED, Weights, phases};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise;
use ampoule_kernels::gemm::{self, Act, Operand};
use ampoule_kernels::winograd::{Shape, Steps, Variant, Winograd};
use ampoule_kernels::{Elem, Features, Grid};
use ampoule_runtime::axes;
use ampoule_runtime::view::{Home, View, channels_last};
use bytes::Bytes;

/// What a fused step writes and adds.
pub(super) struct Target {
    pub output: View,
    pub grid: Grid,
    pub residual: Option<(View, Grid)>,
    /// Factor and summand that make codes of the residual values.
    pub map: [f32; 2],
    pub act: Act,
    pub post: Option<eltwise::Unary>,
    /// What codes of the output mean.
    pub code: Option<Code>,
}

/// Bytes of direct weights from which Winograd has to win clearly.
const HEAVY: usize = 2 << 20;

/// Input channels from which Winograd is used below AVX-512. The gain on narrow layers is small there,
/// and it is they that cost HD-BET, whose normalisations magnify rounding, most of its accuracy.
const FEWEST: usize = 32;

/// Constant weights as float32 or as codes less their zero point, read in place: a copy of them all
/// would double the peak.
pub(super) struct Values {
    bytes: Bytes,
    codes: Option<(DType, i32)>,
}

impl Values {
    fn of(t: &Tensor) -> Option<Self> {
        match t.dtype() {
            DType::F32 => Some(Values { bytes: t.bytes().clone(), codes: None }),
            d if d.is_float() => {
                let bytes: Vec<u8> = t.to_f32()?.iter().flat_map(|v| v.to_le_bytes()).collect();
                Some(Values { bytes: bytes.into(), codes: None })
            }
            _ => None,
        }
    }

    /// Codes of eight bits.
    pub fn codes(t: &Tensor, zero: i32) -> Option<Self> {
        let codes = matches!(t.dtype(), DType::I8 | DType::U8).then_some((t.dtype(), zero));
        codes.map(|_| Values { bytes: t.bytes().clone(), codes })
    }

    fn get(&self, i: usize) -> f32 {
        match self.codes {
            Some((DType::I8, zero)) => (self.bytes[i] as i8 as i32 - zero) as f32,
            Some((_, zero)) => (self.bytes[i] as i32 - zero) as f32,
            None => {
                let mut b = [0; 4];
                b.copy_from_slice(&self.bytes[4 * i..4 * i + 4]);
                f32::from_le_bytes(b)
            }
        }
    }

    /// Sums of the magnitudes of weights of shape `dims` per entry of axis `channel`.
    fn magnitudes(&self, dims: &[usize], channel: usize) -> Vec<f64> {
        let inner: usize = dims[channel + 1..].iter().product();
        let mut sums = vec![0.0; dims[channel]];
        for i in 0..dims.iter().product() {
            sums[i / inner % dims[channel]] += self.get(i).abs() as f64;
        }
        sums
    }

    /// Whether codes fit signed bytes and any sum of products with bytes fits 32 bits.
    pub fn exact(&self, dims: &[usize], channel: usize) -> bool {
        let fits = |i: usize| (-128.0..=127.0).contains(&self.get(i));
        let most = self.magnitudes(dims, channel).into_iter().fold(0.0, f64::max);
        (0..dims.iter().product()).all(fits) && 255.0 * most < (1u64 << 31) as f64
    }
}

impl Lower<'_> {
    /// The output of a fusable step: where it goes and what joins it. Those of integers take codes as
    /// residuals and give codes.
    fn target(&mut self, y: ValueId, integer: bool) -> R<Target> {
        let (id, residual, act) = self.fuse(y, if integer { Residual::Codes } else { Residual::Values })?;
        let (id, post) = match act {
            Act::None => self.fuse_function(id),
            _ => (id, None),
        };
        let (id, code) = if integer { self.fuse_quantizer(id)? } else { (id, None) };
        let dims = self.dims(id)?;
        let output = self.place(id, &dims);
        self.set(id, output.clone());
        let grid = output.grid().ok_or("the output is not channels-last")?;
        let map = residual.as_ref().map_or([1.0, 0.0], |r| r.1);
        let residual = match residual {
            Some((v, _)) => {
                let g = v.grid().ok_or("the residual is not channels-last")?;
                Some((v, g))
            }
            None => None,
        };
        Ok(Target { output, grid, residual, map, act, post, code })
    }

    /// The output of an integer convolution whose normalisation adds up exact sums: binary16 in between.
    fn raw_target(&mut self, y: ValueId) -> R<Target> {
        let dims = self.dims(y)?;
        self.slices.remove(&y);
        let output = self.fresh(&dims, channels_last(&dims, dims[1]), Elem::F16);
        self.set(y, output.clone());
        let grid = output.grid().ok_or("the output is not channels-last")?;
        Ok(Target { output, grid, residual: None, map: [1.0, 0.0], act: Act::None, post: None, code: None })
    }

    /// Whether only an instance normalisation of a single image reads `y`.
    fn normalised(&self, y: ValueId) -> bool {
        let reader = self.only_reader(y).map(|r| &self.graph.nodes[r]);
        reader.is_some_and(|n| matches!(n.op, Op::InstanceNorm { .. }) && n.input(0) == Some(y))
            && self.graph.value(y).dims().is_some_and(|d| d[0] == 1 && (3..=5).contains(&d.len()))
    }

    /// Weights, their dimensions and the bias, when they are constants.
    fn parameters(&self, n: &Node) -> R<Option<(Values, Vec<usize>, Option<Vec<f32>>)>> {
        let kept = n.input(1).and_then(|w| self.kept.get(&w));
        let values = match kept {
            Some((x, zero, _)) => self.constants.get(x).map(|t| (t, Values::codes(t, *zero))),
            None => self.constant(n, 1).map(|t| (t, Values::of(t))),
        };
        let Some((t, Some(w))) = values else { return Ok(None) };
        let dims = t.dims().to_vec();
        if !(3..=5).contains(&dims.len()) {
            return Err(format!("{} axes where 3 to 5 are supported", dims.len()));
        }
        let bias = self.floats(n, 2);
        Ok((n.input(2).is_none() || bias.is_some()).then_some((w, dims, bias)))
    }

    pub(super) fn conv(&mut self, n: &Node, window: &Window, group: usize) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let Some((w, wd, mut bias)) = self.parameters(n)? else { return Ok(false) };
        let integer = self.integer(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let r = window.resolve(&x.dims[2..], &wd[2..], false)?;
        let (mut x, mut gx) = self.channels_last(n, x)?;
        let axes = axes(&r);
        let pointwise = axes.iter().all(|a| a.kernel == 1 && a.stride == 1 && a.pad == 0);
        let mut prologue = None;
        if integer.is_none() && group == 1 && pointwise && gemm::operand(self.isa, x.elem) == Operand::F32 {
            prologue = self.absorb(n, &mut x, true);
            gx = x.grid().ok_or("the input is not channels-last")?;
        }
        let (m, cg) = (wd[0], wd[1]);
        if let Some(integer) = &integer
            && group == 1
            && self.normalised(y)
            && self.raw(n, (x.clone(), gx), axes, (&w, &wd), integer)?
        {
            return Ok(true);
        }
        let mut t = self.target(y, integer.is_some())?;
        let taps: usize = wd[2..].iter().product();
        // Channels of a word, and with whole rows of the kernel those of a row.
        let (mut axes, mut wide) = (axes, cg);
        if let Some(i) = &integer
            && group == 1
            // A layer rounded in the transform domain is that on every way of running.
            && self.steps(y).is_none()
            && let Some((rows, grid)) = self.whole_rows(n, (&x, &gx), axes[2], t.grid.dims[3], i.code.zero)
        {
            (x, gx, wide) = (rows, grid, cg * axes[2].kernel);
            axes[2] = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        }
        let macs = (t.grid.pixels() * m * cg * taps) as u64;
        let mut reads = reads(x, &t);
        let elems = [reads[0].elem, t.output.elem];
        let mut quantized = Self::quantized(&integer, &t);
        let mut scale = integer.as_ref().map(|i| Self::factors(i, m));
        if let (Some(i), Some(out), Some(q), Some(scale)) = (&integer, t.code, &mut quantized, &mut scale) {
            Self::straight(i, (out, t.residual.is_some()), q, &mut t.act, scale, (&mut bias, m));
        }
        let post = if quantized.is_some() { None } else { t.post };
        if cg == 1 && group == m && group > 1 {
            let weights = (0..taps * m).map(|i| w.get(i % m * taps + i / m)).collect();
            let bias = bias.unwrap_or_else(|| vec![0.0; m]);
            let residual = t.residual.as_ref().map(|r| r.1);
            if quantized.is_none() && elems[0] != elems[1] {
                reads[0] = self.stored_as(n, reads[0].clone(), elems[1]);
            }
            let elems = [reads[0].elem, elems[1]];
            let plan = Depthwise { input: gx, output: t.grid, residual, axes, act: t.act, elems, quantized };
            let scale = scale.unwrap_or_default();
            let mut filters = Filters { weights, bias, scale, ..Filters::default() };
            plan.pack(self.isa, &mut filters);
            self.push(n, Kind::Depthwise { plan, filters, post }, reads, vec![t.output], macs);
            return Ok(true);
        }
        let (mg, steps) = (m / group, self.steps(y));
        let parts: Vec<ConvPart> = (0..group)
            .map(|g| {
                let own = g * mg..(g + 1) * mg;
                let b = bias.as_ref().map(|b| &b[own.clone()]);
                let narrow = |grid: Grid, c: usize| {
                    let [n, d, h, w, _] = grid.dims;
                    Grid { dims: [n, d, h, w, c], ..grid }
                };
                let residual = t.residual.as_ref().map(|r| narrow(r.1, mg));
                let (input, output) = (narrow(gx, wide), narrow(t.grid, mg));
                let spec = Spec { input, output, residual, axes, act: t.act, elems, quantized };
                let filters = |t: usize, i: usize, o: usize| {
                    let (t, i) = (t * (wide / cg) + i / cg, i % cg);
                    w.get(((g * mg + o) * cg + i) * taps + t)
                };
                let scale = scale.as_ref().map(|s| &s[own.clone()]);
                let coded = scale.map(|s| (s, steps.filter(|_| group == 1)));
                let algorithm = self.algorithm(spec, b, coded, prologue.is_some(), &filters);
                let [input, output] = [g * cg * elems[0].size(), g * mg * elems[1].size()];
                let residual = g * mg * t.residual.as_ref().map_or(0, |r| r.0.elem.size());
                ConvPart { algorithm, input, output, residual, depth: [0, 1] }
            })
            .collect();
        drop(w);
        self.packed_weights(n, &integer);
        if let [ConvPart { algorithm: Algorithm::Winograd(..), .. }] = &parts[..]
            && integer.is_none()
        {
            prologue = self.absorb(n, &mut reads[0], false);
        }
        let kind = Kind::Conv(Convolution { parts, post, prologue, sums: None });
        self.push(n, kind, reads, vec![t.output], macs);
        Ok(true)
    }

    /// An integer convolution whose exact sums the normalisation after it needs. Nothing is done where
    /// they could not be added up in 64 bits.
    fn raw(
        &mut self,
        n: &Node,
        (x, gx): (View, Grid),
        axes: [Axis; 3],
        (w, wd): (&Values, &[usize]),
        integer: &Integer,
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
        let furthest = integer.code.zero.max(255.0 - integer.code.zero) as f64;
        let most = furthest * w.magnitudes(wd, 0).into_iter().fold(1.0, f64::max);
        // Rounding in the transform domain may make sums a little larger.
        let limit = ((1u64 << 63) as f64 / (1.5 * most * most)) as usize;
        // Items hold whole lines.
        if limit < TOTALLED.start.max(output.dims[3]) {
            return Ok(false);
        }
        let totals = Some(limit.min(TOTALLED.end));
        let zero = integer.code.zero as i32;
        let quantized = Some(Quantized {
            zero_point: zero,
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: [1.0, 0.0],
            totals,
        });
        let spec = Spec { input: gx, output, residual: None, axes, act: Act::None, elems, quantized };
        let t = self.raw_target(y)?;
        debug_assert_eq!(t.grid.dims, output.dims);
        // The largest sum fits binary16.
        let factor = 2f64.powi((most.log2().ceil() as i32 - 15).max(0));
        let scale = vec![(1.0 / factor) as f32; m];
        let filters = |t: usize, i: usize, o: usize| w.get((o * cg + i) * taps + t);
        let coded = Some((&scale[..], self.steps(y)));
        let algorithm = self.algorithm(spec, None, coded, false, &filters);
        let unit = Self::factors(integer, m).into_iter().map(f64::from).collect();
        self.exact.insert(y, Exact { unit, factor });
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let macs = (output.pixels() * m * cg * taps) as u64;
        let kind = Kind::Conv(Convolution { parts, post: None, prologue: None, sums: None });
        self.packed_codes(n, integer);
        self.push(n, kind, vec![x], vec![t.output], macs);
        Ok(true)
    }

    /// Drops the constant weights of a node, which are packed.
    fn packed_weights(&mut self, n: &Node, integer: &Option<Integer>) {
        match integer {
            Some(i) => self.packed_codes(n, i),
            None => self.packed(n, 1),
        }
    }

    /// Takes back the normalisation that computed `x` only for this convolution: `x` becomes its
    /// input, which may lie otherwise when the convolution is `planned` for it afterwards.
    fn absorb(&mut self, n: &Node, x: &mut View, planned: bool) -> Option<Norm> {
        let id = n.input(0)?;
        if self.uses[id.0] != 1 || x.dims[0] != 1 || !self.watched.is_empty() {
            return None;
        }
        let at = self.out.steps.iter().rposition(|s| s.writes.iter().any(|w| w.home == x.home))?;
        let step = &self.out.steps[at];
        let same = step.writes.len() == 1 && step.writes[0] == *x && step.reads.len() == 1;
        let (Kind::Norm(norm), Home::Arena(b)) = (&step.kind, x.home) else { return None };
        let raw = &step.reads[0];
        let strides = x.grid().map(|g| g.strides);
        let grids = raw.grid().is_some_and(|g| Some(g.strides) == strides || (planned && g.uniform()));
        if !same || !grids || raw.dims != x.dims || raw.elem != x.elem {
            return None;
        }
        let norm = norm.clone();
        *x = raw.clone();
        self.out.steps.remove(at);
        self.out.buffers[b] = 0;
        Some(norm)
    }

    /// How the codes of the layer that computes `y` are rounded in the transform domain, if the model
    /// says so.
    fn steps(&self, y: ValueId) -> Option<Steps> {
        self.winograd_int8.get(&self.graph.value(y).name).copied()
    }

    /// The fastest of direct and Winograd convolution, by their estimates, with its weights packed;
    /// `filters` takes a tap, an input and an output channel. Integer ones have the factors of their
    /// output channels; those with steps are what the model says on every machine.
    fn algorithm(
        &self,
        spec: Spec,
        bias: Option<&[f32]>,
        coded: Option<(&[f32], Option<Steps>)>,
        prepared: bool,
        filters: &(impl Fn(usize, usize, usize) -> f32 + Sync),
    ) -> Algorithm {
        let Spec { input, output, residual, axes, act, elems, quantized } = spec;
        let sizes = [axes.iter().map(|a| a.kernel).product(), input.channels(), output.channels()];
        let plan = if prepared { Conv::prepared } else { Conv::new };
        let conv = plan(spec, self.isa, !self.stream);
        let suits = axes.iter().all(|a| a.stride == 1 && a.dilation == 1)
            && axes[1].kernel == 3
            && axes[2].kernel == 3;
        let fewest = if self.isa.contains(Features::AVX512) { 1 } else { FEWEST };
        let shape = || {
            let (pad, depth_taps) = (axes.map(|a| a.pad), axes[0].kernel);
            Shape { input, output, residual, depth_taps, pad, act, elems, quantized }
        };
        let nine = |t: usize, i: usize, o: usize| std::array::from_fn(|k| filters(t * 9 + k, i, o));
        if let Some((scale, steps)) = coded {
            // Where memory is short the smaller weights of the direct way give the same bits.
            let wide = !self.stream && gemm::operand(self.isa, elems[0]) == Operand::I16;
            let variant = if steps.is_some() { Variant::F2_INT8 } else { Variant::F2_EXACT };
            if suits && (steps.is_some() || wide) && quadruples(sizes, filters) {
                let plan = Winograd::new(self.isa, shape(), variant);
                if steps.is_some() || plan.cost() < conv.cost(self.isa, [sizes[0], sizes[1]]) {
                    let weights = plan.pack_quantized((scale, steps), bias, &self.spread(), nine);
                    return Algorithm::Winograd(plan, weights);
                }
            }
            let panels = conv.panels(self.isa);
            let weights = Weights::pack_quantized(panels, sizes, scale, bias, &self.spread(), filters);
            return Algorithm::Direct(conv, weights);
        }
        if suits && sizes[1] >= fewest {
            let plans = self.variants(elems[0]).iter().map(|&v| Winograd::new(self.isa, shape(), v));
            let best = plans.min_by(|a, b| a.cost().total_cmp(&b.cost()));
            // Four times the weights must be worth it where they are many.
            let worth = if 4 * sizes.iter().product::<usize>() > HEAVY { 0.8 } else { 1.0 };
            let direct = conv.cost(self.isa, [sizes[0], sizes[1]]);
            if let Some(plan) = best.filter(|p| p.cost() < worth * direct) {
                let weights = plan.pack(bias, &self.spread(), nine);
                return Algorithm::Winograd(plan, weights);
            }
        }
        let weights = Weights::pack(conv.panels(self.isa), sizes, bias, &self.spread(), filters);
        Algorithm::Direct(conv, weights)
    }

    /// The variants of Winograd's algorithm that may be used on an input stored as `elem`.
    fn variants(&self, elem: Elem) -> &'static [Variant] {
        match (gemm::operand(self.isa, elem), self.precision) {
            (Operand::Bf16, Precision::Bf16Fast) => &[Variant::F4_BF16, Variant::F2_BF16, Variant::F4],
            (Operand::Bf16, _) => &[Variant::F2_BF16, Variant::F4],
            _ => &[Variant::F4, Variant::F2],
        }
    }

    /// Packing work is spread over the session's threads; pages of the model's file are given back
    /// now and then, as large weights are read once from end to end.
    fn spread(&self) -> impl Fn(usize, &(dyn Fn(usize) + Sync)) + use<'_> {
        const ROUND: usize = 16;
        let (pool, graph) = (self.pool, self.graph);
        move |items, f| {
            for first in (0..items).step_by(ROUND) {
                pool.run((items - first).min(ROUND), &|i, _| f(first + i));
                if items > ROUND {
                    graph.release();
                }
            }
        }
    }

    pub(super) fn conv_transpose(
        &mut self,
        n: &Node,
        window: &Window,
        group: usize,
        output_padding: &[usize],
        output_shape: &[usize],
    ) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let Some((w, wd, mut bias)) = self.parameters(n)? else { return Ok(false) };
        let integer = self.integer(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let r = window.resolve_transposed(&x.dims[2..], &wd[2..], output_padding, output_shape)?;
        let (x, gx) = self.channels_last(n, x)?;
        let mut t = self.target(y, integer.is_some())?;
        let mut quantized = Self::quantized(&integer, &t);
        // The channels of every group share the factors.
        let mut scale = integer.as_ref().map(|i| Self::factors(i, wd[1]));
        if let (Some(i), Some(out), Some(q), Some(scale)) = (&integer, t.code, &mut quantized, &mut scale) {
            let channels = group * wd[1];
            Self::straight(i, (out, t.residual.is_some()), q, &mut t.act, scale, (&mut bias, channels));
        }
        let size_r = t.residual.as_ref().map_or(0, |r| r.0.elem.size());
        let a = axes(&r);
        let elems = [x.elem, t.output.elem];
        let per_axis: Vec<Vec<Phase>> = (0..3)
            .map(|i| phases(a[i].kernel, a[i].stride, a[i].dilation, a[i].pad, t.grid.dims[i + 1]))
            .collect();
        let taps: usize = wd[2..].iter().product();
        let (cg, mg) = (wd[0] / group, wd[1]);
        let mut parts = Vec::new();
        for g in 0..group {
            for pz in &per_axis[0] {
                for py in &per_axis[1] {
                    for px in &per_axis[2] {
                        let (ny, nx) = (py.taps.len(), px.taps.len());
                        let count = pz.taps.len() * ny * nx;
                        let phase = |grid: &Grid, c: usize| {
                            let mut p = *grid;
                            for (i, ph) in [pz, py, px].into_iter().enumerate() {
                                p.dims[i + 1] = ph.count;
                                p.strides[i + 1] *= a[i].stride;
                            }
                            p.dims[4] = c;
                            let at = pz.offset * grid.strides[1]
                                + py.offset * grid.strides[2]
                                + px.offset * grid.strides[3];
                            (p, at)
                        };
                        let (go, output) = phase(&t.grid, mg);
                        let residual = t.residual.as_ref().map(|r| phase(&r.1, mg));
                        let mut gi = gx;
                        gi.dims[4] = cg;
                        let axes = [pz.axis, py.axis, px.axis];
                        let grid_r = residual.map(|r| r.0);
                        let act = t.act;
                        let spec =
                            Spec { input: gi, output: go, residual: grid_r, axes, act, elems, quantized };
                        let conv = Conv::new(spec, self.isa, !self.stream);
                        let b = bias.as_ref().map(|b| &b[g * mg..(g + 1) * mg]);
                        let at = |k: usize, i: usize, o: usize| {
                            let z = pz.taps[k / (ny * nx)];
                            let (yy, xx) = (py.taps[k / nx % ny], px.taps[k % nx]);
                            let tap = (z * a[1].kernel + yy) * a[2].kernel + xx;
                            w.get(((g * cg + i) * mg + o) * taps + tap)
                        };
                        let (panels, sizes) = (conv.panels(self.isa), [count, cg, mg]);
                        let weights = match &scale {
                            Some(scale) => {
                                Weights::pack_quantized(panels, sizes, scale, b, &self.spread(), at)
                            }
                            None => Weights::pack(panels, sizes, b, &self.spread(), at),
                        };
                        parts.push(ConvPart {
                            algorithm: Algorithm::Direct(conv, weights),
                            input: g * cg * elems[0].size(),
                            output: (output + g * mg) * elems[1].size(),
                            residual: (residual.map_or(0, |r| r.1) + g * mg) * size_r,
                            depth: [pz.offset, a[0].stride],
                        });
                    }
                }
            }
        }
        drop(w);
        self.packed_weights(n, &integer);
        let macs = (gx.pixels() * wd[0] * mg * taps) as u64;
        let reads = reads(x, &t);
        let post = if quantized.is_some() { None } else { t.post };
        let kind = Kind::Conv(Convolution { parts, post, prologue: None, sums: None });
        self.push(n, kind, reads, vec![t.output], macs);
        Ok(true)
    }

    /// `rows` dense rows of `k` values by constant `[k, m]` weights, as a pointwise convolution.
    fn project(
        &mut self,
        n: &Node,
        x: View,
        y: ValueId,
        bias: Option<&[f32]>,
        m: usize,
        integer: &Option<Integer>,
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> R<()> {
        let k = *x.dims.last().ok_or("a scalar operand")?;
        let rows: usize = x.dims[..x.dims.len() - 1].iter().product();
        let gx = Grid::dense([1, 1, 1, rows, k]);
        let go = Grid::dense([1, 1, 1, rows, m]);
        // An activation may follow; a residual would have to lie row-major, so it is left out.
        let (id, _, mut act) = self.fuse(y, Residual::No)?;
        let (id, code) = if integer.is_some() { self.fuse_quantizer(id)? } else { (id, None) };
        let dims = self.dims(id)?;
        let output = self.fresh(&dims, ampoule_runtime::view::row_major(&dims), self.elem(id));
        self.set(id, output.clone());
        let one = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        let elems = [x.elem, output.elem];
        let mut quantized = integer.as_ref().map(|i| Quantized {
            zero_point: i.code.zero as i32,
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: code.map_or([1.0, 0.0], Code::codes),
            totals: None,
        });
        let mut scale = integer.as_ref().map(|i| Self::factors(i, m));
        let mut bias = bias.map(<[f32]>::to_vec);
        if let (Some(i), Some(out), Some(q), Some(scale)) = (integer, code, &mut quantized, &mut scale) {
            Self::straight(i, (out, false), q, &mut act, scale, (&mut bias, m));
        }
        let bias = bias.as_deref();
        let spec = Spec { input: gx, output: go, residual: None, axes: [one; 3], act, elems, quantized };
        let conv = Conv::new(spec, self.isa, true);
        let (panels, sizes, at) = (conv.panels(self.isa), [1, k, m], |_, i: usize, o: usize| at(i, o));
        let weights = match &scale {
            Some(scale) => Weights::pack_quantized(panels, sizes, scale, bias, &self.spread(), at),
            None => Weights::pack(panels, sizes, bias, &self.spread(), at),
        };
        let algorithm = Algorithm::Direct(conv, weights);
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let kind = Kind::Conv(Convolution { parts, post: None, prologue: None, sums: None });
        self.push(n, kind, vec![x], vec![output], (rows * k * m) as u64);
        Ok(())
    }

    /// Constant weights of two axes, of floats or kept codes.
    fn matrix(&self, n: &Node) -> Option<(Values, [usize; 2])> {
        let (t, w) = match n.input(1).and_then(|w| self.kept.get(&w)) {
            Some((x, zero, _)) => self.constants.get(x).map(|t| (t, Values::codes(t, *zero)))?,
            None => self.constant(n, 1).map(|t| (t, Values::of(t)))?,
        };
        Some((w?, t.dims().try_into().ok()?))
    }

    pub(super) fn gemm(&mut self, n: &Node, alpha: f32, beta: f32, trans_a: bool, trans_b: bool) -> R<bool> {
        let (Some((w, [p, q])), Some(y)) = (self.matrix(n), n.output()) else { return Ok(false) };
        let (k, m) = if trans_b { (q, p) } else { (p, q) };
        let bias = match n.input(2) {
            None => None,
            Some(_) => {
                let dims = self.constant(n, 2).map(|t| t.dims().to_vec()).unwrap_or_default();
                let row = dims.iter().rev().skip(1).all(|&d| d == 1);
                match self.floats(n, 2).filter(|v| row && (v.len() == m || v.len() == 1)) {
                    Some(v) => Some((0..m).map(|i| beta * v[i % v.len()]).collect::<Vec<f32>>()),
                    None => return Ok(false),
                }
            }
        };
        let integer = self.integer(n);
        let x = match &integer {
            Some(i) => i.x.clone(),
            None => self.input(n, 0)?,
        };
        let x = if trans_a { x.permuted(&[1, 0]) } else { x };
        let x = self.dense_rows(n, x);
        let at = |i: usize, o: usize| alpha * w.get(if trans_b { o * k + i } else { i * m + o });
        self.project(n, x, y, bias.as_deref(), m, &integer, at)?;
        drop(w);
        self.packed_weights(n, &integer);
        Ok(true)
    }

    pub(super) fn matmul(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let integer = self.integer(n);
        if let (Some(i), Some((w, [_, m]))) = (&integer, self.matrix(n)) {
            let x = self.dense_rows(n, i.x.clone());
            self.project(n, x, y, None, m, &integer, |i, o| w.get(i * m + o))?;
            return Ok(true);
        }
        let (a, b) = (self.input(n, 0)?, self.input(n, 1)?);
        if a.dims.len() < 2 || b.dims.len() < 2 || a.len() == 0 || b.len() == 0 {
            return Ok(false);
        }
        if let (Some(w), 2) = (self.constant(n, 1).and_then(Values::of), b.dims.len()) {
            let m = b.dims[1];
            let x = self.dense_rows(n, a);
            self.project(n, x, y, None, m, &None, |i, o| w.get(i * m + o))?;
            return Ok(true);
        }
        let dims = self.dims(y)?;
        let lead = &dims[..dims.len() - 2];
        let (m, k) = (a.dims[a.dims.len() - 2], a.dims[a.dims.len() - 1]);
        let cols = b.dims[b.dims.len() - 1];
        let (a, b) = (self.dense_rows(n, a), self.dense_rows(n, b));
        let offsets = |v: &View, size: usize| -> Vec<usize> {
            let own = View {
                dims: v.dims[..v.dims.len() - 2].to_vec(),
                strides: ampoule_runtime::view::row_major(&v.dims[..v.dims.len() - 2]),
                ..v.clone()
            };
            let wide = own.expanded(lead);
            let count: usize = lead.iter().product();
            (0..count)
                .map(|mut i| {
                    let mut at = 0;
                    for d in (0..lead.len()).rev() {
                        at += (i % lead[d]) * wide.strides[d] as usize;
                        i /= lead[d];
                    }
                    at * size
                })
                .collect()
        };
        let (oa, ob) = (offsets(&a, m * k), offsets(&b, k * cols));
        let batch = oa.iter().zip(&ob).enumerate().map(|(i, (a, b))| [*a, *b, i * m * cols]).collect();
        let output = self.fresh(&dims, ampoule_runtime::view::row_major(&dims), self.elem(y));
        self.set(y, output.clone());
        let operand = gemm::operand(self.isa, a.elem);
        let product = MatMul { m, k, n: cols, batch, panels: gemm::panels(self.isa, operand, cols, 0) };
        let macs = (product.batch.len() * m * k * cols) as u64;
        self.push(n, Kind::MatMul(product), vec![a, b], vec![output], macs);
        Ok(true)
    }
}

/// Whether four times any sum of products of bytes with the weights fits 32 bits. `sizes` are those of
/// taps, inputs and outputs.
fn quadruples([taps, inputs, outputs]: [usize; 3], filters: &impl Fn(usize, usize, usize) -> f32) -> bool {
    let fits = |o: usize| {
        let all = (0..taps).flat_map(|t| (0..inputs).map(move |i| (t, i)));
        4.0 * 255.0 * all.map(|(t, i)| filters(t, i, o).abs() as f64).sum::<f64>() < (1u64 << 31) as f64
    };
    (0..outputs).all(fits)
}

fn reads(x: View, t: &Target) -> Vec<View> {
    let mut reads = vec![x];
    reads.extend(t.residual.as_ref().map(|r| r.0.clone()));
    reads
}
