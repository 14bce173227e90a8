//! Outlines of labels.

use super::canvas::Canvas;
use super::colour::Key;
use super::raster::Raster;

/// Cells along a side of a picture's pixel; lines are smooth because a pixel may hold some of a line.
pub(super) const FINE: usize = 2;

/// How much more than its share of a pixel a line covers.
const GAIN: f32 = 1.6;

/// Draws the outlines of a raster of [`FINE`] cells a pixel at (`x`, `y`). Lines of `thickness` cells lie
/// within the labels they belong to, so those of neighbours lie side by side; `fill` is the opacity of what
/// they enclose.
pub(super) fn draw(
    canvas: &mut Canvas,
    [x, y]: [usize; 2],
    raster: &Raster,
    thickness: usize,
    fill: f32,
    key: &Key,
) {
    let line = border(raster, thickness);
    let mut colours: Option<(u16, [u8; 3])> = None;
    let mut colour = |label: u16| match colours {
        Some((l, c)) if l == label => c,
        _ => colours.insert((label, key.colour(label))).1,
    };
    for v in 0..raster.height / FINE {
        for u in 0..raster.width / FINE {
            let (mut sum, mut cover, mut on_line) = ([0f32; 3], 0f32, false);
            for i in 0..FINE * FINE {
                let at = (FINE * v + i / FINE) * raster.width + FINE * u + i % FINE;
                if raster.labels[at] != 0 {
                    let alpha = if line[at] { 1.0 } else { fill };
                    let c = colour(raster.labels[at]);
                    (0..3).for_each(|k| sum[k] += alpha * f32::from(c[k]));
                    cover += alpha;
                    on_line |= line[at];
                }
            }
            if cover > 0.0 {
                let mean = sum.map(|s| (s / cover).round() as u8);
                // Lines count more than their share, so that thin ones and single cells are seen.
                let gain = if on_line { GAIN } else { 1.0 };
                canvas.blend(x + u, y + v, mean, (gain * cover / (FINE * FINE) as f32).min(1.0));
            }
        }
    }
}

/// The cells within `thickness` of another label, of background or of the raster's end.
fn border(r: &Raster, thickness: usize) -> Vec<bool> {
    // The round in which a cell was reached, from 1 on: memory does not depend on how many are.
    let mut reached = vec![0u8; r.labels.len()];
    for i in (0..r.labels.len()).filter(|&i| r.labels[i] != 0) {
        reached[i] = u8::from(is_edge(r, i));
    }
    for round in 1..thickness.min(usize::from(u8::MAX)) {
        for i in 0..reached.len() {
            if usize::from(reached[i]) != round {
                continue;
            }
            // Corners count every other time, which comes near to a round pen.
            for j in neighbours(r, i, round % 2 == 1).into_iter().flatten() {
                if r.labels[j] == r.labels[i] && reached[j] == 0 {
                    reached[j] = round as u8 + 1;
                }
            }
        }
    }
    reached.into_iter().map(|n| n > 0).collect()
}

fn is_edge(r: &Raster, i: usize) -> bool {
    neighbours(r, i, false)[..4].iter().any(|n| n.is_none_or(|j| r.labels[j] != r.labels[i]))
}

/// Neighbours by sides, then by corners where asked for; `None` beyond the raster.
fn neighbours(r: &Raster, i: usize, corners: bool) -> [Option<usize>; 8] {
    const STEPS: [(isize, isize); 8] = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)];
    let (x, y) = (i % r.width, i / r.width);
    let mut out = [None; 8];
    for (slot, (dx, dy)) in out.iter_mut().zip(STEPS).take(if corners { 8 } else { 4 }) {
        if let (Some(u), Some(v)) = (x.checked_add_signed(dx), y.checked_add_signed(dy))
            && u < r.width
            && v < r.height
        {
            *slot = Some(v * r.width + u);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_within_their_label_and_close_at_the_picture_s_end() {
        let labels = vec![1, 1, 1, 1, 0, 1, 1, 1, 1, 2, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0];
        let r = Raster { width: 5, height: 5, labels };
        let thin: Vec<usize> = border(&r, 1).iter().enumerate().filter(|l| *l.1).map(|l| l.0).collect();
        assert_eq!(thin, [0, 1, 2, 3, 5, 8, 9, 10, 13, 15, 18, 20, 21, 22, 23]);
        assert!((0..25).all(|i| border(&r, 3)[i] == (r.labels[i] != 0)));
    }
}
