//! External tensor data, confined to plain files below the model's folder.
//!
//! Refused: absolute paths, `..`, symbolic links anywhere below the folder, files with more than
//! one hard link, offsets or lengths outside the file, unknown keys (see ONNX's own
//! `ExternalDataSecurity` for the attacks behind each rule).

use crate::proto::TensorProto;
use crate::{Error, Result};
use bytes::Bytes;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

fn refuse(t: &TensorProto, location: &str, reason: impl Into<String>) -> Error {
    Error::External { name: t.name.clone(), location: location.into(), reason: reason.into() }
}

/// Reads the `want` bytes of `t` that lie in a file below `folder`.
pub(super) fn read(t: &TensorProto, folder: &Path, want: usize) -> Result<Bytes> {
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
    let path = confined(t, folder, location)?;
    let io = |source| Error::Io { path: path.clone(), source };
    let mut file = File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if offset.checked_add(want as u64).is_none_or(|end| end > size) {
        let reason = format!("holds {size} bytes, {want} from offset {offset} are asked for");
        return Err(refuse(t, location, reason));
    }
    let mut data = vec![0; want];
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    file.read_exact(&mut data).map_err(io)?;
    Ok(data.into())
}

fn confined(t: &TensorProto, folder: &Path, location: &str) -> Result<PathBuf> {
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() {
        return Err(refuse(t, location, "lies outside the model's folder"));
    }
    let mut path = folder.to_owned();
    for part in relative.components() {
        path.push(part);
        let meta =
            path.symlink_metadata().map_err(|e| refuse(t, location, format!("cannot be read ({e})")))?;
        if meta.is_symlink() {
            return Err(refuse(t, location, "is or passes through a symbolic link"));
        }
        #[cfg(unix)]
        if meta.is_file() && std::os::unix::fs::MetadataExt::nlink(&meta) > 1 {
            return Err(refuse(t, location, "has more than one hard link"));
        }
    }
    if !path.is_file() {
        return Err(refuse(t, location, "is not a plain file"));
    }
    Ok(path)
}
