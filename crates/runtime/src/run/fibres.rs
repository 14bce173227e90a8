//! Steps that go along one axis: running sums, positions of extremes, sorted elements, scattered elements.

use super::loops::Loops;
use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu, View};
use ampoule_kernels::Element;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicI64, Ordering as Atomic};

/// A loop nest over all axes but one, and the steps along that one.
pub struct Fibres {
    loops: Loops,
    /// Positions along the axis of the first view.
    size: usize,
    /// Elements between them, in each view.
    steps: Vec<isize>,
    /// What each view touches.
    layouts: Vec<Layout>,
}

/// Fibres that are gone along side by side.
const SIDE: usize = 256;

/// How scattered values are joined to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Join {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Join {
    fn of(self, old: f32, new: f32) -> f32 {
        match self {
            Join::Replace => new,
            Join::Add => old + new,
            Join::Mul => old * new,
            Join::Max => old.max(new),
            Join::Min => old.min(new),
        }
    }
}

impl Fibres {
    /// Fibres along `axis` of `views`, whose other dimensions are alike; the last one is written.
    pub fn new(views: &[&View], axis: usize) -> Self {
        let one = |v: &&View| {
            let mut v = (*v).clone();
            v.dims[axis] = 1;
            v
        };
        let flat: Vec<View> = views.iter().map(one).collect();
        let layouts = views
            .iter()
            .map(|v| Layout::new(&v.dims.iter().copied().zip(v.strides.iter().copied()).collect::<Vec<_>>()))
            .collect();
        Fibres {
            loops: Loops::new(&flat.iter().collect::<Vec<_>>()),
            size: views[0].dims[axis],
            steps: views.iter().map(|v| v.strides[axis]).collect(),
            layouts,
        }
    }
}

/// Running sums along an axis.
pub fn cumsum(cpu: Cpu, f: &Fibres, exclusive: bool, reverse: bool, x: Area, y: Area) {
    struct Step<'a>(Cpu<'a>, &'a Fibres, [bool; 2], [Area<'a>; 2]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(cpu, f, [exclusive, reverse], [x, y]) = self;
            assert!(y.elem() == E::ELEM, "values stored otherwise");
            y.assert_in_place(&f.layouts[1], (&x, &f.layouts[0]));
            let src: Shared<E> = Shared::read(x.reading(&f.layouts[0], 0).cast());
            let dst: Shared<E> = Shared::new(y.writing(&f.layouts[1], 0).cast());
            f.loops.run(cpu.pool(), &|at, n, step| {
                let mut sums = [0f64; SIDE];
                for first in (0..n).step_by(SIDE) {
                    let m = (n - first).min(SIDE);
                    sums[..m].fill(0.0);
                    for k in 0..f.size {
                        let k = (if reverse { f.size - 1 - k } else { k }) as isize;
                        for (i, sum) in sums[..m].iter_mut().enumerate() {
                            let i = (first + i) as isize;
                            // SAFETY: elements of the views, which were checked; fibres are disjoint.
                            unsafe {
                                let v = (*src.offset(at[0] + i * step[0] + k * f.steps[0])).get() as f64;
                                let next = *sum + v;
                                let out = if exclusive { *sum } else { next };
                                *dst.offset(at[1] + i * step[1] + k * f.steps[1]) = E::of(out as f32);
                                *sum = next;
                            }
                        }
                    }
                }
            });
        }
    }
    dispatch(x.elem(), Step(cpu, f, [exclusive, reverse], [x, y]));
}

/// Where the largest (or smallest) element of each fibre is, as float32; the `last` of equal ones, or the first.
pub fn extreme(cpu: Cpu, f: &Fibres, max: bool, last: bool, x: Area, y: Area) {
    struct Step<'a>(Cpu<'a>, &'a Fibres, [bool; 2], [Area<'a>; 2]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(cpu, f, [max, last], [x, y]) = self;
            y.assert_disjoint(&f.layouts[1], (&x, &f.layouts[0]));
            assert!(y.elem() == ampoule_kernels::Elem::F32, "positions stored otherwise");
            let src: Shared<E> = Shared::read(x.reading(&f.layouts[0], 0).cast());
            let dst: Shared<f32> = Shared::new(y.writing(&f.layouts[1], 0).cast());
            let sign = if max { 1.0 } else { -1.0 };
            f.loops.run(cpu.pool(), &|at, n, step| {
                let (mut best, mut place) = ([0f32; SIDE], [0f32; SIDE]);
                for first in (0..n).step_by(SIDE) {
                    let m = (n - first).min(SIDE);
                    for k in 0..f.size {
                        for i in 0..m {
                            let from = at[0] + (first + i) as isize * step[0] + k as isize * f.steps[0];
                            // SAFETY: an element of the view, which was checked.
                            let v = sign * unsafe { *src.offset(from) }.get();
                            if k == 0 || v > best[i] || (last && v == best[i]) {
                                (best[i], place[i]) = (v, k as f32);
                            }
                        }
                    }
                    for (i, p) in place[..m].iter().enumerate() {
                        // SAFETY: as above; places are the item's own.
                        unsafe { *dst.offset(at[1] + (first + i) as isize * step[1]) = *p };
                    }
                }
            });
        }
    }
    dispatch(x.elem(), Step(cpu, f, [max, last], [x, y]));
}

