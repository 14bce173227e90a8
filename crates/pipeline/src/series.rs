//! DICOM series as cases: which a file, folder or ZIP file holds, and what they are called.

mod channels;

use crate::case::Case;
use crate::memory::Allowance;
use crate::recipe::{Input, Recipe};
use crate::{Error, Result};
use ampoule_dicom::{Other, Place, Scan, Series, WholeSlide};
use ampoule_imaging::formats::Format;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders within folders that are searched.
const DEEPEST: usize = 64;

/// Which DICOM series are run, and as what.
#[derive(Clone, Debug, Default)]
pub struct SeriesChoice {
    /// Only these, each by number, UID, a part of the description or a pattern of it; all where none is named.
    pub only: Vec<String>,
    /// Names of channels (`[[input]]`), each with what means its series.
    pub channels: Vec<(String, String)>,
}

/// What DICOM files hold, as cases and as what becomes of the rest.
#[derive(Default)]
pub(crate) struct SeriesCases {
    pub cases: Vec<Case>,
    pub skipped: Vec<(PathBuf, String)>,
    pub notes: Vec<String>,
}

/// Whether a file is the directory of a DICOM disc, by its name.
pub(crate) fn is_directory(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.eq_ignore_ascii_case("DICOMDIR"))
}

/// Whether a file is of DICOM, alone, packed as ZIP, or as the directory of a disc.
pub(crate) fn is_dicom(path: &Path) -> bool {
    matches!(Format::of(path), Ok(Some(Format::Dicom))) || ampoule_dicom::is_zip(path)
}

/// The instances that a file stands for: itself, the entries of a ZIP file, or what a DICOMDIR lists.
pub(crate) fn instances(path: &Path) -> Result<Vec<Place>> {
    let fail = |source| Error::Dicom { path: path.into(), source };
    if ampoule_dicom::is_zip(path) {
        return ampoule_dicom::entries(path).map_err(fail);
    }
    if is_directory(path) {
        let room = Allowance::of_process().room;
        if let Some((found, missing)) = ampoule_dicom::directory(path, room).map_err(fail)? {
            return match missing.first() {
                None => Ok(found),
                Some(file) => Err(Error::Content {
                    path: path.into(),
                    reason: format!(
                        "{} of the files that it lists are not there, such as {}; copy the whole disc",
                        missing.len(),
                        file.display()
                    ),
                }),
            };
        }
    }
    Ok(vec![Place::file(path)])
}

/// All series of a DICOM file, a ZIP file, a DICOMDIR, or the folders below one; `None` where nothing there is of DICOM.
pub fn series_in(path: &Path) -> Result<Option<Scan>> {
    let mut places = Vec::new();
    if path.is_dir() {
        below(path, 0, &mut places)?;
    } else if is_dicom(path) || is_directory(path) {
        places = instances(path)?;
    }
    let scan = ampoule_dicom::scan(&places, Allowance::of_process().room);
    // Other files are ZIP archives too, models among them.
    let found = !(scan.series.is_empty() && scan.others.is_empty() && scan.failed.is_empty());
    Ok(found.then_some(scan))
}

fn below(folder: &Path, depth: usize, into: &mut Vec<Place>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    for entry in entries {
        let path = entry.map_err(Error::io(folder))?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            // A link may lead in a circle.
            let link = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
            if depth < DEEPEST && !link && !hidden {
                below(&path, depth + 1, into)?;
            }
        } else if !hidden && !is_directory(&path) && is_dicom(&path) {
            into.extend(instances(&path)?);
        }
    }
    Ok(())
}

/// The instances of the only series that a path holds.
pub(crate) fn only(path: &Path) -> Result<Vec<Place>> {
    let content = |reason: String| Error::Content { path: path.into(), reason };
    let Some(mut scan) = series_in(path)? else {
        return Err(content("there is no DICOM series in it".into()));
    };
    if let Some((path, source)) = scan.failed.into_iter().next() {
        return Err(Error::Dicom { path, source });
    }
    match scan.series.len() {
        1 => {
            let series = scan.series.remove(0);
            series.shape.map_err(|source| Error::Dicom { path: path.into(), source })?;
            Ok(series.places)
        }
        0 => Err(content("there is no DICOM series of a volume in it".into())),
        n => {
            let list: Vec<String> = scan.series.iter().map(Series::described).collect();
            Err(content(format!("it holds {n} series ({}); give one of them", list.join(", "))))
        }
    }
}

