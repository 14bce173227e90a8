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

/// The file that MODEL means: an existing file, else the name of a model in `folder`, where fetched ones are.
pub fn resolve(model: &str, folder: Option<&Path>) -> Result<PathBuf> {
    let path = PathBuf::from(model);
    if path.is_file() || crate::is_folder(&path) {
        return Ok(path);
    }
    let plain_name = !model.contains(['/', '\\']) && !model.ends_with(".onnx");
    let fetched = folder.filter(|_| plain_name).map(|f| f.join(format!("{model}.onnx")));
    if let Some(fetched) = fetched.as_ref().filter(|f| f.is_file()) {
        return Ok(fetched.clone());
    }
    plain(&path)?;
    if fetched.is_some() {
        let e = entry(model)?;
        let reason = format!("it is not fetched yet; run `ampoule models fetch {}`", e.name);
        return Err(Error::Io { path, source: std::io::Error::new(std::io::ErrorKind::NotFound, reason) });
    }
    Err(Error::Io { path, source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such file") })
}

/// Refuses what is there and no plain file: reading a pipe or a device may never end.
fn plain(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let reason = format!("it is not a plain file but {}", ampoule_pipeline::file_kind(&meta));
            Err(Error::Io { path: path.into(), source: std::io::Error::other(reason) })
        }
        _ => Ok(()),
    }
}

/// Downloads the wheel of `e` into `folder` with the user's own `pip`, and checks its hash.
pub fn download(e: &Entry, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let wanted = format!("{}=={}", e.package, e.version);
    let mut last = None;
    for program in ["python3", "python", "pip3", "pip"] {
        let mut c = Command::new(program);
        if program.starts_with("python") {
            // Isolated: without it, a file `pip.py` in the current folder would be run.
            c.args(["-I", "-m", "pip"]);
        }
        c.args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
            "--disable-pip-version-check",
            "--dest",
        ]);
        c.arg(folder).arg(&wanted).stdin(Stdio::null());
        let command = format!("{program} … pip download {wanted}");
        let failed = |reason: String| Error::Download { command, reason };
        match c.output() {
            Ok(o) if o.status.success() => {
                let wheel = newest_wheel(folder, e).ok_or_else(|| failed("it left no wheel".into()))?;
                verify(e, &wheel)?;
                return Ok(wheel);
            }
            Ok(o) => {
                let text = String::from_utf8_lossy(&o.stderr).trim().to_owned();
                last = Some(failed(text.lines().last().unwrap_or("no message").to_owned()));
            }
            // Not installed: try the next name.
            Err(_) if last.is_some() => {}
            Err(x) => last = Some(failed(x.to_string())),
        }
    }
    Err(last
        .unwrap_or_else(|| Error::Download { command: "pip download".into(), reason: "not found".into() }))
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
pub fn fetch(name: &str, from: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    let e = entry(name)?;
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let downloads = folder.join(format!(".download-{}", std::process::id()));
    let wheel = match from {
        Some(f) => plain(f).map(|()| f.to_owned()),
        None => download(e, &downloads),
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
