//! Operators of the domain `com.microsoft` that ONNX Runtime's optimizer writes into files, as its documentation of
//! contrib operators defines them.

use super::{Expansion, Rule, attention};
use crate::attrs::Attrs;
use crate::ops::fields::{float, int, text};
use crate::proto::AttributeProto;
use crate::refusal::{Read, Refusal};
use ampoule_graph::DType;

pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "Gelu" => |e| gelu(e, "none"),
        "BiasGelu" => |e| gelu(e, "none"),
        "FastGelu" => |e| gelu(e, "tanh"),
        "QuickGelu" => quick_gelu,
        "FusedConv" => |e| fused_conv(e, false),
        "NhwcFusedConv" | "NhwcConv" => |e| fused_conv(e, true),
        "NhwcMaxPool" => nhwc_max_pool,
        "FusedGemm" => fused_gemm,
        "FusedMatMul" | "TransposeMatMul" | "FusedMatMulActivation" => fused_matmul,
        "SkipLayerNormalization" => |e| skip_norm(e, true),
        "SkipSimplifiedLayerNormalization" => |e| skip_norm(e, false),
        "SimplifiedLayerNormalization" => rms_norm,
        "BiasAdd" => bias_add,
        "GroupNorm" => group_norm,
        "Attention" => attention::packed,
        "MultiHeadAttention" => attention::multi_head,
        // The same as the standard's, in a domain of their own because they came first or take more types.
        "QuantizeLinear" | "DequantizeLinear" | "GridSample" | "Trilu" => standard,
        _ => return None,
    })
}

/// The node as one of the standard.
fn standard(e: &mut Expansion) -> Read<()> {
    e.nodes.push(crate::proto::NodeProto { domain: String::new(), ..e.node.clone() });
    Ok(())
}

fn gelu(e: &mut Expansion, approximate: &str) -> Read<()> {
    Attrs::new(e.node).finish()?;
    e.no_inputs_from(2)?;
    let (x, bias, y) = (e.needed(0)?, e.input(1), e.output(0));
    let x = e.plus(x, &bias);
    e.into("Gelu", &[x], vec![text("approximate", approximate)], &y);
    Ok(())
}

/// `x · sigmoid(alpha·x)`.
fn quick_gelu(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let alpha = a.float("alpha", 1.702)?;
    a.finish()?;
    let (x, y) = (e.needed(0)?, e.output(0));
    e.into("Swish", &[x], vec![float("alpha", alpha)], &y);
    Ok(())
}

/// Attributes of the node but those that the rule reads itself.
fn attributes_without(e: &Expansion, own: &[&str]) -> Vec<AttributeProto> {
    e.node.attribute.iter().filter(|a| !own.contains(&a.name.as_str())).cloned().collect()
}

/// Applies the function `name` with `params` to `x`, as the output `y`.
fn activate(e: &mut Expansion, x: &str, name: &str, params: &[f32], y: &str) -> Read<()> {
    let at = |i: usize, default: f32| params.get(i).copied().unwrap_or(default);
    match name {
        "" => e.into("Identity", &[x], vec![], y),
        "Relu" | "Sigmoid" | "Tanh" | "HardSwish" | "Softplus" => e.into(name, &[x], vec![], y),
        "LeakyRelu" => e.into(name, &[x], vec![float("alpha", at(0, 0.01))], y),
        "Elu" => e.into(name, &[x], vec![float("alpha", at(0, 1.0))], y),
        "HardSigmoid" => {
            e.into(name, &[x], vec![float("alpha", at(0, 0.2)), float("beta", at(1, 0.5))], y);
        }
        "Clip" => {
            let (low, high) = (e.number(at(0, f32::MIN)), e.number(at(1, f32::MAX)));
            e.into(name, &[x, &low, &high], vec![], y);
        }
        other => return Err(Refusal::Value { name: "activation", value: other.into() }),
    }
    Ok(())
}

