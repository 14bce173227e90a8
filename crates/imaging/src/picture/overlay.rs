//! Outlines on a photo, a tile or a slide's thumbnail.

use super::Legend;
use super::canvas::{ALARM, Canvas};
use super::colour::Key;
use super::frame::{GROUND, Header, MARGIN};
use super::outline::{self, FINE};
use super::raster::raster;
use super::scale_bar;
use crate::photo::{Filter, Photo};

/// Longest side of a shown photo in pixels.
const LONGEST: usize = 1920;
/// Photos with a shorter longest side than this are enlarged.
const SMALL: usize = 640;
/// Narrowest picture, for the text above.
const NARROWEST: usize = 480;
/// Opacity within outlines.
const FILL: f32 = 0.12;

/// The photo with the outlines of its labels (`labels` row by row, one a pixel, 0 background; 8 or 16 bits),
/// title, legend of the labels that occur and, where the size of a pixel is known (`mpp`, micrometres), a scale
/// bar. The longest side is at most 2000 pixels or so: large photos are shrunk, small ones enlarged. Labels of
/// another size than the photo's are not drawn, which the picture says.
pub fn overlay<L: Copy + Into<u16>>(
    photo: &Photo,
    labels: &[L],
    legend: &[Legend],
    mpp: Option<f64>,
    title: &str,
) -> Photo {
    let (key, mut lines) = (Key::new(legend, false), Vec::new());
    let fits = labels.len() == photo.width * photo.height;
    let found = found(if fits { labels } else { &[] });
    if !fits {
        lines.push(("labels have another size and are not shown".to_owned(), ALARM));
    } else if found.is_empty() {
        lines.push(("EMPTY RESULT: no pixel is labelled".to_owned(), ALARM));
    }
    let header = Header { title: title.to_owned(), lines, labels: key.entries(found.iter().copied()) };
    let stage = Stage::new(photo, &header, 0);
    let mut canvas = stage.canvas(&header);
    if !found.is_empty() {
        let size = [stage.shown.width, stage.shown.height];
        let cells = raster([photo.width, photo.height], size.map(|n| n * FINE), |x, y| {
            labels[y * photo.width + x].into()
        });
        // Two or three pixels.
        let thickness = (size[0].max(size[1]) * FINE / 400).clamp(2 * FINE, 3 * FINE);
        outline::draw(&mut canvas, stage.at, &cells, thickness, FILL, &key);
    }
    stage.scale_bar(&mut canvas, mpp);
    canvas.into_photo()
}

/// Most bytes that drawing [`overlay`] takes for a photo of this size: the photo as it is shown, the picture around it,
/// and the labels' raster with the lines on it.
pub fn overlay_bytes(width: usize, height: usize) -> u64 {
    let longest = width.max(height).max(1) as f64;
    let scale = (LONGEST as f64 / longest).min((SMALL as f64 / longest).max(1.0));
    let shown = (width as f64 * scale).ceil() as u64 * (height as f64 * scale).ceil() as u64;
    let cells = (FINE * FINE) as u64 * shown;
    // Enlarged photos have the labels of their pixels beside the raster.
    let pixels = if scale > 1.0 { (width * height) as u64 } else { 0 };
    2 * 3 * shown + 3 * cells + 2 * pixels
}

/// Labels that occur, in order, without background.
fn found<L: Copy + Into<u16>>(labels: &[L]) -> Vec<u16> {
    let mut seen = vec![false; 1 << 16];
    labels.iter().for_each(|&l| seen[usize::from(l.into())] = true);
    (1..=u16::MAX).filter(|&l| seen[usize::from(l)]).collect()
}

/// A photo in the size it is shown in, below a header.
pub(super) struct Stage {
    pub shown: Photo,
    /// Where it stands.
    pub at: [usize; 2],
    /// Shown pixels a pixel of the photo.
    scale: f64,
    width: usize,
}

impl Stage {
    /// `margin` pixels stay free on the right.
    pub fn new(photo: &Photo, header: &Header, margin: usize) -> Self {
        let blank = Photo::new(1, 1, vec![0; 3]);
        let photo = if photo.rgb.is_empty() { &blank } else { photo };
        let longest = photo.width.max(photo.height) as f64;
        let scale = (LONGEST as f64 / longest).min((SMALL as f64 / longest).max(1.0));
        let size = [photo.width, photo.height].map(|n| ((n as f64 * scale).round() as usize).max(1));
        let shown = photo.resized(size[0], size[1], Filter::Bilinear);
        let width = (shown.width + margin).max(NARROWEST);
        let at = [(width - margin - shown.width) / 2, header.height(width)];
        Stage { shown, at, scale, width }
    }

    /// The header and the photo.
    pub fn canvas(&self, header: &Header) -> Canvas {
        let mut canvas = Canvas::new(self.width, self.at[1] + self.shown.height, GROUND);
        header.draw(&mut canvas, self.width);
        canvas.paste(&self.shown, self.at[0], self.at[1]);
        canvas
    }

    /// A bar in the lower left corner of the photo.
    pub fn scale_bar(&self, canvas: &mut Canvas, mpp: Option<f64>) {
        if let Some(mpp) = mpp.filter(|m| (1e-6..=1e6).contains(m)) {
            let bottom = (self.at[1] + self.shown.height).saturating_sub(MARGIN);
            let most = self.shown.width / 4;
            scale_bar::draw(canvas, self.at[0] + MARGIN, bottom, self.scale / mpp * 1000.0, most);
        }
    }
}
