//! Which elements a step touches: a lattice of sizes and strides, and what two of them share.

use ampoule_kernels::Grid;
use std::ops::Range;

/// Sizes and strides of elements, in elements. Axes of size 1 are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    axes: Vec<(usize, isize)>,
    empty: bool,
}

impl Layout {
    pub fn new(axes: &[(usize, isize)]) -> Self {
        let empty = axes.iter().any(|a| a.0 == 0);
        Layout { axes: axes.iter().copied().filter(|a| a.0 > 1).collect(), empty }
    }

    /// `n` elements in a row.
    pub fn run(n: usize) -> Self {
        Self::new(&[(n, 1)])
    }

    /// `rows` rows of `n` elements, `step` apart.
    pub fn rows(rows: usize, step: usize, n: usize) -> Self {
        Self::new(&[(rows, step as isize), (n, 1)])
    }

    /// Slices `z` of a grid; with the offset of the first of them left to the caller.
    pub fn slices(g: &Grid, z: &Range<usize>) -> Self {
        let [n, _, h, w, c] = g.dims;
        let [sn, sz, sy, sx] = g.strides.map(|s| s as isize);
        Self::new(&[(n, sn), (z.len(), sz), (h, sy), (w, sx), (c, 1)])
    }

    pub fn grid(g: &Grid) -> Self {
        Self::slices(g, &(0..g.dims[1]))
    }

    /// From the first element touched to one past the last, relative to element 0.
    pub fn range(&self) -> Range<isize> {
        if self.empty {
            return 0..0;
        }
        let (mut from, mut to) = (0isize, 1isize);
        for &(n, s) in &self.axes {
            let span = (n as isize - 1).saturating_mul(s);
            if s < 0 { from = from.saturating_add(span) } else { to = to.saturating_add(span) }
        }
        from..to
    }

    /// Whether all elements surely have places of their own: every axis steps over all that lies inside it.
    pub fn distinct(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = self.axes.iter().map(|a| (a.1.unsigned_abs(), a.0)).collect();
        axes.sort_unstable();
        let mut inside = 1usize;
        axes.iter().all(|&(stride, n)| {
            let fits = stride >= inside;
            inside = inside.saturating_add(stride.saturating_mul(n - 1));
            fits
        })
    }

    /// Whether elements of this layout, of `size` bytes, surely share no byte with those of `other`, of which the
    /// first lies `distance` bytes further on.
    pub fn disjoint(&self, size: usize, (other, other_size): (&Layout, usize), distance: isize) -> bool {
        if self.empty || other.empty {
            return true;
        }
        let (mut a, mut b) = (Bytes::new(self, size, 0), Bytes::new(other, other_size, distance));
        a.split(&b);
        b.split(&a);
        loop {
            let (own, theirs) = (a.range(), b.range());
            if own.end <= theirs.start || theirs.end <= own.start {
                return true;
            }
            let Some(stride) = a.outermost().max(b.outermost()) else { return false };
            a.drop_axis(stride);
            b.drop_axis(stride);
            // If all that lies inside fits into one step of the outermost axis, only elements of the same step
            // can meet: that axis does not matter.
            let (own, theirs) = (a.range(), b.range());
            let inside = own.end.max(theirs.end) - own.start.min(theirs.start);
            if inside > stride as isize {
                return false;
            }
        }
    }
}

/// A layout in bytes, its axes by ascending stride.
struct Bytes {
    axes: Vec<(usize, isize)>,
    first: isize,
    size: isize,
}

impl Bytes {
    fn new(l: &Layout, size: usize, first: isize) -> Self {
        let size = size as isize;
        let mut axes: Vec<(usize, isize)> = l.axes.iter().map(|&(n, s)| (n, s * size)).collect();
        axes.sort_unstable_by_key(|a| a.1.unsigned_abs());
        Bytes { axes, first, size }
    }