/// Order of axes from channels first to channels last, and back.
pub(super) fn orders(rank: usize) -> [Vec<i64>; 2] {
    let last = rank as i64 - 1;
    let to_last = [0].into_iter().chain(2..=last).chain([1]).collect();
    let to_first = [0, last].into_iter().chain(1..last).collect();
    [to_last, to_first]
}

/// `activation(conv(x, w, b) + z)`; with channels last where `last`, in which form weights keep channels first.
fn fused_conv(e: &mut Expansion, last: bool) -> Read<()> {
    let a = Attrs::new(e.node);
    let (name, params) = (a.text("activation", "")?, a.floats("activation_params")?.unwrap_or_default());
    let kept = attributes_without(e, &["activation", "activation_params"]);
    let (x, w, b, z, y) = (e.needed(0)?, e.needed(1)?, e.input(2), e.input(3), e.output(0));
    let turn = last.then(|| orders(e.shape(&w).map_or(4, Vec::len)));
    let x = turn.as_ref().map_or(x.clone(), |[_, first]| e.transpose(&x, first));
    let mut v = e.op("Conv", &[x, w, b], kept);
    if let Some([to_last, _]) = &turn {
        v = e.transpose(&v, to_last);
    }
    let v = e.plus(v, &z);
    activate(e, &v, &name, &params, &y)
}

fn nhwc_max_pool(e: &mut Expansion) -> Read<()> {
    e.no_outputs_from(1)?;
    let rank = Attrs::new(e.node).ints("kernel_shape")?.map_or(2, |k| k.len()) + 2;
    let [to_last, to_first] = orders(rank);
    let (x, y) = (e.needed(0)?, e.output(0));
    let x = e.transpose(&x, &to_first);
    let v = e.op("MaxPool", &[x], e.node.attribute.clone());
    e.into("Transpose", &[v], vec![crate::ops::fields::ints("perm", to_last)], &y);
    Ok(())
}

fn fused_gemm(e: &mut Expansion) -> Read<()> {
    let own = ["activation", "activation_alpha", "activation_beta", "activation_gamma"];
    let a = Attrs::new(e.node);
    let name = a.text(own[0], "")?;
    let params: Vec<f32> = own[1..].iter().map_while(|p| a.opt_float(p).transpose()).collect::<Read<_>>()?;
    let kept = attributes_without(e, &own);
    let (inputs, y) = (e.node.input.clone(), e.output(0));
    let v = e.op("Gemm", &inputs, kept);
    activate(e, &v, &name, &params, &y)
}

/// `alpha · A'·B'`, the last two axes of either turned over where asked for.
fn fused_matmul(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let alpha = a.float("alpha", 1.0)?;
    let turned = [a.flag("transA", false)?, a.flag("transB", false)?];
    if a.flag("transBatchA", false)? || a.flag("transBatchB", false)? {
        return Err(Refusal::Value { name: "transBatchA or transBatchB", value: "1".into() });
    }
    let name = a.text("activation", "")?;
    let params = ["activation_alpha", "activation_beta", "activation_gamma", "activation_axis"];
    let mut numbers = Vec::new();
    for p in &params[..3] {
        numbers.extend(a.opt_float(p)?);
    }
    a.opt_int(params[3])?;
    a.finish()?;
    let (x, w, y) = (e.needed(0)?, e.needed(1)?, e.output(0));
    let mut v = match turned {
        [false, false] => e.op("MatMul", &[x, w], vec![]),
        // The number of axes is not known before shapes are.
        [ta, tb] => {
            let (l, r) = (if ta { "...km" } else { "...mk" }, if tb { "...nk" } else { "...kn" });
            e.op("Einsum", &[x, w], vec![text("equation", &format!("{l},{r}->...mn"))])
        }
    };
    if alpha != 1.0 {
        let by = e.number(alpha);
        v = e.op("Mul", &[v, by], vec![]);
    }
    activate(e, &v, &name, &numbers, &y)
}

