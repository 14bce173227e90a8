//! Memory that steps read and write through handles that may overlap, as a slice of cells.
//!
//! Bounds and overlaps are checked once for a whole step, by the functions of [`crate::run`], and not for
//! every element.

use crate::layout::Layout;
use ampoule_kernels::{Elem, Element};
use std::marker::PhantomData;
use std::ops::Range;

/// A block of memory. All handles of one block stay on the thread that borrowed it.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    base: *mut u8,
    bytes: usize,
    writable: bool,
    /// As of a slice of cells: handles may overlap, and no other thread has one.
    life: PhantomData<&'a std::cell::Cell<u8>>,
}

impl<'a, E: Element> From<&'a [E]> for Memory<'a> {
    fn from(v: &'a [E]) -> Self {
        Memory {
            base: v.as_ptr().cast_mut().cast(),
            bytes: size_of_val(v),
            writable: false,
            life: PhantomData,
        }
    }
}

impl<'a, E: Element> From<&'a mut [E]> for Memory<'a> {
    fn from(v: &'a mut [E]) -> Self {
        let bytes = size_of_val(v);
        Memory { base: v.as_mut_ptr().cast(), bytes, writable: true, life: PhantomData }
    }
}

impl<'a> Memory<'a> {
    /// Elements of type `elem` from byte `first` on, which may lie before the block: of a value that is
    /// streamed only some slices are held, and only those may be touched.
    pub fn area(self, first: isize, elem: Elem) -> Area<'a> {
        let address = (self.base as isize).wrapping_add(first);
        assert!(address % elem.size() as isize == 0, "elements of {elem:?} at an odd place");
        Area { memory: self, first, elem }
    }

    /// Copies the bytes `from` to `to`; they may overlap.
    pub fn copy_within(self, from: Range<usize>, to: usize) {
        assert!(self.writable && from.start <= from.end, "a copy to memory that is only read");
        assert!(from.end <= self.bytes && to + from.len() <= self.bytes, "a copy beyond the memory");
        // SAFETY: both ranges lie inside the block, and no other thread uses it.
        unsafe { std::ptr::copy(self.base.add(from.start), self.base.add(to), from.len()) };
    }
}

/// Elements of one type from some place in a [`Memory`] on.
#[derive(Clone, Copy)]
pub struct Area<'a> {
    memory: Memory<'a>,
    /// Byte of element 0, from the start of the memory.
    first: isize,
    elem: Elem,
}

impl<'a, E: Element> From<&'a [E]> for Area<'a> {
    fn from(v: &'a [E]) -> Self {
        Memory::from(v).area(0, E::ELEM)
    }
}

impl<'a, E: Element> From<&'a mut [E]> for Area<'a> {
    fn from(v: &'a mut [E]) -> Self {
        Memory::from(v).area(0, E::ELEM)
    }
}

impl<'a> Area<'a> {
    /// How the elements are stored.
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// The same elements, counted from `elements` further on.
    pub fn skip(self, elements: usize) -> Self {
        Area { first: self.first + (elements * self.elem.size()) as isize, ..self }
    }

