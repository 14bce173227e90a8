//! Operators on quantized values (`QLinearConv` and its kin, ONNX's and ONNX Runtime's) in QDQ form:
//! dequantizers, the operator on real numbers, a quantizer. The engine fuses them again.

use crate::proto::{AttributeProto, AttributeType, NodeProto};

/// Where a quantized tensor, its scale and its zero point are among the inputs.
type QuantizedInput = [usize; 3];

/// Names of values and nodes that the file does not have.
pub(super) type Fresh<'a> = dyn FnMut(&str) -> String + 'a;

/// The nodes that `n` stands for, or `None` if it is no such operator or has a form that is not known.
pub(super) fn expand(n: &NodeProto, fresh: &mut Fresh) -> Option<Vec<NodeProto>> {
    let runtime = n.domain == "com.microsoft";
    let own = matches!(n.domain.as_str(), "" | "ai.onnx");
    let last_three = |count: usize| [count, count + 1];
    // The operator on real numbers, its quantized inputs, and scale and zero point of its output.
    let (op, inputs, output): (&str, Vec<QuantizedInput>, [usize; 2]) = match n.op_type.as_str() {
        "QLinearConv" if own || runtime => ("Conv", vec![[0, 1, 2], [3, 4, 5]], last_three(6)),
        "QLinearMatMul" if own => ("MatMul", vec![[0, 1, 2], [3, 4, 5]], last_three(6)),
        "QLinearAdd" if runtime => ("Add", vec![[0, 1, 2], [3, 4, 5]], last_three(6)),
        "QLinearMul" if runtime => ("Mul", vec![[0, 1, 2], [3, 4, 5]], last_three(6)),
        "QGemm" if runtime => ("Gemm", vec![[0, 1, 2], [3, 4, 5]], last_three(7)),
        "QLinearConcat" if runtime => {
            let parts = n.input.len().checked_sub(2)? / 3;
            ("Concat", (0..parts).map(|i| [2 + 3 * i, 3 + 3 * i, 4 + 3 * i]).collect(), [0, 1])
        }
        "QLinearGlobalAveragePool" if runtime => ("GlobalAveragePool", vec![[0, 1, 2]], last_three(3)),
        "QLinearAveragePool" if runtime => ("AveragePool", vec![[0, 1, 2]], last_three(3)),
        "QLinearSigmoid" if runtime => ("Sigmoid", vec![[0, 1, 2]], last_three(3)),
        "QLinearLeakyRelu" if runtime => ("LeakyRelu", vec![[0, 1, 2]], last_three(3)),
        "QLinearSoftmax" if runtime => ("Softmax", vec![[0, 1, 2]], last_three(3)),
        _ => return None,
    };
    let attribute = |name: &str| n.attribute.iter().find(|a| a.name == name);
    if attribute("channels_last").is_some_and(|a| a.i != 0) {
        return None;
    }
    let input = |i: usize| n.input.get(i).cloned().unwrap_or_default();
    let out = n.output.first()?.clone();
    let mut list = Vec::new();
    let mut values = Vec::new();
    for (k, quantized) in inputs.iter().enumerate() {
        let value = fresh(&format!("{out}/input{k}"));
        // Weights may have a scale for each output channel.
        let transposed = attribute("transB").is_some_and(|a| a.i != 0);
        let axis = match (op, k) {
            ("Conv", 1) => 0,
            ("Gemm", 1) => 1 - transposed as i64,
            _ => 1,
        };
        list.push(node("DequantizeLinear", quantized.map(input).to_vec(), &value, vec![int("axis", axis)]));
        values.push(value);
    }
    // The bias has the scale of the products, and no zero point.
    let bias = match op {
        "Conv" => input(8),
        "Gemm" => input(6),
        _ => String::new(),
    };
    if !bias.is_empty() {
        let (scale, value) = (fresh(&format!("{out}/bias_scale")), fresh(&format!("{out}/bias")));
        list.push(node("Mul", vec![input(1), input(4)], &scale, vec![]));
        list.push(node("DequantizeLinear", vec![bias, scale], &value, vec![int("axis", 0)]));
        values.push(value);
    }
    let kept =
        n.attribute.iter().filter(|a| !matches!(a.name.as_str(), "channels_last" | "opset" | "channels"));
    let attributes = kept.cloned().collect();
    let [scale, zero] = output.map(input);
    if scale.is_empty() {
        list.push(node(op, values, &out, attributes));
    } else {
        let value = fresh(&format!("{out}/output"));
        list.push(node(op, values, &value, attributes));
        list.push(node("QuantizeLinear", vec![value, scale, zero], &out, vec![]));
    }
    Some(list)
}

fn node(op: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: output.into(),
        op_type: op.into(),
        input,
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: AttributeType::Int as i32, ..AttributeProto::default() }
}
