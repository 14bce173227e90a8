//! Where a value lies: a buffer, an offset, and strides. Operators that only rename axes (slices,
//! transpositions, reshapes of contiguous data) are views and cost nothing.

use ampoule_kernels::{Elem, Grid};

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// Buffer of the arena.
    Arena(usize),
    /// Constant of the session.
    Constant(usize),
}

/// A value's place. Dimensions are in ONNX order (channels second); strides say how they lie. Offset
/// and strides are in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Memory that it lies in.
    pub home: Home,
    /// How its elements are stored.
    pub elem: Elem,
    /// Its first element, counted from the start of the memory.
    pub offset: usize,
    /// Sizes, in ONNX order.
    pub dims: Vec<usize>,
    /// Distance between neighbours along each dimension.
    pub strides: Vec<isize>,
}

/// Row-major strides.
pub fn row_major(dims: &[usize]) -> Vec<isize> {
    let mut s = vec![1isize; dims.len()];
    for i in (1..dims.len()).rev() {
        s[i - 1] = s[i] * dims[i].max(1) as isize;
    }
    s
}

/// Strides of `[n, c, spatial…]` stored as `[n, spatial…, c]` with pixels `pixel` apart.
pub fn channels_last(dims: &[usize], pixel: usize) -> Vec<isize> {
    let mut s = vec![1isize; dims.len()];
    let mut step = pixel as isize;
    for i in (2..dims.len()).rev() {
        s[i] = step;
        step *= dims[i].max(1) as isize;
    }
    s[0] = step;
    s
}

impl View {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Bytes of the elements, without what lies between them.
    pub fn bytes(&self) -> usize {
        self.len() * self.elem.size()
    }

