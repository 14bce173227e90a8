//! What MODEL means on a command line: a path, a fetched model, or one that comes with the program.

use crate::catalog::{Entry, entry};
use crate::frameworks::totalsegmentator::{PREFIX, Task, task, tasks};
use crate::{Error, Opened, Result};
use ampoule_pipeline::{RECIPE_KEY, sha256_hex};
use ampoule_torch::InputShape;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a model is.
#[derive(Clone)]
pub enum Located {
    /// A file, or a folder of a framework.
    Path(PathBuf),
    /// Inside the program.
    BuiltIn(&'static Entry),
    /// A task of TotalSegmentator, whose weights lie in a folder.
    Task(&'static Task, PathBuf),
}

/// Folders in which models are looked for by name.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Where fetched models are.
    pub models: Option<PathBuf>,
    /// Where TotalSegmentator's weights are.
    pub weights: Option<PathBuf>,
}

/// What MODEL means: an existing path, else the name of a model in `folder`, where fetched ones are, else the name of
/// one that comes with the program.
///
/// `totalsegmentator-TASK` is a task of TotalSegmentator with the weights that its user has.
pub fn locate(model: &str, folders: &Folders) -> Result<Located> {
    let folder = folders.models.as_deref();
    let path = PathBuf::from(model);
    if path.is_file() || crate::is_folder(&path) {
        return Ok(Located::Path(path));
    }
    let plain_name = !model.contains(['/', '\\']) && !model.ends_with(".onnx");
    let fetched = folder.filter(|_| plain_name).map(|f| f.join(format!("{model}.onnx")));
    if let Some(fetched) = fetched.as_ref().filter(|f| f.is_file()) {
        return Ok(Located::Path(fetched.clone()));
    }
    crate::fetch::plain(&path)?;
    let missing = |reason: String| {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, reason);
        Error::Io { path: path.clone(), source }
    };
    if !plain_name {
        return Err(missing("no such file".into()));
    }
    if let Some(task) = task(model) {
        return match &folders.weights {
            Some(weights) => Ok(Located::Task(task, weights.to_owned())),
            None => {
                Err(missing("no folder of TotalSegmentator's weights is known; name it by --weights".into()))
            }
        };
    }
    if model.starts_with(PREFIX) {
        let known: Vec<String> = tasks().iter().map(|t| format!("{PREFIX}{}", t.name)).collect();
        return Err(missing(format!(
            "this task is not known by name; known are {}; for others give the folder of the data set",
            known.join(", ")
        )));
    }
    match entry(model) {
        Ok(e) if e.built_in.is_some() => Ok(Located::BuiltIn(e)),
        Ok(e) => Err(missing(format!("it is not fetched yet; run `ampoule models fetch {}`", e.name))),
        Err(_) if folder.is_none() => Err(missing("no such file".into())),
        Err(e) => Err(e),
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Located::Path(path) => path.display().fmt(f),
            Located::BuiltIn(e) => write!(f, "{} (built in)", e.name),
            Located::Task(task, folder) => write!(f, "{PREFIX}{} ({})", task.name, folder.display()),
        }
    }
}

impl Located {
    /// Opens it; `shapes` are those of the inputs, for programs of PyTorch that do not say them.
    pub fn open(&self, shapes: &[InputShape]) -> Result<Opened> {
        match self {
            Located::Path(path) => crate::open_shaped(path, shapes),
            Located::BuiltIn(e) => e.open_built_in(),
            Located::Task(task, folder) => crate::frameworks::totalsegmentator::open(task, folder),
        }
    }

    /// Its size in bytes; 0 where it cannot be told, and then opening it says why.
    pub fn bytes(&self) -> u64 {
        match self {
            Located::Path(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            Located::BuiltIn(e) => e.built_in.map_or(0, |b| b.len() as u64),
            Located::Task(..) => 0,
        }
    }

    /// Its path as an ONNX file, for what needs one: models that are none are written into `folder`.
    pub fn into_path(self, folder: &Path) -> Result<PathBuf> {
        match self {
            Located::Path(ref path) if crate::is_folder(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                written(&self.open(&[])?, &name, folder)
            }
            Located::Path(path) => Ok(path),
            Located::BuiltIn(e) => written(&e.open_built_in()?, e.name, folder),
            Located::Task(task, _) => written(&self.open(&[])?, &format!("{PREFIX}{}", task.name), folder),
        }
    }
}

/// A model as a file of this name in a folder.
fn written(model: &Opened, name: &str, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.into(), source })?;
    let path = folder.join(format!("{name}.onnx"));
    ampoule_onnx::write_file(&model.graph, &path)?;
    Ok(path)
}

impl Entry {
    /// Opens the model that comes with the program; an error where it does not.
    pub fn open_built_in(&self) -> Result<Opened> {
        let missing = || Error::NotBuiltIn { name: self.name };
        let bytes = self.built_in.ok_or_else(missing)?;
        let mut graph = ampoule_onnx::from_bytes(bytes.into(), None, &ampoule_onnx::Limits::default())?;
        graph.set_meta(RECIPE_KEY, self.recipe);
        let note = format!(
            "{} is the one inside this program, with weights as float16; `ampoule models fetch {}` brings them as float32",
            self.name, self.name
        );
        Ok(Opened { graph, sha256: sha256_hex(bytes), notes: vec![note] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetched_model_counts_before_the_one_inside() {
        let d = tempfile::tempdir().unwrap();
        let locate = |model: &str, folder: Option<&Path>| {
            locate(model, &Folders { models: folder.map(Path::to_owned), weights: None })
        };
        let of = |folder| locate("deepbet", folder).unwrap();
        assert!(matches!(of(None), Located::BuiltIn(_)));
        assert!(matches!(of(Some(d.path())), Located::BuiltIn(_)));
        std::fs::write(d.path().join("deepbet.onnx"), "x").unwrap();
        assert!(matches!(of(Some(d.path())), Located::Path(_)));
        let error = |model, folder| locate(model, folder).err().unwrap().to_string();
        assert!(error("hd-bet", Some(d.path())).contains("models fetch hd-bet"));
        assert!(error("hd-bet", None).contains("models fetch hd-bet"));
        assert!(error("deepbed", Some(d.path())).contains("known are deepbet"));
        assert!(error("deepbet.onnx", None).contains("no such file"));
    }

    #[test]
    fn the_model_inside_opens_and_can_be_written() {
        let d = tempfile::tempdir().unwrap();
        let located = locate("deepbet", &Folders::default()).unwrap();
        let opened = located.open(&[]).unwrap();
        let path = located.into_path(&d.path().join("new")).unwrap();
        let written = crate::open(&path).unwrap();
        assert_eq!(written.graph.meta(RECIPE_KEY), opened.graph.meta(RECIPE_KEY));
        assert_eq!(written.graph.outputs.len(), opened.graph.outputs.len());
    }
}
