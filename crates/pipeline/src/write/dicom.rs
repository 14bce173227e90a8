//! Objects beside a DICOM series: the picture to check a case by, and the volumes of its labels.

use super::picture::picture;
use super::{Names, Segmented, Writer, dicom_uid, moment};
use crate::measure::measure;
use crate::memory::Allowance;
use crate::sha256_hex;
use ampoule_dicom::{Derived, LabelVolume};
use ampoule_files::write_atomic;
use std::io::{Error, Result, Write};
use std::path::Path;

pub(super) struct DicomPicture;
pub(super) struct DicomVolumes;

impl Writer for DicomPicture {
    fn kind(&self) -> &'static str {
        "capture"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        let asked = n.outputs.capture && !n.case.series.is_empty();
        asked.then(|| n.file("qc", ".dcm")).into_iter().collect()
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> Result<()> {
        let Some(drawn) = picture(s) else { return Err(Error::other("nothing can be drawn of it")) };
        let size = [drawn.width, drawn.height];
        beside(s, path, &sha256_hex(&drawn.rgb), |d, room, out| d.write_picture(size, &drawn.rgb, room, out))
    }
}

impl Writer for DicomVolumes {
    fn kind(&self) -> &'static str {
        "report"
    }

    fn files(&self, n: &Names) -> Vec<String> {
        let asked = n.outputs.report && !n.case.series.is_empty();
        asked.then(|| n.file("sr", ".dcm")).into_iter().collect()
    }

    fn write(&self, _: usize, s: &Segmented, path: &Path) -> Result<()> {
        let measured = measure(s.recipe, s.labels, s.loaded.voxel());
        let volumes: Vec<LabelVolume> =
            measured.iter().filter_map(|m| Some(LabelVolume { name: &m.name, ml: m.ml? })).collect();
        let content = format!("{volumes:?}");
        beside(s, path, &content, |d, room, out| d.write_volumes(&volumes, room, out))
    }
}

/// Writes an object beside the first series of a case, whose UIDs are made of `content`.
fn beside(
    s: &Segmented,
    path: &Path,
    content: &str,
    write: impl Fn(&Derived, u64, &mut dyn Write) -> std::result::Result<(), ampoule_dicom::Error>,
) -> Result<()> {
    let Some(places) = s.case.series.first() else {
        return Err(Error::other("the case is no DICOM series"));
    };
    let content = sha256_hex(content.as_bytes()) + &s.recipe.to_text() + env!("CARGO_PKG_VERSION");
    let [date, time] = moment();
    let derived = Derived {
        places,
        model: &s.recipe.model.name,
        version: env!("CARGO_PKG_VERSION"),
        moment: [&date, &time],
        uid: &|purpose| dicom_uid(&sha256_hex(format!("{purpose}|{content}").as_bytes())),
    };
    let room = Allowance::of_process().room;
    write_atomic(path, |out: &mut dyn Write| write(&derived, room, out).map_err(Error::other))
}
