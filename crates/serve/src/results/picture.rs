//! Photos, their labels, and pictures that a run wrote.

use super::fault::failed;
use crate::refusal::Refusal;
use ampoule_imaging::photo::{Filter, Photo, read_labels_within, write_jpeg, write_rgba};
use ampoule_imaging::picture::palette;
use ampoule_pipeline::{Allowance, Case, Error, Made};
use std::io::Read;

/// Pixels along the longer side of what is shown.
const LONGEST: usize = 2560;
/// Quality of JPEGs.
pub(super) const QUALITY: u8 = 88;
/// Largest picture of a run that is sent.
const PICTURE: u64 = 256 << 20;
/// What a PNG begins with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The photo of a case.
pub(super) fn photo(case: &Case) -> Result<Vec<u8>, Refusal> {
    let allowed = Allowance::of_process();
    let read = Photo::read_within(case.main(), allowed.room);
    let read = read.map_err(|source| failed(Error::photo(case.main(), source, allowed)))?;
    let [width, height] = shown([read.width, read.height]);
    let mut out = Vec::new();
    write_jpeg(&mut out, &read.resized(width, height, Filter::Bilinear), QUALITY)
        .map_err(|e| Refusal::fault(e.to_string()))?;
    Ok(out)
}

/// The size that an image of a size is shown in.
fn shown(size: [usize; 2]) -> [usize; 2] {
    let longest = size[0].max(size[1]);
    match longest > LONGEST {
        true => size.map(|n| (n * LONGEST / longest).max(1)),
        false => size,
    }
}

/// The labels of a photo: each in its colour, clear elsewhere.
pub(super) fn overlay(made: &Made) -> Result<Vec<u8>, Refusal> {
    let path = made.output("labels").ok_or_else(|| Refusal::unknown("the case has no labels"))?;
    let allowed = Allowance::of_process();
    let labels = read_labels_within(&path, allowed.room);
    let labels = labels.map_err(|source| failed(Error::photo(&path, source, allowed)))?;
    let size = [labels.dims[0], labels.dims[1]];
    let [width, height] = shown(size);
    let record = made.record.as_ref();
    let values: Vec<u16> = record.map(|r| r.labels.iter().map(|l| l.value).collect()).unwrap_or_default();
    let mut rgba = Vec::with_capacity(4 * width * height);
    for y in 0..height {
        for x in 0..width {
            let at = (y * size[1] / height) * size[0] + x * size[0] / width;
            let colour = values.iter().position(|v| *v == labels.data[at]).map(palette);
            rgba.extend(colour.map_or([0; 4], |[r, g, b]| [r, g, b, 255]));
        }
    }
    let mut out = Vec::new();
    write_rgba(&mut out, width, height, &rgba).map_err(|e| Refusal::fault(e.to_string()))?;
    Ok(out)
}

/// A PNG that a run wrote, as it is: a plain file beside the record, no link.
pub(super) fn written(made: &Made, kind: &str, i: usize) -> Result<Vec<u8>, Refusal> {
    let none = || Refusal::unknown("the case has no such picture");
    let path = made.outputs(kind).into_iter().nth(i).ok_or_else(none)?;
    let fine = path.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() <= PICTURE);
    let mut bytes = Vec::new();
    let read = ampoule_files::open_plain(&path).and_then(|f| f.take(PICTURE).read_to_end(&mut bytes));
    match fine && read.is_ok() && bytes.starts_with(PNG) {
        true => Ok(bytes),
        false => Err(none()),
    }
}
