//! PyTorch checkpoints: the zip format (`torch.save` since 1.6, TorchScript) and the older one of
//! consecutive pickles.

use crate::archive::Archive;
use crate::pickle::{self, Id, Pickle, Value};
use crate::{Error, Result, Weights};
use ampoule_graph::{DType, Tensor};
use bytes::Bytes;
use std::collections::HashMap;
use std::io::Cursor;

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// The first pickle of the older format.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads all tensors of a checkpoint: a state dict, or the parameters and buffers of a TorchScript
/// module under their dotted names.
pub fn read(bytes: &[u8]) -> Result<Weights> {
    if bytes.starts_with(b"PK") { zipped(bytes) } else { consecutive(bytes) }
}

fn zipped(bytes: &[u8]) -> Result<Weights> {
    let mut zip = Archive::new(Cursor::new(bytes))?;
    let names = zip.names();
    let main = names.iter().find(|n| n.ends_with("/data.pkl")).cloned();
    let main = main.ok_or_else(|| bad("there is no data.pkl in it"))?;
    let folder = main.trim_end_matches("data.pkl").to_owned();
    let order = format!("{folder}byteorder");
    if names.contains(&order) && zip.read(&order)? != b"little" {
        return Err(bad("the tensors are big-endian"));
    }
    let p = pickle::read(&zip.read(&main)?)?;
    let mut storages: HashMap<String, Bytes> = HashMap::new();
    for key in storage_keys(&p)? {
        let data = zip.read(&format!("{folder}data/{key}"))?;
        storages.insert(key, data.into());
    }
    collect(&p, p.root, &storages)
}

fn consecutive(bytes: &[u8]) -> Result<Weights> {
    let magic = pickle::read(bytes).map_err(|_| bad("not a PyTorch checkpoint"))?;
    if *magic.get(magic.root) != Value::Long(MAGIC.to_vec()) {
        return Err(bad("not a PyTorch checkpoint"));
    }
    let mut rest = &bytes[magic.length..];
    let mut next = || -> Result<Pickle> {
        let p = pickle::read(rest)?;
        rest = &rest[p.length..];
        Ok(p)
    };
    let (_protocol, system) = (next()?, next()?);
    let little = system.pairs(system.root).unwrap_or_default();
    let big = little
        .iter()
        .any(|(k, v)| system.text(*k) == Some("little_endian") && *system.get(*v) == Value::Bool(false));
    if big {
        return Err(bad("the tensors are big-endian"));
    }
    let (object, keys) = (next()?, next()?);
    let sizes = storage_types(&object)?;
    let mut storages = HashMap::new();
    for id in keys.items(keys.root).ok_or_else(|| bad("no list of storages"))? {
        let key = keys.text(*id).ok_or_else(|| bad("a storage without name"))?;
        let width = sizes.get(key).copied().ok_or_else(|| bad("a storage nobody uses"))?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(|| bad("it ends before a storage"))?;
        let n = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(width));
        let n = n.filter(|&n| n <= after.len()).ok_or_else(|| bad("it ends inside a storage"))?;
        storages.insert(key.to_owned(), Bytes::copy_from_slice(&after[..n]));
        rest = &after[n..];
    }
    collect(&object, object.root, &storages)
}

/// Key and element type of a storage reference: `('storage', type, key, device, size, …)`.
fn storage(p: &Pickle, id: Id) -> Option<(String, DType)> {
    let Value::Persistent(tuple) = p.get(id) else { return None };
    let [kind, class, key, ..] = p.items(*tuple)? else { return None };
    if p.text(*kind)? != "storage" {
        return None;
    }
    let Value::Global(class) = p.get(*class) else { return None };
    let dtype = match class.strip_prefix("torch.")? {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::Bf16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        _ => return None,
    };
    Some((p.text(*key)?.to_owned(), dtype))
}

fn all_storages(p: &Pickle) -> Result<Vec<(String, DType)>> {
    let mut out = Vec::new();
    let mut id = 0;
    while let Some(v) = p.nth(id) {
        if matches!(v, Value::Persistent(_)) {
            out.push(storage(p, id).ok_or_else(|| bad("a storage of an unknown type"))?);
        }
        id += 1;
    }
    Ok(out)
}

