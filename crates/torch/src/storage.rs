//! Where the numbers of tensors lie: the entries of an archive, or what follows the pickles of the older format.

use crate::pickle::{Id, Pickle, Value};
use crate::{Archive, Error, Result};
use ampoule_graph::DType;
use bytes::Bytes;
use std::collections::HashMap;
use std::io::Cursor;

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// Numbers by the key of their storage. Those of an archive are read when they are asked for, so that what nobody
/// asks for (the state of an optimizer) takes no memory.
pub(crate) struct Storages<'a> {
    archive: Option<(Archive<Cursor<&'a [u8]>>, String)>,
    read: HashMap<String, Bytes>,
}

impl<'a> Storages<'a> {
    /// Entries of `archive` whose names are `folder` and a key.
    pub fn archived(archive: Archive<Cursor<&'a [u8]>>, folder: String) -> Self {
        Storages { archive: Some((archive, folder)), read: HashMap::new() }
    }

    /// What is at hand already.
    pub fn of(read: HashMap<String, Bytes>) -> Self {
        Storages { archive: None, read }
    }

    /// The bytes of a storage.
    pub fn get(&mut self, key: &str) -> Result<Bytes> {
        if let Some(bytes) = self.read.get(key) {
            return Ok(bytes.clone());
        }
        let (archive, folder) =
            self.archive.as_mut().ok_or_else(|| bad("a storage that is not in the file"))?;
        if key.contains(['/', '\\']) || key.starts_with('.') {
            return Err(bad("a storage name that is not a plain key"));
        }
        let bytes = Bytes::from(archive.read(&format!("{folder}{key}"))?);
        self.read.insert(key.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// The element type of a storage by the name of its class.
fn element(class: &str) -> Option<DType> {
    let name = class.strip_prefix("torch.cuda.").or(class.strip_prefix("torch."))?;
    Some(match name {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::Bf16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" | "UntypedStorage" | "storage.UntypedStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        _ => return None,
    })
}

/// An element type by its name in Python, `torch.float32`.
pub(crate) fn dtype_named(name: &str) -> Option<DType> {
    Some(match name.strip_prefix("torch.")? {
        "float32" | "float" => DType::F32,
        "float64" | "double" => DType::F64,
        "float16" | "half" => DType::F16,
        "bfloat16" => DType::Bf16,
        "int64" | "long" => DType::I64,
        "int32" | "int" => DType::I32,
        "int16" | "short" => DType::I16,
        "int8" => DType::I8,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        _ => return None,
    })
}

/// Key and element type of a storage reference: `('storage', type, key, device, size, …)`.
pub(crate) fn reference(p: &Pickle, id: Id) -> Result<(String, DType)> {
    let parts = || {
        let Value::Persistent(tuple) = p.get(id) else { return None };
        let [kind, class, key, ..] = p.items(*tuple)? else { return None };
        let (Some("storage"), Value::Global(class)) = (p.text(*kind), p.get(*class)) else { return None };
        Some((p.text(*key)?.to_owned(), class))
    };
    let (key, class) = parts().ok_or_else(|| bad("a tensor without storage"))?;
    let dtype = element(class).ok_or_else(|| bad(format!("a storage of an unknown type `{class}`")))?;
    Ok((key, dtype))
}

/// Bytes of an element of every storage that a pickle speaks of, by key.
pub(crate) fn widths(p: &Pickle) -> Result<HashMap<String, usize>> {
    let mut out = HashMap::new();
    for id in (0..).take_while(|&id| p.nth(id).is_some()) {
        if matches!(p.get(id), Value::Persistent(_)) {
            let (key, dtype) = reference(p, id)?;
            out.insert(key, dtype.bits() / 8);
        }
    }
    Ok(out)
}
