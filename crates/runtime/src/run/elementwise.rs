//! Element-wise functions over views, which may work in place.

use super::loops::Loops;
use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::{Area, Cpu};
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::{Elem, Element, Features};

/// Values that are gathered for a function where they lie apart.
const BLOCK: usize = 256;

/// `y = f(x)`.
pub fn unary(cpu: Cpu, f: Unary, loops: &Loops, x: Area, y: Area) {
    dispatch(x.elem(), UnaryFrom { cpu, f, loops, x, y });
}

#[derive(Clone, Copy)]
struct UnaryFrom<'a> {
    cpu: Cpu<'a>,
    f: Unary,
    loops: &'a Loops,
    x: Area<'a>,
    y: Area<'a>,
}

impl ForElement for UnaryFrom<'_> {
    type Out = ();
    fn call<A: Element>(self) {
        dispatch(self.y.elem(), UnaryTo::<A>(self, std::marker::PhantomData));
    }
}

struct UnaryTo<'a, A>(UnaryFrom<'a>, std::marker::PhantomData<A>);

impl<A: Element> ForElement for UnaryTo<'_, A> {
    type Out = ();
    fn call<B: Element>(self) {
        let UnaryFrom { cpu, f, loops, x, y } = self.0;
        let (src, dst) = pointers::<A, B>(loops, x, y);
        // SAFETY: `pointers` has checked what the loops visit; chunks are disjoint.
        loops.run(cpu.pool(), &|at, n, step| unsafe {
            let (s, d) = (src.offset(at[0]), dst.offset(at[1]));
            if step[0] == 1 && step[1] == 1 {
                return eltwise::unary(cpu.isa(), f, s, d, n);
            }
            let mut block = [0f32; BLOCK];
            for first in (0..n).step_by(BLOCK) {
                let own = &mut block[..(n - first).min(BLOCK)];
                for (i, v) in (first as isize..).zip(own.iter_mut()) {
                    *v = (*s.offset(i * step[0])).get();
                }
                eltwise::unary::<f32, f32>(cpu.isa(), f, own.as_ptr(), own.as_mut_ptr(), own.len());
                for (i, v) in (first as isize..).zip(own.iter()) {
                    *d.offset(i * step[1]) = B::of(*v);
                }
            }
        });
    }
}

/// Input and output of a function of one value, checked.
fn pointers<A: Element, B: Element>(loops: &Loops, x: Area, y: Area) -> (Shared<A>, Shared<B>) {
    let (reads, writes) = (loops.layout(0), loops.layout(1));
    y.assert_in_place(&writes, (&x, &reads));
    (Shared::read(x.reading(&reads, 0).cast()), Shared::new(y.writing(&writes, 0).cast()))
}

/// Bytes looked up in a table.
pub fn table(cpu: Cpu, table: &[u8; 256], loops: &Loops, x: Area, y: Area) {
    assert!(x.elem() == Elem::U8 && y.elem() == Elem::U8, "a table of other values than bytes");
    let (src, dst) = pointers::<u8, u8>(loops, x, y);
    // SAFETY: `pointers` has checked what the loops visit; chunks are disjoint.
    loops.run(cpu.pool(), &|at, n, step| unsafe {
        let (s, d) = (src.offset(at[0]), dst.offset(at[1]));
        for i in 0..n as isize {
            *d.offset(i * step[1]) = table[*s.offset(i * step[0]) as usize];
        }
    });
}

/// `y = f(a, b)`, all stored alike.
pub fn binary(cpu: Cpu, f: Binary, loops: &Loops, [a, b]: [Area; 2], y: Area) {
    dispatch(y.elem(), BinaryStep { cpu, f, loops, a, b, y });
}

struct BinaryStep<'a> {
    cpu: Cpu<'a>,
    f: Binary,
    loops: &'a Loops,
    a: Area<'a>,
    b: Area<'a>,
    y: Area<'a>,
}

