//! PyTorch checkpoints: the zip format (`torch.save` since 1.6, TorchScript) and the older one of
//! consecutive pickles.

use crate::archive::Archive;
use crate::error::{Meter, ask};
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
        ask("its tensors", n as u64)?;
        storages.insert(key.to_owned(), Bytes::copy_from_slice(&after[..n]));
        rest = &after[n..];
    }
    collect(&object, object.root, &storages)
}

/// More axes than any tensor of a network has.
const AXES: usize = 16;
/// More values that lie in containers of containers than any checkpoint has.
const VISITS: usize = 1_000_000;
/// Longest name of a tensor in bytes.
const NAME: usize = 4096;

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

/// Arguments of the `_rebuild_tensor` call that a recorded call is, or that the parameter which it is was made of.
fn rebuilt(p: &Pickle, mut id: Id) -> Result<Option<&[Id]>> {
    // A parameter is made of a tensor, not of parameters.
    for _ in 0..2 {
        let Value::Call { callable, args, .. } = p.get(id) else { return Ok(None) };
        let Value::Global(name) = p.get(*callable) else { return Ok(None) };
        let args = p.items(*args).unwrap_or_default();
        match name.as_str() {
            "torch._utils._rebuild_parameter" => {
                id = *args.first().ok_or_else(|| bad("a parameter without tensor"))?;
            }
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => return Ok(Some(args)),
            _ => return Ok(None),
        }
    }
    Err(bad("a parameter that is made of parameters"))
}

/// The tensor that a recorded call describes.
fn tensor(
    p: &Pickle,
    id: Id,
    storages: &HashMap<String, Bytes>,
    meter: &mut Meter,
) -> Result<Option<Tensor>> {
    let Some(args) = rebuilt(p, id)? else { return Ok(None) };
    let [store, offset, size, stride, ..] = args else { return Err(bad("a tensor with too few arguments")) };
    let (key, dtype) = storage(p, *store).ok_or_else(|| bad("a tensor without storage"))?;
    let data = storages.get(&key).ok_or_else(|| bad("a storage that is not in the file"))?;
    let sizes = |id: Id| -> Option<Vec<usize>> {
        p.items(id)?.iter().take(AXES + 1).map(|&i| p.int(i).and_then(|n| usize::try_from(n).ok())).collect()
    };
    let (Some(dims), Some(strides)) = (sizes(*size), sizes(*stride)) else {
        return Err(bad("a tensor whose sizes are not numbers"));
    };
    if dims.len() > AXES {
        return Err(bad(format!("a tensor of more than {AXES} axes")));
    }
    let offset =
        p.int(*offset).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad("a negative offset"))?;
    let width = dtype.bits() / 8;
    let bytes = dims.iter().fold(width, |n, &d| n.saturating_mul(d));
    meter.take("its tensors", (bytes.min(data.len()) + NAME) as u64)?;
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

/// A container on the way to a tensor: its own name, and the place of the one around it.
struct Node {
    around: usize,
    key: Id,
}

/// The dotted path of a node; an error where it is longer than names are.
fn path(p: &Pickle, nodes: &[Node], mut at: usize) -> Result<String> {
    let mut parts = Vec::new();
    let mut length = 0;
    while at > 0 {
        let part = p.text(nodes[at].key).unwrap_or_default();
        length += part.len() + 1;
        if length > NAME {
            return Err(bad(format!("a tensor's name of more than {NAME} bytes")));
        }
        parts.push(part);
        at = nodes[at].around;
    }
    parts.reverse();
    Ok(parts.join("."))
}

