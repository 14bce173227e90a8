//! `TensorProto` to [`Tensor`], in all encodings.

use crate::external::{self, Store};
use crate::{Error, Result, TensorError, proto::TensorProto};
use ampoule_graph::{DType, Tensor, element_count};
use bytes::Bytes;
use half::{bf16, f16};
use prost::Message;

/// Decodes a serialized `TensorProto` (the format of ONNX's own test data) with its name.
pub fn tensor_from_bytes(bytes: &[u8]) -> Result<(String, Tensor)> {
    let t = TensorProto::decode(bytes).map_err(|e| Error::NotOnnx { reason: e.to_string() })?;
    let tensor = tensor_from_proto(&t, None, u64::MAX)?;
    Ok((t.name, tensor))
}

/// Converts a `TensorProto`; `store` is where its external data may lie, `None` forbids any, and
/// `most` is how many bytes of it are accepted.
pub fn tensor_from_proto(t: &TensorProto, store: Option<&Store>, most: u64) -> Result<Tensor> {
    let err = |source: TensorError| Error::Tensor { name: t.name.clone(), source };
    let dtype =
        DType::from_code(t.data_type).ok_or_else(|| err(TensorError::ElementType { code: t.data_type }))?;
    let dims: Option<Vec<usize>> = t.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| err(TensorError::NegativeSize { dims: t.dims.clone() }))?;
    let n = element_count(&dims).ok_or_else(|| err(TensorError::Overflow { dims: dims.clone() }))?;
    if dtype == DType::Str {
        let given = t.string_data.len();
        return Tensor::from_strings(dims.clone(), t.string_data.clone())
            .map_err(|_| err(TensorError::Strings { dims, given }));
    }
    let want = dtype.bytes_of(n).ok_or_else(|| err(TensorError::Overflow { dims: dims.clone() }))?;
    let raw = t.raw_data.as_ref().filter(|r| !r.is_empty() || n == 0);
    let typed = typed_len(t);
    let data = if t.data_location == 1 {
        let store = store.ok_or_else(|| err(TensorError::ExternalForbidden))?;
        if raw.is_some() || typed > 0 {
            return Err(err(TensorError::ExternalAndInline));
        }
        if want as u64 > most {
            return Err(Error::Limit { what: "bytes of constants", found: want as u64, limit: most });
        }
        external::read(t, store, want)?
    } else if let Some(raw) = raw {
        if typed > 0 {
            return Err(err(TensorError::RawAndTyped));
        }
        raw.clone()
    } else {
        from_fields(t, dtype, n).map_err(err)?
    };
    if data.len() != want {
        return Err(err(TensorError::Bytes { dtype, dims, needed: want, given: data.len() }));
    }
    Ok(Tensor::from_bytes(dtype, dims, data)?)
}

fn typed_len(t: &TensorProto) -> usize {
    t.float_data.len() + t.int32_data.len() + t.int64_data.len() + t.double_data.len() + t.uint64_data.len()
}

/// Packs the typed repeated field that ONNX prescribes for `dtype`.
fn from_fields(t: &TensorProto, dtype: DType, n: usize) -> Result<Bytes, TensorError> {
    use DType::*;
    let complex = if matches!(dtype, Complex64 | Complex128) { 2 } else { 1 };
    // Sub-byte types are packed several to a byte, and one byte to an int32.
    let per = if dtype.bits() < 8 { 8 / dtype.bits() } else { 1 };
    let found = typed_len(t);
    let want = n.checked_mul(complex).ok_or(TensorError::Overflow { dims: vec![n, complex] })?.div_ceil(per);
    if found != want {
        return Err(TensorError::TypedValues { expected: want, given: found });
    }
    let i32s = &t.int32_data;
    let wrong = if i32s.len() == want { 0 } else { want };
    let out: Vec<u8> = match dtype {
        F32 | Complex64 if t.float_data.len() == want => {
            t.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        F64 | Complex128 if t.double_data.len() == want => {
            t.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        I64 if t.int64_data.len() == want => t.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        U64 if t.uint64_data.len() == want => t.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        U32 if t.uint64_data.len() == want => {
            t.uint64_data.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect()
        }
        I32 if wrong == 0 => i32s.iter().flat_map(|v| v.to_le_bytes()).collect(),
        U16 | I16 | F16 | Bf16 if wrong == 0 => i32s.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
        U8 | I8 | Bool | U4 | I4 | U2 | I2 | F4E2M1 | F8E4M3Fn | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz
        | F8E8M0
            if wrong == 0 =>
        {
            i32s.iter().map(|&v| v as u8).collect()
        }
        // Some old exporters put half floats into float_data.
        F16 if t.float_data.len() == want => {
            t.float_data.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
        }
        Bf16 if t.float_data.len() == want => {
            t.float_data.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()
        }
        _ => return Err(TensorError::WrongField { dtype }),
    };
    Ok(out.into())
}

/// Converts a [`Tensor`] to a `TensorProto` with raw data.
pub(super) fn to_proto(name: &str, t: &Tensor) -> TensorProto {
    TensorProto {
        dims: t.dims().iter().map(|&d| d as i64).collect(),
        data_type: t.dtype().code(),
        name: name.into(),
        raw_data: (t.dtype() != DType::Str).then(|| t.bytes().clone()),
        string_data: t.strings().to_vec(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: dtype.code(), ..Default::default() }
    }

    #[test]
    fn typed_fields_and_raw_data_agree() {
        let mut a = proto(DType::F16, &[3]);
        a.int32_data = [1.0f32, -2.0, 0.5].iter().map(|&v| f16::from_f32(v).to_bits() as i32).collect();
        let mut b = proto(DType::F16, &[3]);
        let raw: Vec<u8> = [1.0f32, -2.0, 0.5].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        b.raw_data = Some(raw.into());
        let (a, b) =
            (tensor_from_proto(&a, None, u64::MAX).unwrap(), tensor_from_proto(&b, None, u64::MAX).unwrap());
        assert_eq!(a, b);
        let mut c = proto(DType::I4, &[3]);
        c.int32_data = vec![0x8f, 0x07];
        assert_eq!(tensor_from_proto(&c, None, u64::MAX).unwrap().to_i64().unwrap(), [-1, -8, 7]);
    }

    #[test]
    fn hostile_tensors_are_refused() {
        let mut huge = proto(DType::F32, &[1 << 40, 1 << 40]);
        assert!(tensor_from_proto(&huge, None, u64::MAX).is_err());
        huge.dims = vec![1 << 40];
        assert!(tensor_from_proto(&huge, None, u64::MAX).is_err());
        let negative = proto(DType::F32, &[-1]);
        assert!(tensor_from_proto(&negative, None, u64::MAX).is_err());
        let mut both = proto(DType::F32, &[1]);
        both.float_data = vec![1.0];
        both.raw_data = Some(Bytes::from_static(&[0; 4]));
        assert!(tensor_from_proto(&both, None, u64::MAX).is_err());
        assert!(tensor_from_proto(&proto(DType::F32, &[2]), None, u64::MAX).is_err());
        let unknown = TensorProto { data_type: 99, ..Default::default() };
        assert!(tensor_from_proto(&unknown, None, u64::MAX).is_err());
    }
}
