//! Several element-wise functions one after another, each on the result of the one before, while a block of values
//! is in the first-level cache.

use super::elementwise::repeated;
use super::loops::{Loops, OPERANDS};
use crate::block::Shared;
use crate::{Area, Cpu};
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::{Elem, Element, Features, bf16, f16};
use std::mem::MaybeUninit;

/// What a function of two values takes besides the result before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// The result before once more.
    Last,
    /// An input of the step.
    Read(usize),
    /// The same number for all.
    Number(f32),
}

/// A function of the result before; of the first input where it is the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    /// Of that value alone.
    Unary(Unary),
    /// Of that value and another.
    Binary(Binary, Operand),
    /// Of another value and that one.
    Reversed(Binary, Operand),
}

/// `y = f_n(… f_1(x_0))`.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The functions.
    pub calls: Vec<Call>,
    /// What dequantizes each input, where it is stored quantized.
    pub dequantize: Vec<Option<Unary>>,
    /// What quantizes the result, where it is stored quantized.
    pub quantize: Option<Unary>,
}

/// Most inputs.
pub const READS: usize = OPERANDS - 1;

/// What leaves values as they are, so that they are only stored otherwise.
const SAME: Unary = Unary::Dequantize { scale: 1.0, zero: 0.0 };

/// Values of a block.
const BLOCK: usize = 1024;

/// Runs `chain` on inputs and an output of the dimensions that `loops` was made for, the output last. It may work in
/// place where they are stored alike.
pub fn run(cpu: Cpu, chain: &Chain, loops: &Loops, x: &[Area], y: Area) {
    chain.check(x, y);
    let last = x.len();
    let written = loops.layout(last);
    let input = |(k, x): (usize, &Area)| {
        let lies = loops.layout(k);
        y.assert_in_place(&written, (x, &lies));
        Shared::read(x.reading(&lies, 0))
    };
    let pointers: Vec<Shared<u8>> = x.iter().enumerate().map(input).collect();
    let to: Shared<u8> = Shared::new(y.writing(&written, 0));
    let (elems, stored): (Vec<Elem>, Elem) = (x.iter().map(Area::elem).collect(), y.elem());
    loops.run_planes(cpu.pool(), &|at, [rows, n], [row, step]| {
        let mut buffers = Buffers::new();
        let many = (BLOCK / n.max(1)).max(1);
        for r in (0..rows).step_by(many) {
            for first in (0..n).step_by(BLOCK) {
                let block = |k: usize, all: &Shared<u8>, elem: Elem| Stored {
                    at: all.offset(
                        (at[k] + r as isize * row[k] + first as isize * step[k]) * elem.size() as isize,
                    ),
                    elem,
                    strides: [row[k], step[k]],
                    sizes: [(rows - r).min(many), (n - first).min(BLOCK)],
                };
                let read = |k: usize| block(k, &pointers[k], elems[k]);
                // SAFETY: what the loops visit was checked; chunks are disjoint, and a block is read before it is
                // written.
                unsafe { buffers.compute(cpu.isa(), chain, last, &read, block(last, &to, stored)) };
            }
        }
    });
}

impl Chain {
    /// Panics unless the chain takes these inputs and makes this output.
    fn check(&self, x: &[Area], y: Area) {
        assert!(!x.is_empty() && x.len() <= READS && x.len() == self.dequantize.len(), "other inputs");
        let read = |o: Operand| match o {
            Operand::Read(k) => k < x.len(),
            Operand::Last | Operand::Number(_) => true,
        };
        let known = |c: &Call| match c {
            Call::Unary(_) => true,
            Call::Binary(_, o) | Call::Reversed(_, o) => read(*o),
        };
        assert!(self.calls.iter().all(known), "an input that is not given");
        let quantized = x.iter().zip(&self.dequantize).all(|(x, f)| (x.elem() == Elem::U8) == f.is_some());
        assert!(quantized && (y.elem() == Elem::U8) == self.quantize.is_some(), "values stored otherwise");
    }
}

/// Rows of values of an operand.
#[derive(Clone, Copy)]
struct Stored {
    at: *mut u8,
    elem: Elem,
    /// Distances between rows and between values of a row, in elements.
    strides: [isize; 2],
    /// Rows, and values of each.
    sizes: [usize; 2],
}

impl Stored {
    fn len(&self) -> usize {
        self.sizes[0] * self.sizes[1]
    }

    /// Whether all values lie side by side.
    fn flat(&self) -> bool {
        let [rows, n] = self.sizes;
        self.strides[1] == 1 && (rows == 1 || self.strides[0] == n as isize)
    }

    /// Whether all values are one.
    fn single(&self) -> bool {
        self.strides[1] == 0 && (self.sizes[0] == 1 || self.strides[0] == 0)
    }

    /// Whether they lie side by side as elements of this type.
    fn plain(&self, elem: Elem) -> bool {
        self.flat() && self.elem == elem
    }

    /// Calls `f` for every value with its place from the first and among all.
    fn each(&self, mut f: impl FnMut(isize, usize)) {
        let [rows, n] = self.sizes;
        for r in 0..rows {
            for i in 0..n {
                f(r as isize * self.strides[0] + i as isize * self.strides[1], r * n + i);
            }
        }
    }