/// Normalises the last axis of `x + skip + bias`, with or without subtracting the mean; the sum is an output too.
fn skip_norm(e: &mut Expansion, centred: bool) -> Read<()> {
    let a = Attrs::new(e.node);
    let epsilon = a.float("epsilon", 1e-12)?;
    a.finish()?;
    let (x, skip, scale) = (e.needed(0)?, e.needed(1)?, e.needed(2)?);
    let (shift, bias) = if centred { (e.input(3), e.input(4)) } else { (String::new(), e.input(3)) };
    if !e.output(1).is_empty() || !e.output(2).is_empty() {
        return Err(Refusal::ExtraOutputs { names: "mean and inv_std_var" });
    }
    let (y, sum) = (e.output(0), e.output(3));
    let v = e.plus(x, &skip);
    let mut v = e.plus(v, &bias);
    if !sum.is_empty() {
        e.into("Identity", &[&v], vec![], &sum);
        v = sum;
    }
    match centred {
        true => {
            let attributes = vec![int("axis", -1), float("epsilon", epsilon)];
            let inputs = if shift.is_empty() { vec![v, scale] } else { vec![v, scale, shift] };
            e.into("LayerNormalization", &inputs, attributes, &y);
        }
        false => scaled_by_rms(e, &v, &scale, -1, epsilon, &y),
    }
    Ok(())
}

/// `SimplifiedLayerNormalization`.
pub(super) fn rms_norm(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (axis, epsilon) = (a.int("axis", -1)?, a.float("epsilon", 1e-5)?);
    if a.int("stash_type", 1)? != DType::F32.code() as i64 || axis != -1 {
        return Err(Refusal::Value { name: "axis", value: axis.to_string() });
    }
    a.finish()?;
    e.no_outputs_from(1)?;
    let (x, scale, y) = (e.needed(0)?, e.needed(1)?, e.output(0));
    scaled_by_rms(e, &x, &scale, axis, epsilon, &y);
    Ok(())
}

/// `x / sqrt(mean(x²) + epsilon) · scale` along `axis`.
fn scaled_by_rms(e: &mut Expansion, x: &str, scale: &str, axis: i64, epsilon: f32, y: &str) {
    let (axes, epsilon) = (e.list(&[axis]), e.number(epsilon));
    let square = e.op("Mul", &[x, x], vec![]);
    let mean = e.op("ReduceMean", &[square, axes], vec![]);
    let mean = e.op("Add", &[mean, epsilon], vec![]);
    let root = e.op("Sqrt", &[mean], vec![]);
    let v = e.op("Div", &[x, &root], vec![]);
    e.into("Mul", &[v.as_str(), scale], vec![], y);
}

fn bias_add(e: &mut Expansion) -> Read<()> {
    Attrs::new(e.node).finish()?;
    let (x, bias, skip, y) = (e.needed(0)?, e.needed(1)?, e.input(2), e.output(0));
    let v = e.plus(x, &skip);
    e.into("Add", &[v, bias], vec![], &y);
    Ok(())
}

/// Group normalisation of images of two axes, channels last unless said otherwise, with an optional SiLU.
fn group_norm(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (groups, epsilon) = (a.int("groups", 0)?, a.float("epsilon", 1e-5)?);
    let (silu, last) = (a.int("activation", 0)?, a.flag("channels_last", true)?);
    a.finish()?;
    if !(0..=1).contains(&silu) {
        return Err(Refusal::Value { name: "activation", value: silu.to_string() });
    }
    let (x, scale, shift, y) = (e.needed(0)?, e.needed(1)?, e.needed(2)?, e.output(0));
    let [to_last, to_first] = orders(4);
    let x = if last { e.transpose(&x, &to_first) } else { x };
    let attributes = vec![int("num_groups", groups), float("epsilon", epsilon)];
    let mut v = e.op("GroupNormalization", &[x, scale, shift], attributes);
    if silu == 1 {
        v = e.op("Swish", &[v], vec![]);
    }
    match last {
        true => e.into("Transpose", &[v], vec![crate::ops::fields::ints("perm", to_last)], &y),
        false => e.into("Identity", &[v], vec![], &y),
    }
    Ok(())
}
