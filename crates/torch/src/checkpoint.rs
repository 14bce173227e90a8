//! Checkpoints that `torch.save` wrote: the zip format (since 1.6; TorchScript too) and the older one of
//! consecutive pickles.

use crate::budget::Meter;
use crate::pickle::{self, Pickle, Value};
use crate::storage::{self, Storages};
use crate::values::Collector;
use crate::{Archive, Budget, Error, Plain, Result};
use ampoule_graph::Tensor;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::Path;

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// What a checkpoint holds.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// All tensors and arrays by their dotted path.
    pub tensors: BTreeMap<String, Tensor>,
    /// Everything as it is nested; tensors stand in it by name.
    pub values: Plain,
}

/// The first pickle of the older format.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The largest file that is read.
const FILE: u64 = 16 << 30;

/// Reads a checkpoint's file; see [`from_bytes`].
pub fn read(path: &Path, budget: Budget) -> Result<Checkpoint> {
    from_bytes(&file(path, budget)?, budget)
}

/// The bytes of a plain file, whose size is checked and asked for.
pub fn file(path: &Path, budget: Budget) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(io(std::io::Error::other("it is not a plain file")));
    }
    if meta.len() > FILE {
        return Err(Error::Archive(format!("it has {} bytes", meta.len())));
    }
    budget.ask("its bytes", meta.len())?;
    std::fs::read(path).map_err(io)
}

/// Tensors by name, without anything beside them.
fn named(tensors: BTreeMap<String, Tensor>) -> Checkpoint {
    let entry = |name: &String| (Plain::Text(name.clone()), Plain::Tensor(name.clone()));
    let values = Plain::Dict(tensors.keys().map(entry).collect());
    Checkpoint { tensors, values }
}

/// Reads all tensors and plain values of a checkpoint: a state dict, a dictionary with one in it, a pickled module,
/// or the parameters and buffers of a TorchScript module under their dotted names; also tensors of safetensors files and
/// `.npz` archives. Nothing in it is executed.
pub fn from_bytes(bytes: &[u8], budget: Budget) -> Result<Checkpoint> {
    if bytes.starts_with(b"PK") {
        return zipped(bytes, budget);
    }
    if crate::safetensors::is_one(bytes) {
        budget.ask("its tensors", bytes.len() as u64)?;
        return Ok(named(crate::safetensors::read(Bytes::copy_from_slice(bytes), budget)?));
    }
    consecutive(bytes, budget)
}

/// Reads a pickle without tensors of torch: nnU-Net's `plans.pkl`, say.
pub fn from_pickle(bytes: &[u8], budget: Budget) -> Result<Checkpoint> {
    let p = pickle::read(bytes, budget)?;
    collect(&p, &mut Storages::of(HashMap::new()), budget)
}

/// The archive's folder, whose name is that of the file when it was saved.
pub(crate) fn folder(names: &[String], main: &str) -> Result<String> {
    let ending = format!("/{main}");
    let found = names.iter().find(|n| n.ends_with(&ending) && n.matches('/').count() == 1);
    let found = found.ok_or_else(|| bad(format!("there is no {main} in it")))?;
    Ok(found.trim_end_matches(main).to_owned())
}

/// Refuses archives whose numbers are big-endian.
pub(crate) fn little_endian(zip: &mut Archive<Cursor<&[u8]>>, names: &[String], folder: &str) -> Result<()> {
    let order = format!("{folder}byteorder");
    if names.contains(&order) && zip.read(&order)? != b"little" {
        return Err(bad("the tensors are big-endian"));
    }
    Ok(())
}

fn zipped(bytes: &[u8], budget: Budget) -> Result<Checkpoint> {
    let mut zip = Archive::new(Cursor::new(bytes), budget)?;
    let names = zip.names();
    if !names.is_empty() && names.iter().all(|n| n.ends_with(".npy")) {
        return Ok(named(crate::npz::read(bytes, budget)?));
    }
    let folder = folder(&names, "data.pkl")?;
    little_endian(&mut zip, &names, &folder)?;
    let p = pickle::read(&zip.read(&format!("{folder}data.pkl"))?, budget)?;
    collect(&p, &mut Storages::archived(zip, format!("{folder}data/")), budget)
}

