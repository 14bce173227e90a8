//! Functions of the standard that are made of others: normalisations over other axes, and attention.

use super::{Expansion, Rule, attention, contrib, dynamic};
use crate::attrs::Attrs;
use crate::ops::fields::{float, int, ints};
use crate::proto::NodeProto;
use crate::refusal::{Read, Refusal};

/// How the node `n` of operator set `opset` is taken apart.
pub(super) fn rule(n: &NodeProto, opset: i64) -> Option<Rule> {
    Some(match n.op_type.as_str() {
        "Attention" => attention::standard,
        "RMSNormalization" => rms,
        // ONNX Runtime writes it into the default domain.
        "SimplifiedLayerNormalization" => contrib::rms_norm,
        "GroupNormalization" if opset < 21 => old_group_norm,
        "MeanVarianceNormalization" => mean_variance,
        "BatchNormalization" if n.attribute.iter().any(|a| a.name == "training_mode" && a.i != 0) => {
            batch_statistics
        }
        "LpNormalization" => lp,
        "LRN" => local_response,
        "DequantizeLinear" | "QuantizeLinear" if dynamic::in_blocks(n) => dynamic::blocks,
        _ => return None,
    })
}

/// ONNX's `RMSNormalization`: from `axis` to the last.
fn rms(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (axis, epsilon) = (a.int("axis", -1)?, a.float("epsilon", 1e-5)?);
    a.int("stash_type", 1)?;
    a.finish()?;
    let (x, scale, y) = (e.needed(0)?, e.needed(1)?, e.output(0));
    let rank = e.shape(&x).map(|s| s.len() as i64);
    let first = if axis < 0 { axis } else { axis - rank.ok_or(Refusal::NotConstant { name: "the rank" })? };
    let axes: Vec<i64> = (first..0).collect();
    let (axes, epsilon) = (e.list(&axes), e.number(epsilon));
    let square = e.op("Mul", &[&x, &x], vec![]);
    let mean = e.op("ReduceMean", &[square, axes], vec![]);
    let mean = e.op("Add", &[mean, epsilon], vec![]);
    let root = e.op("Sqrt", &[mean], vec![]);
    let v = e.op("Div", &[x, root], vec![]);
    e.into("Mul", &[v, scale], vec![], &y);
    Ok(())
}

/// Group normalisation before operator set 21: one scale and one shift for each group.
fn old_group_norm(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (groups, epsilon) = (a.int("num_groups", 0)?, a.float("epsilon", 1e-5)?);
    a.finish()?;
    let (x, scale, shift, y) = (e.needed(0)?, e.needed(1)?, e.needed(2)?, e.output(0));
    let sizes = e.op("Shape", &[&x], vec![]);
    let grouped = e.list(&[0, groups, -1]);
    let v = e.op("Reshape", &[x, grouped], vec![]);
    let v = e.op("InstanceNormalization", &[v, scale, shift], vec![float("epsilon", epsilon)]);
    e.into("Reshape", &[v, sizes], vec![], &y);
    Ok(())
}

/// `BatchNormalization` by the statistics of its input, as exporters write the standardisation of weights, and the
/// running statistics that training goes on with.
fn batch_statistics(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (epsilon, momentum) = (a.float("epsilon", 1e-5)?, a.float("momentum", 0.9)?);
    a.flag("training_mode", false)?;
    a.finish()?;
    let (x, scale, shift, y) = (e.needed(0)?, e.needed(1)?, e.needed(2)?, e.output(0));
    let (sizes, rows) = (e.op("Shape", &[&x], vec![]), e.list(&[0, 0, -1]));
    let (over, channels, epsilon) = (e.list(&[0, 2]), e.list(&[1, -1, 1]), e.number(epsilon));
    let x = e.op("Reshape", &[x, rows], vec![]);
    let mean = e.op("ReduceMean", &[&x, &over], vec![]);
    let centred = e.op("Sub", &[&x, &mean], vec![]);
    let square = e.op("Mul", &[&centred, &centred], vec![]);
    let variance = e.op("ReduceMean", &[square, over], vec![]);
    for (k, now) in [(1, &mean), (2, &variance)] {
        let running = e.output(k);
        if !running.is_empty() {
            let before = e.needed(2 + k)?;
            let (kept, taken, row) = (e.number(momentum), e.number(1.0 - momentum), e.list(&[-1]));
            let now = e.op("Reshape", &[now, &row], vec![]);
            let now = e.op("Mul", &[now, taken], vec![]);
            let before = e.op("Mul", &[before, kept], vec![]);
            e.into("Add", &[before, now], vec![], &running);
        }
    }
    let sum = e.op("Add", &[variance, epsilon], vec![]);
    let root = e.op("Sqrt", &[sum], vec![]);
    let v = e.op("Div", &[centred, root], vec![]);
    let scale = e.op("Reshape", &[&scale, &channels], vec![]);
    let shift = e.op("Reshape", &[&shift, &channels], vec![]);
    let v = e.op("Mul", &[v, scale], vec![]);
    let v = e.op("Add", &[v, shift], vec![]);
    e.into("Reshape", &[v, sizes], vec![], &y);
    e.no_outputs_from(3)
}

