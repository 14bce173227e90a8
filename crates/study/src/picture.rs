//! Pictures of the worst cases: the image with both results' outlines.

use crate::cell::Labelled;
use crate::prediction_file::read;
use crate::results::Picture;
use crate::{Error, Result};
use ampoule_eval::dice;
use ampoule_files::write_atomic;
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::photo::{Photo, write_rgb};
use ampoule_imaging::{Volume, normalise};
use ampoule_pipeline::Case;
use std::path::Path;

/// Longest side of a picture in pixels; small tiles are made larger by whole steps up to it.
const SIDE: usize = 512;

/// Colours of the outlines: the baseline's, the variant's, and where both are the same.
pub(crate) const COLOURS: [[u8; 3]; 3] = [[0, 176, 255], [255, 128, 0], [255, 255, 255]];

/// Draws the case whose results overlap least, to `folder`/`file`; nothing where all results are the same or
/// are single classes.
pub(crate) fn worst(
    baseline: &[Labelled],
    variant: &[Labelled],
    folder: &Path,
    file: &str,
) -> Result<Option<Picture>> {
    let mut least: Option<(f64, usize)> = None;
    for (i, (a, b)) in baseline.iter().zip(variant).enumerate() {
        if a.error.is_some() || b.error.is_some() || a.dims == [1; 3] || a.dims != b.dims {
            continue;
        }
        let (a, b) = (foreground(read(a)?.labels), foreground(read(b)?.labels));
        let d = dice(&a, &b, 1);
        if a != b && least.is_none_or(|l| d < l.0) {
            least = Some((d, i));
        }
    }
    let Some((dice, i)) = least else { return Ok(None) };
    let case = &baseline[i].case;
    let (a, b) = (foreground(read(&baseline[i])?.labels), foreground(read(&variant[i])?.labels));
    let photo = match a.dims[2] {
        1 => tile(case.main(), &a, &b)?,
        _ => slice(case, &a, &b, baseline[i].spacing)?,
    };
    let path = folder.join(file);
    let fail = |e: std::io::Error| Error::File { path: path.clone(), reason: e.to_string() };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    let mut bytes = Vec::new();
    write_rgb(&mut bytes, &photo).map_err(|e| Error::File { path: path.clone(), reason: e.to_string() })?;
    ampoule_files::remove_left_over(&path);
    write_atomic(&path, |out| out.write_all(&bytes)).map_err(fail)?;
    let case = case.main().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(Picture { file: file.into(), case, dice }))
}

fn foreground(labels: Volume<u16>) -> Volume<u16> {
    labels.map(|l| (l > 0) as u16)
}

/// A tile with outlines, made smaller or larger by whole steps.
fn tile(case: &Path, a: &Volume<u16>, b: &Volume<u16>) -> Result<Photo> {
    let allowed = ampoule_pipeline::Allowance::of_process();
    let photo = Photo::read_within(case, allowed.room)
        .map_err(|e| ampoule_pipeline::Error::photo(case, e, allowed))?;
    let longest = photo.width.max(photo.height).max(1);
    let (step, times) = (longest.div_ceil(SIDE), (SIDE / longest).max(1));
    let [w, h] = [photo.width, photo.height].map(|n| n.div_ceil(step) * times);
    let at = |u: usize, v: usize| {
        [(u / times * step).min(photo.width - 1), (v / times * step).min(photo.height - 1)]
    };
    let pixel = |u: usize, v: usize| {
        let [x, y] = at(u, v);
        photo.at(x, y)
    };
    let inside = |m: &Volume<u16>, u: usize, v: usize| {
        let [x, y] = at(u, v);
        m.at(x, y, 0) != 0
    };
    Ok(draw([w, h], pixel, |u, v| inside(a, u, v), |u, v| inside(b, u, v)))
}

/// The plane across the third axis where the results differ most.
fn slice(case: &Case, a: &Volume<u16>, b: &Volume<u16>, spacing: [f64; 3]) -> Result<Photo> {
    let allowed = ampoule_pipeline::Allowance::of_process();
    let image = ampoule_pipeline::read_image(case, None, allowed)?;
    let volume = Orientation::of(&image.affine()).to_canonical(&image.to_f32().0);
    if volume.dims != a.dims {
        return Err(Error::File { path: case.main().into(), reason: "its result has another grid".into() });
    }
    let plane = a.dims[0] * a.dims[1];
    let differ = |z: usize| (z * plane..(z + 1) * plane).filter(|&i| a.data[i] != b.data[i]).count();
    let z = (0..a.dims[2]).max_by_key(|&z| differ(z)).unwrap_or(0);
    let grey = &volume.data[z * plane..(z + 1) * plane];
    let low = normalise::quantile(grey, 0.01).unwrap_or(0.0);
    let range = (normalise::quantile(grey, 0.99).unwrap_or(1.0) - low).max(f32::MIN_POSITIVE);
    // Square pixels, anterior and superior up, the patient's right on the left.
    let extent = [0, 1].map(|i| a.dims[i] as f64 * spacing[i]);
    let scale = SIDE as f64 / extent[0].max(extent[1]);
    let size = extent.map(|e| ((e * scale).round() as usize).max(1));
    let at = |u: usize, v: usize| {
        let x = (1.0 - (u as f64 + 0.5) / size[0] as f64) * a.dims[0] as f64;
        let y = (1.0 - (v as f64 + 0.5) / size[1] as f64) * a.dims[1] as f64;
        [(x as usize).min(a.dims[0] - 1), (y as usize).min(a.dims[1] - 1)]
    };
    let pixel = |u: usize, v: usize| {
        let [x, y] = at(u, v);
        [(((grey[y * a.dims[0] + x] - low) / range).clamp(0.0, 1.0) * 255.0) as u8; 3]
    };
    let inside = |m: &Volume<u16>, u: usize, v: usize| {
        let [x, y] = at(u, v);
        m.at(x, y, z) != 0
    };
    Ok(draw(size, pixel, |u, v| inside(a, u, v), |u, v| inside(b, u, v)))
}

/// An image with the outlines of two regions.
fn draw(
    [w, h]: [usize; 2],
    pixel: impl Fn(usize, usize) -> [u8; 3],
    a: impl Fn(usize, usize) -> bool,
    b: impl Fn(usize, usize) -> bool,
) -> Photo {
    let edge = |inside: &dyn Fn(usize, usize) -> bool, u: usize, v: usize| {
        inside(u, v)
            && [(u.wrapping_sub(1), v), (u + 1, v), (u, v.wrapping_sub(1)), (u, v + 1)]
                .iter()
                .any(|&(x, y)| x >= w || y >= h || !inside(x, y))
    };
    let mut rgb = Vec::with_capacity(3 * w * h);
    for v in 0..h {
        for u in 0..w {
            rgb.extend(match (edge(&a, u, v), edge(&b, u, v)) {
                (true, true) => COLOURS[2],
                (true, false) => COLOURS[0],
                (false, true) => COLOURS[1],
                (false, false) => pixel(u, v),
            });
        }
    }
    Photo::new(w, h, rgb)
}