fn consecutive(bytes: &[u8], budget: Budget) -> Result<Checkpoint> {
    let magic = pickle::read(bytes, budget).map_err(|e| match e.is_memory() {
        true => e,
        false => bad("not a PyTorch checkpoint, or damaged"),
    })?;
    if *magic.get(magic.root) != Value::Long(MAGIC.to_vec()) {
        refuse_hostile(&magic)?;
        return Err(bad("a pickle, and not a PyTorch checkpoint"));
    }
    let mut rest = &bytes[magic.length..];
    let mut next = || -> Result<Pickle> {
        let p = pickle::read(rest, budget)?;
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
    refuse_hostile(&object)?;
    let sizes = storage::widths(&object)?;
    let mut storages = HashMap::new();
    for id in keys.items(keys.root).ok_or_else(|| bad("no list of storages"))? {
        let key = keys.text(*id).ok_or_else(|| bad("a storage without name"))?;
        let width = sizes.get(key).copied().ok_or_else(|| bad("a storage nobody uses"))?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(|| bad("it ends before a storage"))?;
        let n = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(width));
        let n = n.filter(|&n| n <= after.len()).ok_or_else(|| bad("it ends inside a storage"))?;
        budget.ask("its tensors", n as u64)?;
        storages.insert(key.to_owned(), Bytes::copy_from_slice(&after[..n]));
        rest = &after[n..];
    }
    collect(&object, &mut Storages::of(storages), budget)
}

/// Modules whose functions act on the system; no weights need them.
const HOSTILE: [&str; 22] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "socket",
    "shutil",
    "ctypes",
    "importlib",
    "runpy",
    "pty",
    "commands",
    "webbrowser",
    "code",
    "codeop",
    "marshal",
    "pickle",
    "_pickle",
    "multiprocessing",
    "signal",
    "urllib",
    "requests",
];
/// Functions of Python itself that run or open what they are given.
const HOSTILE_FUNCTIONS: [&str; 7] = ["eval", "exec", "execfile", "compile", "open", "__import__", "input"];

/// Refuses a pickle that asks for functions which act on the system.
pub(crate) fn refuse_hostile(p: &Pickle) -> Result<()> {
    for id in (0..).take_while(|&id| p.nth(id).is_some()) {
        let Value::Global(name) = p.get(id) else { continue };
        let (root, last) = (name.split('.').next().unwrap_or(""), name.rsplit('.').next().unwrap_or(""));
        let of_python = matches!(root, "builtins" | "__builtin__" | "__builtins__");
        if HOSTILE.contains(&root) || (of_python && HOSTILE_FUNCTIONS.contains(&last)) {
            return Err(Error::Hostile { wanted: name.clone() });
        }
    }
    Ok(())
}

fn collect(p: &Pickle, storages: &mut Storages, budget: Budget) -> Result<Checkpoint> {
    refuse_hostile(p)?;
    let mut collector = Collector::new(p, storages, Meter::new(budget));
    let values = collector.root()?;
    Ok(Checkpoint { tensors: collector.tensors, values })
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
        from_bytes(&checkpoint(&whole, &[0; 16]), Budget::default())
            .and_then(|c| c.state(false))
            .err()
            .map_or("read".into(), |e| e.to_string())
    }

    #[test]
    fn small_files_do_not_become_large_ones() {
        assert_eq!(fails(&dict(&[text("w"), tensor(b"K\x04")].concat())), "read");
        // One text, recalled as the name of many values that are no tensors.
        let one = [text(&"a".repeat(1 << 20)), b"q\x01N".to_vec()].concat();
        let many: Vec<u8> = std::iter::repeat_n(*b"h\x01N", 20_000).flatten().collect();
        assert!(fails(&dict(&[one, many].concat())).contains("bytes of text"));
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

    #[test]
    fn functions_that_act_on_the_system_are_refused_by_name() {
        let call = [b"}(".to_vec(), text("a"), b"cposix\nsystem\n(".to_vec(), text("true"), b"tRu".to_vec()]
            .concat();
        assert!(fails(&call).contains("asks to call `posix.system`"));
        let call =
            [b"}(".to_vec(), text("a"), b"cbuiltins\neval\n(".to_vec(), text("1"), b"tRu".to_vec()].concat();
        assert!(fails(&call).contains("asks to call `builtins.eval`"));
    }

    #[test]
    fn objects_of_unknown_classes_are_values_and_tensors_come_out() {
        let object = b"cmine.own\nThing\n)\x81}(".to_vec();
        let object = [object, text("depth"), b"K\x03ub".to_vec()].concat();
        let items = [
            text("init"),
            object,
            text("network_weights"),
            dict(&[text("module.w"), tensor(b"K\x04")].concat()),
        ];
        let whole = [b"\x80\x02", &dict(&items.concat())[..], b"."].concat();
        let c = from_bytes(&checkpoint(&whole, &[0; 16]), Budget::default()).unwrap();
        let init = c.values.get("init").unwrap();
        assert!(matches!(init, Plain::Object { class, .. } if class == "mine.own.Thing"));
        assert_eq!(init.get("depth"), Some(&Plain::Int(3)));
        let state = c.state(false).unwrap();
        assert_eq!(state.key, "network_weights");
        assert_eq!(state.tensors.keys().collect::<Vec<_>>(), ["w"]);
    }
}
