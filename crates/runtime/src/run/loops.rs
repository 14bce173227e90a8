//! Nested loops over views: axes merged where all operands allow it, cut into chunks for the pool.

use crate::layout::Layout;
use crate::{Pool, View};

/// At most this many operands.
pub(super) const OPERANDS: usize = 4;

/// A loop nest over views of the same dimensions.
pub struct Loops {
    /// Merged sizes, the innermost last.
    dims: Vec<usize>,
    /// Strides of each operand per merged axis.
    strides: Vec<[isize; OPERANDS]>,
}

/// Elements per chunk of work.
const CHUNK: usize = 32 << 10;

impl Loops {
    /// Plans loops over `views`; the last one is written, and its smallest stride becomes the
    /// innermost loop.
    pub fn new(views: &[&View]) -> Self {
        let dims = &views[0].dims;
        let mut axes: Vec<(usize, [isize; OPERANDS])> = (0..dims.len())
            .filter(|&i| dims[i] != 1)
            .map(|i| {
                let mut s = [0; OPERANDS];
                for (k, v) in views.iter().enumerate() {
                    s[k] = v.strides[i];
                }
                (dims[i], s)
            })
            .collect();
        let written = views.len() - 1;
        axes.sort_by_key(|(_, s)| std::cmp::Reverse(s[written].unsigned_abs()));
        let mut merged: Vec<(usize, [isize; OPERANDS])> = Vec::new();
        for (n, s) in axes {
            if let Some((m, t)) = merged.last_mut()
                && (0..OPERANDS).all(|k| t[k] == s[k] * n as isize)
            {
                *m *= n;
                *t = s;
                continue;
            }
            merged.push((n, s));
        }
        if merged.is_empty() {
            merged.push((1, [1; OPERANDS]));
        }
        let (dims, strides) = merged.into_iter().unzip();
        Loops { dims, strides }
    }

    /// The elements that operand `k` touches.
    pub(crate) fn layout(&self, k: usize) -> Layout {
        let axes: Vec<(usize, isize)> =
            self.dims.iter().zip(&self.strides).map(|(d, s)| (*d, s[k])).collect();
        Layout::new(&axes)
    }

    /// Calls `f(offsets, n, strides)` for every innermost run, in parallel chunks.
    pub fn run(&self, pool: &Pool, f: &(dyn Fn([isize; OPERANDS], usize, [isize; OPERANDS]) + Sync)) {
        let last = self.dims.len() - 1;
        let (inner, step) = (self.dims[last], self.strides[last]);
        self.chunks(pool, last, inner, step, &|at, n| f(at, n, step));
    }

    /// Calls `f(offsets, [rows, n], strides)` for the two innermost axes, in parallel chunks.
    pub fn run_planes(
        &self,
        pool: &Pool,
        f: &(dyn Fn([isize; OPERANDS], [usize; 2], [[isize; OPERANDS]; 2]) + Sync),
    ) {
        let last = self.dims.len() - 1;
        let (n, step) = (self.dims[last], self.strides[last]);
        match last.checked_sub(1) {
            None => self.run(pool, &|at, n, step| f(at, [1, n], [[0; OPERANDS], step])),
            Some(outer) => {
                let (rows, row) = (self.dims[outer], self.strides[outer]);
                self.chunks(pool, outer, rows, row, &|at, count| f(at, [count, n], [row, step]));
            }
        }
    }

    /// Calls `f(offsets, n)` for runs of `n` of the `inner` steps along axis `last`, for all places of the axes
    /// outside it, in parallel chunks.
    fn chunks(
        &self,
        pool: &Pool,
        last: usize,
        inner: usize,
        step: [isize; OPERANDS],
        f: &(dyn Fn([isize; OPERANDS], usize) + Sync),
    ) {
        let outer: usize = self.dims[..last].iter().product();
        let size: usize = self.dims[last + 1..].iter().product();
        let most = (CHUNK / size.max(1)).max(1);
        // Long inner runs are cut, short ones are grouped.
        let cuts = inner.div_ceil(most);
        let rows = (most / inner.max(1)).max(1);
        pool.run(outer.div_ceil(rows) * cuts, &|i, _| {
            let (block, cut) = (i / cuts, i % cuts);
            let from = cut * most;
            let n = (inner - from).min(if cuts == 1 { inner } else { most });
            let rows = block * rows..((block + 1) * rows).min(outer);
            let mut at = [0isize; OPERANDS];
            let mut index = vec![0; last];
            let mut rest = rows.start;
            for (i, (d, s)) in self.dims[..last].iter().zip(&self.strides).enumerate().rev() {
                index[i] = rest % d;
                rest /= d;
                (0..OPERANDS).for_each(|j| at[j] += index[i] as isize * s[j]);
            }
            (0..OPERANDS).for_each(|j| at[j] += from as isize * step[j]);
            for _ in rows {
                f(at, n);
                for i in (0..last).rev() {
                    let (d, s) = (self.dims[i], &self.strides[i]);
                    index[i] += 1;
                    (0..OPERANDS).for_each(|j| at[j] += s[j]);
                    if index[i] < d {
                        break;
                    }
                    index[i] = 0;
                    (0..OPERANDS).for_each(|j| at[j] -= s[j] * d as isize);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Home, channels_last, row_major};
    use std::sync::Mutex;

    #[test]
    fn every_element_is_visited_once_in_both_layouts() {
        let dims = vec![2, 3, 40, 1, 500];
        let (home, elem) = (Home::Arena(0), ampoule_kernels::Elem::F32);
        let a = View { home, elem, offset: 0, strides: row_major(&dims), dims: dims.clone() };
        let b = View { strides: channels_last(&dims, 3), ..a.clone() };
        let loops = Loops::new(&[&a, &b]);
        let seen = Mutex::new(vec![(0, 0); a.len()]);
        loops.run(&Pool::new(2), &|at, n, step| {
            let mut s = seen.lock().unwrap();
            for i in 0..n as isize {
                s[(at[0] + i * step[0]) as usize].0 += 1;
                s[(at[1] + i * step[1]) as usize].1 += 1;
            }
        });
        assert!(seen.lock().unwrap().iter().all(|x| *x == (1, 1)));
        loops.run_planes(&Pool::new(2), &|at, [rows, n], [row, step]| {
            let mut s = seen.lock().unwrap();
            for (r, i) in (0..rows as isize).flat_map(|r| (0..n as isize).map(move |i| (r, i))) {
                s[(at[0] + r * row[0] + i * step[0]) as usize].0 += 1;
                s[(at[1] + r * row[1] + i * step[1]) as usize].1 += 1;
            }
        });
        assert!(seen.lock().unwrap().iter().all(|x| *x == (2, 2)));
    }
}
