//! Reductions along rows or over rows, and weighted sums of rows.
//!
//! Values are combined in float32 over short blocks and in float64 across blocks.

use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Element, Features};

/// How values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fold {
    Sum,
    /// Sum of magnitudes.
    Abs,
    /// Sum of squares.
    Square,
    /// Sum of `e^(x - shift)`.
    Exp,
    Product,
    /// Not a number if any value is not.
    Max,
    /// Not a number if any value is not.
    Min,
}

impl Fold {
    /// All of them.
    pub const ALL: [Fold; 7] =
        [Fold::Sum, Fold::Abs, Fold::Square, Fold::Exp, Fold::Product, Fold::Max, Fold::Min];

    /// What no values are combined to.
    pub fn start(self) -> f64 {
        match self {
            Fold::Sum | Fold::Abs | Fold::Square | Fold::Exp => 0.0,
            Fold::Product => 1.0,
            Fold::Max => f64::NEG_INFINITY,
            Fold::Min => f64::INFINITY,
        }
    }

    /// Two results as one.
    pub fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Fold::Sum | Fold::Abs | Fold::Square | Fold::Exp => a + b,
            Fold::Product => a * b,
            Fold::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Fold::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
        }
    }
}

/// The same as constants, so that each loop holds one.
mod fold {
    pub const SUM: u8 = 0;
    pub const ABS: u8 = 1;
    pub const SQUARE: u8 = 2;
    pub const EXP: u8 = 3;
    pub const PRODUCT: u8 = 4;
    pub const MAX: u8 = 5;
    pub const MIN: u8 = 6;
}

/// Registers combined in float32 before they join the float64 results.
const BLOCK: usize = 64;

/// Chains that hide the latency of a combination.
const CHAINS: usize = 4;

/// Most lanes of a register.
const MOST_LANES: usize = 16;

/// Accumulators of one chain: values, and what is not a number as soon as one of them was not.
struct Chain<V: Vector> {
    value: V::V,
    number: V::V,
}

impl<V: Vector> Chain<V> {
    /// Safety: the CPU must have the features of `V`, here and below.
    #[inline(always)]
    unsafe fn new<const F: u8>() -> Self {
        let start = match F {
            fold::PRODUCT => 1.0,
            fold::MAX => f32::NEG_INFINITY,
            fold::MIN => f32::INFINITY,
            _ => 0.0,
        };
        // SAFETY: register arithmetic only.
        unsafe { Chain { value: V::splat(start), number: V::splat(0.0) } }
    }

    /// What a value becomes before it is combined.
    #[inline(always)]
    unsafe fn mapped<const F: u8>(x: V::V, shift: V::V) -> V::V {
        // SAFETY: register arithmetic only.
        unsafe {
            match F {
                fold::ABS => V::abs(x),
                fold::SQUARE => V::mul(x, x),
                fold::EXP => V::exp(V::sub(x, shift)),
                _ => x,
            }
        }
    }

    #[inline(always)]
    unsafe fn take<const F: u8>(&mut self, x: V::V, shift: V::V) {
        // SAFETY: register arithmetic only.
        unsafe {
            let x = Self::mapped::<F>(x, shift);
            match F {
                fold::PRODUCT => self.value = V::mul(self.value, x),
                fold::MAX | fold::MIN => {
                    self.value = if F == fold::MAX { V::max(x, self.value) } else { V::min(x, self.value) };
                    // Between -1 and 1, or not a number: sums of these are never infinite.
                    let small = V::min(V::splat(1.0), V::max(V::splat(-1.0), x));
                    self.number = V::add(self.number, small);
                }
                _ => self.value = V::add(self.value, x),
            }
        }
    }

    /// Takes in what another chain has combined.
    #[inline(always)]
    unsafe fn join<const F: u8>(&mut self, other: &Self) {
        // SAFETY: register arithmetic only.
        unsafe {
            self.value = match F {
                fold::PRODUCT => V::mul(self.value, other.value),
                fold::MAX => V::max(self.value, other.value),
                fold::MIN => V::min(self.value, other.value),
                _ => V::add(self.value, other.value),
            };
            if F == fold::MAX || F == fold::MIN {
                self.number = V::add(self.number, other.number);
            }
        }
    }

    /// Writes each lane's result.
    #[inline(always)]
    unsafe fn store<const F: u8>(&self, to: &mut [f32; MOST_LANES]) {
        // SAFETY: the buffer holds a register.
        unsafe {
            V::store(to.as_mut_ptr(), self.value);
            if F == fold::MAX || F == fold::MIN {
                let mut number = [0f32; MOST_LANES];
                V::store(number.as_mut_ptr(), self.number);
                for (v, n) in to.iter_mut().zip(number) {
                    if n.is_nan() {
                        *v = f32::NAN;
                    }
                }
            }
        }
    }
}

