//! Planes of a volume as panels, as radiologists look at them.

use super::canvas::{Canvas, Font, WHITE};
use super::colour::Key;
use super::outline::{self, FINE};
use super::raster::raster;
use crate::Volume;
use crate::normalise::quantile;
use crate::photo::{Filter, Photo};

/// Which axes of a canonical volume a panel shows. Left of a panel is the right or the anterior, top the
/// anterior or the superior: the high ends.
pub(super) struct Plane {
    pub name: &'static str,
    /// Axes across, down and through.
    pub axes: [usize; 3],
    /// What lies at the left, right, top and bottom.
    pub letters: [&'static str; 4],
}

pub(super) const AXIAL: Plane = Plane { name: "axial", axes: [0, 1, 2], letters: ["R", "L", "A", "P"] };
pub(super) const CORONAL: Plane = Plane { name: "coronal", axes: [0, 2, 1], letters: ["R", "L", "S", "I"] };
pub(super) const SAGITTAL: Plane = Plane { name: "sagittal", axes: [1, 2, 0], letters: ["A", "P", "S", "I"] };

/// Grey values shown black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub low: f32,
    pub high: f32,
}

impl Window {
    /// The range to show: soft tissue where values are those of CT (in HU, with air), else all but the
    /// darkest and brightest hundredth of what is not the lowest value, which is outside the field of view.
    pub fn of(image: &Volume<f32>) -> Self {
        // An odd step meets all columns of a volume of even width.
        let step = (image.data.len() / 200_000).max(1) | 1;
        let values: Vec<f32> = image.data.iter().copied().step_by(step).filter(|v| v.is_finite()).collect();
        let share = |low: f32, high: f32| {
            values.iter().filter(|&&v| (low..=high).contains(&v)).count() * 20 >= values.len().max(1)
        };
        if share(-1050.0, -950.0) && share(-150.0, 250.0) {
            return Window { low: -160.0, high: 240.0 };
        }
        let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
        let above: Vec<f32> = values.iter().copied().filter(|&v| v > lowest).collect();
        let low = quantile(&above, 0.01).unwrap_or(0.0);
        Window { low: low.min(lowest.max(0.0)), high: quantile(&above, 0.99).unwrap_or(1.0) }
    }

    fn grey(self, v: f32) -> u8 {
        let range = f64::from(self.high) - f64::from(self.low);
        let share = (f64::from(v) - f64::from(self.low)) / range.max(f64::MIN_POSITIVE);
        // A value that is not a number becomes 0.
        (share.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

impl Plane {
    /// Slice `index` in `size` pixels (across, down).
    pub fn grey(&self, image: &Volume<f32>, index: usize, size: [usize; 2], window: Window) -> Photo {
        let [nu, nv] = self.extent(image.dims);
        let mut rgb = Vec::with_capacity(3 * nu * nv);
        for v in 0..nv {
            for u in 0..nu {
                let [x, y, z] = self.voxel(image.dims, u, v, index);
                rgb.extend([window.grey(image.at(x, y, z)); 3]);
            }
        }
        Photo::new(nu, nv, rgb).resized(size[0], size[1], Filter::Bilinear)
    }

    /// Draws the outlines of slice `index` over a panel at (`x`, `y`).
    pub fn outlines<L: Copy + Into<u16>>(
        &self,
        canvas: &mut Canvas,
        at: [usize; 2],
        labels: &Volume<L>,
        index: usize,
        size: [usize; 2],
        thickness: usize,
        key: &Key,
    ) {
        let cells = raster(self.extent(labels.dims), size.map(|n| n * FINE), |u, v| {
            let [x, y, z] = self.voxel(labels.dims, u, v, index);
            labels.at(x, y, z).into()
        });
        outline::draw(canvas, at, &cells, thickness, 0.0, key);
    }

    /// Letters at the borders of a panel, at opposite ones where they have room; of small panels only left and
    /// right.
    pub fn letters(&self, canvas: &mut Canvas, [x, y]: [usize; 2], [width, height]: [usize; 2], large: bool) {
        let font = if large { Font::Title } else { Font::Small };
        let (w, h) = (font.advance(), font.height());
        let middle = [x + width.saturating_sub(w) / 2, y.saturating_sub(h / 2) + height / 2];
        let right = (x + width).saturating_sub(w + 2);
        let bottom = (y + height).saturating_sub(h + 1);
        let places = [[x + 2, middle[1]], [right, middle[1]], [middle[0], y + 1], [middle[0], bottom]];
        let shown = [width >= 4 * w, large && height >= 4 * h];
        for (i, (letter, [px, py])) in self.letters.iter().zip(places).enumerate() {
            if shown[i / 2] {
                canvas.text_on_image(px, py, letter, font, WHITE);
            }
        }
    }

    /// Sizes across and down.
    pub fn extent<T: Copy>(&self, sizes: [T; 3]) -> [T; 2] {
        [sizes[self.axes[0]], sizes[self.axes[1]]]
    }

    fn voxel(&self, dims: [usize; 3], u: usize, v: usize, index: usize) -> [usize; 3] {
        let [a, b, c] = self.axes;
        let mut p = [0; 3];
        (p[a], p[b], p[c]) = (dims[a] - 1 - u, dims[b] - 1 - v, index);
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patient_s_right_is_on_the_left() {
        let mut v = Volume::filled([4, 5, 6], 0.0);
        let at = v.index(3, 4, 5);
        v.data[at] = 1.0;
        let window = Window { low: 0.0, high: 1.0 };
        assert_eq!(AXIAL.grey(&v, 5, [4, 5], window).at(0, 0), [255; 3]);
        assert_eq!(CORONAL.grey(&v, 4, [4, 6], window).at(0, 0), [255; 3]);
        assert_eq!(SAGITTAL.grey(&v, 3, [5, 6], window).at(0, 0), [255; 3]);
    }

    #[test]
    fn windows_suit_the_values() {
        let ct: Vec<f32> = (0..1000).map(|i| if i % 3 == 0 { -1000.0 } else { (i % 100) as f32 }).collect();
        assert_eq!(Window::of(&Volume::new([10, 10, 10], ct)).low, -160.0);
        // Nearly all of it is background.
        let sparse: Vec<f32> = (0..1000).map(|i| if i < 995 { 0.0 } else { 100.0 }).collect();
        assert_eq!(Window::of(&Volume::new([10, 10, 10], sparse)), Window { low: 0.0, high: 100.0 });
        for odd in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 0.0] {
            let w = Window::of(&Volume::filled([2, 2, 2], odd));
            assert!([odd, f32::NAN, 1.0].map(|v| w.grey(v)).len() == 3);
        }
    }
}