/// `MeanVarianceNormalization`: over batch and pixels unless `axes` says otherwise.
fn mean_variance(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let axes = a.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    a.finish()?;
    let (x, y) = (e.needed(0)?, e.output(0));
    let (axes, epsilon) = (e.list(&axes), e.number(1e-9));
    let mean = e.op("ReduceMean", &[&x, &axes], vec![]);
    let centred = e.op("Sub", &[x, mean], vec![]);
    let square = e.op("Mul", &[&centred, &centred], vec![]);
    let variance = e.op("ReduceMean", &[square, axes], vec![]);
    let deviation = e.op("Sqrt", &[variance], vec![]);
    let deviation = e.op("Add", &[deviation, epsilon], vec![]);
    e.into("Div", &[centred, deviation], vec![], &y);
    Ok(())
}

/// `LpNormalization` along one axis.
fn lp(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (axis, p) = (a.int("axis", -1)?, a.int("p", 2)?);
    a.finish()?;
    let op = match p {
        1 => "ReduceL1",
        2 => "ReduceL2",
        other => return Err(Refusal::Value { name: "p", value: other.to_string() }),
    };
    let (x, y) = (e.needed(0)?, e.output(0));
    let axes = e.list(&[axis]);
    let norm = e.op(op, &[&x, &axes], vec![]);
    // A row of zeros stays one.
    let none = e.number(0.0);
    let one = e.number(1.0);
    let empty = e.op("Equal", &[&norm, &none], vec![]);
    let norm = e.op("Where", &[empty, one, norm], vec![]);
    e.into("Div", &[x, norm], vec![], &y);
    Ok(())
}

/// `LRN` of images of two axes: local response normalisation across channels.
fn local_response(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (alpha, beta, bias) = (a.float("alpha", 1e-4)?, a.float("beta", 0.75)?, a.float("bias", 1.0)?);
    let size = a.int("size", 0)?;
    a.finish()?;
    if !(1..1 << 20).contains(&size) {
        return Err(Refusal::NotPositive { name: "size" });
    }
    let (x, y) = (e.needed(0)?, e.output(0));
    let (one, alpha, beta, bias) = (e.list(&[1]), e.number(alpha), e.number(beta), e.number(bias));
    let square = e.op("Mul", &[&x, &x], vec![]);
    // Channels become an axis of an image of three, which a mean over windows slides along.
    let square = e.op("Unsqueeze", &[&square, &one], vec![]);
    let (before, after) = ((size - 1) / 2, size / 2);
    let attributes = vec![
        ints("kernel_shape", [size, 1, 1]),
        ints("pads", [before, 0, 0, after, 0, 0]),
        int("count_include_pad", 1),
    ];
    let mean = e.op("AveragePool", &[square], attributes);
    let mean = e.op("Squeeze", &[mean, one], vec![]);
    let v = e.op("Mul", &[mean, alpha], vec![]);
    let v = e.op("Add", &[v, bias], vec![]);
    let v = e.op("Pow", &[v, beta], vec![]);
    e.into("Div", &[x, v], vec![], &y);
    Ok(())
}
