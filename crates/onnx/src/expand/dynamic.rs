//! Quantization while a network runs, products of integers, and scales for blocks of an axis, in real numbers. Sums of
//! products of bytes are exact in float32 up to 2^24 and rounded beyond.

use super::{Expansion, Rule};
use crate::attrs::Attrs;
use crate::ops::fields::int;
use crate::proto::{AttributeProto, NodeProto};
use crate::refusal::{Read, Refusal};
use ampoule_graph::{DType, Tensor};

/// Rules for operators of the standard.
pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "DynamicQuantizeLinear" => dynamic_quantize,
        "ConvInteger" => |e| integer_product(e, "Conv"),
        "MatMulInteger" => |e| integer_product(e, "MatMul"),
        _ => return None,
    })
}

/// Rules for operators of ONNX Runtime.
pub(super) fn runtime_rule(name: &str) -> Option<Rule> {
    Some(match name {
        "DynamicQuantizeMatMul" => dynamic_matmul,
        "MatMulIntegerToFloat" => integer_to_float,
        _ => return None,
    })
}

/// Names of the scale and the zero point (as floats) of all values of `x`, and of the quantized values as floats.
fn quantized(e: &mut Expansion, x: &str) -> [String; 3] {
    let (none, most, one) = (e.number(0.0), e.number(255.0), e.number(1.0));
    let whole = vec![int("keepdims", 0)];
    let low = e.op("ReduceMin", &[x], whole.clone());
    let low = e.op("Min", &[&low, &none], vec![]);
    let high = e.op("ReduceMax", &[x], whole);
    let high = e.op("Max", &[&high, &none], vec![]);
    let range = e.op("Sub", &[&high, &low], vec![]);
    let scale = e.op("Div", &[&range, &most], vec![]);
    // Where all values are 0.
    let empty = e.op("Equal", &[&scale, &none], vec![]);
    let scale = e.op("Where", &[&empty, &one, &scale], vec![]);
    let zero = e.op("Neg", &[low], vec![]);
    let zero = e.op("Div", &[&zero, &scale], vec![]);
    let zero = e.op("Clip", &[&zero, &none, &most], vec![]);
    let zero = e.op("Round", &[zero], vec![]);
    let v = e.op("Div", &[x, &scale], vec![]);
    let v = e.op("Round", &[v], vec![]);
    let v = e.op("Add", &[&v, &zero], vec![]);
    let v = e.op("Clip", &[&v, &none, &most], vec![]);
    [scale, zero, v]
}

fn dynamic_quantize(e: &mut Expansion) -> Read<()> {
    Attrs::new(e.node).finish()?;
    let x = e.needed(0)?;
    let [scale, zero, v] = quantized(e, &x);
    let to_byte = || vec![int("to", DType::U8.code() as i64)];
    let [y, y_scale, y_zero] = [0, 1, 2].map(|i| e.output(i));
    if !y.is_empty() {
        e.into("Cast", &[v], to_byte(), &y);
    }
    if !y_scale.is_empty() {
        e.into("Identity", &[scale], vec![], &y_scale);
    }
    if !y_zero.is_empty() {
        e.into("Cast", &[zero], to_byte(), &y_zero);
    }
    Ok(())
}

/// `x - zero` as float32; zero points of more than one value lie along `axis`. Those whose shape the file does not say
/// are computed for the whole tensor.
fn centred(e: &mut Expansion, x: &str, zero: &str, axis: usize) -> Read<String> {
    let v = e.cast(x, DType::F32);
    if zero.is_empty() {
        return Ok(v);
    }
    let rank = e.shape(x).map(Vec::len);
    let several = e.shape(zero).is_some_and(|s| s.len() == 1 && s[0].known() != Some(1));
    let mut z = e.cast(zero, DType::F32);
    if several {
        let rank = rank.filter(|r| axis < *r).ok_or(Refusal::NotConstant { name: "the rank" })?;
        let ones: Vec<i64> = (axis as i64 + 1..rank as i64).map(|i| i - axis as i64).collect();
        if !ones.is_empty() {
            let axes = e.list(&ones);
            z = e.op("Unsqueeze", &[z, axes], vec![]);
        }
    }
    Ok(e.op("Sub", &[v, z], vec![]))
}

/// Axis of the output rows of a matrix product's first operand: zero points of rows are rare, and those of tensors
/// that are computed are single.
const ROWS: usize = 0;

fn integer_product(e: &mut Expansion, op: &str) -> Read<()> {
    let attributes: Vec<AttributeProto> = e.node.attribute.clone();
    let (x, w, zx, zw, y) = (e.needed(0)?, e.needed(1)?, e.input(2), e.input(3), e.output(0));
    let columns = e.shape(&w).map_or(1, |s| s.len().saturating_sub(1));
    let x = centred(e, &x, &zx, ROWS)?;
    let w = centred(e, &w, &zw, if op == "Conv" { 0 } else { columns })?;
    let v = e.op(op, &[x, w], attributes);
    // Whole numbers, which rounding may have left a little beside.
    let v = e.op("Round", &[v], vec![]);
    e.into("Cast", &[v], vec![int("to", DType::I32.code() as i64)], &y);
    Ok(())
}

