//! Any function of up to three values, element by element: loads of whatever type, float32 in between.

use super::loops::Loops;
use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::{Area, Cpu};
use ampoule_kernels::Element;

/// Elements that a function is called for at once.
pub const MAPPED: usize = 256;

/// A function of rows of values: as many for each operand as there are results.
pub type Function<'a> = dyn Fn([&[f32]; 3], &mut [f32]) + Sync + 'a;

/// One operand: how a run of its elements is loaded.
#[derive(Clone, Copy)]
struct Operand {
    base: Shared<u8>,
    load: unsafe fn(*const u8, isize, isize, &mut [f32]),
}

/// Loads elements that lie `step` apart, from `at` on.
///
/// # Safety
/// They must be readable.
unsafe fn load<E: Element>(base: *const u8, at: isize, step: isize, to: &mut [f32]) {
    let p = base.cast::<E>();
    for (i, v) in to.iter_mut().enumerate() {
        // SAFETY: passed on from the caller.
        *v = unsafe { *p.offset(at + i as isize * step) }.get();
    }
}

/// Stores as [`load`] loads.
///
/// # Safety
/// The places must be writable.
unsafe fn store<E: Element>(base: *mut u8, at: isize, step: isize, from: &[f32]) {
    let p = base.cast::<E>();
    for (i, v) in from.iter().enumerate() {
        // SAFETY: passed on from the caller.
        unsafe { *p.offset(at + i as isize * step) = E::of(*v) };
    }
}

struct Loader;

impl ForElement for Loader {
    type Out = unsafe fn(*const u8, isize, isize, &mut [f32]);
    fn call<E: Element>(self) -> Self::Out {
        load::<E>
    }
}

struct Storer;

impl ForElement for Storer {
    type Out = unsafe fn(*mut u8, isize, isize, &[f32]);
    fn call<E: Element>(self) -> Self::Out {
        store::<E>
    }
}

/// `y = f(x…)` over loops of up to three operands and the output; it may work in place.
pub fn run(cpu: Cpu, loops: &Loops, x: &[Area], y: Area, f: &Function) {
    assert!((1..=3).contains(&x.len()), "a function of {} values", x.len());
    let written = loops.layout(x.len());
    let operands: Vec<Operand> = x
        .iter()
        .enumerate()
        .map(|(k, area)| {
            let read = loops.layout(k);
            y.assert_in_place(&written, (area, &read));
            Operand { base: Shared::read(area.reading(&read, 0)), load: dispatch(area.elem(), Loader) }
        })
        .collect();
    let dst: Shared<u8> = Shared::new(y.writing(&written, 0));
    let put = dispatch(y.elem(), Storer);
    loops.run(cpu.pool(), &|at, n, step| {
        let mut rows = [[0f32; MAPPED]; 3];
        let mut out = [0f32; MAPPED];
        for first in (0..n).step_by(MAPPED) {
            let m = (n - first).min(MAPPED);
            for (k, (o, row)) in operands.iter().zip(&mut rows).enumerate() {
                let from = at[k] + first as isize * step[k];
                // SAFETY: what the loops visit was checked.
                unsafe { (o.load)(o.base.at(0), from, step[k], &mut row[..m]) };
            }
            f([&rows[0][..m], &rows[1][..m], &rows[2][..m]], &mut out[..m]);
            let last = operands.len();
            // SAFETY: as above; chunks are disjoint.
            unsafe { put(dst.at(0), at[last] + first as isize * step[last], step[last], &out[..m]) };
        }
    });
}
