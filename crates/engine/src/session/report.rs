//! What a session says of its steps.

use crate::step::{Indexed, Kind, Scan, Step};
use ampoule_kernels::Elem;
use ampoule_kernels::eltwise::Unary;
use std::time::Duration;

/// One step, for reports.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// Node it came from.
    pub node: String,
    /// Operator type.
    pub op: String,
    /// What runs: tile names, or the kind of step.
    pub kernel: String,
    /// Output dimensions.
    pub dims: Vec<usize>,
    /// How the output is stored.
    pub stored: Option<Elem>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Time in the most recent run.
    pub time: Duration,
}

impl StepInfo {
    pub(super) fn of(s: &Step, time: Duration) -> Self {
        StepInfo {
            node: s.node.clone(),
            op: s.op.clone(),
            kernel: kernel_name(&s.kind),
            dims: s.writes.first().map(|w| w.dims.clone()).unwrap_or_default(),
            stored: s.writes.first().map(|w| w.elem),
            macs: s.macs,
            time,
        }
    }
}

fn kernel_name(kind: &Kind) -> String {
    match kind {
        Kind::Conv(c) => c.parts.list().first().map_or(String::new(), |p| p.algorithm.name()),
        Kind::Depthwise { plan, .. } if plan.quantized.is_some() => "depthwise u8".into(),
        Kind::Depthwise { .. } => "depthwise".into(),
        Kind::Separable(plan) => plan.name(),
        Kind::Scale(_) => "scale".into(),
        Kind::LayerNorm { centred: true, .. } => "layer_norm".into(),
        Kind::LayerNorm { centred: false, .. } => "rms_norm".into(),
        Kind::Pool(_) => "pool".into(),
        Kind::Norm(n) if n.group.is_none() => "affine".into(),
        Kind::Norm(_) => "instance_norm".into(),
        Kind::GlobalAverage => "global_average".into(),
        Kind::Unary(Unary::Quantize { .. }, _) => "quantize".into(),
        Kind::Unary(Unary::Dequantize { .. }, _) => "dequantize".into(),
        Kind::Unary(..) => "unary".into(),
        Kind::Table(..) => "table".into(),
        Kind::Binary(..) => "binary".into(),
        Kind::Chain(..) => "chain".into(),
        Kind::Copy(_) => "copy".into(),
        Kind::Fill(_) => "fill".into(),
        Kind::Softmax { .. } => "softmax".into(),
        Kind::Resize(_) => "resize".into(),
        Kind::MatMul(m) => m.panels.first().map_or(String::new(), |p| p.name.into()),
        Kind::Attention(_) => "attention".into(),
        Kind::Reduce(_) => "reduce".into(),
        Kind::Map(f, _) => f.name().into(),
        Kind::Take(_) => "take".into(),
        Kind::Scan(Scan::Sum { .. }, _) => "running_sum".into(),
        Kind::Scan(Scan::Extreme { .. }, _) => "extreme".into(),
        Kind::Scan(Scan::Top { .. }, _) => "sort".into(),
        Kind::Scan(Scan::Gather { .. }, _) => "gather".into(),
        Kind::Scan(Scan::Scatter { .. }, _) => "scatter".into(),
        Kind::Indexed(Indexed::Gather { .. } | Indexed::GatherNd { .. }) => "gather".into(),
        Kind::Indexed(Indexed::ScatterNd { .. }) => "scatter".into(),
        Kind::GridSample(_) => "grid_sample".into(),
        Kind::Recurrent(..) => "recurrent".into(),
        Kind::Reference { .. } => "reference".into(),
    }
}