fn dynamic_matmul(e: &mut Expansion) -> Read<()> {
    Attrs::new(e.node).finish()?;
    let (x, w, scale, zero) = (e.needed(0)?, e.needed(1)?, e.needed(2)?, e.input(3));
    let (bias, y) = (e.input(4), e.output(0));
    let [x_scale, x_zero, v] = quantized(e, &x);
    let v = e.op("Sub", &[v, x_zero], vec![]);
    let v = e.op("Mul", &[v, x_scale], vec![]);
    let columns = e.shape(&w).map_or(1, |s| s.len().saturating_sub(1));
    let w = centred(e, &w, &zero, columns)?;
    let w = e.op("Mul", &[w, scale], vec![]);
    let v = e.op("MatMul", &[v, w], vec![]);
    let v = e.plus(v, &bias);
    e.into("Identity", &[v], vec![], &y);
    Ok(())
}

fn integer_to_float(e: &mut Expansion) -> Read<()> {
    Attrs::new(e.node).finish()?;
    let (x, w) = (e.needed(0)?, e.needed(1)?);
    let (x_scale, w_scale) = (e.needed(2)?, e.needed(3)?);
    let (zx, zw, bias, y) = (e.input(4), e.input(5), e.input(6), e.output(0));
    let columns = e.shape(&w).map_or(1, |s| s.len().saturating_sub(1));
    let x = centred(e, &x, &zx, ROWS)?;
    let x = e.op("Mul", &[x, x_scale], vec![]);
    let w = centred(e, &w, &zw, columns)?;
    let w = e.op("Mul", &[w, w_scale], vec![]);
    let v = e.op("MatMul", &[x, w], vec![]);
    let v = e.plus(v, &bias);
    e.into("Identity", &[v], vec![], &y);
    Ok(())
}

/// Whether a quantizer or dequantizer has scales for blocks of an axis.
pub(super) fn in_blocks(n: &NodeProto) -> bool {
    n.attribute.iter().any(|a| a.name == "block_size" && a.i != 0)
}

/// A quantizer or dequantizer of blocks, element by element: scales and zero points are constants, repeated to the
/// size of the values.
pub(super) fn blocks(e: &mut Expansion) -> Read<()> {
    let a = Attrs::new(e.node);
    let (axis, size) = (a.int("axis", 1)?, a.int("block_size", 0)?);
    let code = a.int("output_dtype", 0)? as i32;
    a.int("saturate", 1)?;
    a.int("precision", 0)?;
    a.finish()?;
    let refused = Refusal::Blocks { size };
    let (x, y) = (e.needed(0)?, e.output(0));
    let dims: Option<Vec<usize>> = e.shape(&x).and_then(|s| s.iter().map(|d| d.known()).collect());
    let (Some(dims), Ok(size)) = (dims, usize::try_from(size)) else { return Err(refused) };
    let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
    let Some(at) = usize::try_from(axis).ok().filter(|a| *a < dims.len()) else { return Err(refused) };
    let zero_type = e.dtype(&e.input(2));
    let wide = |e: &mut Expansion, i: usize| -> Read<String> {
        let t = e.tensor(&e.input(i)).and_then(|t| repeated(t, &dims, at, size));
        let t = t.ok_or(Refusal::Blocks { size: size as i64 })?;
        Ok(e.constant(t))
    };
    let scale = wide(e, 1)?;
    let zero = e.has(2).then(|| wide(e, 2)).transpose()?;
    if e.node.op_type == "DequantizeLinear" {
        let mut v = e.cast(&x, DType::F32);
        if let Some(z) = zero {
            v = e.op("Sub", &[v, z], vec![]);
        }
        e.into("Mul", &[v, scale], vec![], &y);
        return Ok(());
    }
    let to =
        if code == 0 { zero_type.unwrap_or(DType::U8) } else { DType::from_code(code).unwrap_or(DType::Str) };
    let Some((low, high)) = to.range() else {
        return Err(Refusal::DType { action: "quantization to", dtype: to });
    };
    let v = e.op("Div", &[x, scale], vec![]);
    let mut v = e.op("Round", &[v], vec![]);
    if let Some(z) = zero {
        v = e.op("Add", &[v, z], vec![]);
    }
    let (low, high) = (e.number(low as f32), e.number(high as f32));
    let v = e.op("Clip", &[v, low, high], vec![]);
    e.into("Cast", &[v], vec![int("to", to.code() as i64)], &y);
    Ok(())
}

/// Most elements of scales that are written out for blocks.
const MOST: usize = 1 << 28;

/// `t`, whose axis `axis` has an entry for each `size` of `dims`, with one for each.
fn repeated(t: &Tensor, dims: &[usize], axis: usize, size: usize) -> Option<Tensor> {
    let own = t.dims();
    let fits = own.len() == dims.len()
        && (0..dims.len()).all(|i| own[i] == if i == axis { dims[i].div_ceil(size) } else { dims[i] });
    let n = ampoule_graph::element_count(dims).filter(|n| *n <= MOST && fits)?;
    let values = t.to_f32()?;
    let inner: usize = dims[axis + 1..].iter().product();
    let place = |i: usize| {
        let (outer, along, rest) = (i / (inner * dims[axis]), i / inner % dims[axis], i % inner);
        (outer * own[axis] + along / size) * inner + rest
    };
    Some(Tensor::f32(dims, &(0..n).map(|i| values[place(i)]).collect::<Vec<_>>()))
}
