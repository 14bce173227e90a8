//! Arrays of numpy: `.npy` files, and `.npz` archives of them (NEP 1).

use crate::{Archive, Budget, Error, Result, numpy};
use ampoule_graph::{DType, Tensor, element_count};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Cursor;

fn bad(name: &str, reason: &str) -> Error {
    Error::Archive(format!("{name}: {reason}"))
}

/// The text between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(text[start..end].trim())
}

/// Element type, whether elements lie by columns, and sizes, as the header's dictionary says them.
fn header(text: &str) -> Option<(DType, bool, Vec<usize>)> {
    let descr = between(text, "'descr':", ",")?.trim_matches(['\'', '"']);
    let by_column = between(text, "'fortran_order':", ",")? == "True";
    let shape = between(text, "'shape':", ")")?.trim_start_matches('(');
    let dims = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let dims: Option<Vec<usize>> = dims.map(|s| s.parse().ok()).collect();
    Some((numpy::element(descr.strip_prefix(['<', '|', '='])?)?, by_column, dims?))
}

/// Reads a `.npy` file of numbers; `name` is for messages.
pub fn array(name: &str, bytes: &[u8]) -> Result<Tensor> {
    let version = bytes.get(6).copied().filter(|_| bytes.starts_with(b"\x93NUMPY"));
    let (start, length) = match (version, bytes.get(8..12)) {
        (Some(1), Some(n)) => (10, u16::from_le_bytes([n[0], n[1]]) as usize),
        (Some(2 | 3), Some(n)) => (12, u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize),
        _ => return Err(bad(name, "not an array of numpy")),
    };
    let text = bytes
        .get(start..)
        .and_then(|b| b.get(..length))
        .ok_or_else(|| bad(name, "it ends inside its header"))?;
    let text = std::str::from_utf8(text).map_err(|_| bad(name, "its header is not text"))?;
    let (dtype, by_column, dims) = header(text)
        .ok_or_else(|| bad(name, "its elements are no little-endian numbers, or its header is damaged"))?;
    let data = &bytes[start + length..];
    let width = dtype.bits() / 8;
    if dims.len() > 16 || element_count(&dims).and_then(|n| n.checked_mul(width)) != Some(data.len()) {
        return Err(bad(name, "its data do not fill its shape"));
    }
    let data = if by_column && dims.len() > 1 { numpy::rows(data, &dims, width) } else { data.to_vec() };
    Tensor::from_bytes(dtype, dims, Bytes::from(data)).map_err(|e| bad(name, &e.to_string()))
}

/// Reads all arrays of a `.npz` archive, by name.
pub fn read(bytes: &[u8], budget: Budget) -> Result<BTreeMap<String, Tensor>> {
    let mut zip = Archive::new(Cursor::new(bytes), budget)?;
    let mut out = BTreeMap::new();
    for entry in zip.names() {
        let Some(name) = entry.strip_suffix(".npy") else { return Err(bad(&entry, "not an array of numpy")) };
        out.insert(name.to_owned(), array(&entry, &zip.read(&entry)?)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_by_rows_and_by_columns() {
        let data: Vec<u8> = (0..6u8).collect();
        let rows = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", &data);
        assert_eq!(array("a", &rows).unwrap().to_i64().unwrap(), [0, 1, 2, 3, 4, 5]);
        let columns = npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", &data);
        assert_eq!(array("a", &columns).unwrap().to_i64().unwrap(), [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn arrays_that_lie_are_refused() {
        for (header, data) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }", &[0u8; 4][..]),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[0; 8]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 4]),
        ] {
            assert!(array("a", &npy(header, data)).is_err(), "{header}");
        }
        assert!(array("a", b"\x93NUMPY\x01\x00\xff\xff").is_err());
        assert!(array("a", b"").is_err());
    }
}
