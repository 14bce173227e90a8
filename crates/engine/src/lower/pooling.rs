//! Pooling and resampling.

use super::{Lower, OUTPUT, R};
use crate::error::LowerError;
use crate::step::{Kind, table};
use ampoule_graph::infer::resize_geometry;
use ampoule_graph::op::{Pool, Resize};
use ampoule_graph::{Node, Tensor, ValueId, eval};
use ampoule_kernels::conv::Axis;
use ampoule_kernels::pool::{Pool as PoolPlan, PoolKind};
use ampoule_kernels::reduce::Fold;
use ampoule_kernels::resize::{Resize as ResizePlan, Samples};
use ampoule_runtime::run::reduce::Finish;
use ampoule_runtime::run::take::Take;
use ampoule_runtime::{View, axes};

impl Lower<'_> {
    pub(super) fn pool(&mut self, n: &Node, p: &Pool, max: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        if !(3..=5).contains(&rank) {
            return Ok(false);
        }
        let r = p.window.resolve(&x.dims[2..], &[], p.ceil_mode)?;
        let mut end = [0; 3];
        for (i, &e) in r.end.iter().enumerate() {
            end[5 - rank + i] = usize::try_from(e).map_err(|_| LowerError::NegativePad)?;
        }
        let kind = match (max, p.count_include_pad) {
            (true, _) => PoolKind::Max,
            (false, true) => PoolKind::AveragePadded(end),
            (false, false) => PoolKind::Average,
        };
        self.pool_step(n, x, y, axes(&r), kind)
    }

    fn pool_step(&mut self, n: &Node, x: View, y: ValueId, axes: [Axis; 3], kind: PoolKind) -> R<bool> {
        let (x, input) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place_image(y, &dims);
        self.set(y, out.clone());
        let output = out.grid().ok_or(OUTPUT)?;
        let plan = PoolPlan { input, output, axes, kind, elem: out.elem };
        self.push(n, Kind::Pool(plan), vec![x], vec![out], 0);
        Ok(true)
    }

    pub(super) fn global_max(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let Some(g) = x.grid() else {
            let spatial = (2..x.dims.len()).collect::<Vec<_>>();
            return self.reduce_axes(n, x, y, &spatial, (Fold::Max, Finish::Total));
        };
        let axes = [1, 2, 3].map(|i| Axis { kernel: g.dims[i], stride: 1, dilation: 1, pad: 0 });
        self.pool_step(n, x, y, axes, PoolKind::Max)
    }

    pub(super) fn global_average(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        if !(3..=5).contains(&x.dims.len()) || x.is_empty() || x.grid().is_none() {
            let spatial = (2..x.dims.len()).collect::<Vec<_>>();
            return self.reduce_axes(n, x, y, &spatial, (Fold::Sum, Finish::Mean));
        }
        let (x, _) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place_image(y, &dims);
        self.set(y, out.clone());
        self.push(n, Kind::GlobalAverage, vec![x], vec![out], 0);
        Ok(true)
    }

    pub(super) fn resize(&mut self, n: &Node, r: &Resize) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let x = self.input(n, 0)?;
        let rank = x.dims.len();
        let scales = self.constant(n, 2).and_then(Tensor::to_f64);
        let sizes = self.constant(n, 3).and_then(Tensor::to_i64);
        if scales.is_none() && sizes.is_none() {
            return Ok(false);
        }
        let (out_dims, scale) = resize_geometry(r, &x.dims, scales.as_deref(), sizes.as_deref())?;
        let still = |i: usize| out_dims[i] == x.dims[i] && scale[i] == 1.0;
        if !(3..=5).contains(&rank) || !still(0) || !still(1) {
            return self.picked(n, r, x, y, &scale);
        }
        let samples = |i: usize| match (i + rank).checked_sub(3) {
            // Axis i of three is axis i + rank - 3 of the value, when that is a spatial one.
            Some(k) if k >= 2 => Samples::of(&eval::axis_taps(r, x.dims[k], out_dims[k], scale[k])),
            _ => Samples { width: 1, at: vec![0], weight: vec![1.0] },
        };
        let axes = [0, 1, 2].map(samples);
        let (x, input) = self.channels_last(n, x)?;
        let dims = self.dims(y)?;
        let out = self.place_image(y, &dims);
        self.set(y, out.clone());
        let output = out.grid().ok_or(OUTPUT)?;
        let plan = ResizePlan { input, output, axes, elem: out.elem };
        self.push(n, Kind::Resize(plan), vec![x], vec![out], 0);
        Ok(true)
    }

    /// A resampling that picks elements, along any axes.
    fn picked(&mut self, n: &Node, r: &Resize, x: View, y: ValueId, scale: &[f64]) -> R<bool> {
        let dims = self.dims(y)?;
        let x = self.ascending(n, x);
        let taps: Vec<_> =
            (0..dims.len()).map(|i| eval::axis_taps(r, x.dims[i], dims[i], scale[i])).collect();
        if taps.iter().flatten().any(|t| t.len() != 1 || t[0].1 != 1.0) || x.is_empty() {
            return Ok(false);
        }
        let out = self.place_image(y, &dims);
        if out.elem != x.elem {
            return Ok(false);
        }
        self.set(y, out.clone());
        let from = |i: usize| table(x.strides[i], taps[i].iter().map(|t| Some(t[0].0)));
        let plan = Take::new(&out, (0..dims.len()).map(from).collect(), 0.0);
        self.push(n, Kind::Take(plan), vec![x], vec![out], 0);
        Ok(true)
    }
}