/// The lanes of a register as one.
#[inline(always)]
fn across<V: Vector>(fold: Fold, lanes: &[f32; MOST_LANES]) -> f64 {
    let mut all = lanes.map(f64::from);
    let mut width = V::LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            all[i] = fold.join(all[i], all[i + width]);
        }
    }
    all[0]
}

macro_rules! each_fold {
    ($self:ident, $method:ident) => {
        match $self.fold {
            Fold::Sum => $self.$method::<V, { fold::SUM }>(),
            Fold::Abs => $self.$method::<V, { fold::ABS }>(),
            Fold::Square => $self.$method::<V, { fold::SQUARE }>(),
            Fold::Exp => $self.$method::<V, { fold::EXP }>(),
            Fold::Product => $self.$method::<V, { fold::PRODUCT }>(),
            Fold::Max => $self.$method::<V, { fold::MAX }>(),
            Fold::Min => $self.$method::<V, { fold::MIN }>(),
        }
    };
}

/// Rows that are combined element by element.
pub struct Columns<'a, E> {
    /// How.
    pub fold: Fold,
    /// The first row.
    pub src: *const E,
    /// Number of rows, and elements from one to the next.
    pub rows: (usize, isize),
    /// What each column is shifted by, for [`Fold::Exp`]; empty for 0.
    pub shift: &'a [f32],
    /// One result for each column, to which the rows are joined.
    pub acc: &'a mut [f64],
}

/// Combines rows of `acc.len()` contiguous values element by element.
///
/// # Safety
/// The rows must be readable, and `isa` supported.
pub unsafe fn columns<E: Element>(isa: Features, args: Columns<E>) {
    assert!(args.shift.is_empty() || args.shift.len() == args.acc.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

impl<E: Element> Body for Columns<'_, E> {
    const OPERATION: Operation = Operation::Reduce;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on from the caller.
        unsafe { each_fold!(self, all) }
    }
}

impl<E: Element> Columns<'_, E> {
    /// Safety: as for [`columns`]; the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn all<V: Vector, const F: u8>(self) {
        let (count, step) = self.rows;
        let columns = self.acc.len();
        let mut buffer = [0f32; MOST_LANES];
        let mut k = 0;
        while k < columns {
            let m = (columns - k).min(V::LANES);
            // SAFETY: k + m <= columns, and all rows are readable.
            unsafe {
                let shift = match self.shift.is_empty() {
                    true => V::splat(0.0),
                    false => f32::load_some::<V>(self.shift.as_ptr().add(k), m),
                };
                let at = |row: usize| self.src.offset(row as isize * step).add(k);
                let mut row = 0;
                while row < count {
                    let n = (count - row).min(BLOCK);
                    let mut chains: [Chain<V>; CHAINS] =
                        [Chain::new::<F>(), Chain::new::<F>(), Chain::new::<F>(), Chain::new::<F>()];
                    let mut i = 0;
                    while i + CHAINS <= n {
                        for (j, chain) in chains.iter_mut().enumerate() {
                            chain.take::<F>(E::load_some::<V>(at(row + i + j), m), shift);
                        }
                        i += CHAINS;
                    }
                    while i < n {
                        chains[0].take::<F>(E::load_some::<V>(at(row + i), m), shift);
                        i += 1;
                    }
                    let [mut all, others @ ..] = chains;
                    for chain in others.iter().take(n - 1) {
                        all.join::<F>(chain);
                    }
                    all.store::<F>(&mut buffer);
                    for (acc, v) in self.acc[k..k + m].iter_mut().zip(buffer) {
                        *acc = self.fold.join(*acc, v as f64);
                    }
                    row += n;
                }
            }
            k += V::LANES;
        }
    }
}

/// Rows that are each combined to one value.
pub struct Runs<'a, E> {
    /// How.
    pub fold: Fold,
    /// The first row.
    pub src: *const E,
    /// Elements from one row to the next.
    pub step: isize,
    /// Values of a row, which are contiguous.
    pub n: usize,
    /// What each row is shifted by, for [`Fold::Exp`]; empty for 0.
    pub shift: &'a [f32],
    /// One result for each row, to which its values are joined.
    pub acc: &'a mut [f64],
}

