//! Safe entry points to the kernels.
//!
//! A kernel takes pointers and strides and trusts them. Each function here checks once for a whole step that
//! everything the step touches lies inside the memory it was given, that outputs have places of their own, and that
//! they are separate from the inputs or, where the step works element by element, exactly these; then workers
//! compute items, which write disjoint parts.

pub mod attention;
pub mod chain;
pub mod conv;
pub mod depthwise;
mod depthwise_gradient;
pub mod elementwise;
pub mod fibres;
pub mod grad;
pub mod grid_sample;
pub mod loops;
pub mod map;
pub mod matmul;
pub mod norm;
pub mod recurrent;
pub mod reduce;
pub mod sampling;
pub mod separable;
pub mod softmax;
pub mod take;
pub mod values;
mod weight_gradient;

use crate::block::Area;
use crate::layout::Layout;
use ampoule_kernels::conv::ConvPointers;
use ampoule_kernels::{Elem, Element, Features, Grid, bf16, eltwise, f16};
use std::ops::Range;

/// Where the input, the output and the residual of a step lie.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Input.
    pub input: Area<'a>,
    /// Output.
    pub output: Area<'a>,
    /// Residual, if one is added.
    pub residual: Option<Area<'a>>,
}

/// A grid and the slices of it that a step touches.
struct Touches<'g> {
    grid: &'g Grid,
    slices: Range<usize>,
}

impl Touches<'_> {
    fn layout(&self) -> Layout {
        Layout::slices(self.grid, &self.slices)
    }

    fn first(&self) -> usize {
        self.slices.start * self.grid.strides[1]
    }
}

impl Places<'_> {
    /// Checks the places of a step that reads `input` and writes `output`, and a residual only where it writes.
    fn pointers(&self, input: Touches, output: Touches, residual: Option<Touches>) -> ConvPointers {
        assert!(input.slices.end <= input.grid.dims[1] && output.slices.end <= output.grid.dims[1]);
        let (reads, writes) = (input.layout(), output.layout());
        let (from, to) = (input.first(), output.first());
        self.input.reading(&reads, from);
        self.output.writing(&writes, to);
        assert!(self.output.disjoint((&writes, to), (&self.input, &reads, from)), "an output over its input");
        let residual = residual.map(|r| {
            let area = self.residual.unwrap_or_else(|| panic!("a residual that is not given"));
            assert_eq!(
                (r.grid.dims, &r.slices),
                (output.grid.dims, &output.slices),
                "a residual of other sizes"
            );
            let lies = r.layout();
            area.reading(&lies, r.first());
            self.output.skip(to).assert_in_place(&writes, (&area.skip(r.first()), &lies));
            area.reading(&Layout::run(0), 0)
        });
        ConvPointers {
            input: self.input.reading(&Layout::run(0), 0),
            output: self.output.reading(&Layout::run(0), 0).cast_mut(),
            residual: residual.unwrap_or(std::ptr::null()),
        }
    }
}

/// `f` over `n` elements of type `elem`, from `offset` elements after `base` on.
///
/// # Safety
/// The elements must be valid and the item's own, and `isa` supported.
unsafe fn unary_in_place(
    isa: Features,
    f: eltwise::Unary,
    elem: Elem,
    base: *mut u8,
    offset: usize,
    n: usize,
) {
    let at = base.wrapping_add(offset * elem.size());
    // SAFETY: passed on from the caller.
    unsafe {
        match elem {
            Elem::F32 => eltwise::unary::<f32, f32>(isa, f, at.cast(), at.cast(), n),
            Elem::Bf16 => eltwise::unary::<bf16, bf16>(isa, f, at.cast(), at.cast(), n),
            Elem::F16 => eltwise::unary::<f16, f16>(isa, f, at.cast(), at.cast(), n),
            Elem::U8 => eltwise::unary::<u8, u8>(isa, f, at, at, n),
        }
    }
}

/// Something to do for whichever type the elements of an area have.
trait ForElement {
    type Out;
    fn call<E: Element>(self) -> Self::Out;
}

/// Calls `f` with the type that `elem` names.
fn dispatch<F: ForElement>(elem: Elem, f: F) -> F::Out {
    match elem {
        Elem::F32 => f.call::<f32>(),
        Elem::Bf16 => f.call::<bf16>(),
        Elem::F16 => f.call::<f16>(),
        Elem::U8 => f.call::<u8>(),
    }
}
