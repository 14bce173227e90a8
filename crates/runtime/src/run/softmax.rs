//! Softmax over rows.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::{Element, softmax};

/// Elements of an item, about.
const ELEMENTS: usize = 16 << 10;

/// Softmax of each of `rows` rows of `n` values; rows of `x` and `y` lie `steps` elements apart. It may work in place.
pub fn run(cpu: Cpu, rows: usize, n: usize, steps: [usize; 2], x: Area, y: Area) {
    struct Step<'a>(Cpu<'a>, [usize; 2], [usize; 2], [Area<'a>; 2]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(cpu, [rows, n], [from, to], [x, y]) = self;
            assert_eq!(x.elem(), E::ELEM, "values stored otherwise");
            let (reads, writes) = (Layout::rows(rows, from, n), Layout::rows(rows, to, n));
            y.assert_in_place(&writes, (&x, &reads));
            let src: Shared<E> = Shared::read(x.reading(&reads, 0).cast());
            let dst: Shared<E> = Shared::new(y.writing(&writes, 0).cast());
            let own = (ELEMENTS / n.max(1)).max(1);
            cpu.pool().run(rows.div_ceil(own), &|i, _| {
                let (first, count) = (i * own, (rows - i * own).min(own));
                let (s, d) = (src.at(first * from).cast_const(), dst.at(first * to));
                // SAFETY: checked above; rows are the item's own.
                unsafe { softmax::softmax(cpu.isa(), (s, from), (d, to), count, n) };
            });
        }
    }
    dispatch(y.elem(), Step(cpu, [rows, n], steps, [x, y]));
}

/// Softmax of dense rows of `n` values.
pub fn rows(cpu: Cpu, n: usize, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == y.len() && n > 0 && x.len().is_multiple_of(n), "rows of another length");
    let count = x.len() / n;
    // SAFETY: both hold `count` rows.
    unsafe { softmax::softmax(cpu.isa(), (x.as_ptr(), n), (y.as_mut_ptr(), n), count, n) };
}
