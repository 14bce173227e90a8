//! The quality-control picture: three planes through the mask with its outline.

use crate::Volume;
use image::{ImageBuffer, Rgb, RgbImage};
use std::io;
use std::path::Path;

/// Longest side of one panel in pixels.
const PANEL: u32 = 320;
const GAP: u32 = 8;
const OUTLINE: Rgb<u8> = Rgb([255, 64, 32]);

/// Writes a PNG of the axial, coronal and sagittal planes through the mask's centre (the volume's
/// centre when the mask is empty) with the mask's outline. Volumes are in canonical (RAS)
/// orientation, so patient right is on the left of the first two panels, as radiologists look.
pub fn write(path: &Path, image: &Volume<f32>, mask: &Volume<u8>, spacing: [f64; 3]) -> io::Result<()> {
    let centre = centre(mask);
    let low = crate::normalise::quantile(&sample(image), 0.01).unwrap_or(0.0);
    let high = crate::normalise::quantile(&sample(image), 0.99).unwrap_or(1.0);
    let range = (high - low).max(f32::MIN_POSITIVE);
    // Axes along the panel's width and height, and across.
    let panels: Vec<RgbImage> = [(0, 1, 2), (0, 2, 1), (1, 2, 0)]
        .into_iter()
        .map(|(u, v, w)| {
            let extent = |a: usize| image.dims[a] as f64 * spacing[a];
            let scale = PANEL as f64 / extent(u).max(extent(v));
            let size = |a: usize| ((extent(a) * scale).round() as u32).max(1);
            let (width, height) = (size(u), size(v));
            let position = |px: u32, py: u32| {
                let mut p = [0; 3];
                // Left of the picture is the high end of the right-left axis, top is superior.
                let fu = (px as f64 + 0.5) / width as f64;
                let fu = if u == 0 { 1.0 - fu } else { fu };
                let fv = 1.0 - (py as f64 + 0.5) / height as f64;
                p[u] = ((fu * image.dims[u] as f64) as usize).min(image.dims[u] - 1);
                p[v] = ((fv * image.dims[v] as f64) as usize).min(image.dims[v] - 1);
                p[w] = centre[w];
                p
            };
            let inside = |px: u32, py: u32| {
                let p = position(px, py);
                mask.at(p[0], p[1], p[2]) != 0
            };
            ImageBuffer::from_fn(width, height, |px, py| {
                let near = [(px.wrapping_sub(1), py), (px + 1, py), (px, py.wrapping_sub(1)), (px, py + 1)];
                let edge =
                    inside(px, py) && near.iter().any(|&(x, y)| x >= width || y >= height || !inside(x, y));
                if edge {
                    return OUTLINE;
                }
                let p = position(px, py);
                let g = ((image.at(p[0], p[1], p[2]) - low) / range).clamp(0.0, 1.0);
                Rgb([(g * 255.0) as u8; 3])
            })
        })
        .collect();
    let width = panels.iter().map(|p| p.width() + GAP).sum::<u32>() - GAP;
    let height = panels.iter().map(|p| p.height()).max().unwrap_or(1);
    let mut all = RgbImage::new(width, height);
    let mut x = 0;
    for p in &panels {
        image::imageops::replace(&mut all, p, x as i64, ((height - p.height()) / 2) as i64);
        x += p.width() + GAP;
    }
    crate::nifti::write_atomic(path, |out| {
        let mut bytes = io::Cursor::new(Vec::new());
        all.write_to(&mut bytes, image::ImageFormat::Png).map_err(io::Error::other)?;
        out.write_all(bytes.get_ref())
    })
}

/// Every n-th voxel, enough for percentiles of a display window.
fn sample(v: &Volume<f32>) -> Vec<f32> {
    v.data.iter().copied().step_by((v.data.len() / 200_000).max(1)).collect()
}

fn centre(mask: &Volume<u8>) -> [usize; 3] {
    let (mut sum, mut n) = ([0u64; 3], 0u64);
    for (i, &m) in mask.data.iter().enumerate() {
        if m != 0 {
            let p = [i % mask.dims[0], i / mask.dims[0] % mask.dims[1], i / mask.dims[0] / mask.dims[1]];
            (0..3).for_each(|k| sum[k] += p[k] as u64);
            n += 1;
        }
    }
    if n == 0 { mask.dims.map(|d| d / 2) } else { sum.map(|s| (s / n) as usize) }
}
