//! Tissue as WSInfer finds it on a thumbnail: saturation above a fixed threshold, and outlines through the middles of the
//! border's pixels, within which the middle of a patch must lie.
//!
//! Kaczmarzyk and others, *Open and reusable deep learning for pathology with WSInfer and QuPath*, npj Precision Oncology 2024.

use crate::Volume;
use crate::photo::Photo;
use crate::regions::{Connectivity, components};
use crate::tissue::{flip_small, median};

/// Saturation above which there is tissue.
const THRESHOLD: u8 = 7;
/// The square that closes gaps reaches this far before and behind a pixel.
const SQUARE: [usize; 2] = [3, 2];
/// How far around a point is looked, in pixels of the thumbnail: what lies on an outline is not within it.
const NEAR: f64 = 1e-7;

/// OpenCV's saturation of eight bits: by a table of reciprocals of 12 bits.
fn saturation([r, g, b]: [u8; 3]) -> u8 {
    let (most, least) = (r.max(g).max(b) as u32, r.min(g).min(b) as u32);
    if most == 0 {
        return 0;
    }
    let reciprocal = ((255 << 12) as f64 / most as f64).round_ties_even() as u32;
    (((most - least) * reciprocal + (1 << 11)) >> 12) as u8
}

/// 1 for tissue, 0 for glass. Objects of fewer than `smallest` pixels are dropped, then holes of fewer than `holes` filled,
/// also such as are open to the border.
pub fn find(thumbnail: &Photo, smallest: u64, holes: u64) -> Volume<u8> {
    let (w, h) = (thumbnail.width, thumbnail.height);
    let raw: Vec<u8> = thumbnail.rgb.as_chunks::<3>().0.iter().map(|p| saturation(*p)).collect();
    let mut data = median(&raw, w, h);
    data.iter_mut().for_each(|v| *v = (*v > THRESHOLD) as u8);
    let mut mask = Volume { dims: [w, h, 1], data };
    closed(&mut mask);
    flip_small(&mut mask, smallest, 1, true);
    flip_small(&mut mask, holes, 0, true);
    without_islands(&mut mask);
    mask
}

/// Takes away what lies within holes: WSInfer cuts a hole out of all tissue, and so also of what lies within it.
fn without_islands(mask: &mut Volume<u8>) {
    let [w, h, _] = mask.dims;
    let glass = Volume { dims: mask.dims, data: mask.data.iter().map(|v| 1 - *v).collect() };
    let (parts, count) = components(&glass, Connectivity::Faces);
    let at_border = |i: usize| [0, w - 1].contains(&(i % w)) || [0, h - 1].contains(&(i / w));
    let mut outside = vec![false; count + 1];
    (0..w * h).filter(|i| at_border(*i)).for_each(|i| outside[parts.data[i] as usize] = true);
    outside[0] = false;
    let (objects, count) = components(mask, Connectivity::Full);
    let mut stays = vec![false; count + 1];
    for i in 0..w * h {
        let (x, y) = (i % w, i / w);
        let beside = [x.checked_sub(1).map(|_| i - 1), (x + 1 < w).then_some(i + 1)];
        let above = [y.checked_sub(1).map(|_| i.saturating_sub(w)), (y + 1 < h).then_some(i + w)];
        let seen = || beside.iter().chain(&above).flatten().any(|k| outside[parts.data[*k] as usize]);
        if mask.data[i] != 0 && (at_border(i) || seen()) {
            stays[objects.data[i] as usize] = true;
        }
    }
    mask.data.iter_mut().zip(&objects.data).for_each(|(m, n)| *m &= u8::from(stays[*n as usize]));
}

/// Gaps into which the square does not fit are closed; what lies outside of the image does not count.
fn closed(mask: &mut Volume<u8>) {
    let [before, behind] = SQUARE;
    // A pixel is reached by those up to `before` behind it and `behind` before it; it stays where all that it reaches is so.
    for (value, back, ahead) in [(1, behind, before), (0, before, behind)] {
        for axis in [0, 1] {
            spread(mask, axis, value, back, ahead);
        }
    }
}