/// The `k` largest or smallest elements of each fibre in order, and where they were, as float32. Equal ones stay in
/// their order; what is not a number counts as the largest.
pub fn top(cpu: Cpu, f: &Fibres, k: usize, largest: bool, x: Area, [values, places]: [Area; 2]) {
    struct Step<'a>(Cpu<'a>, &'a Fibres, usize, bool, [Area<'a>; 3]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(cpu, f, k, largest, [x, values, places]) = self;
            assert!(values.elem() == E::ELEM && places.elem() == ampoule_kernels::Elem::F32);
            for (y, l) in [(&values, &f.layouts[1]), (&places, &f.layouts[2])] {
                y.assert_disjoint(l, (&x, &f.layouts[0]));
            }
            values.assert_disjoint(&f.layouts[1], (&places, &f.layouts[2]));
            let src: Shared<E> = Shared::read(x.reading(&f.layouts[0], 0).cast());
            let to: Shared<E> = Shared::new(values.writing(&f.layouts[1], 0).cast());
            let at_place: Shared<f32> = Shared::new(places.writing(&f.layouts[2], 0).cast());
            f.loops.run(cpu.pool(), &|at, n, step| {
                let mut list: Vec<(f32, usize)> = Vec::with_capacity(f.size);
                for i in 0..n as isize {
                    list.clear();
                    list.extend((0..f.size).map(|p| {
                        let from = at[0] + i * step[0] + p as isize * f.steps[0];
                        // SAFETY: an element of the view, which was checked.
                        (unsafe { *src.offset(from) }.get(), p)
                    }));
                    let order = |a: &(f32, usize), b: &(f32, usize)| {
                        let by = a.0.partial_cmp(&b.0).unwrap_or(a.0.is_nan().cmp(&b.0.is_nan()));
                        (if largest { by.reverse() } else { by }).then(a.1.cmp(&b.1)) as Ordering
                    };
                    if 0 < k && k < list.len() {
                        list.select_nth_unstable_by(k - 1, order);
                    }
                    list.truncate(k);
                    list.sort_unstable_by(order);
                    for (rank, (v, p)) in list.iter().enumerate() {
                        let rank = rank as isize;
                        // SAFETY: places of the fibre, which were checked.
                        unsafe {
                            *to.offset(at[1] + i * step[1] + rank * f.steps[1]) = E::of(*v);
                            *at_place.offset(at[2] + i * step[2] + rank * f.steps[2]) = *p as f32;
                        }
                    }
                }
            });
        }
    }
    dispatch(x.elem(), Step(cpu, f, k, largest, [x, values, places]));
}

/// An index that names no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The index.
    pub index: i64,
    /// Elements of the axis.
    pub size: usize,
}

/// No index was wrong so far.
const FINE: i64 = i64::MAX;

/// What was found wrong.
fn checked(bad: &AtomicI64, size: usize) -> Result<(), Outside> {
    match bad.load(Atomic::Relaxed) {
        FINE => Ok(()),
        index => Err(Outside { index, size }),
    }
}

/// `index` counted from the front; what names no element is noted.
fn position(index: f32, size: usize, bad: &AtomicI64) -> Option<isize> {
    let i = index as i64;
    let from_front = if i < 0 { i + size as i64 } else { i };
    let fits = (0..size as i64).contains(&from_front);
    if !fits {
        bad.store(i, Atomic::Relaxed);
    }
    fits.then_some(from_front as isize)
}

