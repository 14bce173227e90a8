//! Arrays and scalars of numpy as pickles describe them.

use crate::pickle::{Id, Pickle, Value};
use crate::{Error, Result};
use ampoule_graph::{DType, Tensor, element_count};

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// An element type by numpy's short name without byte order, `f4`.
pub fn element(name: &str) -> Option<DType> {
    Some(match name {
        "f4" => DType::F32,
        "f8" => DType::F64,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u8" => DType::U64,
        "u4" => DType::U32,
        "u2" => DType::U16,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        _ => return None,
    })
}

/// Bytes behind an id: bytes, or the call by which Python 3 writes bytes for older protocols.
fn raw(p: &Pickle, id: Id) -> Option<Vec<u8>> {
    match p.get(id) {
        Value::Bytes(b) => Some(b.clone()),
        Value::Text(t) => t.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        Value::Call { .. } => match p.call(id)? {
            ("_codecs.encode", [text, ..]) => raw(p, *text),
            (
                "builtins.bytes" | "__builtin__.bytes" | "builtins.bytearray" | "__builtin__.bytearray",
                args,
            ) => args.first().map_or(Some(Vec::new()), |&a| raw(p, a)),
            _ => None,
        },
        _ => None,
    }
}

/// Bytes that a recorded call makes.
pub(crate) fn bytes_of(p: &Pickle, id: Id) -> Option<Vec<u8>> {
    matches!(p.get(id), Value::Call { .. }).then(|| raw(p, id)).flatten()
}

/// The element type of a `numpy.dtype`: its short name, and a state whose second part is the byte order.
fn dtype(p: &Pickle, id: Id) -> Result<Option<DType>> {
    let Some(("numpy.dtype", [name, ..])) = p.call(id) else { return Ok(None) };
    let Value::Call { state, .. } = p.get(id) else { return Ok(None) };
    let order = state.and_then(|s| p.items(s)).and_then(|s| s.get(1)).and_then(|&o| p.text(o));
    if order == Some(">") {
        return Err(bad("a big-endian array"));
    }
    Ok(p.text(*name).and_then(|n| element(n.trim_start_matches(['<', '|', '=']))))
}

fn sizes(p: &Pickle, id: Id) -> Option<Vec<usize>> {
    p.items(id)?.iter().take(17).map(|&i| p.int(i).and_then(|n| usize::try_from(n).ok())).collect()
}

fn filled(dtype: DType, dims: Vec<usize>, bytes: Vec<u8>, by_column: bool) -> Result<Tensor> {
    let wrong = || bad("an array whose data do not fill its shape");
    let width = dtype.bits() / 8;
    let want = element_count(&dims).and_then(|n| n.checked_mul(width));
    if want != Some(bytes.len()) {
        return Err(wrong());
    }
    let bytes = if by_column && dims.len() > 1 { rows(&bytes, &dims, width) } else { bytes };
    Tensor::from_bytes(dtype, dims, bytes.into()).map_err(|_| wrong())
}

/// Elements that lie by columns, by rows.
pub(crate) fn rows(bytes: &[u8], dims: &[usize], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for i in 0..bytes.len() / width {
        let (mut rest, mut at, mut stride) = (i, 0, bytes.len() / width);
        for &d in dims.iter().rev() {
            stride /= d;
            at += rest % d * stride;
            rest /= d;
        }
        out.extend_from_slice(&bytes[at * width..(at + 1) * width]);
    }
    out
}

/// The array that a recorded call makes; `None` for other calls and for arrays of objects.
pub(crate) fn array(p: &Pickle, id: Id) -> Result<Option<Tensor>> {
    let Some((name, args)) = p.call(id) else { return Ok(None) };
    match (name, args) {
        ("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct", _) => {
            let Value::Call { state: Some(state), .. } = p.get(id) else { return Ok(None) };
            let Some([_, shape, kind, columns, data]) = p.items(*state) else { return Ok(None) };
            let (Some(dtype), Some(dims), Some(data)) = (dtype(p, *kind)?, sizes(p, *shape), raw(p, *data))
            else {
                return Ok(None);
            };
            filled(dtype, dims, data, *p.get(*columns) == Value::Bool(true)).map(Some)
        }
        (
            "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer",
            [data, kind, shape, order],
        ) => {
            let (Some(dtype), Some(dims), Some(data)) = (dtype(p, *kind)?, sizes(p, *shape), raw(p, *data))
            else {
                return Ok(None);
            };
            filled(dtype, dims, data, p.text(*order) == Some("F")).map(Some)
        }
        _ => Ok(None),
    }
}

/// The number that a recorded call makes: `numpy.core.multiarray.scalar(dtype, bytes)`.
pub(crate) fn scalar(p: &Pickle, id: Id) -> Result<Option<Tensor>> {
    let Some((name, args)) = p.call(id) else { return Ok(None) };
    let ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", [kind, data]) = (name, args)
    else {
        return Ok(None);
    };
    let (Some(dtype), Some(data)) = (dtype(p, *kind)?, raw(p, *data)) else { return Ok(None) };
    filled(dtype, vec![], data, false).map(Some)
}
