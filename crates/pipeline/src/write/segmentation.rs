//! The labels of a DICOM series as a DICOM Segmentation object.

use super::{Names, Segmented, Writer, dicom_uid, moment};
use crate::memory::Allowance;
use crate::sha256_hex;
use ampoule_dicom::{Segment, Segmentation, SegmentationKind};
use ampoule_files::write_atomic;
use std::io::{Error, Write};
use std::path::Path;

pub(super) struct DicomSegmentation;

impl Writer for DicomSegmentation {
    fn kind(&self) -> &'static str {
        "segmentation"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        match n.outputs.segmentation.filter(|_| !n.case.series.is_empty()) {
            Some(kind) => vec![n.file(name(kind), ".dcm")],
            None => Vec::new(),
        }
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> std::io::Result<()> {
        let segments: Vec<Segment> = s
            .recipe
            .foreground()
            .map(|l| Segment { value: l.value, name: &l.name, colour: l.colour })
            .collect();
        let labels: Vec<u8> = s.labels.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let kind = s.outputs.segmentation.unwrap_or_default();
        let content = sha256_hex(&labels) + &s.recipe.to_text() + env!("CARGO_PKG_VERSION") + name(kind);
        // Labels lie on the grid of the first series.
        let Some(places) = s.case.series.first() else {
            return Err(Error::other("the case is no DICOM series"));
        };
        drop(labels);
        let [date, time] = moment();
        let segmentation = Segmentation {
            kind,
            places,
            frame: s.loaded.frame,
            labels: s.labels,
            segments: &segments,
            model: &s.recipe.model.name,
            version: env!("CARGO_PKG_VERSION"),
            moment: [&date, &time],
            uid: &|purpose| dicom_uid(&sha256_hex(format!("{purpose}|{content}").as_bytes())),
        };
        let room = Allowance::of_process().room;
        write_atomic(path, |out: &mut dyn Write| segmentation.write(room, out).map_err(Error::other))
    }
}

/// What ends the name of a file.
fn name(kind: SegmentationKind) -> &'static str {
    match kind {
        SegmentationKind::Binary => "seg",
        SegmentationKind::Labelmap => "labelmap",
    }
}
