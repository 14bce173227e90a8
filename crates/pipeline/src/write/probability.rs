//! Scores of the labels: float32 NIfTI on the volume's grid, grey PNG (255 is 1) on the image's.

use super::{Names, Segmented, Writer, nifti, plain};
use crate::read::Source;
use crate::recipe::Recipe;
use ampoule_files::write_atomic;
use ampoule_imaging::photo::write_probabilities;
use std::path::Path;

pub(super) struct Probability;

/// Labels whose scores are written, by their number in the recipe.
fn labels(n: &Names) -> Vec<usize> {
    let foreground = |k: &usize| n.recipe.label[*k].value != 0;
    (0..n.recipe.label.len()).filter(|_| n.outputs.probabilities).filter(foreground).collect()
}

/// The name of a label as a value of BIDS, which has letters and digits only.
fn alphanumeric(recipe: &Recipe, k: usize) -> String {
    let own =
        |i: usize| -> String { recipe.label[i].name.chars().filter(char::is_ascii_alphanumeric).collect() };
    let unique = (0..recipe.label.len()).all(|o| o == k || own(o) != own(k));
    if unique && !own(k).is_empty() { own(k) } else { format!("{}{k}", own(k)) }
}

impl Writer for Probability {
    fn kind(&self) -> &'static str {
        "probability"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        let ending = if n.volume() { n.ending() } else { ".png" };
        let part = if n.case.bids { "probseg" } else { "prob" };
        match labels(n)[..] {
            [_] => vec![n.file(part, ending)],
            ref list if n.case.bids => list
                .iter()
                .map(|k| n.file_of(&format!("_label-{}", alphanumeric(n.recipe, *k)), part, ending))
                .collect(),
            ref list => {
                list.iter().map(|k| n.file(&format!("{part}_{}", plain(n.recipe, *k)), ending)).collect()
            }
        }
    }

    fn write(&self, i: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        let names = Names { recipe: s.recipe, case: s.case, outputs: s.outputs };
        let k = labels(&names)[i];
        let found = s.scores.iter().find(|(own, _)| *own == k);
        let (_, scores) = found.ok_or_else(|| std::io::Error::other("its scores were not kept"))?;
        if let Source::Volume { .. } = s.loaded.source {
            return nifti(s)?.with_floats(scores).save(path);
        }
        let [w, h, _] = scores.dims;
        write_atomic(path, |out| write_probabilities(out, w, h, &scores.data))
    }
}