/// All tensors below `root`, by dotted path.
fn collect(p: &Pickle, root: Id, storages: &HashMap<String, Bytes>) -> Result<Weights> {
    let mut out = Weights::default();
    // The first stands for the root, which has no name.
    let mut nodes = vec![Node { around: 0, key: root }];
    let mut stack = vec![(0, root, 0)];
    let (mut visits, mut bytes, mut meter) = (0, 0, Meter::default());
    while let Some((at, id, depth)) = stack.pop() {
        if depth > 40 {
            return Err(bad("modules nested too deeply"));
        }
        if let Some(t) = tensor(p, id, storages, &mut meter)? {
            bytes += t.bytes().len() as u64;
            if bytes > crate::archive::TOTAL {
                return Err(bad("the tensors are too large together"));
            }
            out.insert(path(p, &nodes, at)?, t);
            continue;
        }
        let pairs = p.pairs(id).unwrap_or_default();
        visits += pairs.len() + 1;
        if visits > VISITS {
            return Err(bad(format!("more than {VISITS} values in its modules; save only the state dict")));
        }
        meter.take("its modules", 64 * pairs.len() as u64)?;
        for (key, value) in pairs {
            // What has no name is in no module.
            if p.text(key).is_some() && matches!(p.get(value), Value::Dict(_) | Value::Call { .. }) {
                nodes.push(Node { around: at, key });
                stack.push((nodes.len() - 1, value, depth + 1));
            }
        }
    }
    if out.is_empty() {
        return Err(bad("there are no tensors in it"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A checkpoint whose pickle and storage `0` are these bytes.
    fn checkpoint(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let plain =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", storage)] {
            zip.start_file(name, plain).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn text(s: &str) -> Vec<u8> {
        [b"X", &(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
    }

    /// A tensor of one axis for each `K` of `sizes`, strides 1.
    fn tensor(sizes: &[u8]) -> Vec<u8> {
        let ones: Vec<u8> = sizes.chunks(2).flat_map(|_| *b"K\x01").collect();
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage")[..],
            b"ctorch\nFloatStorage\n",
            &text("0"),
            &text("cpu"),
            b"K\x04tQK\x00(",
            sizes,
            b"t(",
            &ones,
            b"t\x89NtR",
        ]
        .concat()
    }

    fn dict(items: &[u8]) -> Vec<u8> {
        [b"}(", items, b"u"].concat()
    }

    fn fails(pickle: &[u8]) -> String {
        let whole = [b"\x80\x02", pickle, b"."].concat();
        read(&checkpoint(&whole, &[0; 16])).err().map_or("read".into(), |e| e.to_string())
    }

    #[test]
    fn small_files_do_not_become_large_ones() {
        assert_eq!(fails(&dict(&[text("w"), tensor(b"K\x04")].concat())), "read");
        // One text, recalled as the name of many values that are no tensors.
        let one = [text(&"a".repeat(1 << 20)), b"q\x01N".to_vec()].concat();
        let many: Vec<u8> = std::iter::repeat_n(*b"h\x01N", 20_000).flatten().collect();
        assert!(fails(&dict(&[one, many].concat())).contains("no tensors"));
        let deep = [text(&"a".repeat(5000)), tensor(b"K\x04")].concat();
        assert!(fails(&dict(&deep)).contains("a tensor's name of more than 4096 bytes"));
        let axes: Vec<u8> = std::iter::repeat_n(*b"K\x01", 100_000).flatten().collect();
        assert!(fails(&dict(&[text("w"), tensor(&axes)].concat())).contains("more than 16 axes"));
        let wrap = |inner: Vec<u8>| {
            [b"ctorch._utils\n_rebuild_parameter\n(".to_vec(), inner, b"tR".to_vec()].concat()
        };
        let nested = wrap(wrap(wrap(tensor(b"K\x04"))));
        assert!(fails(&dict(&[text("w"), nested].concat())).contains("made of parameters"));
        assert_eq!(fails(&dict(&[text("w"), wrap(tensor(b"K\x04"))].concat())), "read");
    }

    #[test]
    fn values_that_are_visited_again_and_again_end() {
        // Dictionaries of 30 references to the one before: 30^8 ways to the innermost.
        let mut items = dict(&[text("w"), b"K\x00".to_vec()].concat());
        for level in 0u8..8 {
            let inner = [items, vec![b'q', 10 + level, b'0']].concat();
            let names: Vec<u8> =
                (0..30).flat_map(|i| [text(&format!("{i}")), vec![b'h', 10 + level]].concat()).collect();
            items = [inner, dict(&names)].concat();
        }
        assert!(fails(&items).contains("values in its modules"));
    }
}
