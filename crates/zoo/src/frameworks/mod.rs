//! Folders of trained networks as frameworks leave them, opened by their configuration: an architecture and a recipe.
//!
//! A model path is opened here and nowhere else. What a folder is, its files tell; each framework has one entry in
//! [`FRAMEWORKS`].

mod brainmage;
mod checkpoint;
mod config;
mod files;
mod gandlf;
mod hub;
mod monai;
mod named;
mod nnunet;
mod synthstrip;
pub(crate) mod totalsegmentator;
mod unknown;
mod wsinfer;
mod yaml;

use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_torch::{Content, InputShape};
use files::Files;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A model that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its network or networks, with the recipe in their metadata.
    pub graph: Graph,
    /// Hash of the files that it was made of.
    pub sha256: String,
    /// What a user should know.
    pub notes: Vec<String>,
}

/// What a framework makes of a folder.
pub(crate) struct Found {
    pub graph: Graph,
    pub notes: Vec<String>,
}

/// Opens a folder; `None` where it is none of the framework's.
type Open = fn(&Files) -> Result<Option<Found>>;

/// All frameworks whose folders are known.
const FRAMEWORKS: [Open; 7] = [
    // Its folders are nnU-Net's too, and come first.
    |files| {
        totalsegmentator::find(files)?
            .map(|(task, weights)| totalsegmentator::built(task, &weights))
            .transpose()
    },
    |files| nnunet::find(files)?.map(nnunet::open).transpose(),
    |files| gandlf::find(files)?.map(|model| gandlf::open(&model)).transpose(),
    |files| brainmage::find(files)?.map(|which| brainmage::open(files, which)).transpose(),
    |files| monai::find(files)?.map(|bundle| monai::open(&bundle)).transpose(),
    |files| wsinfer::find(files)?.map(|config| wsinfer::open(files, &config)).transpose(),
    |files| hub::find(files)?.map(|model| hub::open(files, &model)).transpose(),
];

/// Bytes that every zip archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";

/// Opens what a model path means: an ONNX file, a TorchScript or `torch.export` archive, a folder of a framework, a zip
/// archive of such a folder, or a folder within such an archive.
pub fn open(path: &Path) -> Result<Opened> {
    open_shaped(path, &[])
}

/// Opens a model path; `shapes` are those of the inputs, for programs of PyTorch that do not say them.
pub fn open_shaped(path: &Path, shapes: &[InputShape]) -> Result<Opened> {
    if path.is_dir() {
        return in_folder(Files::folder(path), path);
    }
    if let Some((zip, within)) = inside_zip(path) {
        return in_folder(Files::zip(&zip, &within)?, path);
    }
    let mut head = [0; 4];
    let read = ampoule_files::open_plain(path).and_then(|mut f| f.read_exact(&mut head));
    if read.is_ok() && head == *ZIP {
        if let Some(opened) = archive(path, shapes)? {
            return Ok(opened);
        }
        return in_folder(Files::zip(path, "")?, path);
    }
    if is_weights(path, &head)
        && let Some(opened) = named::open(path)?
    {
        return Ok(opened);
    }
    let graph = ampoule_onnx::read_file(path).map_err(|e| match unknown::file(path, &head) {
        Some(reason) => Error::Folder { path: path.into(), reason },
        None => Error::Pipeline(ampoule_pipeline::Error::Model { path: path.into(), source: e }),
    })?;
    let sha256 = ampoule_pipeline::sha256_file(path)?;
    Ok(Opened { graph, sha256, notes: Vec::new() })
}

/// Whether a file is one of weights alone, in another form than an archive: a pickle, or safetensors.
fn is_weights(path: &Path, head: &[u8; 4]) -> bool {
    matches!(head, [0x80, 2..=5, ..]) || path.extension().is_some_and(|e| e == "safetensors")
}

/// The network of an archive that PyTorch wrote: with its code, or of weights whose architecture a name tells. `None` for
/// other archives.
fn archive(path: &Path, shapes: &[InputShape]) -> Result<Option<Opened>> {
    let about = |source| Error::Program { path: path.into(), source };
    let bytes = ampoule_torch::file(path, crate::torch::budget()).map_err(about)?;
    match ampoule_torch::content(&bytes, crate::torch::budget()).map_err(about)? {
        Content::Program => {}
        Content::Weights => {
            drop(bytes);
            let found = named::open(path)?;
            return found.map(Some).ok_or(about(ampoule_torch::Error::NoProgram));
        }
        Content::Other => return Ok(None),
    }
    let graph = ampoule_torch::graph(&bytes, shapes, crate::torch::budget()).map_err(about)?;
    let mut notes = Vec::new();
    let batch = graph.inputs.first().and_then(|i| graph.value(*i).shape.as_ref()?.first()?.known());
    if let (Some(n), true) = (batch, shapes.is_empty()) {
        notes.push(format!("{}: its code takes a batch of {n}", path.display()));
    }
    Ok(Some(Opened { graph, sha256: ampoule_pipeline::sha256_file(path)?, notes }))
}

/// Whether a model path is opened as something else than an ONNX file.
pub fn is_folder(path: &Path) -> bool {
    let mut head = [0; 4];
    let mut other = || {
        let read = ampoule_files::open_plain(path).and_then(|mut f| f.read_exact(&mut head));
        read.is_ok() && (head == *ZIP || is_weights(path, &head))
    };
    path.is_dir() || inside_zip(path).is_some() || other()
}

/// The archive that a path leads into, and the rest of the path.
fn inside_zip(path: &Path) -> Option<(PathBuf, String)> {
    let archive = path.ancestors().skip(1).find(|p| p.is_file())?;
    let rest = path.strip_prefix(archive).ok()?;
    let parts: Vec<String> = rest.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    Some((archive.to_owned(), parts.join("/")))
}

fn in_folder(files: Files, path: &Path) -> Result<Opened> {
    for open in FRAMEWORKS {
        if let Some(found) = open(&files)? {
            return Ok(Opened { graph: found.graph, sha256: files.fingerprint(), notes: found.notes });
        }
    }
    Err(Error::Folder { path: path.into(), reason: unknown::folder(&files)? })
}

/// A JSON file as values.
fn json(files: &Files, name: &str) -> Result<serde_json::Value> {
    let text = files.text(name)?;
    serde_json::from_str(&text).map_err(|e| files.wrong(name, format!("it is no JSON: {e}")))
}
