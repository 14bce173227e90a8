//! Slides: cut into windows where there is tissue, put together again as a stream, drawn and measured.
//!
//! A window goes from the file to scores in one thread; windows of several threads are blended in the order of their
//! positions, so results do not depend on the threads. Rows that no later window touches leave memory at once: as
//! outlines, areas, tiles of a pyramid and parts of a picture.

mod assembler;
mod grid;
mod outputs;
mod plan;
mod reader;
mod run;
mod sink;
mod workers;

pub(crate) use run::{Forecast, forecast, run};

use crate::case::Case;
use crate::memory::Allowance;
use crate::recipe::{Kind, Recipe};
use crate::write::{Names, plain};
use crate::{Error, Result};
use ampoule_imaging::slide::Slide;
use std::path::{Path, PathBuf};

/// Longest side in pixels of a plain TIFF of one level that is a tile; a larger one is a slide.
const TILE_SIDE: u64 = 4096;

/// Whether a case is read as a slide rather than as a photo or tile: by the content of its file, or as it is a DICOM series.
pub fn is_slide(recipe: &Recipe, case: &Case) -> bool {
    recipe.kind() == Kind::Image
        && recipe.input.len() == 1
        && (!case.series.is_empty() || Slide::is_one(case.main(), TILE_SIDE))
}

/// Opens the slide of a case; decoded tiles up to `cache` bytes are kept.
pub fn open_slide(case: &Case, cache: usize) -> Result<Slide> {
    let path = case.main();
    match case.series.first() {
        Some(places) => ampoule_dicom::open_slide(places, cache, Allowance::of_process().room)
            .map_err(|source| Error::Dicom { path: path.into(), source }),
        None => Slide::open(path, cache).map_err(|source| Error::Slide { path: path.into(), source }),
    }
}

/// The files of a slide.
pub(crate) fn files(names: &Names, gzip: bool) -> Vec<(&'static str, String)> {
    let stem = names.case.stem();
    let recipe = names.recipe;
    let mut list = vec![
        ("outlines", format!("{stem}.geojson{}", if gzip { ".gz" } else { "" })),
        ("table", format!("{stem}.csv")),
        ("picture", format!("{stem}_overlay.png")),
    ];
    list.extend(
        (0..recipe.label.len())
            .filter(|k| names.outputs.probabilities && recipe.label[*k].value != 0)
            .map(|k| ("probability", format!("{stem}_prob_{}.tif", plain(recipe, k)))),
    );
    list
}

/// Where the files of a slide go.
#[derive(Clone, Debug)]
struct SlideFiles {
    geojson: PathBuf,
    table: PathBuf,
    overlay: PathBuf,
    /// Probability maps by the label's number in the recipe.
    maps: Vec<(usize, PathBuf)>,
}

impl SlideFiles {
    fn new(names: &Names, gzip: bool, folder: &Path) -> Self {
        let all = files(names, gzip);
        let path =
            |kind: &str| all.iter().find(|f| f.0 == kind).map(|f| folder.join(&f.1)).unwrap_or_default();
        let drawn = (0..names.recipe.label.len()).filter(|k| names.recipe.label[*k].value != 0);
        let maps = drawn.zip(all.iter().filter(|f| f.0 == "probability").map(|f| folder.join(&f.1)));
        SlideFiles {
            geojson: path("outlines"),
            table: path("table"),
            overlay: path("picture"),
            maps: maps.collect(),
        }
    }

    /// The probability map of a label.
    fn map(&self, label: usize) -> &Path {
        self.maps.iter().find(|m| m.0 == label).map_or(&self.table, |m| &m.1)
    }

    /// All of them, with what each is.
    fn all(&self) -> Vec<(&'static str, &PathBuf)> {
        let mut list = vec![("outlines", &self.geojson), ("table", &self.table), ("picture", &self.overlay)];
        list.extend(self.maps.iter().map(|m| ("probability", &m.1)));
        list
    }
}