impl ForElement for BinaryStep<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let BinaryStep { cpu, f, loops, a, b, y } = self;
        assert!(a.elem() == E::ELEM && b.elem() == E::ELEM, "operands stored otherwise");
        let layouts = [0, 1, 2].map(|k| loops.layout(k));
        y.assert_in_place(&layouts[2], (&a, &layouts[0]));
        y.assert_in_place(&layouts[2], (&b, &layouts[1]));
        let a: Shared<E> = Shared::read(a.reading(&layouts[0], 0).cast());
        let b: Shared<E> = Shared::read(b.reading(&layouts[1], 0).cast());
        let y: Shared<E> = Shared::new(y.writing(&layouts[2], 0).cast());
        // SAFETY: what the loops visit was checked; chunks are disjoint.
        loops.run(cpu.pool(), &|at, n, step| unsafe {
            let (a, b, d) = (a.offset(at[0]), b.offset(at[1]), y.offset(at[2]));
            if step[0] == 1 && step[2] == 1 && (step[1] == 1 || step[1] == 0) {
                eltwise::binary(cpu.isa(), f, a, b, step[1] == 0, d, n);
            } else if step == [0, 1, 1, 0] {
                repeated(cpu.isa(), f, *a, b.cast_const(), d, n);
            } else {
                for i in 0..n as isize {
                    let (x, y) = ((*a.offset(i * step[0])).get(), (*b.offset(i * step[1])).get());
                    *d.offset(i * step[2]) = E::of(f.scalar(x, y));
                }
            }
        });
    }
}

/// `y = f(v, x)` for `n` values.
///
/// # Safety
/// They must be readable and writable; `y` may be `x`.
pub(super) unsafe fn repeated<E: Element>(isa: Features, f: Binary, v: E, x: *const E, y: *mut E, n: usize) {
    let full = [v; 64];
    for i in (0..n).step_by(full.len()) {
        let m = (n - i).min(full.len());
        // SAFETY: passed on from the caller.
        unsafe { eltwise::binary(isa, f, full.as_ptr(), x.add(i), false, y.add(i), m) };
    }
}

/// `y = x`, stored as `y` is.
pub fn copy(cpu: Cpu, loops: &Loops, x: Area, y: Area) {
    dispatch(x.elem(), CopyFrom { cpu, loops, x, y });
}

#[derive(Clone, Copy)]
struct CopyFrom<'a> {
    cpu: Cpu<'a>,
    loops: &'a Loops,
    x: Area<'a>,
    y: Area<'a>,
}

impl ForElement for CopyFrom<'_> {
    type Out = ();
    fn call<A: Element>(self) {
        dispatch(self.y.elem(), CopyTo::<A>(self, std::marker::PhantomData));
    }
}

struct CopyTo<'a, A>(CopyFrom<'a>, std::marker::PhantomData<A>);

impl<A: Element> ForElement for CopyTo<'_, A> {
    type Out = ();
    fn call<B: Element>(self) {
        let CopyFrom { cpu, loops, x, y } = self.0;
        y.assert_disjoint(&loops.layout(1), (&x, &loops.layout(0)));
        let (src, dst) = pointers::<A, B>(loops, x, y);
        // SAFETY: `pointers` has checked what the loops visit; chunks are disjoint.
        loops.run_planes(cpu.pool(), &|at, [rows, n], [row, step]| {
            // The longer loop inside: short ones cost more than what they copy.
            let whole = A::ELEM == B::ELEM && step[0] == 1 && step[1] == 1;
            let ([rows, n], [row, step]) = match rows > n && !whole {
                true => ([n, rows], [step, row]),
                false => ([rows, n], [row, step]),
            };
            for r in 0..rows as isize {
                let (s, d) = (src.offset(at[0] + r * row[0]), dst.offset(at[1] + r * row[1]));
                // SAFETY: as above.
                unsafe {
                    if whole {
                        std::ptr::copy_nonoverlapping(s.cast(), d, n);
                    } else {
                        for i in 0..n as isize {
                            *d.offset(i * step[1]) = B::of((*s.offset(i * step[0])).get());
                        }
                    }
                }
            }
        });
    }
}

/// `n` elements from the first of `y` on become `value`.
pub fn fill(value: f32, n: usize, y: Area) {
    struct Fill<'a>(f32, usize, Area<'a>);
    impl ForElement for Fill<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let at = self.2.writing(&crate::layout::Layout::run(self.1), 0);
            // SAFETY: checked to lie inside, and no other thread has a handle of the memory.
            unsafe { std::slice::from_raw_parts_mut(at.cast::<E>(), self.1) }.fill(E::of(self.0));
        }
    }
    dispatch(y.elem(), Fill(value, n, y));
}

/// `f` of every value in a row, stored as bytes: by the plain instance, which every CPU has.
pub fn bytes_of(f: Unary, x: &[f32], y: &mut [u8]) {
    assert_eq!(x.len(), y.len(), "values of another size");
    // SAFETY: both hold as many elements; no features are needed.
    unsafe { eltwise::unary(Features::NONE, f, x.as_ptr(), y.as_mut_ptr(), y.len()) };
}