fn storage_keys(p: &Pickle) -> Result<Vec<String>> {
    let mut keys: Vec<String> = all_storages(p)?.into_iter().map(|s| s.0).collect();
    keys.sort();
    keys.dedup();
    if keys.iter().any(|k| k.contains(['/', '\\', '.'])) {
        return Err(bad("a storage name that is not a plain key"));
    }
    Ok(keys)
}

fn storage_types(p: &Pickle) -> Result<HashMap<String, usize>> {
    Ok(all_storages(p)?.into_iter().map(|(k, t)| (k, t.bits() / 8)).collect())
}

/// The tensor that a recorded `_rebuild_tensor` call describes.
fn tensor(p: &Pickle, id: Id, storages: &HashMap<String, Bytes>) -> Result<Option<Tensor>> {
    let Value::Call { callable, args, .. } = p.get(id) else { return Ok(None) };
    let Value::Global(name) = p.get(*callable) else { return Ok(None) };
    let args = p.items(*args).unwrap_or_default();
    match name.as_str() {
        "torch._utils._rebuild_parameter" => {
            let inner = *args.first().ok_or_else(|| bad("a parameter without tensor"))?;
            return tensor(p, inner, storages);
        }
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {}
        _ => return Ok(None),
    }
    let [store, offset, size, stride, ..] = args else { return Err(bad("a tensor with too few arguments")) };
    let (key, dtype) = storage(p, *store).ok_or_else(|| bad("a tensor without storage"))?;
    let data = storages.get(&key).ok_or_else(|| bad("a storage that is not in the file"))?;
    let sizes = |id: Id| -> Option<Vec<usize>> {
        p.items(id)?.iter().map(|&i| p.int(i).and_then(|n| usize::try_from(n).ok())).collect()
    };
    let (Some(dims), Some(strides)) = (sizes(*size), sizes(*stride)) else {
        return Err(bad("a tensor whose sizes are not numbers"));
    };
    let offset =
        p.int(*offset).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad("a negative offset"))?;
    let width = dtype.bits() / 8;
    gather(data, offset, &dims, &strides, width)
        .and_then(|b| Tensor::from_bytes(dtype, dims, b.into()).ok())
        .map(Some)
        .ok_or_else(|| bad("a tensor that reaches outside its storage"))
}

/// Elements in row-major order, `None` when any lies outside `data`.
fn gather(data: &[u8], offset: usize, dims: &[usize], strides: &[usize], width: usize) -> Option<Vec<u8>> {
    if dims.len() != strides.len() {
        return None;
    }
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    if count.checked_mul(width)? > data.len() {
        return None;
    }
    let mut out = Vec::with_capacity(count * width);
    let mut index = vec![0usize; dims.len()];
    for _ in 0..count {
        let mut at = offset;
        for (i, s) in index.iter().zip(strides) {
            at = at.checked_add(i.checked_mul(*s)?)?;
        }
        let start = at.checked_mul(width)?;
        out.extend_from_slice(data.get(start..start.checked_add(width)?)?);
        for k in (0..dims.len()).rev() {
            index[k] += 1;
            if index[k] < dims[k] {
                break;
            }
            index[k] = 0;
        }
    }
    Some(out)
}

/// All tensors below `root`, by dotted path.
fn collect(p: &Pickle, root: Id, storages: &HashMap<String, Bytes>) -> Result<Weights> {
    let mut out = Weights::default();
    let mut stack = vec![(String::new(), root, 0)];
    let (mut visits, mut bytes) = (0, 0);
    while let Some((path, id, depth)) = stack.pop() {
        visits += 1;
        if depth > 40 || visits > 1_000_000 {
            return Err(bad("modules nested too deeply"));
        }
        if let Some(t) = tensor(p, id, storages)? {
            bytes += t.bytes().len() as u64;
            if bytes > crate::archive::TOTAL {
                return Err(bad("the tensors are too large together"));
            }
            out.insert(path, t);
            continue;
        }
        for (k, v) in p.pairs(id).unwrap_or_default() {
            let Some(key) = p.text(k) else { continue };
            let name = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            stack.push((name, v, depth + 1));
        }
    }
    if out.is_empty() {
        return Err(bad("there are no tensors in it"));
    }
    Ok(out)
}
