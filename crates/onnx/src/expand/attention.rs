//! Attention as one operator: ONNX's own (operator set 23) and two of ONNX Runtime.

use super::Expansion;
use crate::attrs::Attrs;
use crate::ops::fields::int;
use crate::refusal::{Read, Refusal};
use ampoule_graph::{DType, Tensor};

/// One of query, key and value as `[batch, heads, tokens, size of a head]`, from `[batch, tokens, heads · size]`.
fn heads(e: &mut Expansion, x: &str, count: i64) -> String {
    let shape = e.list(&[0, 0, count, -1]);
    let v = e.op("Reshape", &[x, &shape], vec![]);
    e.transpose(&v, &[0, 2, 1, 3])
}

/// Back from heads to `[batch, tokens, heads · size]`, as the output `y`.
fn joined(e: &mut Expansion, x: &str, y: &str) {
    let v = e.transpose(x, &[0, 2, 1, 3]);
    let shape = e.list(&[0, 0, -1]);
    e.into("Reshape", &[v, shape], vec![], y);
}

/// The factor of the products: as given, or one over the root of the size of a head.
fn factor(e: &mut Expansion, query: &str, scale: f32) -> String {
    let dtype = e.dtype(query).filter(|t| t.is_float()).unwrap_or(DType::F32);
    if scale != 0.0 {
        return match Tensor::from_f64(dtype, &[], &[scale as f64]) {
            Some(t) => e.constant(t),
            None => e.number(scale),
        };
    }
    let size = e.op("Shape", &[query], vec![int("start", 3), int("end", 4)]);
    let size = e.cast(&size, dtype);
    let root = e.op("Sqrt", &[size], vec![]);
    e.op("Reciprocal", &[root], vec![])
}

/// `softmax(q·kᵀ·factor + bias)·v` of operands with heads.
fn attend(e: &mut Expansion, [q, k, v]: [&str; 3], scale: f32, bias: &str) -> String {
    let by = factor(e, q, scale);
    let turned = e.transpose(k, &[0, 1, 3, 2]);
    let products = e.op("MatMul", &[q, &turned], vec![]);
    let products = e.op("Mul", &[products, by], vec![]);
    let products = e.plus(products, bias);
    let weights = e.op("Softmax", &[products], vec![int("axis", -1)]);
    e.op("MatMul", &[weights.as_str(), v], vec![])
}

/// `com.microsoft::Attention`: one product makes query, key and value.
pub(super) fn packed(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (count, scale) = (a.int("num_heads", 0)?, a.float("scale", 0.0)?);
    let parts = a.ints("qkv_hidden_sizes")?;
    if a.flag("unidirectional", false)? || a.flag("do_rotary", false)? {
        return Err(Refusal::Value { name: "unidirectional or do_rotary", value: "1".into() });
    }
    a.float("mask_filter_value", 0.0)?;
    a.flag("past_present_share_buffer", false)?;
    a.finish()?;
    if count < 1 {
        return Err(Refusal::NotPositive { name: "num_heads" });
    }
    if e.has(3) || e.has(4) || e.has(6) {
        return Err(Refusal::ExtraInputs { names: "mask_index and past" });
    }
    e.no_outputs_from(1)?;
    let (x, w, b, bias, y) = (e.needed(0)?, e.needed(1)?, e.input(2), e.input(5), e.output(0));
    let all = e.op("MatMul", &[x, w], vec![]);
    let all = e.plus(all, &b);
    let pieces = [0, 1, 2].map(|_| {
        let id = e.draft.extra(&format!("{y}/part"));
        e.draft.graph.value(id).name.clone()
    });
    e.into("Split", &[all], vec![int("axis", -1)], &pieces[0]);
    let split = e.nodes.len() - 1;
    if let Some(sizes) = parts {
        let sizes = e.list(&sizes);
        e.nodes[split].input.push(sizes);
    } else {
        e.nodes[split].attribute.push(int("num_outputs", 3));
    }
    e.nodes[split].output = pieces.to_vec();
    let [q, k, v] = pieces.map(|p| heads(e, &p, count));
    let out = attend(e, [&q, &k, &v], scale, &bias);
    joined(e, &out, &y);
    Ok(())
}

