//! Which value is white where samples have 16 bits: a camera of twelve fills only twelve of them.

use super::Error;
use super::levels::Levels;
use crate::formats::tif;
use crate::photo::levels::{Range, Stored, scale};
use std::fs::File;

/// Most pixels that are looked at when a slide is opened.
const PIXELS: u64 = 1 << 26;

/// The value that becomes 255. The finest level that is not too large is looked at; where none is, all bits
/// count as used.
pub(super) fn of(file: &mut File, length: u64, found: &mut Levels) -> Result<u32, Error> {
    if !tif::wide(&found.pages[0]) {
        return Ok(65_535);
    }
    let mut range = Range::new();
    if let Some(page) = found.pages.iter().find(|p| p.width.saturating_mul(p.height) <= PIXELS) {
        let [across, down] = page.grid();
        for at in (0..down).flat_map(|y| (0..across).map(move |x| [x, y])) {
            if tif::chunks::has(page, at) {
                let data = tif::chunks::load(file, length, page, at)?;
                let size = [0, 1].map(|i| {
                    let whole = [page.width, page.height][i];
                    (whole - at[i] * page.chunk[i]).min(page.chunk[i]) as usize
                });
                range.add(&tif::to_values(page, &data, size)?);
            }
        }
    } else {
        range.add(&[65_535.0]);
    }
    match scale(Stored::Sixteen, range, &mut found.notes) {
        Ok(scale) => Ok(scale.white as u32),
        Err(_) => Ok(65_535),
    }
}
