//! The probability of a class over a photo.

use super::canvas::{ALARM, Canvas, DIM, Font, Rect};
use super::colour::{luminance, mixed};
use super::frame::Header;
use super::overlay::Stage;
use crate::photo::{Filter, Photo};

/// Colours of 0 to 1 in equal steps, interpolated linearly between: lightness rises evenly (OKLCH 0.25 to
/// 0.93) while the hue goes from violet over blue and green to yellow.
const STOPS: [[u8; 3]; 9] = [
    [52, 0, 77],
    [53, 27, 131],
    [10, 70, 162],
    [4, 109, 152],
    [0, 141, 159],
    [8, 174, 160],
    [47, 207, 141],
    [157, 227, 116],
    [239, 241, 102],
];

/// Pixels for the bar on the right.
const BAR_WIDTH: usize = 84;
/// Grey that the bar's colours lie on: tissue and skin are about as bright.
const GROUND: u8 = 176;

/// The colour of a value from 0 to 1.
fn colour(value: f32) -> [u8; 3] {
    let at = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let low = (at as usize).min(STOPS.len() - 2);
    mixed(STOPS[low], STOPS[low + 1], at - low as f32)
}

/// The colour of a value from 0 to 1 in maps of scores; values beyond count as the nearest.
pub fn heat_colour(value: f32) -> [u8; 3] {
    colour(if value.is_nan() { 0.0 } else { value })
}

/// The colour of a value upon grey, which stays visible.
fn upon(grey: u8, value: f32) -> [u8; 3] {
    mixed([grey; 3], colour(value), 0.6)
}

/// A probability map over a photo: `values` from 0 to 1, row by row, on a grid of `size` (across, down) that
/// covers the whole photo, of which 1 stands for `top`, in colours that get evenly lighter upon the photo in grey, with a colour bar. Where values are not numbers (outside of tissue) the grey is left bare. Values
/// of another count than the grid's are not drawn, which the picture says.
pub fn heat_map(photo: &Photo, values: &[f32], size: [usize; 2], top: f32, title: &str) -> Photo {
    let fits = size[0].checked_mul(size[1]) == Some(values.len()) && !values.is_empty();
    let mut lines = Vec::new();
    if !fits {
        lines.push(("the map has another size and is not shown".to_owned(), ALARM));
    }
    let header = Header { title: title.to_owned(), lines, labels: Vec::new() };
    let mut stage = Stage::new(photo, &header, BAR_WIDTH);
    if fits {
        colour_in(&mut stage.shown, values, size);
    }
    let mut canvas = stage.canvas(&header);
    let right = stage.at[0] + stage.shown.width;
    bar(&mut canvas, right + 14, stage.at[1] + 12, stage.shown.height.saturating_sub(24), top);
    canvas.into_photo()
}

/// Replaces colours of a photo by those of values.
fn colour_in(photo: &mut Photo, values: &[f32], size: [usize; 2]) {
    // Values times their weight (0 where they are not numbers), and the weights.
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let pair = |&v: &f32| if v.is_finite() { [byte(v), 255, 0] } else { [0; 3] };
    let map = Photo::new(size[0], size[1], values.iter().flat_map(pair).collect());
    let map = map.resized(photo.width, photo.height, Filter::Bilinear);
    for (p, m) in photo.rgb.chunks_exact_mut(3).zip(map.rgb.chunks_exact(3)) {
        let grey = luminance([p[0], p[1], p[2]]);
        let [value, weight] = [f32::from(m[0]), f32::from(m[1])];
        let over = upon(grey, if weight > 0.0 { value / weight } else { 0.0 });
        p.copy_from_slice(&mixed([grey; 3], over, weight / 255.0));
    }
}

/// A bar of the colours, 1 at the top and shown as `top`, with numbers.
fn bar(canvas: &mut Canvas, x: usize, y: usize, height: usize, top: f32) {
    let last = height.saturating_sub(1).max(1);
    for row in 0..height {
        let c = upon(GROUND, 1.0 - row as f32 / last as f32);
        canvas.fill(Rect { x, y: y + row, width: 18, height: 1 }, c, 1.0);
    }
    // No number covers another.
    let steps = if height >= 5 * Font::Small.height() { 4 } else { 1 };
    for i in 0..=steps {
        let at = y + last * (steps - i) / steps;
        canvas.fill(Rect { x: x + 18, y: at, width: 4, height: 1 }, DIM, 1.0);
        let share = i as f32 / steps as f32;
        let text = if top == 1.0 { format!("{share}") } else { format!("{:.3}", share * top) };
        canvas.text(x + 25, at.saturating_sub(Font::Small.height() / 2), &text, Font::Small, DIM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_get_lighter() {
        for grey in [0, GROUND, 255] {
            let lights: Vec<u8> = (0..=100).map(|i| luminance(upon(grey, i as f32 / 100.0))).collect();
            assert!(lights.is_sorted(), "{grey}: {lights:?}");
        }
        assert_eq!((colour(-3.0), colour(f32::NAN), colour(9.0)), (STOPS[0], colour(f32::NAN), STOPS[8]));
    }

    #[test]
    fn places_without_a_value_stay_grey() {
        let mut photo = Photo::new(2, 1, vec![255, 0, 0, 255, 255, 255]);
        colour_in(&mut photo, &[f32::NAN, 1.0], [2, 1]);
        assert_eq!((photo.at(0, 0), photo.at(1, 0)), ([76; 3], upon(255, 1.0)));
    }
}
