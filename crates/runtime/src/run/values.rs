//! Values of views as float32 in row-major order, and back.

use super::{ForElement, dispatch};
use crate::layout::Layout;
use crate::view::channels_last;
use crate::{Area, Pool, View};
use ampoule_kernels::{Element, Grid};

/// The elements that a view touches.
fn layout(v: &View) -> Layout {
    let axes: Vec<(usize, isize)> = v.dims.iter().copied().zip(v.strides.iter().copied()).collect();
    Layout::new(&axes)
}

/// Every element of the view `v`, which begins at element 0 of `area`, in row-major order.
pub fn gather(area: Area, v: &View) -> Vec<f32> {
    struct Gather<'a>(Area<'a>, &'a View);
    impl ForElement for Gather<'_> {
        type Out = Vec<f32>;
        fn call<E: Element>(self) -> Vec<f32> {
            let Gather(area, v) = self;
            let base: *const E = area.reading(&layout(v), 0).cast();
            let n = v.len();
            let mut out = Vec::with_capacity(n);
            if n == 0 {
                return out;
            }
            if v.is_row_major() {
                // SAFETY: checked, and contiguous.
                out.extend(unsafe { std::slice::from_raw_parts(base, n) }.iter().map(|x| x.get()));
                return out;
            }
            walk(v, |at| {
                // SAFETY: an element of the view, which was checked.
                out.push(unsafe { *base.offset(at) }.get());
            });
            out
        }
    }
    dispatch(area.elem(), Gather(area, v))
}

/// Calls `f` with the offset of each element, in row-major order.
fn walk(v: &View, mut f: impl FnMut(isize)) {
    let Some((&last, outer)) = v.dims.split_last() else { return f(0) };
    let step = v.strides[outer.len()];
    let mut idx = vec![0; outer.len()];
    let mut at = 0isize;
    for _ in 0..outer.iter().product() {
        (0..last as isize).for_each(|i| f(at + i * step));
        for i in (0..outer.len()).rev() {
            idx[i] += 1;
            at += v.strides[i];
            if idx[i] < outer[i] {
                break;
            }
            at -= v.strides[i] * outer[i] as isize;
            idx[i] = 0;
        }
    }
}

/// Writes row-major `values` into the view `v`, which begins at element 0 of `area`.
pub fn scatter(area: Area, v: &View, values: &[f32]) {
    struct Scatter<'a>(Area<'a>, &'a View, &'a [f32]);
    impl ForElement for Scatter<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Scatter(area, v, values) = self;
            let base: *mut E = area.writing(&layout(v), 0).cast();
            if v.is_row_major() {
                let count = v.len().min(values.len());
                // SAFETY: checked, and contiguous.
                let to = unsafe { std::slice::from_raw_parts_mut(base, count) };
                to.iter_mut().zip(values).for_each(|(to, x)| *to = E::of(*x));
                return;
            }
            let mut it = values.iter();
            walk(v, |at| {
                if let Some(&x) = it.next() {
                    // SAFETY: an element of the view, which was checked.
                    unsafe { *base.offset(at) = E::of(x) };
                }
            });
        }
    }
    dispatch(area.elem(), Scatter(area, v, values));
}

/// A view of `n` elements in a row.
fn row(area: &Area, n: usize) -> View {
    View { home: crate::view::Home::Arena(0), elem: area.elem(), offset: 0, dims: vec![n], strides: vec![1] }
}

/// `n` elements in a row, from the first of `area` on.
pub fn load(area: Area, n: usize) -> Vec<f32> {
    gather(area, &row(&area, n))
}

/// Stores `values` in a row, from the first element of `area` on.
pub fn store(area: Area, values: &[f32]) {
    scatter(area, &row(&area, values.len()), values);
}

/// Whether a view is dense and channels-last.
pub fn is_channels_last(v: &View) -> bool {
    let channels = v.dims.get(1).copied().unwrap_or(1);
    (3..=5).contains(&v.dims.len()) && v.lies_as(&channels_last(&v.dims, channels))
}

/// Calls `f` with the channels of every pixel of a channels-last view of float32, in the order of memory. The memory
/// must be one that nobody can write.
pub fn pixels(area: Area, g: &Grid, mut f: impl FnMut(&[f32])) {
    let all = area.slice::<f32>(0..g.extent());
    for pixel in 0..g.pixels() {
        let first = pixel * g.pixel();
        f(&all[first..first + g.channels()]);
    }
}

/// Pixels of an item of work.
const BLOCK: usize = 1024;

/// Row-major `[n, c, pixels]` to dense channels-last `[n, pixels, c]`.
pub fn planes_to_pixels(pool: &Pool, [n, c]: [usize; 2], planes: &[f32], to: &mut [f32]) {
    assert_eq!(planes.len(), to.len(), "values of another size");
    let entry = (planes.len() / n.max(1)).max(1);
    let pixels = entry / c.max(1);
    for (from, to) in planes.chunks_exact(entry).zip(to.chunks_exact_mut(entry)) {
        pool.chunks(pixels.div_ceil(BLOCK), (to, BLOCK * c), |i, block| {
            let count = block.len() / c;
            interleave(c, |k| &from[k * pixels + i * BLOCK..][..count], block);
        });
    }
}

/// Writes the values of `c` planes of equal length pixel by pixel.
fn interleave<'a>(c: usize, plane: impl Fn(usize) -> &'a [f32], to: &mut [f32]) {
    /// Pixels that are written while they are in cache.
    const NEAR: usize = 16;
    match c {
        1 => to.copy_from_slice(plane(0)),
        2 => {
            let of = plane(0).iter().zip(plane(1));
            to.as_chunks_mut::<2>().0.iter_mut().zip(of).for_each(|(to, (a, b))| *to = [*a, *b]);
        }
        3 => {
            let of = plane(0).iter().zip(plane(1)).zip(plane(2));
            to.as_chunks_mut::<3>().0.iter_mut().zip(of).for_each(|(to, ((a, b), c))| *to = [*a, *b, *c]);
        }
        _ => {
            for (i, to) in to.chunks_mut(NEAR * c).enumerate() {
                for k in 0..c {
                    // A pixel is `c` values further on than the one before.
                    let of = plane(k)[i * NEAR..].iter();
                    to[k..].iter_mut().step_by(c).zip(of).for_each(|(to, x)| *to = *x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let pool = Pool::new(2);
        for (c, pixels) in [1, 2, 3, 4, 5, 70].into_iter().flat_map(|c| [1, 15, 16, 2051].map(|p| (c, p))) {
            let planes: Vec<f32> = (0..2 * c * pixels).map(|i| i as f32).collect();
            let mut to = vec![0.0; planes.len()];
            planes_to_pixels(&pool, [2, c], &planes, &mut to);
            for (i, x) in to.iter().enumerate() {
                let (n, p, k) = (i / (c * pixels), i / c % pixels, i % c);
                assert_eq!(*x, planes[(n * c + k) * pixels + p], "{c} planes of {pixels} at {i}");
            }
        }
    }
}
