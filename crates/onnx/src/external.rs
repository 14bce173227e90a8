//! External tensor data, confined to plain files that belong to the model.
//!
//! A location is relative, without `..`, and what it leads to must lie below the model's folder. Symbolic links may
//! lead elsewhere only in the two ways in which download caches use them: into the folder where the model's own file
//! really lies, when its path is a link too, and into a folder `blobs` beside one of the nearest folders above the
//! model. Refused are files with more than one hard link, offsets or lengths outside the file, and unknown keys (see
//! ONNX's own `ExternalDataSecurity` for the attacks behind each rule).

use crate::mapped::Mapped;
use crate::proto::TensorProto;
use crate::{Error, Result};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Where the external data of one model may lie, and what has been read of it.
#[derive(Debug, Default)]
pub struct Store {
    folder: PathBuf,
    /// The folder of the model's own file, where the model's path is a link.
    real: Option<PathBuf>,
    /// Pieces that several tensors may share, by location, offset and length.
    read: RefCell<HashMap<(String, u64, usize), Bytes>>,
    /// Files of large pieces, mapped: what is not looked at takes no memory.
    mapped: RefCell<HashMap<PathBuf, Bytes>>,
}

/// Pieces from this size on are mapped instead of read.
const MAPPED_FROM: usize = 1 << 20;

/// Folders above a model's that may have a folder `blobs` beside them.
const STORE_LEVELS: usize = 3;

impl Store {
    /// For a model in `folder`.
    pub fn in_folder(folder: &Path) -> Store {
        Store { folder: folder.to_owned(), ..Store::default() }
    }

    /// For the model file `path`.
    pub fn of_model(path: &Path) -> Store {
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let linked = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let real = linked.then(|| path.canonicalize().ok()).flatten();
        Store { real: real.and_then(|p| p.parent().map(Path::to_owned)), ..Store::in_folder(folder) }
    }

    /// Whether the file `real`, which no link leads away from, belongs to the model.
    fn holds(&self, real: &Path) -> bool {
        let Ok(folder) = self.folder.canonicalize() else { return false };
        let parent = real.parent();
        let beside = |above: &Path| parent == Some(&above.join("blobs"));
        real.starts_with(&folder)
            || (self.real.is_some() && parent == self.real.as_deref())
            || folder.ancestors().take(STORE_LEVELS).any(beside)
    }
}

fn refuse(t: &TensorProto, location: &str, reason: impl Into<String>) -> Error {
    Error::External { name: t.name.clone(), location: location.into(), reason: reason.into() }
}

/// Reads the `want` bytes of `t` that lie in a file of `store`.
pub(super) fn read(t: &TensorProto, store: &Store, want: usize) -> Result<Bytes> {
    let (mut location, mut offset, mut length) = (None, 0u64, None);
    for e in &t.external_data {
        let number = || {
            let bad = |_| refuse(t, &e.value, format!("has a {} that is not a size", e.key));
            e.value.parse::<u64>().map_err(bad)
        };
        match e.key.as_str() {
            "location" => location = Some(e.value.as_str()),
            "offset" => offset = number()?,
            "length" => length = Some(number()?),
            "checksum" | "basepath" => {}
            key => return Err(refuse(t, key, "is an unknown external-data key")),
        }
    }
    let location = location.ok_or_else(|| refuse(t, "", "has no location"))?;
    if length.is_some_and(|l| l != want as u64) {
        let found = length.unwrap_or(0);
        return Err(refuse(t, location, format!("says {found} bytes, the shape needs {want}")));
    }
    let key = (location.to_owned(), offset, want);
    if let Some(known) = store.read.borrow().get(&key) {
        return Ok(known.clone());
    }
    let path = confined(t, store, location)?;
    let io = |source| Error::Io { path: path.clone(), source };
    let mut file = ampoule_files::open_plain(&path).map_err(io)?;
    single(t, location, &file)?;
    let size = file.metadata().map_err(io)?.len();
    if offset.checked_add(want as u64).is_none_or(|end| end > size) {
        let reason = format!("holds {size} bytes, {want} from offset {offset} are asked for");
        return Err(refuse(t, location, reason));
    }
    if want >= MAPPED_FROM {
        let mut maps = store.mapped.borrow_mut();
        let whole = match maps.get(&path) {
            Some(whole) => whole.clone(),
            None => Bytes::from_owner(Mapped::new(&file, size as usize).map_err(io)?),
        };
        // Another size than a moment ago: the file is being changed.
        let start = offset as usize;
        if whole.len() < start + want {
            return Err(refuse(t, location, "changes while it is read"));
        }
        let data = whole.slice(start..start + want);
        maps.insert(path, whole);
        return Ok(data);
    }
    let mut data = Vec::new();
    data.try_reserve_exact(want).map_err(|_| Error::OutOfMemory { bytes: want as u64 })?;
    data.resize(want, 0);
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    file.read_exact(&mut data).map_err(io)?;
    let data = Bytes::from(data);
    store.read.borrow_mut().insert(key, data.clone());
    Ok(data)
}

/// Refuses a file that has another name: it may be one that the model's author was given to read only.
fn single(t: &TensorProto, location: &str, file: &File) -> Result<()> {
    match ampoule_files::links(file) {
        Ok(names) if names > 1 => Err(refuse(t, location, "has more than one hard link")),
        _ => Ok(()),
    }
}

fn confined(t: &TensorProto, store: &Store, location: &str) -> Result<PathBuf> {
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() {
        return Err(refuse(t, location, "lies outside the model's folder"));
    }
    let path = store.folder.join(relative);
    let real = path.canonicalize().map_err(|e| refuse(t, location, format!("cannot be read ({e})")))?;
    match store.holds(&real) {
        true => Ok(real),
        false => Err(refuse(
            t,
            location,
            "is or passes through a symbolic link that leads out of the model's folder",
        )),
    }
}
