//! The picture to check a case by.

use super::{Names, Segmented, Writer};
use crate::read::Source;
use ampoule_files::write_atomic;
use ampoule_imaging::photo::{Photo, write_rgb};
use ampoule_imaging::picture::{overlay, volume_qc};
use std::borrow::Cow;
use std::path::Path;

pub(super) struct Picture;

impl Writer for Picture {
    fn kind(&self) -> &'static str {
        "picture"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        vec![n.file(if n.volume() { "qc" } else { "overlay" }, ".png")]
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        match picture(s) {
            Some(picture) => write_atomic(path, |out| write_rgb(out, &picture)),
            None => Ok(()),
        }
    }
}

/// Draws it; `None` where there is no image to draw.
pub(super) fn picture(s: &Segmented) -> Option<Photo> {
    let title = s.case.main().file_name().unwrap_or_default().to_string_lossy();
    let legend = s.recipe.legend();
    Some(match &s.loaded.source {
        Source::Photo(photo) => overlay(photo, &s.labels.data, &legend, photo.mpp, &title),
        Source::Volume { nifti, turn, orientation } => {
            let turned = s.loaded.first()?;
            // The picture shows canonical planes whatever the network worked in.
            let image = match turn.is_canonical(*orientation) {
                true => Cow::Borrowed(turned),
                false => Cow::Owned(orientation.to_canonical(&turn.back(turned.clone()))),
            };
            let labels = orientation.to_canonical(s.labels);
            let spacing = orientation.spacing(nifti.affine().spacing());
            volume_qc(&image, &labels, spacing, &legend, &title)
        }
    })
}
