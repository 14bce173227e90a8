//! The label map: NIfTI on the volume's grid, PNG on the image's.

use super::{Names, Segmented, Writer, nifti};
use crate::read::Source;
use ampoule_files::write_atomic;
use ampoule_imaging::photo::write_labels;
use std::path::Path;

pub(super) struct Labels;

impl Writer for Labels {
    fn kind(&self) -> &'static str {
        "labels"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        if let Some(name) = n.outputs.labels.as_ref().and_then(|p| p.file_name()) {
            return vec![name.to_string_lossy().into_owned()];
        }
        let several = n.recipe.foreground().count() > 1;
        let part = if n.case.bids && several { "dseg" } else { "mask" };
        vec![n.file(part, if n.volume() { n.ending() } else { ".png" })]
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        if let Source::Volume { .. } = s.loaded.source {
            return nifti(s)?.with_labels(s.labels).save(path);
        }
        let [w, h, _] = s.labels.dims;
        let most = s.recipe.label.iter().map(|l| l.value).max().unwrap_or(0);
        write_atomic(path, |out| write_labels(out, w, h, &s.labels.data, most))
    }
}
