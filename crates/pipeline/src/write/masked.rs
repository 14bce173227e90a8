//! The image with everything outside the labels set to 0.

use super::{Names, Segmented, Writer, nifti};
use std::path::Path;

pub(super) struct Masked;

impl Writer for Masked {
    fn kind(&self) -> &'static str {
        "masked"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        let part = &n.recipe.outputs.masked;
        if part.is_empty() || n.outputs.alone {
            return Vec::new();
        }
        match n.case.bids {
            false => vec![n.file(part, n.ending())],
            true => {
                let stem = n.case.stem();
                // The name of a case is without the modality, which names of results end in.
                let own = crate::case::stem(n.case.main());
                let suffix = own.rsplit_once('_').map_or(own.as_str(), |p| p.1);
                vec![format!("{}_desc-{part}_{suffix}{}", super::entities(stem), n.ending())]
            }
        }
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        let mask = s.labels.map(|v| (v != 0) as u8);
        nifti(s)?.masked(&mask).save(path)
    }
}
