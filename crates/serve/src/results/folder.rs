//! An output folder, its cases by number, and what is kept of them while somebody looks.

use super::fault::failed;
use super::original::{Files, original};
use super::review::{Review, Reviews};
use super::slide::Opened;
use super::{picture, volume};
use crate::refusal::Refusal;
use ampoule_pipeline::{Case, Made, results};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

/// Slides that stay open.
const SLIDES: usize = 2;

/// An output folder.
pub(crate) struct Folder {
    pub output: PathBuf,
    files: Files,
    listed: Mutex<Option<(SystemTime, Arc<Vec<Made>>)>>,
    /// Images that were found and compared, by case, with when their files were last changed.
    found: Mutex<BTreeMap<String, (SystemTime, Case)>>,
    reviews: Reviews,
    slides: Mutex<Vec<(PathBuf, Arc<Opened>)>>,
    /// Held while an image is made: one at a time, so that memory stays within bounds.
    at_work: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Folder {
    /// The folder of results `output`.
    pub fn new(output: &Path, files: Files) -> Folder {
        Folder {
            output: output.to_owned(),
            files,
            listed: Mutex::default(),
            found: Mutex::default(),
            reviews: Reviews::new(output.join("review.csv")),
            slides: Mutex::default(),
            at_work: Mutex::default(),
        }
    }

    /// All cases, read again when the table has changed.
    pub fn cases(&self) -> Result<Arc<Vec<Made>>, Refusal> {
        let table = self.output.join("cases.csv");
        let changed = table.metadata().and_then(|m| m.modified());
        let changed = changed.map_err(|_| Refusal::unknown("there are no results (no cases.csv)"))?;
        let mut listed = lock(&self.listed);
        if let Some((when, list)) = &*listed
            && *when == changed
        {
            return Ok(list.clone());
        }
        let list = Arc::new(results(&self.output).map_err(failed)?);
        *listed = Some((changed, list.clone()));
        Ok(list)
    }

    /// The case of a number, counted from 0.
    fn case(&self, number: usize) -> Result<Made, Refusal> {
        let all = self.cases()?;
        all.get(number).cloned().ok_or_else(|| Refusal::unknown(format!("there is no case {number}")))
    }

    /// The image of a case.
    fn original(&self, made: &Made) -> Result<Case, Refusal> {
        let changed = |case: &Case| case.main().metadata().and_then(|m| m.modified()).ok();
        if let Some((when, case)) = lock(&self.found).get(&made.name)
            && changed(case) == Some(*when)
        {
            return Ok(case.clone());
        }
        let case = original(made, &self.files)?;
        if let Some(when) = changed(&case) {
            lock(&self.found).insert(made.name.clone(), (when, case.clone()));
        }
        Ok(case)
    }

    /// A volume as NIfTI.
    pub fn volume(&self, number: usize) -> Result<Vec<u8>, Refusal> {
        let made = self.case(number)?;
        let _one = lock(&self.at_work);
        volume::image(&self.original(&made)?, &made)
    }

    /// The labels of a volume as NIfTI.
    pub fn labels(&self, number: usize) -> Result<Vec<u8>, Refusal> {
        let made = self.case(number)?;
        let _one = lock(&self.at_work);
        volume::labels(&made)
    }

    /// A photo, of a size for a screen, as JPEG.
    pub fn photo(&self, number: usize) -> Result<Vec<u8>, Refusal> {
        let made = self.case(number)?;
        let _one = lock(&self.at_work);
        picture::photo(&self.original(&made)?)
    }

    /// The labels of a photo in colours, clear where there are none, as PNG.
    pub fn overlay(&self, number: usize) -> Result<Vec<u8>, Refusal> {
        let made = self.case(number)?;
        let _one = lock(&self.at_work);
        picture::overlay(&made)
    }

    /// Picture `i` of a kind (`picture`, `heat`) as PNG.
    pub fn picture(&self, number: usize, kind: &str, i: usize) -> Result<Vec<u8>, Refusal> {
        picture::written(&self.case(number)?, kind, i)
    }

    /// The slide of a case, open.
    pub fn slide(&self, number: usize) -> Result<(Made, Arc<Opened>), Refusal> {
        let made = self.case(number)?;
        let case = self.original(&made)?;
        let opened = self.opened(case.main(), || Opened::slide(&case))?;
        Ok((made, opened))
    }

    /// Probability map `i` of a slide, open.
    pub fn map(&self, number: usize, i: usize) -> Result<Arc<Opened>, Refusal> {
        let made = self.case(number)?;
        let all = made.outputs("probability");
        let path = all.get(i).ok_or_else(|| Refusal::unknown("there is no such map"))?;
        self.opened(path, || Opened::map(path))
    }

    fn opened(
        &self,
        path: &Path,
        open: impl FnOnce() -> Result<Opened, Refusal>,
    ) -> Result<Arc<Opened>, Refusal> {
        let mut slides = lock(&self.slides);
        if let Some(at) = slides.iter().position(|s| s.0 == path) {
            let found = slides.remove(at);
            slides.push(found);
        } else {
            let opened = Arc::new(open()?);
            slides.push((path.to_owned(), opened));
            let more = slides.len().saturating_sub(SLIDES);
            slides.drain(..more);
        }
        let last = slides.last().map(|s| s.1.clone());
        last.ok_or_else(|| Refusal::fault("no slide is open"))
    }

    /// Outlines of a slide as GeoJSON.
    pub fn outlines(&self, number: usize) -> Result<Vec<u8>, Refusal> {
        super::slide::outlines(&self.case(number)?)
    }

    /// What people said of the cases.
    pub fn reviews(&self) -> Result<Vec<Review>, Refusal> {
        self.reviews.all()
    }

    /// Notes what somebody says of the case of a number, which must be the one that is named.
    pub fn review(&self, number: usize, review: Review) -> Result<(), Refusal> {
        if self.case(number)?.name != review.case {
            let message = "the list of cases has changed; load the page again";
            return Err(Refusal::new(axum::http::StatusCode::CONFLICT, message));
        }
        self.reviews.note(review)
    }
}
