//! The cases that training learns from, read when they are needed and kept while there is room.

use crate::cases::{Runner, Truth, volume_of};
use crate::{Error, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::photo::Photo;
use ampoule_pipeline::photos::{PhotoRecipe, Task};
use ampoule_pipeline::{Example, UNKNOWN};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Cases with their truth, if there is any, as a network sees them.
pub(super) struct Examples<'a> {
    pub paths: Vec<PathBuf>,
    truth: Option<&'a Truth>,
    /// What prepares them; for volumes also what teaches.
    runner: Runner,
    /// Whether the runner's own results are to be learned.
    taught: bool,
    kept: BTreeMap<usize, Rc<Example>>,
    held: usize,
    /// Most bytes of examples that are kept.
    most: usize,
}

impl<'a> Examples<'a> {
    pub fn new(
        paths: Vec<PathBuf>,
        truth: Option<&'a Truth>,
        runner: Runner,
        taught: bool,
        most: usize,
    ) -> Self {
        Examples { paths, truth, runner, taught, kept: BTreeMap::new(), held: 0, most }
    }

    /// Example `i`.
    pub fn get(&mut self, i: usize) -> Result<Rc<Example>> {
        if let Some(e) = self.kept.get(&i) {
            return Ok(e.clone());
        }
        let e = Rc::new(read(&self.paths[i], &mut self.runner, self.truth, self.taught)?);
        if self.held + e.bytes() <= self.most {
            self.held += e.bytes();
            self.kept.insert(i, e.clone());
        }
        Ok(e)
    }

    /// Reads all once: what does not fit is noticed before training begins, and so is a class that no case
    /// shows. Returns the class of each case where whole cases have one.
    pub fn check(&mut self, classes: &[String], told: &mut super::Told) -> Result<Option<Vec<u8>>> {
        let mut seen = vec![false; classes.len().max(2)];
        let mut whole = Vec::new();
        for i in 0..self.paths.len() {
            told("read the cases", i, self.paths.len());
            let e = self.get(i)?;
            for &l in &e.labels {
                if let Some(s) = seen.get_mut(l as usize) {
                    *s = true;
                } else if l != UNKNOWN {
                    let reason = format!("its truth holds class {l}, the model has {}", classes.len());
                    return Err(Error::Input { path: self.paths[i].clone(), reason });
                }
            }
            if let [class] = e.labels[..] {
                whole.push(class);
            }
        }
        told("read the cases", self.paths.len(), self.paths.len());
        if self.truth.is_some()
            && let Some(missing) = seen.iter().position(|s| !s)
        {
            let name = classes.get(missing).map_or("foreground", String::as_str);
            return Err(Error::Utility(format!(
                "no case of --finetune shows the class `{name}`, which training would unlearn; add cases of it"
            )));
        }
        Ok((whole.len() == self.paths.len()).then_some(whole))
    }
}

/// Reads one case.
fn read(path: &Path, runner: &mut Runner, truth: Option<&Truth>, taught: bool) -> Result<Example> {
    let fail = |reason: String| Error::Input { path: path.into(), reason };
    match runner {
        Runner::Photos(model) => {
            let recipe: &PhotoRecipe = &model.recipe;
            let photo = Photo::read(path).map_err(|e| fail(e.to_string()))?;
            let dims = match recipe.task {
                Task::Classification => [1; 3],
                Task::Delineation => [photo.width, photo.height, 1],
            };
            let truth = truth.map(|t| t.of(path, dims, recipe.classes.len())).transpose()?;
            Ok(Example::of_photo(&photo, recipe, truth.as_ref()))
        }
        Runner::Volumes(model, settings) => {
            let (volume, spacing) = volume_of(path, &model.recipe)?;
            let truth: Option<Volume<u8>> = truth.map(|t| t.of(path, volume.dims, 2)).transpose()?;
            Example::of_volume(model, &volume, spacing, truth.as_ref(), taught, *settings)?.map_err(fail)
        }
    }
}