/// Elements of `x` that indices along an axis name. The fibres are those of the indices, `x` and the output, where `x`
/// has `size` elements along the axis.
pub fn gather_elements(
    cpu: Cpu,
    f: &Fibres,
    (x, size): (Area, usize),
    index: Area,
    y: Area,
) -> Result<(), Outside> {
    struct Step<'a>(Cpu<'a>, &'a Fibres, usize, [Area<'a>; 3]);
    impl ForElement for Step<'_> {
        type Out = Result<(), Outside>;
        fn call<E: Element>(self) -> Self::Out {
            let Step(cpu, f, size, [index, x, y]) = self;
            assert!(y.elem() == E::ELEM && index.elem() == ampoule_kernels::Elem::F32);
            y.assert_disjoint(&f.layouts[2], (&x, &f.layouts[1]));
            y.assert_disjoint(&f.layouts[2], (&index, &f.layouts[0]));
            let list: Shared<f32> = Shared::read(index.reading(&f.layouts[0], 0).cast());
            let src: Shared<E> = Shared::read(x.reading(&f.layouts[1], 0).cast());
            let dst: Shared<E> = Shared::new(y.writing(&f.layouts[2], 0).cast());
            let bad = AtomicI64::new(FINE);
            f.loops.run(cpu.pool(), &|at, n, step| {
                for k in 0..f.size as isize {
                    for i in 0..n as isize {
                        // SAFETY: elements of the views, which were checked; the index is checked here.
                        unsafe {
                            let found = *list.offset(at[0] + i * step[0] + k * f.steps[0]);
                            if let Some(p) = position(found, size, &bad) {
                                let v = *src.offset(at[1] + i * step[1] + p * f.steps[1]);
                                *dst.offset(at[2] + i * step[2] + k * f.steps[2]) = v;
                            }
                        }
                    }
                }
            });
            checked(&bad, size)
        }
    }
    dispatch(x.elem(), Step(cpu, f, size, [index, x, y]))
}

/// Joins updates to the elements of `y` that indices along an axis name, those of one place in order. The fibres are
/// those of the indices, the updates and `y`, which has `size` elements along the axis.
pub fn scatter_elements(
    cpu: Cpu,
    f: &Fibres,
    join: Join,
    [index, updates]: [Area; 2],
    (y, size): (Area, usize),
) -> Result<(), Outside> {
    struct Step<'a>(Cpu<'a>, &'a Fibres, Join, usize, [Area<'a>; 3]);
    impl ForElement for Step<'_> {
        type Out = Result<(), Outside>;
        fn call<E: Element>(self) -> Self::Out {
            let Step(cpu, f, join, size, [index, updates, y]) = self;
            assert!(updates.elem() == E::ELEM && index.elem() == ampoule_kernels::Elem::F32);
            y.assert_disjoint(&f.layouts[2], (&updates, &f.layouts[1]));
            y.assert_disjoint(&f.layouts[2], (&index, &f.layouts[0]));
            let list: Shared<f32> = Shared::read(index.reading(&f.layouts[0], 0).cast());
            let src: Shared<E> = Shared::read(updates.reading(&f.layouts[1], 0).cast());
            let dst: Shared<E> = Shared::new(y.writing(&f.layouts[2], 0).cast());
            let bad = AtomicI64::new(FINE);
            f.loops.run(cpu.pool(), &|at, n, step| {
                for k in 0..f.size as isize {
                    for i in 0..n as isize {
                        // SAFETY: elements of the views, which were checked; the index is checked here, and a
                        // fibre is one item's.
                        unsafe {
                            let found = *list.offset(at[0] + i * step[0] + k * f.steps[0]);
                            if let Some(p) = position(found, size, &bad) {
                                let v = (*src.offset(at[1] + i * step[1] + k * f.steps[1])).get();
                                let to = dst.offset(at[2] + i * step[2] + p * f.steps[2]);
                                *to = E::of(join.of((*to).get(), v));
                            }
                        }
                    }
                }
            });
            checked(&bad, size)
        }
    }
    dispatch(y.elem(), Step(cpu, f, join, size, [index, updates, y]))
}

/// Joins rows of `n` updates, which lie side by side, to those of `y` that begin at `rows`, one after another.
pub fn scatter_rows(join: Join, rows: &[usize], n: usize, updates: Area, y: Area) {
    struct Step<'a>(Join, &'a [usize], usize, [Area<'a>; 2]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(join, rows, n, [updates, y]) = self;
            assert!(updates.elem() == E::ELEM, "values stored otherwise");
            let reads = Layout::run(rows.len() * n);
            let writes = Layout::run(rows.iter().max().map_or(0, |last| last + n));
            y.assert_disjoint(&writes, (&updates, &reads));
            let src: *const E = updates.reading(&reads, 0).cast();
            let dst: *mut E = y.writing(&writes, 0).cast();
            for (i, row) in rows.iter().enumerate() {
                for k in 0..n {
                    // SAFETY: both were checked, and no other thread has a handle.
                    unsafe {
                        let (v, to) = (*src.add(i * n + k), dst.add(row + k));
                        *to = match join {
                            Join::Replace => v,
                            join => E::of(join.of((*to).get(), v.get())),
                        };
                    }
                }
            }
        }
    }
    dispatch(y.elem(), Step(join, rows, n, [updates, y]));
}