/// Every pixel takes `value` where one from `back` before to `ahead` behind it along an axis has it.
fn spread(mask: &mut Volume<u8>, axis: usize, value: u8, back: usize, ahead: usize) {
    let [w, h, _] = mask.dims;
    let (lines, n, next, step) = if axis == 0 { (h, w, w, 1) } else { (w, h, 1, w) };
    let mut line = vec![0u8; n];
    for i in 0..lines {
        let at = |k: usize| i * next + k * step;
        (0..n).for_each(|k| line[k] = mask.data[at(k)]);
        let mut last = None;
        for k in 0..n + ahead {
            if k < n && line[k] == value {
                last = Some(k);
            }
            // The pixel whose furthest neighbour this is.
            let Some(own) = k.checked_sub(ahead) else { continue };
            if last.is_some_and(|l| l + back >= own) {
                mask.data[at(own)] = value;
            }
        }
    }
}

/// Whether a point, in pixels of the mask whose middles are whole numbers, lies within tissue and on no outline of it.
/// Outlines go through the middles of the outermost pixels, straight or across corners.
pub fn inside(mask: &Volume<u8>, [u, v]: [f64; 2]) -> bool {
    // Outlines run along eight directions; these lie between them.
    let ways = [[1.0, 0.4], [0.4, 1.0]];
    let signs = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
    let near = |way: [f64; 2], sign: [f64; 2]| {
        covered(mask, [u + NEAR * way[0] * sign[0], v + NEAR * way[1] * sign[1]])
    };
    ways.iter().all(|way| signs.iter().all(|sign| near(*way, *sign)))
}

/// The same for a point that lies on no outline: of four neighbours all, or three on whose side of the diagonal it lies.
fn covered(mask: &Volume<u8>, [u, v]: [f64; 2]) -> bool {
    let (x, y) = (u.floor(), v.floor());
    let (a, b) = (u - x, v - y);
    let set = |dx: f64, dy: f64| {
        let (x, y) = (x + dx, y + dy);
        let within = x >= 0.0 && y >= 0.0 && x < mask.dims[0] as f64 && y < mask.dims[1] as f64;
        within && mask.at(x as usize, y as usize, 0) != 0
    };
    match [set(0.0, 0.0), set(1.0, 0.0), set(0.0, 1.0), set(1.0, 1.0)] {
        [true, true, true, true] => true,
        [false, true, true, true] => a + b >= 1.0,
        [true, true, true, false] => a + b <= 1.0,
        [true, false, true, true] => b >= a,
        [true, true, false, true] => b <= a,
        [_, _, _, _] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Volume<u8> {
        let data = rows.iter().flat_map(|r| r.bytes().map(|b| u8::from(b == b'#'))).collect();
        Volume { dims: [rows[0].len(), rows.len(), 1], data }
    }

    #[test]
    fn saturations_are_those_of_opencv() {
        let cases = [
            ([0, 0, 0], 0),
            ([255, 0, 0], 255),
            ([200, 100, 150], 127),
            ([103, 101, 102], 5),
            ([10, 9, 10], 26),
        ];
        for (colour, s) in cases {
            assert_eq!(saturation(colour), s, "{colour:?}");
        }
    }

    #[test]
    fn gaps_are_closed_as_scikit_image_closes_them() {
        // Rows are independent where the gap is as high as the image.
        let mut m = mask(&["#.....#...", "#.....#...", "#.....#..."]);
        closed(&mut m);
        assert_eq!(m.data[..10], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
        let mut m = mask(&["#......#..", "#......#.."]);
        closed(&mut m);
        // Squares end before the last columns: there the border closes.
        assert_eq!(m.data[..10], [1, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let mut m = mask(&["......#.", "......#."]);
        closed(&mut m);
        assert_eq!(m.data[..8], [0, 0, 0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn what_lies_within_a_hole_is_cut_out_with_it() {
        let ring = ["#######..", "#.....#..", "#.##..##.", "#.##..#.#", "#.....#..", "#######.."];
        let mut m = mask(&ring);
        without_islands(&mut m);
        let expected: Vec<String> = ring.iter().map(|r| r.replace(".##..", ".....")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(m, mask(&expected));
    }

    #[test]
    fn middles_of_the_outermost_pixels_are_the_outline() {
        let m = mask(&["....", ".##.", ".###", "...."]);
        for (at, within) in [
            ([1.5, 1.5], true),
            ([1.0, 1.5], false),
            ([2.0, 1.5], true),
            ([2.6, 1.5], false),
            ([2.4, 1.5], true),
            // On the diagonal, and on a corner.
            ([2.5, 1.5], false),
            ([1.0, 1.0], false),
            ([3.0, 2.0], false),
            ([0.5, 1.5], false),
        ] {
            assert_eq!(inside(&m, at), within, "{at:?}");
        }
        assert!(!inside(&mask(&["#"]), [0.0, 0.0]));
    }
}