    /// Makes two axes of one that runs over a stride of `other`, so that both have it: the same elements, whether pixels
    /// are counted over a whole batch or image by image.
    fn split(&mut self, other: &Bytes) {
        for outer in other.axes.iter().map(|a| a.1.unsigned_abs()) {
            let over = |&(n, s): &(usize, isize)| {
                let s = s.unsigned_abs();
                s > 0 && s < outer && outer.is_multiple_of(s) && n > outer / s && n.is_multiple_of(outer / s)
            };
            let Some(i) = self.axes.iter().position(over) else { continue };
            let (n, s) = self.axes[i];
            let inner = outer / s.unsigned_abs();
            self.axes[i] = (inner, s);
            self.axes.push((n / inner, inner as isize * s));
            self.axes.sort_unstable_by_key(|a| a.1.unsigned_abs());
        }
    }

    fn range(&self) -> Range<isize> {
        let (mut from, mut to) = (self.first, self.first + self.size);
        for &(n, s) in &self.axes {
            let span = (n as isize - 1).saturating_mul(s);
            if s < 0 { from = from.saturating_add(span) } else { to = to.saturating_add(span) }
        }
        from..to
    }

    fn outermost(&self) -> Option<usize> {
        self.axes.last().map(|a| a.1.unsigned_abs())
    }

    fn drop_axis(&mut self, stride: usize) {
        self.axes.pop_if(|a| a.1.unsigned_abs() == stride);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Every element by itself.
    fn elements(axes: &[(usize, isize)], first: isize) -> Vec<isize> {
        axes.iter().fold(vec![first], |all, &(n, s)| {
            all.iter().flat_map(|at| (0..n as isize).map(move |k| at + k * s)).collect()
        })
    }

    #[test]
    fn phases_and_channels_are_told_apart() {
        // Rows of 5 pixels of 3 channels, 7 rows a slice: every second pixel, row, slice.
        let phase = |n: [usize; 3]| Layout::new(&[(n[0], 105), (n[1], 30), (n[2], 6), (3, 1)]);
        let at = |z: isize, y: isize, x: isize| 105 * z + 15 * y + 3 * x;
        let all = phase([2, 4, 3]);
        assert!(all.disjoint(4, (&phase([2, 3, 3]), 4), 4 * at(0, 1, 0)));
        assert!(all.disjoint(4, (&phase([2, 4, 2]), 4), 4 * at(0, 0, 1)));
        assert!(all.disjoint(4, (&phase([1, 3, 2]), 4), 4 * at(0, 1, 1)));
        assert!(!all.disjoint(4, (&phase([2, 3, 3]), 4), 4 * at(1, 0, 0)));
        assert!(!all.disjoint(4, (&all, 4), 4));
    }

    #[test]
    fn pixels_counted_over_a_batch_are_told_apart_from_those_of_each_image() {
        // Two images of 22 pixels of 40 channels: the even pixels of both in one axis, the odd ones image by image.
        let (even, odd) = (Layout::new(&[(22, 80), (40, 1)]), Layout::new(&[(2, 880), (11, 80), (40, 1)]));
        assert!(even.disjoint(4, (&odd, 4), 160) && odd.disjoint(4, (&even, 4), -160));
        assert!(!even.disjoint(4, (&odd, 4), 320));
    }

    proptest! {
        #[test]
        fn answers_hold_element_by_element(
            a in prop::collection::vec((0usize..4, -9isize..20), 0..4),
            b in prop::collection::vec((0usize..4, -9isize..20), 0..4),
            distance in 0isize..40,
        ) {
            let (one, two) = (Layout::new(&a), Layout::new(&b));
            let (p, q) = (elements(&a, 0), elements(&b, distance));
            if !p.is_empty() {
                let range = p.iter().min().copied().unwrap_or(0)..p.iter().max().map_or(0, |m| m + 1);
                prop_assert_eq!(one.range(), range);
            }
            let set: HashSet<isize> = p.iter().copied().collect();
            if one.distinct() {
                prop_assert_eq!(set.len(), p.len());
            }
            if one.disjoint(1, (&two, 1), distance) {
                prop_assert!(q.iter().all(|x| !set.contains(x)));
            }
        }
    }
}
