//! Requests and answers of `infer`: JSON, with tensors in it or as bytes behind it.

use super::flat::Flat;
use crate::budget::Hold;
use crate::refusal::Refusal;
use crate::tensors::{Answer, Network, datatype, dtype};
use ampoule_graph::{DType, Tensor};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::{Value, json};

/// The only version of every model.
pub(crate) const VERSION: &str = "1";

/// The length of the JSON where bytes follow it.
const HEADER: HeaderName = HeaderName::from_static("inference-header-content-length");

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Flat>,
}

/// An output that is asked for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    pub name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Parameters that mean something here; others are left alone, as the protocol says.
#[derive(Default, Deserialize)]
struct Parameters {
    binary_data: Option<bool>,
    binary_data_size: Option<u64>,
    binary_data_output: Option<bool>,
}

/// What a request asks.
pub(super) struct Asked {
    pub id: String,
    pub inputs: Vec<(String, Tensor)>,
    pub outputs: Vec<Wanted>,
    /// Whether outputs are sent as bytes where nothing else is said.
    pub binary: bool,
}

/// Bytes that a number of an answer in JSON takes.
const IN_JSON: u64 = 64;

/// Longest id that is sent back.
const ID: usize = 256;

/// Reads a request; `header` is the length of its JSON where bytes follow. Numbers in JSON take memory of `hold`.
pub(super) fn parse(body: Bytes, header: Option<usize>, hold: &mut Hold) -> Result<Asked, Refusal> {
    let end = header.unwrap_or(body.len());
    if end > body.len() {
        return Err(Refusal::bad(
            "Inference-Header-Content-Length is no number of bytes that the request has",
        ));
    }
    let text = &body[..end];
    // A number and its comma are two bytes of text, eight as float64, and up to eight as a tensor.
    hold.grow(8 * text.len() as u64)?;
    let given: Given = serde_json::from_slice(text)
        .map_err(|e| Refusal::bad(format!("the request is not what the protocol has: {e}")))?;
    if given.id.len() > ID {
        return Err(Refusal::bad(format!("`id` has more than {ID} bytes")));
    }
    let mut rest = body.slice(end..);
    let mut inputs = Vec::new();
    for input in given.inputs {
        inputs.push((input.name.clone(), tensor(input, &mut rest)?));
    }
    if !rest.is_empty() {
        return Err(Refusal::bad(format!("{} bytes follow that belong to no input", rest.len())));
    }
    let binary = given.parameters.binary_data_output.unwrap_or(false);
    Ok(Asked { id: given.id, inputs, outputs: given.outputs, binary })
}

/// A tensor of the request; its bytes are the next of `rest`, where it has none in JSON.
fn tensor(input: Input, rest: &mut Bytes) -> Result<Tensor, Refusal> {
    let name = &input.name;
    let Some(dtype) = dtype(&input.datatype) else {
        let type_ = &input.datatype;
        return Err(Refusal::bad(format!("the input `{name}` is {type_}, which no model here takes")));
    };
    let dims: Option<Vec<usize>> = input.shape.iter().map(|n| usize::try_from(*n).ok()).collect();
    let count = dims.as_ref().and_then(|d| d.iter().try_fold(1usize, |n, d| n.checked_mul(*d)));
    let (Some(dims), Some(count)) = (dims, count) else {
        return Err(Refusal::bad(format!("the shape of the input `{name}` is too large")));
    };
    let data = match (input.parameters.binary_data_size, input.data) {
        (Some(_), Some(_)) => {
            return Err(Refusal::bad(format!(
                "the input `{name}` has data in JSON and as bytes; one is enough"
            )));
        }
        (None, None) => return Err(Refusal::bad(format!("the input `{name}` has no data"))),
        (Some(n), None) if n > rest.len() as u64 => {
            return Err(Refusal::bad(format!("the input `{name}` has {n} bytes; {} follow", rest.len())));
        }
        (Some(n), None) => rest.split_to(n as usize),
        (None, Some(Flat(values))) => {
            if values.len() != count {
                let message =
                    format!("the input `{name}` has {} numbers; its shape {dims:?} {count}", values.len());
                return Err(Refusal::bad(message));
            }
            pack(dtype, &values).map_err(|v| {
                let type_ = &input.datatype;
                Refusal::bad(format!("the input `{name}` holds {v}, which is no {type_}"))
            })?
        }
    };
    let bytes = data.len();
    Tensor::from_bytes(dtype, dims, data).map_err(|_| {
        let shape = &input.shape;
        Refusal::bad(format!("the input `{name}` has {bytes} bytes, which its shape {shape:?} does not take"))
    })
}

/// Numbers as the little-endian bytes of a type; an error with the first that it cannot hold.
fn pack(dtype: DType, values: &[f64]) -> Result<Bytes, f64> {
    let mut out = Vec::new();
    macro_rules! whole {
        ($t:ty) => {
            for v in values {
                let n = *v as $t;
                if n as f64 != *v {
                    return Err(*v);
                }
                out.extend(n.to_le_bytes());
            }
        };
    }
    match dtype {
        DType::Bool => {
            for v in values {
                if *v != 0.0 && *v != 1.0 {
                    return Err(*v);
                }
                out.push(*v as u8);
            }
        }
        DType::U8 => whole!(u8),
        DType::U16 => whole!(u16),
        DType::U32 => whole!(u32),
        DType::U64 => whole!(u64),
        DType::I8 => whole!(i8),
        DType::I16 => whole!(i16),
        DType::I32 => whole!(i32),
        DType::I64 => whole!(i64),
        DType::F16 => values.iter().for_each(|v| out.extend(f16::from_f64(*v).to_le_bytes())),
        DType::Bf16 => values.iter().for_each(|v| out.extend(bf16::from_f64(*v).to_le_bytes())),
        DType::F64 => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
        _ => values.iter().for_each(|v| out.extend((*v as f32).to_le_bytes())),
    }
    Ok(out.into())
}

