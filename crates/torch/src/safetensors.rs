//! Files of the format safetensors: a length, a JSON header, and bytes.

use crate::{Budget, Error, Result};
use ampoule_graph::{DType, Tensor, element_count};
use bytes::Bytes;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The longest header that the format allows.
const HEADER: u64 = 100_000_000;

fn bad(reason: impl Into<String>) -> Error {
    Error::Archive(reason.into())
}

fn element(name: &str) -> Option<DType> {
    Some(match name {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::Bf16,
        "I64" => DType::I64,
        "I32" => DType::I32,
        "I16" => DType::I16,
        "I8" => DType::I8,
        "U64" => DType::U64,
        "U32" => DType::U32,
        "U16" => DType::U16,
        "U8" => DType::U8,
        "BOOL" => DType::Bool,
        _ => return None,
    })
}

/// Whether bytes begin as a safetensors file does.
pub fn is_one(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk::<8>().map(|n| u64::from_le_bytes(*n));
    length.is_some_and(|n| (2..=HEADER).contains(&n) && n < bytes.len() as u64) && bytes.get(8) == Some(&b'{')
}

/// Reads all tensors, by name. They share the memory of `bytes`.
pub fn read(bytes: Bytes, budget: Budget) -> Result<BTreeMap<String, Tensor>> {
    if !is_one(&bytes) {
        return Err(bad("not a safetensors file, or one cut short"));
    }
    let length = bytes.first_chunk::<8>().map_or(0, |n| u64::from_le_bytes(*n)) as usize;
    if bytes.len() - 8 < length {
        return Err(bad(format!(
            "its header takes {length} bytes, and {} are there: it is cut short",
            bytes.len() - 8
        )));
    }
    // A tree of JSON takes some times the bytes of its text.
    budget.ask("its header", 8 * length as u64)?;
    let header: Json =
        serde_json::from_slice(&bytes[8..8 + length]).map_err(|e| bad(format!("its header: {e}")))?;
    let data = bytes.slice(8 + length..);
    let mut out = BTreeMap::new();
    for (name, about) in header.as_object().into_iter().flatten().filter(|(n, _)| *n != "__metadata__") {
        let wrong = |what: &str| bad(format!("tensor `{name}`: {what}"));
        let dtype =
            about["dtype"].as_str().and_then(element).ok_or_else(|| wrong("an unknown element type"))?;
        let numbers = |v: &Json| -> Option<Vec<usize>> {
            v.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect()
        };
        let dims = numbers(&about["shape"]).ok_or_else(|| wrong("no shape"))?;
        let Some([start, end]) = numbers(&about["data_offsets"]).and_then(|v| <[usize; 2]>::try_from(v).ok())
        else {
            return Err(wrong("no place"));
        };
        let want = element_count(&dims).and_then(|n| n.checked_mul(dtype.bits() / 8));
        if start > end || end > data.len() || want != Some(end - start) {
            return Err(wrong("its place does not fit its shape and the file"));
        }
        let tensor =
            Tensor::from_bytes(dtype, dims, data.slice(start..end)).map_err(|e| wrong(&e.to_string()))?;
        out.insert(name.clone(), tensor);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Bytes {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat().into()
    }

    #[test]
    fn a_header_that_is_cut_short_is_refused() {
        let whole = file(r#"{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, &[]);
        for end in 9..whole.len() {
            assert!(read(whole.slice(..end), Budget::default()).is_err(), "{end}");
        }
        assert!(read(whole, Budget::default()).is_ok());
    }

    #[test]
    fn tensors_come_out_by_name() {
        let header =
            r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let data = [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat();
        let t = read(file(header, &data), Budget::default()).unwrap();
        assert_eq!(t["w"].to_f32().unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn places_that_lie_are_refused() {
        for place in ["[0,16]", "[8,0]", "[0,4]", "[18446744073709551615,18446744073709551615]", "[0]"] {
            let header = format!(r#"{{"w":{{"dtype":"F32","shape":[2],"data_offsets":{place}}}}}"#);
            assert!(read(file(&header, &[0; 8]), Budget::default()).is_err(), "{place}");
        }
        assert!(read(Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\x7f{"), Budget::default()).is_err());
        assert!(read(Bytes::new(), Budget::default()).is_err());
    }
}