    /// Elements from the first to one past the last that the view touches, from its offset on;
    /// `None` when strides are negative.
    pub fn extent(&self) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        let mut last = 0;
        for (d, s) in self.dims.iter().zip(&self.strides) {
            last += (d - 1) * usize::try_from(*s).ok()?;
        }
        Some(last + 1)
    }

    /// Whether two sets of strides address the same positions: axes of size 1 do not matter.
    pub fn lies_as(&self, strides: &[isize]) -> bool {
        self.dims.iter().zip(&self.strides).zip(strides).all(|((&d, a), b)| d <= 1 || a == b)
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the elements lie densely in row-major order.
    pub fn is_row_major(&self) -> bool {
        self.lies_as(&row_major(&self.dims))
    }

    /// Strides of a dense place whose axes lie in the order of these; axes that do not move come first.
    pub fn packed_strides(&self) -> Vec<isize> {
        let mut order: Vec<usize> = (0..self.dims.len()).collect();
        let outer = |&a: &usize| match self.strides[a].unsigned_abs() {
            0 => usize::MAX,
            s => s,
        };
        order.sort_by_key(|a| std::cmp::Reverse(outer(a)));
        let mut strides = vec![1; self.dims.len()];
        let mut next = 1;
        for a in order.into_iter().rev() {
            strides[a] = next;
            next *= self.dims[a].max(1) as isize;
        }
        strides
    }

    /// Whether the elements lie densely in some order of the axes.
    pub fn is_dense(&self) -> bool {
        let mut axes: Vec<(isize, usize)> =
            self.strides.iter().copied().zip(self.dims.iter().copied()).filter(|a| a.1 != 1).collect();
        axes.sort_unstable();
        let mut next = 1isize;
        axes.iter().all(|&(stride, n)| {
            let fits = stride == next;
            next = next.saturating_mul(n as isize);
            fits
        })
    }

    /// The view as a channels-last grid: pixels at any distance, channels contiguous.
    pub fn grid(&self) -> Option<Grid> {
        let rank = self.dims.len();
        if !(2..=5).contains(&rank) {
            return None;
        }
        let channels = self.dims[1];
        if channels > 1 && self.strides[1] != 1 {
            return None;
        }
        let mut dims = [self.dims[0], 1, 1, 1, channels];
        dims[6 - rank..4].copy_from_slice(&self.dims[2..]);
        let mut known = [None; 4];
        let step = |i: usize| (self.dims[i] > 1).then_some(self.strides[i]);
        known[0] = step(0);
        for i in 2..rank {
            known[i + 4 - rank] = step(i);
        }
        // Axes of size 1 take the stride that keeps the grid uniform: that of the axis outside them
        // where nothing lies inside, else what the inside spans.
        let mut strides = [0; 4];
        let mut natural = known.iter().rev().find_map(|k| *k).unwrap_or(channels as isize);
        if known[3].is_none() {
            // The innermost axis with a stride of its own; those inside it have size 1.
            let inner = known.iter().rposition(Option::is_some).unwrap_or(0);
            known[inner + 1..].iter_mut().for_each(|k| *k = Some(natural));
        }
        for i in (0..4).rev() {
            let s = known[i].unwrap_or(natural);
            strides[i] = usize::try_from(s).ok()?;
            natural = s * dims[i].max(1) as isize;
        }
        Some(Grid { dims, strides })
    }

    /// The same elements under other dimensions, when strides can say where they lie: axes are split, and neighbours
    /// joined where one continues the other.
    pub fn reshaped(&self, dims: &[usize]) -> Option<View> {
        if self.is_row_major() || self.is_empty() {
            return Some(View { dims: dims.to_vec(), strides: row_major(dims), ..self.clone() });
        }
        let own: Vec<(usize, isize)> =
            self.dims.iter().copied().zip(self.strides.iter().copied()).filter(|a| a.0 != 1).collect();
        let mut strides = vec![0isize; dims.len()];
        let (mut i, mut k) = (0, 0);
        while i < own.len() {
            // The fewest axes of both that hold the same number of elements.
            let (mut have, mut want, first, start) = (own[i].0, 1, i, k);
            i += 1;
            while want != have {
                if want < have {
                    want *= *dims.get(k)?;
                    k += 1;
                } else {
                    let (n, s) = *own.get(i)?;
                    if own[i - 1].1 != s * n as isize {
                        return None;
                    }
                    have *= n;
                    i += 1;
                }
            }
            debug_assert!(first < i);
            let mut step = own[i - 1].1;
            for j in (start..k).rev() {
                strides[j] = step;
                step *= dims[j] as isize;
            }
        }
        Some(View { dims: dims.to_vec(), strides, ..self.clone() })
    }

    /// Axes in another order.
    pub fn permuted(&self, perm: &[usize]) -> View {
        View {
            dims: perm.iter().map(|&p| self.dims[p]).collect(),
            strides: perm.iter().map(|&p| self.strides[p]).collect(),
            ..self.clone()
        }
    }

    /// `(start, count, step)` along each axis.
    pub fn sliced(&self, plan: &[(usize, usize, i64)]) -> View {
        let mut v = self.clone();
        let mut offset = v.offset as isize;
        for (i, &(start, count, step)) in plan.iter().enumerate() {
            if count > 0 {
                offset += start as isize * v.strides[i];
            }
            v.dims[i] = count;
            v.strides[i] *= step as isize;
        }
        v.offset = offset.max(0) as usize;
        v
    }

    /// Axis `axis` as several, the outermost first, whose sizes multiply to its own.
    pub fn split(&self, axis: usize, sizes: &[usize]) -> View {
        let mut v = self.clone();
        let step = self.strides[axis];
        let strides: Vec<isize> = row_major(sizes).into_iter().map(|s| s * step).collect();
        v.dims.splice(axis..=axis, sizes.iter().copied());
        v.strides.splice(axis..=axis, strides);
        v
    }

    /// Broadcast to `dims` with strides of 0.
    pub fn expanded(&self, dims: &[usize]) -> View {
        let lead = dims.len() - self.dims.len();
        let strides = (0..dims.len())
            .map(|i| match i.checked_sub(lead) {
                Some(k) if self.dims[k] != 1 => self.strides[k],
                _ => 0,
            })
            .collect();
        View { dims: dims.to_vec(), strides, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(dims: &[usize], strides: Vec<isize>) -> View {
        View { home: Home::Arena(0), elem: Elem::F32, offset: 0, dims: dims.to_vec(), strides }
    }

    #[test]
    fn channels_last_views_are_grids() {
        let v = view(&[2, 5, 3, 4, 6], channels_last(&[2, 5, 3, 4, 6], 8));
        let g = v.grid().unwrap();
        assert_eq!(g, Grid::pitched([2, 3, 4, 6, 5], 8));
        let flat = view(&[1, 7, 9], channels_last(&[1, 7, 9], 7));
        assert_eq!(flat.grid().unwrap(), Grid::dense([1, 1, 1, 9, 7]));
        // One channel: row-major and channels-last are the same.
        let one = view(&[1, 1, 4, 5], row_major(&[1, 1, 4, 5]));
        assert_eq!(one.grid().unwrap(), Grid::dense([1, 1, 4, 5, 1]));
        assert!(view(&[1, 3, 4, 5], row_major(&[1, 3, 4, 5])).grid().is_none());
    }

    #[test]
    fn reshapes_without_a_copy_name_the_same_elements() {
        let places = |v: &View| -> Vec<isize> {
            let mut all = vec![v.offset as isize];
            for (&d, &s) in v.dims.iter().zip(&v.strides) {
                all = all.iter().flat_map(|a| (0..d as isize).map(move |i| a + i * s)).collect();
            }
            all
        };
        let image = view(&[2, 6, 4, 5], channels_last(&[2, 6, 4, 5], 6));
        for dims in
            [&[2, 6, 20][..], &[2, 2, 3, 4, 5], &[2, 6, 2, 2, 5], &[1, 2, 6, 1, 20, 1], &[2, 3, 2, 10, 2]]
        {
            let v = image.reshaped(dims).unwrap();
            assert_eq!(places(&v), places(&image), "{dims:?}");
        }
        for dims in [&[2, 120][..], &[12, 4, 5], &[240], &[2, 3, 40]] {
            assert!(image.reshaped(dims).is_none(), "{dims:?}");
        }
        let turned = image.sliced(&[(1, 2, -1), (0, 6, 1), (3, 4, -1), (0, 5, 1)]);
        assert_eq!(places(&turned.reshaped(&[2, 3, 2, 4, 5]).unwrap()), places(&turned));
        assert!(turned.reshaped(&[2, 6, 20]).is_none());
    }

    #[test]
    fn packed_places_keep_the_order_of_axes() {
        let image = view(&[2, 6, 4, 5], channels_last(&[2, 6, 4, 5], 6));
        assert!(image.is_dense());
        assert_eq!(image.packed_strides(), image.strides);
        let part = image.sliced(&[(0, 2, 1), (1, 3, 1), (0, 4, 1), (1, 2, 2)]);
        assert!(!part.is_dense());
        assert_eq!(part.packed_strides(), channels_last(&part.dims, 3));
        let spread = view(&[3, 4], vec![0, 1]);
        assert!(!spread.is_dense());
        assert_eq!(spread.packed_strides(), row_major(&[3, 4]));
    }

    #[test]
    fn slices_and_extents() {
        let v = view(&[4, 6], row_major(&[4, 6]));
        let s = v.sliced(&[(3, 2, -2), (1, 3, 2)]);
        assert_eq!((s.offset, s.strides.clone(), s.extent()), (19, vec![-12, 2], None));
        assert_eq!(v.permuted(&[1, 0]).extent(), Some(24));
    }
}
