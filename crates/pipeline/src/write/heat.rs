//! Heat maps: the score of a label over an image, in colour, or what a classifier saw where.

use super::{Names, OutputOptions, Segmented, Writer, plain};
use crate::predict::HeatMap;
use crate::read::{Loaded, Source};
use crate::recipe::{Kind, Recipe, Task};
use crate::record::Written;
use crate::{Error, Result, sha256_file};
use ampoule_files::write_atomic;
use ampoule_imaging::photo::write_rgb;
use ampoule_imaging::picture::heat_map;
use std::path::Path;

pub(super) struct Heat;

fn labels(n: &Names) -> Vec<usize> {
    let drawn = |k: &usize| !n.volume() && n.recipe.outputs.heat.contains(&n.recipe.label[*k].name);
    (0..n.recipe.label.len()).filter(drawn).collect()
}

impl Writer for Heat {
    fn kind(&self) -> &'static str {
        "heat"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        labels(n).into_iter().map(|k| n.file(&format!("heat_{}", plain(n.recipe, k)), ".png")).collect()
    }

    fn write(&self, i: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        let names = Names { recipe: s.recipe, case: s.case, outputs: s.outputs };
        let k = labels(&names)[i];
        let (Source::Photo(photo), Some((_, scores))) =
            (&s.loaded.source, s.scores.iter().find(|(own, _)| *own == k))
        else {
            return Err(std::io::Error::other("its scores were not kept"));
        };
        let picture =
            heat_map(photo, &scores.data, [scores.dims[0], scores.dims[1]], 1.0, &s.recipe.label[k].name);
        write_atomic(path, |out| write_rgb(out, &picture))
    }
}

/// Whether a heat map is drawn of each photo that is classified.
pub(crate) fn draws_heat(recipe: &Recipe, outputs: &OutputOptions) -> bool {
    let asked = outputs.heat || !recipe.outputs.heat.is_empty();
    asked && recipe.kind() == Kind::Image && recipe.model.task == Task::Classification
}

/// The heat map of a classifier's case, where one is drawn, with its kind.
pub(crate) fn heat_files(n: &Names) -> Vec<(&'static str, String)> {
    draws_heat(n.recipe, n.outputs).then(|| ("heat", n.file("heat", ".png"))).into_iter().collect()
}

/// Writes the heat map of a classifier's case into `folder`.
pub(crate) fn write_heat(n: &Names, loaded: &Loaded, map: &HeatMap, folder: &Path) -> Result<Vec<Written>> {
    let Source::Photo(photo) = &loaded.source else { return Ok(Vec::new()) };
    let title = format!("{}: {}", n.recipe.label[map.label].name, map.what);
    let picture = heat_map(photo, &map.values, map.size, map.top, &title);
    let write = |(kind, file): (&'static str, String)| -> Result<Written> {
        let path = folder.join(&file);
        write_atomic(&path, |out| write_rgb(out, &picture)).map_err(Error::io(&path))?;
        Ok(Written { kind: kind.into(), sha256: sha256_file(&path)?, file })
    };
    heat_files(n).into_iter().map(write).collect()
}
