//! The graph with quantizers, as standard ONNX: `QuantizeLinear` and `DequantizeLinear` around what is
//! computed in INT8, and weights as signed INT8 with a scale per output channel.

use super::placement::{Plan, Preset};
use super::range::{Ranges, Symmetry, TensorRange};
use crate::layer::weight_axes;
use crate::sums::{nearest_int8, sum_of};
use crate::{Error, Result};
use ampoule_graph::{DType, Graph, Node, Op, Tensor, ValueId};
use std::collections::BTreeMap;

/// Error of the better range that an asymmetric one must stay below to be taken: zero points cost a
/// little work.
const WORTH: f64 = 0.9;

/// `g`, on which `plan` was made after the graph passes, with the quantizers of `plan` and these ranges.
pub fn quantize(g: &Graph, plan: &Plan, ranges: &Ranges, preset: Preset) -> Result<Graph> {
    if plan.layers.is_empty() {
        return Err(Error::NothingToQuantize);
    }
    let mut out = g.clone();
    out.opset = out.opset.max(18);
    let mut dequantized = vec![None; g.values.len()];
    let mut input_scale = vec![None; g.values.len()];
    for group in &plan.groups {
        let name = g.value(group.values[0]).name.clone();
        let (scale, zero) = match parameters(g, &name, &group.values, ranges, preset) {
            Ok(found) => found,
            // A residual that calibration did not watch, because another one was to be kept, stays.
            Err(Error::Unseen { .. }) if !plan.feeds(g, group) => continue,
            Err(e) => return Err(e),
        };
        group.values.iter().for_each(|v| input_scale[v.0] = Some(scale));
        let scale = out.constant(&format!("{name}/scale"), Tensor::f32(&[], &[scale]));
        let zero = Tensor::from_i64(DType::U8, &[], &[zero as i64])
            .ok_or_else(|| Error::Overflow { tensor: name.clone() })?;
        let zero = out.constant(&format!("{name}/zero_point"), zero);
        for v in &group.values {
            let name = &g.value(*v).name;
            let quantized = out.fresh(&format!("{name}/quantized"));
            let values = out.fresh(&format!("{name}/values"));
            let node = |op, x, y: ValueId, out: &Graph| Node {
                name: out.value(y).name.clone(),
                op,
                inputs: vec![Some(x), Some(scale), Some(zero)],
                outputs: vec![Some(y)],
            };
            let q = node(Op::Quantize { axis: 1, to: DType::U8 }, *v, quantized, &out);
            let d = node(Op::Dequantize { axis: 1 }, quantized, values, &out);
            out.nodes.extend([q, d]);
            dequantized[v.0] = Some(values);
        }
    }
    for (i, n) in out.nodes[..g.nodes.len()].iter_mut().enumerate() {
        for x in n.inputs.iter_mut().flatten() {
            let float = plan.floats.get(x).is_some_and(|r| r.contains(&i));
            if let (Some(values), false) = (dequantized[x.0], float) {
                *x = values;
            }
        }
    }
    let least = least_scales(g, plan, &input_scale);
    let mut done: BTreeMap<(ValueId, usize), ValueId> = Default::default();
    for &i in &plan.layers {
        let Some(w) = g.nodes[i].input(1) else { continue };
        let [axis, _] = weight_axes(&g.nodes[i].op);
        let values = match done.get(&(w, axis)) {
            Some(v) => *v,
            None => {
                let v = weights(&mut out, w, axis, least.get(&(w, axis)).map_or(&[], Vec::as_slice))?;
                done.insert((w, axis), v);
                v
            }
        };
        out.nodes[i].inputs[1] = Some(values);
    }
    out.sort()?;
    let uses = out.uses();
    out.constants.retain(|id, _| uses[id.0] > 0);
    out.check()?;
    Ok(out)
}

/// Scale and zero point of tensors that share them, the first of which is `first`.
fn parameters(
    g: &Graph,
    first: &str,
    values: &[ValueId],
    ranges: &Ranges,
    preset: Preset,
) -> Result<(f32, u8)> {
    let mut joined: Option<TensorRange> = None;
    for v in values {
        let name = &g.value(*v).name;
        let own = ranges.get(name).ok_or_else(|| Error::Unseen { tensor: name.clone() })?;
        joined = Some(match joined {
            None => *own,
            Some(all) => TensorRange {
                symmetric: (all.symmetric.0.join(own.symmetric.0), all.symmetric.1 + own.symmetric.1),
                asymmetric: (all.asymmetric.0.join(own.asymmetric.0), all.asymmetric.1 + own.asymmetric.1),
            },
        });
    }
    let r = joined.ok_or_else(|| Error::Unseen { tensor: first.to_owned() })?;
    let better = preset == Preset::Mixed || r.asymmetric.1 < WORTH * r.symmetric.1;
    Ok(match better {
        true => r.asymmetric.0.parameters(Symmetry::Asymmetric),
        false => r.symmetric.0.parameters(Symmetry::Symmetric),
    })
}

