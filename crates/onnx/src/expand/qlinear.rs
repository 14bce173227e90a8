//! Operators on quantized values (`QLinearConv` and its kin, ONNX's and ONNX Runtime's) in QDQ form:
//! dequantizers, the operator on real numbers, a quantizer. The engine fuses them again.

use super::{Expansion, contrib};
use crate::ops::fields::{int, ints};
use crate::proto::{AttributeProto, NodeProto};
use crate::refusal::{Read, Refusal};

/// Where a quantized tensor, its scale and its zero point are among the inputs.
type QuantizedInput = [usize; 3];

/// The operator on real numbers, its quantized inputs, and where scale and zero point of its output are.
type Form = (&'static str, Vec<QuantizedInput>, [usize; 2]);

fn form(n: &NodeProto) -> Option<Form> {
    let runtime = n.domain == "com.microsoft";
    let own = matches!(n.domain.as_str(), "" | "ai.onnx");
    let one = |op| Some((op, vec![[0, 1, 2]], [3, 4]));
    let two = |op| Some((op, vec![[0, 1, 2], [3, 4, 5]], [6, 7]));
    match n.op_type.as_str() {
        "QLinearConv" if own || runtime => two("Conv"),
        "QLinearMatMul" if own => two("MatMul"),
        "QLinearAdd" if runtime => two("Add"),
        "QLinearMul" if runtime => two("Mul"),
        "QGemm" if runtime => Some(("Gemm", vec![[0, 1, 2], [3, 4, 5]], [7, 8])),
        "QLinearConcat" if runtime => {
            let parts = n.input.len().checked_sub(2)? / 3;
            Some(("Concat", (0..parts).map(|i| [2 + 3 * i, 3 + 3 * i, 4 + 3 * i]).collect(), [0, 1]))
        }
        "QLinearWhere" if runtime => Some(("Where", vec![[1, 2, 3], [4, 5, 6]], [7, 8])),
        "QLinearGlobalAveragePool" if runtime => one("GlobalAveragePool"),
        "QLinearAveragePool" if runtime => one("AveragePool"),
        "QLinearSigmoid" if runtime => one("Sigmoid"),
        "QLinearLeakyRelu" if runtime => one("LeakyRelu"),
        "QLinearSoftmax" if runtime => one("Softmax"),
        _ => None,
    }
}

/// Whether `n` is an operator on quantized values.
pub(super) fn applies(n: &NodeProto) -> bool {
    form(n).is_some()
}

/// The operator in QDQ form.
pub(super) fn expand(e: &mut Expansion) -> Read<()> {
    let n = e.node;
    let (op, inputs, [scale, zero]) = form(n).ok_or(Refusal::NotKnown)?;
    let attribute = |name: &str| n.attribute.iter().find(|a| a.name == name);
    let set = |name: &str| attribute(name).is_some_and(|a| a.i != 0);
    if op == "Softmax" && attribute("opset").is_some_and(|a| a.i < 13) {
        return Err(Refusal::Value { name: "opset", value: "below 13".into() });
    }
    let mut values = Vec::new();
    if op == "Where" {
        values.push(e.needed(0)?);
    }
    for (k, quantized) in inputs.iter().enumerate() {
        // Weights may have a scale for each output channel.
        let axis = match (op, k) {
            ("Conv", 1) => 0,
            ("Gemm", 1) => 1 - set("transB") as i64,
            _ => 1,
        };
        let list = quantized.map(|i| e.input(i));
        values.push(e.op("DequantizeLinear", &list, vec![int("axis", axis)]));
    }
    // The bias has the scale of the products, and no zero point.
    let bias = match op {
        "Conv" => e.input(8),
        "Gemm" => e.input(6),
        _ => String::new(),
    };
    if !bias.is_empty() {
        let scales = [e.input(1), e.input(4)];
        let scale = e.op("Mul", &scales, vec![]);
        values.push(e.op("DequantizeLinear", &[bias, scale], vec![int("axis", 0)]));
    }
    let kept: Vec<AttributeProto> = n
        .attribute
        .iter()
        .filter(|a| !matches!(a.name.as_str(), "channels_last" | "opset" | "channels"))
        .cloned()
        .collect();
    let turn = set("channels_last").then(|| contrib::orders(e.shape(&n.input[0]).map_or(4, Vec::len)));
    if let Some([_, first]) = &turn {
        values[0] = e.transpose(&values[0].clone(), first);
    }
    let (scale, zero, y) = (e.input(scale), e.input(zero), e.output(0));
    let mut steps = vec![(op, values, kept)];
    if let Some([last, _]) = turn {
        steps.push(("Transpose", Vec::new(), vec![ints("perm", last)]));
    }
    if !scale.is_empty() {
        steps.push(("QuantizeLinear", vec![scale, zero], vec![]));
    }
    chain(e, steps, &y);
    Ok(())
}

/// Operators one after the other, each with what the one before computed as its first input; the last one computes `y`.
fn chain(e: &mut Expansion, steps: Vec<(&str, Vec<String>, Vec<AttributeProto>)>, y: &str) {
    let last = steps.len() - 1;
    let mut before: Option<String> = None;
    for (i, (op, inputs, attributes)) in steps.into_iter().enumerate() {
        let inputs: Vec<String> = before.take().into_iter().chain(inputs).collect();
        match i == last {
            true => e.into(op, &inputs, attributes, y),
            false => before = Some(e.op(op, &inputs, attributes)),
        }
    }
}