/// The series of `found` (each instance with its folder within the results) as cases, as far as they are chosen: one each
/// where the recipe has one input, else one for each study.
pub(crate) fn cases(
    found: BTreeMap<Place, String>,
    recipe: &Recipe,
    choice: &SeriesChoice,
) -> Result<SeriesCases> {
    channels::check(recipe, choice)?;
    // A single channel is chosen as a series is.
    let named = choice.channels.iter().filter(|_| recipe.input.len() == 1).map(|(_, series)| series);
    let chosen: Vec<String> = choice.only.iter().chain(named).cloned().collect();
    let places: Vec<Place> = found.keys().cloned().collect();
    let scan = ampoule_dicom::scan(&places, Allowance::of_process().room);
    let mut out = SeriesCases { notes: left_alone(&scan.others, "volume"), ..SeriesCases::default() };
    if scan.foreign > 0 {
        out.notes
            .push(format!("{} entries of ZIP files are no DICOM files and were left alone", scan.foreign));
    }
    out.skipped = scan.failed.into_iter().map(|(path, e)| (path, e.to_string())).collect();
    let meant = |s: &Series| chosen.is_empty() || chosen.iter().any(|c| s.is_meant_by(c));
    if let Some(none) = chosen.iter().find(|c| !scan.series.iter().any(|s| s.is_meant_by(c))) {
        let there = scan.series.iter().map(Series::described).collect();
        return Err(Error::NoSeries { asked: none.clone(), there });
    }
    let meant: Vec<Series> = scan.series.into_iter().filter(meant).collect();
    if recipe.input.len() != 1 {
        channels::studies(meant, &found, recipe, choice, &mut out);
        return Ok(out);
    }
    for s in meant {
        let described = s.described();
        out.notes.extend(s.notes.iter().map(|n| format!("{described}: {n}")));
        match wrong(&s, &recipe.input[0]) {
            Some(reason) => out.skipped.push((file(&s), reason)),
            None => out.cases.push(case(vec![s], &found)),
        }
    }
    Ok(out)
}

/// Notes on objects that are of no use where `wanted` is looked for.
fn left_alone(others: &[Other], wanted: &str) -> Vec<String> {
    let one = |o: &Other| {
        let files = if o.count == 1 { "1 file".to_owned() } else { format!("{} files", o.count) };
        let (file, what) = (o.file.display(), &o.what);
        format!("{file} is {what}, no {wanted}, and was left alone ({files} of this kind)")
    };
    others.iter().map(one).collect()
}

/// The whole slides of `found` (each instance with its folder within the results) as cases.
pub(crate) fn slides(found: BTreeMap<Place, String>) -> SeriesCases {
    let places: Vec<Place> = found.keys().cloned().collect();
    let scan = ampoule_dicom::whole_slides(&places, Allowance::of_process().room);
    let one = |s: WholeSlide| {
        let folder = shared(s.places.iter().filter_map(|p| found.get(p)));
        let name = if folder.is_empty() { s.name } else { format!("{folder}/{}", s.name) };
        let files = vec![s.places.first().map(Place::shown).unwrap_or_default()];
        Case { name, files, series: vec![s.places], ..Case::default() }
    };
    SeriesCases {
        cases: scan.slides.into_iter().map(one).collect(),
        skipped: scan.failed.into_iter().map(|(path, e)| (path, e.to_string())).collect(),
        notes: left_alone(&scan.others, "slide"),
    }
}

/// The case of the whole slide that a file of DICOM is a level of, among the files beside it; `None` where it is of none.
pub fn slide_of(path: &Path) -> Result<Option<Case>> {
    let mut places = Vec::new();
    below(path.parent().unwrap_or(path), 0, &mut places)?;
    let scan = ampoule_dicom::whole_slides(&places, Allowance::of_process().room);
    let own = scan.slides.into_iter().find(|s| s.places.iter().any(|p| p.path == path));
    Ok(own.map(|s| Case { series: vec![s.places], ..Case::of_file(path) }))
}

/// The first file of a series.
fn file(s: &Series) -> PathBuf {
    s.places.first().map(Place::shown).unwrap_or_default()
}

/// Why a series is none for an input.
fn wrong(s: &Series, input: &Input) -> Option<String> {
    let described = s.described();
    match (&s.shape, input.modality()) {
        (Err(e), _) => Some(format!("{described}: {e}")),
        (Ok(_), Some(wanted)) if !wanted.eq_ignore_ascii_case(&s.modality) => Some(format!(
            "{described}: the model takes {wanted} and not {}; a network that sees another modality gives results that mean nothing",
            s.modality.escape_debug()
        )),
        (Ok(_), _) => None,
    }
}

/// A case of one series for each input, named after the first.
fn case(series: Vec<Series>, found: &BTreeMap<Place, String>) -> Case {
    let places = series.iter().flat_map(|s| &s.places);
    let folder = shared(places.filter_map(|p| found.get(p)));
    let own = series.first().map_or_else(String::new, Series::name);
    let name = if folder.is_empty() { own } else { format!("{folder}/{own}") };
    let files = series.iter().map(file).collect();
    Case { name, files, series: series.into_iter().map(|s| s.places).collect(), ..Case::default() }
}

/// The folder that all of these have in common.
fn shared<'a>(mut folders: impl Iterator<Item = &'a String>) -> String {
    let mut common: Vec<&str> = folders.next().map(|f| f.split('/').collect()).unwrap_or_default();
    for f in folders {
        let same = common.iter().zip(f.split('/')).take_while(|(a, b)| *a == b).count();
        common.truncate(same);
    }
    common.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_lie_in_the_folder_that_all_files_have_in_common() {
        let of = |list: &[&str]| shared(list.iter().map(|s| s.to_string()).collect::<Vec<_>>().iter());
        assert_eq!(of(&["a/b/c", "a/b/d", "a/b"]), "a/b");
        assert_eq!(of(&["a/b", "ab"]), "");
        assert_eq!(of(&["", "x"]), "");
    }
}