/// Combines the values of each of `acc.len()` rows.
///
/// # Safety
/// The rows must be readable, and `isa` supported.
pub unsafe fn runs<E: Element>(isa: Features, args: Runs<E>) {
    assert!(args.shift.is_empty() || args.shift.len() == args.acc.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

impl<E: Element> Body for Runs<'_, E> {
    const OPERATION: Operation = Operation::Reduce;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on from the caller.
        unsafe { each_fold!(self, all) }
    }
}

impl<E: Element> Runs<'_, E> {
    /// Safety: as for [`runs`]; the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn all<V: Vector, const F: u8>(self) {
        let mut buffer = [0f32; MOST_LANES];
        let fold = self.fold;
        for (row, acc) in self.acc.iter_mut().enumerate() {
            // SAFETY: the row is readable, and accesses stay inside it.
            unsafe {
                let src = self.src.offset(row as isize * self.step);
                let shift = V::splat(self.shift.get(row).copied().unwrap_or(0.0));
                let mut i = 0;
                while i + V::LANES <= self.n {
                    let registers = ((self.n - i) / V::LANES).min(BLOCK);
                    let mut chains: [Chain<V>; CHAINS] =
                        [Chain::new::<F>(), Chain::new::<F>(), Chain::new::<F>(), Chain::new::<F>()];
                    let mut r = 0;
                    while r + CHAINS <= registers {
                        for (j, chain) in chains.iter_mut().enumerate() {
                            chain.take::<F>(E::load::<V>(src.add(i + (r + j) * V::LANES)), shift);
                        }
                        r += CHAINS;
                    }
                    while r < registers {
                        chains[0].take::<F>(E::load::<V>(src.add(i + r * V::LANES)), shift);
                        r += 1;
                    }
                    let [mut all, others @ ..] = chains;
                    for chain in others.iter().take(registers - 1) {
                        all.join::<F>(chain);
                    }
                    all.store::<F>(&mut buffer);
                    *acc = fold.join(*acc, across::<V>(fold, &buffer));
                    i += registers * V::LANES;
                }
                if i < self.n {
                    let m = self.n - i;
                    let x = E::load_part::<V>(src.add(i), m);
                    V::store(buffer.as_mut_ptr(), Chain::<V>::mapped::<F>(x, shift));
                    for v in &buffer[..m] {
                        *acc = fold.join(*acc, *v as f64);
                    }
                }
            }
        }
    }
}

/// A weighted sum of rows.
pub struct WeightedRows<'a, E, O> {
    /// Where the rows lie.
    pub src: *const E,
    /// The first element of each row.
    pub rows: &'a [usize],
    /// One weight for each.
    pub weights: &'a [f32],
    /// Where the sum goes.
    pub dst: *mut O,
    /// Values of a row.
    pub n: usize,
    /// Whether the sum is added to what is there.
    pub add: bool,
}

/// Adds up rows of `n` contiguous values.
///
/// # Safety
/// The rows must be readable and `dst` writable and apart from them; `isa` must be supported.
pub unsafe fn weighted_rows<E: Element, O: Element>(isa: Features, args: WeightedRows<E, O>) {
    assert_eq!(args.rows.len(), args.weights.len());
    // SAFETY: passed on from the caller.
    unsafe { dispatch(isa, args) }
}

impl<E: Element, O: Element> Body for WeightedRows<'_, E, O> {
    const OPERATION: Operation = Operation::WeightedRows;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let WeightedRows { src, rows, weights, dst, n, add } = self;
        let mut k = 0;
        // SAFETY: accesses stay inside the rows, with partial forms at the end.
        unsafe {
            while k + CHAINS * V::LANES <= n {
                let at = |j: usize| dst.add(k + j * V::LANES);
                let mut acc = [V::splat(0.0); CHAINS];
                if add {
                    for (j, a) in acc.iter_mut().enumerate() {
                        *a = O::load::<V>(at(j));
                    }
                }
                for (row, w) in rows.iter().zip(weights) {
                    let w = V::splat(*w);
                    for (j, a) in acc.iter_mut().enumerate() {
                        *a = V::fma(E::load::<V>(src.add(row + k + j * V::LANES)), w, *a);
                    }
                }
                for (j, a) in acc.iter().enumerate() {
                    O::store::<V>(at(j), *a);
                }
                k += CHAINS * V::LANES;
            }
            while k < n {
                let m = (n - k).min(V::LANES);
                let mut acc = if add { O::load_some::<V>(dst.add(k), m) } else { V::splat(0.0) };
                for (row, w) in rows.iter().zip(weights) {
                    acc = V::fma(E::load_some::<V>(src.add(row + k), m), V::splat(*w), acc);
                }
                O::store_some::<V>(dst.add(k), acc, m);
                k += m;
            }
        }
    }
}
