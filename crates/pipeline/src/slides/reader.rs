//! Windows read off the slide.

use super::grid::{Grid, Window};
use super::plan::STAIN_PIXELS;
use crate::recipe::Stain;
use ampoule_imaging::photo::{Photo, area};
use ampoule_imaging::slide::{Error, Slide};
use ampoule_imaging::stain;

/// Windows from which a slide's stains are estimated.
const STAIN_WINDOWS: usize = 32;

/// Reads windows off the slide.
pub(super) struct TileReader<'a> {
    pub slide: &'a Slide,
    pub grid: &'a Grid,
    /// What becomes of the colours: one change for the whole slide, so that windows fit together.
    pub change: Option<stain::Change>,
}

impl TileReader<'_> {
    /// Grey levels of a window's pixels within the grid, channels innermost.
    pub fn read(&self, w: &Window) -> Result<Vec<f32>, Error> {
        let (f, level) = (self.grid.factor, self.grid.level);
        let inner = self.grid.inner(w.at);
        let l = &self.slide.levels[level];
        // Enlarging looks at a neighbour on either side.
        let from = [0, 1].map(|i| ((w.at[i] as f64 * f) as u64).saturating_sub((f < 1.0) as u64));
        let to = [0, 1].map(|i| ((w.at[i] + inner[i] as u64) as f64 * f).ceil() as u64 + (f < 1.0) as u64);
        let to = [to[0].min(l.width), to[1].min(l.height)];
        let size = [0, 1].map(|i| (to[i] - from[i]) as usize);
        let photo = self.slide.region(level, from[0] as i64, from[1] as i64, size[0], size[1])?;
        // What WSInfer reads beyond the slide is black.
        let beyond = f == 1.0 && size != inner;
        let photo = if beyond { photo.cropped(0, 0, inner[0], inner[1]) } else { photo };
        let mut levels = match f {
            1.0 => photo.rgb.iter().map(|&v| v as f32).collect(),
            f => area(&photo, [0, 1].map(|i| w.at[i] as f64 * f - from[i] as f64), f, inner),
        };
        if let Some(change) = &self.change {
            let mut rgb = bytes(&levels);
            change.apply(&mut rgb);
            levels = rgb.iter().map(|&v| v as f32).collect();
        }
        Ok(levels)
    }

    /// Takes colours to those of `wanted`, as estimated on windows spread over the slide, or on its
    /// thumbnail. Whether there was enough stain for that.
    pub fn normalise(&mut self, wanted: Stain, thumbnail: &Photo) -> Result<bool, Error> {
        self.change = match wanted {
            Stain::Channels => stain::change(thumbnail, &wanted.into()),
            Stain::Macenko { .. } | Stain::Reinhard { .. } => self.stains(wanted)?,
        };
        Ok(self.change.is_some())
    }

    /// The change for stains like those of some windows.
    fn stains(&self, s: Stain) -> Result<Option<stain::Change>, Error> {
        let n = self.grid.windows.len();
        let pixels = self.grid.window[0] * self.grid.window[1] * n.min(STAIN_WINDOWS);
        let mut sample = Vec::new();
        for w in self.grid.windows.iter().step_by(n.div_ceil(STAIN_WINDOWS).max(1)) {
            let rgb = bytes(&self.read(w)?);
            sample.extend(rgb.chunks_exact(3).step_by(pixels.div_ceil(STAIN_PIXELS).max(1)).flatten());
        }
        let sample = Photo::new(sample.len() / 3, 1, sample);
        Ok(stain::change(&sample, &s.into()))
    }
}

/// Grey levels rounded to bytes.
pub(super) fn bytes(levels: &[f32]) -> Vec<u8> {
    levels.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
}