/// `com.microsoft::MultiHeadAttention` of separate query, key and value of three axes.
pub(super) fn multi_head(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (count, scale) = (a.int("num_heads", 0)?, a.float("scale", 0.0)?);
    if a.flag("unidirectional", false)? {
        return Err(Refusal::Value { name: "unidirectional", value: "1".into() });
    }
    a.float("mask_filter_value", 0.0)?;
    a.finish()?;
    if count < 1 {
        return Err(Refusal::NotPositive { name: "num_heads" });
    }
    if e.has(4) || (6..e.node.input.len()).any(|i| e.has(i)) {
        return Err(Refusal::ExtraInputs { names: "key_padding_mask and past" });
    }
    e.no_outputs_from(1)?;
    let parts = [e.needed(0)?, e.needed(1)?, e.needed(2)?];
    let (bias, given, y) = (e.input(5), e.input(3), e.output(0));
    let biases = match given.is_empty() {
        true => [String::new(), String::new(), String::new()],
        false => thirds(e, &given)?,
    };
    let mut with_heads = Vec::new();
    for (x, b) in parts.into_iter().zip(biases) {
        let x = e.plus(x, &b);
        with_heads.push(heads(e, &x, count));
    }
    let out = attend(e, [&with_heads[0], &with_heads[1], &with_heads[2]], scale, &bias);
    joined(e, &out, &y);
    Ok(())
}

/// A constant vector in three equal parts.
fn thirds(e: &mut Expansion, name: &str) -> Read<[String; 3]> {
    let values = e.tensor(name).and_then(Tensor::to_f32);
    let values = values.filter(|v| v.len().is_multiple_of(3)).ok_or(Refusal::NotConstant { name: "bias" })?;
    let n = values.len() / 3;
    Ok([0, 1, 2].map(|i| e.constant(Tensor::f32(&[n], &values[i * n..(i + 1) * n]))))
}

/// ONNX's `Attention`, with operands of three or four axes, and a mask of floats or booleans.
pub(super) fn standard(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (scale, causal, softcap) =
        (a.float("scale", 0.0)?, a.flag("is_causal", false)?, a.float("softcap", 0.0)?);
    let counts = [a.int("q_num_heads", 0)?, a.int("kv_num_heads", 0)?];
    a.int("qk_matmul_output_mode", 0)?;
    a.int("softmax_precision", 1)?;
    a.finish()?;
    if causal || softcap != 0.0 {
        return Err(Refusal::Value { name: "is_causal or softcap", value: "other than 0".into() });
    }
    if (4..e.node.input.len()).any(|i| e.has(i)) {
        return Err(Refusal::ExtraInputs { names: "past_key and past_value" });
    }
    e.no_outputs_from(1)?;
    let parts = [e.needed(0)?, e.needed(1)?, e.needed(2)?];
    let (mask, y) = (e.input(3), e.output(0));
    let flat = counts[0] > 0;
    if counts[0] != counts[1] {
        return Err(Refusal::Value { name: "kv_num_heads", value: counts[1].to_string() });
    }
    let same = |i: usize| e.shape(&parts[i]).and_then(|s| s.get(1).cloned());
    if !flat && (same(0).is_none() || same(0) != same(1)) {
        return Err(Refusal::Value { name: "the number of heads", value: "of query and key".into() });
    }
    let bias = match (mask.is_empty(), e.dtype(&mask)) {
        (true, _) => String::new(),
        (_, Some(DType::F32)) => mask,
        (_, Some(DType::Bool)) => {
            let (kept, gone) = (e.number(0.0), e.number(f32::MIN));
            e.op("Where", &[mask, kept, gone], vec![])
        }
        _ => return Err(Refusal::Value { name: "the type of the mask", value: "that is given".into() }),
    };
    let [q, k, v] = match flat {
        true => parts.map(|p| heads(e, &p, counts[0])),
        false => parts,
    };
    let out = attend(e, [&q, &k, &v], scale, &bias);
    match flat {
        true => joined(e, &out, &y),
        false => e.into("Identity", &[out], vec![], &y),
    }
    Ok(())
}
