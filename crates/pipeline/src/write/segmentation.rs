//! The labels of a DICOM series as a DICOM Segmentation object.

use super::{Names, Segmented, Writer};
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
        let now = jiff::Timestamp::now();
        let [date, time] = ["%Y%m%d", "%H%M%S"].map(|f| now.strftime(f).to_string());
        let segmentation = Segmentation {
            kind,
            places,
            frame: s.loaded.frame,
            labels: s.labels,
            segments: &segments,
            model: &s.recipe.model.name,
            version: env!("CARGO_PKG_VERSION"),
            moment: [&date, &time],
            uid: &|purpose| uid(&sha256_hex(format!("{purpose}|{content}").as_bytes())),
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

/// A UID of the root for UUIDs (PS3.5, B.2), made of the beginning of a hash.
fn uid(hash: &str) -> String {
    let bits = hash.get(..32).and_then(|h| u128::from_str_radix(h, 16).ok()).unwrap_or(1);
    // Version 8, whose other bits are free, and the variant that all UUIDs have.
    let uuid = bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    format!("2.25.{uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_differ() {
        let [a, b] = ["a", "b"].map(|t| uid(&sha256_hex(t.as_bytes())));
        assert!(a != b && a.len() <= 64 && a.chars().all(|c| c.is_ascii_digit() || c == '.'), "{a}");
    }
}