/// Largest bias in units of the products' scale: other engines hold biases as 32-bit integers, and add sums of products.
const LARGEST_BIAS: f32 = (1u32 << 30) as f32;

/// For weights of layers in INT8 the least scale of each channel with which its bias is such an integer.
fn least_scales(g: &Graph, plan: &Plan, input_scale: &[Option<f32>]) -> BTreeMap<(ValueId, usize), Vec<f32>> {
    let mut all: BTreeMap<(ValueId, usize), Vec<f32>> = BTreeMap::new();
    for &i in &plan.layers {
        let n = &g.nodes[i];
        let [axis, _] = weight_axes(&n.op);
        let bias = n.input(2).and_then(|b| g.constants.get(&b)).and_then(Tensor::to_f32);
        let scale = n.input(0).and_then(|x| input_scale[x.0]);
        let channels = n.input(1).and_then(|w| Some((w, *g.constants.get(&w)?.dims().get(axis)?)));
        let (Some(bias), Some(scale), Some((w, channels))) = (bias, scale, channels) else { continue };
        let own = all.entry((w, axis)).or_insert_with(|| vec![0.0; channels]);
        for (k, b) in bias.iter().enumerate() {
            let least = &mut own[k % channels];
            *least = least.max(b.abs() / (scale * LARGEST_BIAS));
        }
    }
    all
}

/// Puts quantized values and a dequantizer in the place of constant weights, and returns the values. Scales are at
/// least `least`, where that is given.
fn weights(g: &mut Graph, w: ValueId, axis: usize, least: &[f32]) -> Result<ValueId> {
    let name = g.value(w).name.clone();
    let values = g.constants.get(&w).and_then(|t| Some((t.dims().to_vec(), t.to_f32()?)));
    let (dims, values) = values.ok_or_else(|| Error::not_numeric(g, w))?;
    let (mut quantized, mut scales) = quantized_weights(&values, &dims, axis);
    let inner: usize = dims[axis + 1..].iter().product();
    for (c, (scale, least)) in scales.iter_mut().zip(least).enumerate() {
        if *scale >= *least {
            continue;
        }
        *scale = *least;
        for i in (0..values.len()).filter(|i| i / inner % dims[axis] == c) {
            quantized[i] = nearest_int8(values[i] / *scale) as i64;
        }
    }
    let overflow = || Error::Overflow { tensor: name.clone() };
    let tensor = Tensor::from_i64(DType::I8, &dims, &quantized).ok_or_else(overflow)?;
    let quantized = g.constant(&format!("{name}/quantized"), tensor);
    let scale = g.constant(&format!("{name}/scale"), Tensor::f32(&[scales.len()], &scales));
    let zeros = Tensor::from_i64(DType::I8, &[scales.len()], &vec![0; scales.len()]).ok_or_else(overflow)?;
    let zero = g.constant(&format!("{name}/zero_point"), zeros);
    let y = g.fresh(&format!("{name}/values"));
    g.nodes.push(Node {
        name: g.value(y).name.clone(),
        op: Op::Dequantize { axis: axis as i64 },
        inputs: vec![Some(quantized), Some(scale), Some(zero)],
        outputs: vec![Some(y)],
    });
    Ok(y)
}

/// Signed quantized weights from -127 to 127 and the scale of each channel along `axis`: of all scales up to that
/// of the largest magnitude, the one with the least squared error.
pub(crate) fn quantized_weights(values: &[f32], dims: &[usize], axis: usize) -> (Vec<i64>, Vec<f32>) {
    const TRIES: usize = 24;
    let inner: usize = dims[axis + 1..].iter().product();
    let channel = |i: usize| i / inner % dims[axis];
    let mut own: Vec<Vec<f32>> = vec![Vec::new(); dims[axis]];
    values.iter().enumerate().for_each(|(i, v)| own[channel(i)].push(*v));
    let scales: Vec<f32> = own
        .iter()
        .map(|v| {
            let most = v.iter().fold(0f32, |m, x| m.max(x.abs()));
            if most == 0.0 || !most.is_finite() {
                return 1.0;
            }
            let error = |scale: f32| -> f64 {
                sum_of(v, v, |x, _| {
                    let e = (nearest_int8(x / scale) * scale - x) as f64;
                    e * e
                })
            };
            let tries = (0..TRIES).map(|i| most / 127.0 * (1.0 - 0.02 * i as f32));
            let best = tries.map(|s| (error(s), s)).min_by(|a, b| a.0.total_cmp(&b.0));
            best.map_or(most / 127.0, |b| b.1)
        })
        .collect();
    let quantize = |i: usize| nearest_int8(values[i] / scales[channel(i)]) as i64;
    ((0..values.len()).map(quantize).collect(), scales)
}