    /// Widens all values, or the first of `single` ones.
    ///
    /// # Safety
    /// They must be readable, and as many places writable.
    unsafe fn widen(&self, isa: Features, single: bool, to: *mut f32) {
        /// Safety: as above.
        unsafe fn gather<E: Element>(s: &Stored, single: bool, to: *mut f32) {
            let from = s.at.cast::<E>();
            // SAFETY: passed on from the caller.
            let one = |at: isize, i: usize| unsafe { *to.add(i) = (*from.offset(at)).get() };
            if single { one(0, 0) } else { s.each(one) }
        }
        // SAFETY: passed on from the caller.
        unsafe {
            match self.elem {
                Elem::F32 => gather::<f32>(self, single, to),
                Elem::Bf16 if self.flat() => {
                    eltwise::unary(isa, SAME, self.at.cast::<bf16>(), to, self.len());
                }
                Elem::Bf16 => gather::<bf16>(self, single, to),
                Elem::F16 => gather::<f16>(self, single, to),
                Elem::U8 => gather::<u8>(self, single, to),
            }
        }
    }

    /// Stores all values.
    ///
    /// # Safety
    /// As many must be readable, and their places the caller's to write.
    unsafe fn store(&self, isa: Features, from: *const f32) {
        /// Safety: as above.
        unsafe fn scatter<E: Element>(s: &Stored, from: *const f32) {
            let to = s.at.cast::<E>();
            // SAFETY: passed on from the caller.
            s.each(|at, i| unsafe { *to.offset(at) = E::of(*from.add(i)) });
        }
        // SAFETY: passed on from the caller.
        unsafe {
            match self.elem {
                Elem::F32 => scatter::<f32>(self, from),
                Elem::Bf16 if self.flat() => {
                    eltwise::unary(isa, SAME, from, self.at.cast::<bf16>(), self.len());
                }
                Elem::Bf16 => scatter::<bf16>(self, from),
                Elem::F16 => scatter::<f16>(self, from),
                Elem::U8 => scatter::<u8>(self, from),
            }
        }
    }
}

/// Blocks of float32, not yet written: the result so far, and inputs that lie otherwise.
struct Buffers {
    result: [MaybeUninit<f32>; BLOCK],
    reads: [[MaybeUninit<f32>; BLOCK]; READS],
}

/// A block of an input: its first value, and whether that is the same for all.
type Block = (*const f32, bool);

impl Buffers {
    fn new() -> Self {
        Buffers { result: [MaybeUninit::uninit(); BLOCK], reads: [[MaybeUninit::uninit(); BLOCK]; READS] }
    }

    /// Computes a block.
    ///
    /// # Safety
    /// The inputs must be readable and the output writable, which may be an input itself.
    unsafe fn compute(
        &mut self,
        isa: Features,
        chain: &Chain,
        inputs: usize,
        read: &dyn Fn(usize) -> Stored,
        out: Stored,
    ) {
        let (n, own) = (out.len(), self.result.as_mut_ptr().cast::<f32>());
        let mut blocks: [Block; READS] = [(std::ptr::null(), false); READS];
        for (k, block) in blocks.iter_mut().enumerate().take(inputs) {
            // SAFETY: passed on from the caller.
            *block = unsafe { self.block(isa, k, read(k), chain.dequantize[k]) };
        }
        let direct = out.plain(Elem::F32).then_some(out.at.cast::<f32>());
        let mut last = blocks[0].0;
        for (i, call) in chain.calls.iter().enumerate() {
            let y = direct.filter(|_| i + 1 == chain.calls.len()).unwrap_or(own);
            let operand = |o: Operand| match o {
                Operand::Last => (last, false),
                Operand::Read(k) => blocks[k],
                Operand::Number(_) => (std::ptr::null(), true),
            };
            // SAFETY: blocks of `n` values, which a function may replace by its results.
            unsafe {
                match *call {
                    Call::Unary(f) => eltwise::unary::<f32, f32>(isa, f, last, y, n),
                    Call::Binary(f, Operand::Number(v)) => eltwise::binary(isa, f, last, &v, true, y, n),
                    Call::Binary(f, o) => {
                        let (b, same) = operand(o);
                        eltwise::binary(isa, f, last, b, same, y, n);
                    }
                    Call::Reversed(f, Operand::Number(v)) => repeated(isa, f, v, last, y, n),
                    Call::Reversed(f, o) => match operand(o) {
                        (b, false) => eltwise::binary(isa, f, b, last, false, y, n),
                        (b, true) => repeated(isa, f, *b, last, y, n),
                    },
                }
            }
            last = y;
        }
        // SAFETY: as above.
        unsafe {
            match chain.quantize {
                Some(f) if out.plain(Elem::U8) => eltwise::unary::<f32, u8>(isa, f, last, out.at, n),
                Some(f) => {
                    eltwise::unary::<f32, f32>(isa, f, last, own, n);
                    out.store(isa, own);
                }
                None if direct.is_none() => out.store(isa, own),
                None => {}
            }
        }
    }

    /// The block of input `k`, widened where it is stored or lies otherwise; one value for all only where it is not
    /// what the functions begin with.
    ///
    /// # Safety
    /// The input must be readable.
    unsafe fn block(&mut self, isa: Features, k: usize, read: Stored, dequantize: Option<Unary>) -> Block {
        if read.plain(Elem::F32) {
            return (read.at.cast_const().cast(), false);
        }
        let own = self.reads[k].as_mut_ptr().cast::<f32>();
        let single = read.single() && k > 0;
        let n = if single { 1 } else { read.len() };
        // SAFETY: passed on from the caller.
        unsafe {
            match dequantize {
                Some(f) if read.plain(Elem::U8) => eltwise::unary::<u8, f32>(isa, f, read.at, own, n),
                _ => {
                    read.widen(isa, single, own);
                    if let Some(f) = dequantize {
                        eltwise::unary::<f32, f32>(isa, f, own, own, n);
                    }
                }
            }
        }
        (own, single)
    }
}