    /// Elements `range`, of memory that nobody can write.
    pub fn slice<E: Element>(&self, range: Range<usize>) -> &'a [E] {
        assert!(!self.memory.writable, "a slice of memory that may be written");
        assert_eq!(self.elem, E::ELEM, "elements of another type");
        assert!(range.start <= range.end);
        let p = self.reading(&Layout::run(range.len()), range.start).cast();
        // SAFETY: `reading` checked that the elements lie in the memory, which is only read while the
        // handle lives; every bit pattern is a value of the element types.
        unsafe { std::slice::from_raw_parts(p, range.len()) }
    }

    /// Address of element `at`, after checking that all elements of `layout` from there on may be read.
    pub(crate) fn reading(&self, layout: &Layout, at: usize) -> *const u8 {
        self.checked(layout, at).cast_const()
    }

    /// The same for writing. The elements of `layout` must have places of their own.
    pub(crate) fn writing(&self, layout: &Layout, at: usize) -> *mut u8 {
        assert!(self.memory.writable, "a write to memory that is only read");
        assert!(layout.distinct(), "outputs that lie at one place");
        self.checked(layout, at)
    }

    fn checked(&self, layout: &Layout, at: usize) -> *mut u8 {
        let size = self.elem.size() as isize;
        let origin = self.first + at as isize * size;
        let touched = layout.range();
        let (from, to) = (origin + touched.start * size, origin + touched.end * size);
        let inside = from >= 0 && to <= self.memory.bytes as isize;
        assert!(inside || touched.is_empty(), "bytes {from}..{to} of {}", self.memory.bytes);
        self.memory.base.wrapping_offset(origin)
    }

    /// Whether no element of `layout` from `at` on shares a byte with one of `other`.
    pub(crate) fn disjoint(&self, (layout, at): (&Layout, usize), other: (&Area, &Layout, usize)) -> bool {
        let (area, lies, from) = other;
        let place = |a: &Area, at: usize| {
            (a.memory.base as isize).wrapping_add(a.first + at as isize * a.elem.size() as isize)
        };
        let distance = place(area, from).wrapping_sub(place(self, at));
        layout.disjoint(self.elem.size(), (lies, area.elem.size()), distance)
    }

    /// Whether the elements of `layout` lie exactly where those of `other` do.
    pub(crate) fn same(&self, layout: &Layout, other: (&Area, &Layout)) -> bool {
        let place = |a: &Area| (a.memory.base as isize).wrapping_add(a.first);
        self.elem.size() == other.0.elem.size() && place(self) == place(other.0) && layout == other.1
    }

    /// Panics unless the output `layout` of this area is separate from the input `other`.
    pub(crate) fn assert_disjoint(&self, layout: &Layout, other: (&Area, &Layout)) {
        let disjoint = self.disjoint((layout, 0), (other.0, other.1, 0));
        assert!(disjoint, "an output that overlaps an input");
    }

    /// Panics unless the output `layout` of this area is separate from the input `other` or exactly that.
    pub(crate) fn assert_in_place(&self, layout: &Layout, other: (&Area, &Layout)) {
        let fits = self.same(layout, other) || self.disjoint((layout, 0), (other.0, other.1, 0));
        assert!(fits, "an output that overlaps an input and lies otherwise");
    }
}

/// A pointer that workers share: each uses parts of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: the functions of `run` write disjoint parts through it, of element types that any thread may hold.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(p: *mut T) -> Self {
        Shared(p)
    }

    pub fn read(p: *const T) -> Self {
        Shared(p.cast_mut())
    }

    /// The pointer `offset` elements further on (a method, so that closures capture the whole).
    pub fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }

    /// The pointer moved by `offset` elements.
    pub fn offset(&self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_refused() {
        let mut v = [0f32; 24];
        let area = Area::from(&mut v[..]);
        let layout = Layout::new(&[(4, 6), (6, 1)]);
        area.writing(&layout, 0);
        for f in [
            &(|| _ = area.writing(&layout, 1)) as &dyn Fn(),
            &|| _ = area.skip(7).reading(&Layout::run(18), 0),
            &|| _ = area.writing(&Layout::new(&[(4, 3), (6, 1)]), 0),
            &|| _ = area.reading(&Layout::new(&[(2, -1)]), 0),
        ] {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            assert!(caught.is_err());
        }
        let read = Area::from(&v[..]);
        assert_eq!(read.slice::<f32>(3..5), [0.0; 2]);
        let write = std::panic::AssertUnwindSafe(|| _ = read.writing(&Layout::run(1), 0));
        assert!(std::panic::catch_unwind(write).is_err());
    }

    #[test]
    fn channels_side_by_side_are_disjoint() {
        let mut v = vec![0f32; 60];
        let area = Area::from(&mut v[..]);
        let part = |c: usize| Layout::new(&[(6, 10), (c, 1)]);
        assert!(area.disjoint((&part(4), 0), (&area, &part(6), 4)));
        assert!(!area.disjoint((&part(5), 0), (&area, &part(6), 4)));
        assert!(!area.disjoint((&part(4), 0), (&area, &part(3), 8)));
        assert!(area.same(&part(4), (&area, &part(4))) && !area.same(&part(4), (&area.skip(1), &part(4))));
    }
}
