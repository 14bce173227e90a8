//! Heat maps: the score of a label over an image, in colour.

use super::{Names, Segmented, Writer, plain};
use crate::read::Source;
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
            heat_map(photo, &scores.data, [scores.dims[0], scores.dims[1]], &s.recipe.label[k].name);
        write_atomic(path, |out| write_rgb(out, &picture))
    }
}