/// The answer, with each output in JSON or as bytes behind it, as was asked.
pub(super) fn write(
    network: &Network,
    id: &str,
    wanted: &[Wanted],
    binary: bool,
    mut answer: Answer,
) -> Result<Response, Refusal> {
    let mut outputs = Vec::new();
    let mut bytes: Vec<Bytes> = Vec::new();
    for (name, tensor) in &answer.outputs {
        let asked = wanted.iter().find(|w| w.name == *name).and_then(|w| w.parameters.binary_data);
        let type_ = datatype(tensor.dtype()).ok_or_else(|| {
            Refusal::fault(format!("the output `{name}` has a type that the protocol does not have"))
        })?;
        let mut output = json!({ "name": name, "datatype": type_, "shape": tensor.dims() });
        if asked.unwrap_or(binary) {
            output["parameters"] = json!({ "binary_data_size": tensor.bytes().len() });
            bytes.push(tensor.bytes().clone());
        } else {
            // A number as a JSON value, and as text.
            answer.hold.grow(IN_JSON * tensor.len() as u64)?;
            output["data"] = numbers(name, tensor)?;
        }
        outputs.push(output);
    }
    let mut text = json!({ "model_name": network.name, "model_version": VERSION, "outputs": outputs });
    if !id.is_empty() {
        text["id"] = id.into();
    }
    let mut out = serde_json::to_vec(&text).map_err(|e| Refusal::fault(e.to_string()))?;
    let length = out.len();
    bytes.iter().for_each(|b| out.extend_from_slice(b));
    let held = Bytes::from_owner(Held { bytes: out, _hold: answer.hold });
    let mut response = Response::new(Body::from(held));
    let type_ = if bytes.is_empty() { "application/json" } else { "application/octet-stream" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(type_));
    if !bytes.is_empty() {
        response.headers_mut().insert(HEADER, length.into());
    }
    Ok(response)
}

/// Bytes that count in the budget until they are sent.
struct Held {
    bytes: Vec<u8>,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A tensor's numbers as JSON has them.
fn numbers(name: &str, tensor: &Tensor) -> Result<Value, Refusal> {
    let fault = || Refusal::fault(format!("the output `{name}` is not numeric"));
    if tensor.dtype() == DType::Bool {
        let all = tensor.bytes().iter().map(|b| Value::Bool(*b != 0));
        return Ok(all.collect());
    }
    if tensor.dtype().is_int() {
        let all = tensor.to_i64().ok_or_else(fault)?;
        return Ok(all.into_iter().map(Value::from).collect());
    }
    let finite = |v: f64| {
        serde_json::Number::from_f64(v).map(Value::Number).ok_or_else(|| {
            Refusal::fault(format!(
                "the output `{name}` holds {v}, which JSON cannot say; ask for binary_data"
            ))
        })
    };
    // Numbers of 32 bits are written with as many digits as tell them apart.
    match tensor.dtype() {
        DType::F64 => tensor.to_f64().ok_or_else(fault)?.into_iter().map(finite).collect(),
        _ => {
            let all = tensor.to_f32().ok_or_else(fault)?;
            all.into_iter().map(|v| finite(v.to_string().parse().unwrap_or(f64::from(v)))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn read(text: &str, header: Option<usize>) -> Result<Asked, Refusal> {
        parse(Bytes::copy_from_slice(text.as_bytes()), header, &mut Budget::new(None).hold())
    }

    #[test]
    fn tensors_come_as_numbers_or_as_bytes() {
        let numbers = r#"{"inputs":[{"name":"x","shape":[2,2],"datatype":"UINT8","data":[[1,2],[3,255]]}]}"#;
        let asked = read(numbers, None).unwrap();
        assert_eq!(&asked.inputs[0].1.bytes()[..], [1, 2, 3, 255]);
        let head = r#"{"id":"7","parameters":{"binary_data_output":true,"priority":3},"inputs":[{"name":"x","shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}}]}"#;
        let asked = read(&format!("{head}abcd"), Some(head.len())).unwrap();
        assert_eq!((&asked.inputs[0].1.bytes()[..], asked.binary, &*asked.id), (&b"abcd"[..], true, "7"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_sentence() {
        let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"x",{rest}}}]}}"#);
        for (text, header, word) in [
            ("{".to_owned(), None, "protocol"),
            (r#"{"inputs":3}"#.to_owned(), None, "protocol"),
            (input(r#""shape":[3],"datatype":"UINT8","data":[1,2]"#), None, "2 numbers"),
            (input(r#""shape":[1],"datatype":"UINT8","data":[256]"#), None, "holds 256"),
            (input(r#""shape":[1],"datatype":"BYTES","data":["a"]"#), None, "protocol"),
            (input(r#""shape":[1],"datatype":"BYTES","data":[1]"#), None, "BYTES"),
            (input(r#""shape":[-1],"datatype":"UINT8","data":[1]"#), None, "protocol"),
            (input(r#""shape":[4294967296,4294967296],"datatype":"FP32","data":[1]"#), None, "too large"),
            (input(r#""shape":[1],"datatype":"UINT8""#), None, "no data"),
            (input(r#""shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":9}"#), None, "9 bytes"),
            (input(r#""shape":[1],"datatype":"UINT8","data":[1]"#), Some(1 << 40), "Inference-Header"),
        ] {
            let refusal = read(&text, header).err().unwrap();
            assert!(refusal.status == 400 && refusal.message.contains(word), "{text}: {}", refusal.message);
        }
    }
}
