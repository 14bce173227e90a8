//! The cases that training learns from, read when they are needed and kept while there is room.

use crate::progress::Progress;
use crate::{Error, Result};
use ampoule_eval::{GroundTruth, Runner};
use ampoule_pipeline::{Case, Example, UNKNOWN};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Cases with their ground truth, if there is any, as a network sees them.
pub(crate) struct Examples<'a> {
    pub paths: Vec<Case>,
    truth: Option<&'a GroundTruth>,
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
        paths: Vec<Case>,
        truth: Option<&'a GroundTruth>,
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
    pub fn check(&mut self, classes: &[String], progress: &mut Progress) -> Result<Option<Vec<u8>>> {
        let mut seen = vec![false; classes.len().max(2)];
        let mut whole = Vec::new();
        for i in 0..self.paths.len() {
            progress("read the cases", i, self.paths.len());
            let e = self.get(i)?;
            for &l in &e.labels {
                if let Some(s) = seen.get_mut(l as usize) {
                    *s = true;
                } else if l != UNKNOWN {
                    let reason = format!("its ground truth holds class {l}, the model has {}", classes.len());
                    return Err(Error::File { path: self.paths[i].main().into(), reason });
                }
            }
            if let [class] = e.labels[..] {
                whole.push(class);
            }
        }
        progress("read the cases", self.paths.len(), self.paths.len());
        if self.truth.is_some()
            && let Some(missing) = seen.iter().position(|s| !s)
        {
            let name = classes.get(missing).map_or("foreground", String::as_str);
            return Err(Error::ClassMissing { class: name.to_owned() });
        }
        Ok((whole.len() == self.paths.len()).then_some(whole))
    }
}

/// Reads one case.
fn read(case: &Case, runner: &mut Runner, truth: Option<&GroundTruth>, taught: bool) -> Result<Example> {
    let settings = runner.settings;
    let model = &mut runner.model;
    let truth = truth.map(|t| t.stored(case, &model.recipe)).transpose()?;
    Ok(Example::of_case(model, case, truth.as_ref(), taught, settings)?)
}
