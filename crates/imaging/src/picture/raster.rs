//! Labels on another grid.

/// Labels of a plane, rows from the top.
pub(super) struct Raster {
    pub width: usize,
    pub height: usize,
    pub labels: Vec<u16>,
}

/// The source pixels that a cell looks at along an axis, and for cells smaller than a source pixel how much
/// the second of two neighbours weighs.
struct Span {
    first: usize,
    end: usize,
    second: f32,
}

/// Spans of `count` cells over `n` pixels.
fn spans(n: usize, count: usize) -> Vec<Span> {
    let step = n as f64 / count as f64;
    let one = |i: usize| {
        if step < 1.0 {
            let at = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, (n - 1) as f64);
            let first = at as usize;
            return Span { first, end: (first + 2).min(n), second: (at - first as f64) as f32 };
        }
        let first = ((i as f64 * step) as usize).min(n - 1);
        Span { first, end: (((i + 1) as f64 * step) as usize).clamp(first + 1, n), second: 0.0 }
    };
    (0..count).map(one).collect()
}

/// A grid of `size` cells (across, down) over `source` pixels (across, down; at least one each), `at` giving
/// their labels. Where cells are smaller than pixels, borders between labels run as linear interpolation of
/// the labels' masks has them; where they are larger, a cell gets its most frequent label, and background
/// only where it holds nothing else: what is smaller than a cell is still seen.
pub(super) fn raster(source: [usize; 2], size: [usize; 2], at: impl Fn(usize, usize) -> u16) -> Raster {
    let (across, down) = (spans(source[0], size[0]), spans(source[1], size[1]));
    let mut labels = Vec::with_capacity(size[0] * size[1]);
    if source[0] < size[0] && source[1] < size[1] {
        // Every pixel is looked at by several cells.
        let pixels: Vec<u16> =
            (0..source[1]).flat_map(|y| (0..source[0]).map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect();
        for v in &down {
            let rows = [v.first, v.end - 1].map(|y| &pixels[y * source[0]..][..source[0]]);
            labels.extend(across.iter().map(|u| heaviest(u, v, rows)));
        }
    } else {
        let mut counts = Vec::new();
        for v in &down {
            labels.extend(across.iter().map(|u| most_frequent(u, v, &at, &mut counts)));
        }
    }
    Raster { width: size[0], height: size[1], labels }
}

/// The label with the largest sum of bilinear weights among four neighbours in two rows.
fn heaviest(u: &Span, v: &Span, [upper, lower]: [&[u16]; 2]) -> u16 {
    let right = u.end - 1;
    let four = [upper[u.first], upper[right], lower[u.first], lower[right]];
    if four == [four[0]; 4] {
        return four[0];
    }
    let (a, b) = (u.second, v.second);
    let weights = [(1.0 - a) * (1.0 - b), a * (1.0 - b), (1.0 - a) * b, a * b];
    let total = |l: u16| (0..4).filter(|&i| four[i] == l).map(|i| weights[i]).sum::<f32>();
    // Of equals the higher label, so that background never wins.
    let key = |l: &u16| (total(*l), *l);
    four.into_iter().max_by(|a, b| key(a).0.total_cmp(&key(b).0).then(a.cmp(b))).unwrap_or(0)
}

/// The label other than 0 with most pixels; of equals the lower.
fn most_frequent(u: &Span, v: &Span, at: &impl Fn(usize, usize) -> u16, counts: &mut Vec<(u16, u32)>) -> u16 {
    counts.clear();
    // Between two pixels of an axis that is not shrunk, the nearer counts.
    let range = |s: &Span| match s.second {
        0.0 => s.first..s.end,
        w => s.first + usize::from(w >= 0.5)..s.first + usize::from(w >= 0.5) + 1,
    };
    for y in range(v) {
        for x in range(u) {
            match at(x, y) {
                0 => {}
                l => match counts.iter_mut().find(|c| c.0 == l) {
                    Some(c) => c.1 += 1,
                    None => counts.push((l, 1)),
                },
            }
        }
    }
    counts.iter().max_by_key(|c| (c.1, std::cmp::Reverse(c.0))).map_or(0, |c| c.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_pixel_is_seen_at_any_size() {
        for n in [1, 2, 3, 7, 100] {
            for size in [[1, 1], [2, 9], [9, 2], [50, 50], [300, 3]] {
                let r = raster([n, n], size, |x, y| u16::from((x, y) == (n / 2, n / 2)));
                assert_eq!(r.labels.len(), size[0] * size[1]);
                assert!(r.labels.contains(&1), "{n} pixels a side on {size:?}");
            }
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let r = raster([3, 2], [3, 2], |x, y| (x + 3 * y) as u16);
        assert_eq!(r.labels, [0, 1, 2, 3, 4, 5]);
    }
}
