//! Several element-wise functions one after another, each on the result of the one before, while a block of values
//! is in the first-level cache.

use super::loops::{Loops, OPERANDS};
use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::{Area, Cpu};
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::{Elem, Element};

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

/// Most inputs.
pub const READS: usize = OPERANDS - 1;

/// Values of a block.
const BLOCK: usize = 1024;

/// `y = f_n(… f_1(x_0))`; inputs and output are stored alike and have the dimensions that `loops` was made for, the
/// output last. It may work in place.
pub fn run(cpu: Cpu, calls: &[Call], loops: &Loops, x: &[Area], y: Area) {
    dispatch(y.elem(), Step { cpu, calls, loops, x, y });
}

struct Step<'a> {
    cpu: Cpu<'a>,
    calls: &'a [Call],
    loops: &'a Loops,
    x: &'a [Area<'a>],
    y: Area<'a>,
}

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let Step { cpu, calls, loops, x, y } = self;
        assert!(!x.is_empty() && x.len() <= READS && x.iter().all(|x| x.elem() == E::ELEM), "other inputs");
        let read = |o: Operand| match o {
            Operand::Read(k) => k < x.len(),
            Operand::Last | Operand::Number(_) => true,
        };
        assert!(
            calls.iter().all(|c| match c {
                Call::Unary(_) => true,
                Call::Binary(_, o) | Call::Reversed(_, o) => read(*o),
            }),
            "an input that is not given"
        );
        let written = loops.layout(x.len());
        let pointers: Vec<Shared<E>> = x
            .iter()
            .enumerate()
            .map(|(k, x)| {
                let lies = loops.layout(k);
                y.assert_in_place(&written, (x, &lies));
                Shared::read(x.reading(&lies, 0).cast())
            })
            .collect();
        let to: Shared<E> = Shared::new(y.writing(&written, 0).cast());
        let last = x.len();
        loops.run(cpu.pool(), &|at, n, step| {
            let mut buffers = Buffers::default();
            for first in (0..n).step_by(BLOCK) {
                let count = (n - first).min(BLOCK);
                let place = |k: usize| at[k] + first as isize * step[k];
                let reads: [(*const E, isize); READS] = std::array::from_fn(|k| match pointers.get(k) {
                    Some(p) => (p.offset(place(k)).cast_const(), step[k]),
                    None => (std::ptr::null(), 0),
                });
                // SAFETY: what the loops visit was checked; chunks are disjoint, and a block is read before it
                // is written.
                unsafe {
                    let dst = to.offset(place(last));
                    let direct = (E::ELEM == Elem::F32 && step[last] == 1).then_some(dst.cast());
                    buffers.compute(cpu, calls, &reads[..last], (direct, count));
                    if direct.is_none() {
                        store(&buffers.result[..count], dst, step[last]);
                    }
                }
            }
        });
    }
}

/// Blocks of float32: the result so far, and inputs that lie otherwise.
struct Buffers {
    result: [f32; BLOCK],
    reads: [[f32; BLOCK]; READS],
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers { result: [0.0; BLOCK], reads: [[0.0; BLOCK]; READS] }
    }
}

/// A block of an input: its first value, and whether that is the same for all.
type Block = (*const f32, bool);

impl Buffers {
    /// Computes `n` values, into `result` or those of the last function to `direct`.
    ///
    /// # Safety
    /// The inputs must be readable at `n` places, and `direct` writable, which may be an input itself.
    unsafe fn compute<E: Element>(
        &mut self,
        cpu: Cpu,
        calls: &[Call],
        reads: &[(*const E, isize)],
        (direct, n): (Option<*mut f32>, usize),
    ) {
        let mut blocks: [Block; READS] = [(std::ptr::null(), false); READS];
        for (k, &(p, step)) in reads.iter().enumerate() {
            // SAFETY: passed on from the caller.
            blocks[k] = unsafe { self.block(k, p, step, n, k > 0) };
        }
        let mut last = blocks[0].0;
        for (i, call) in calls.iter().enumerate() {
            let y = direct.filter(|_| i + 1 == calls.len()).unwrap_or(self.result.as_mut_ptr());
            let operand = |o: Operand| match o {
                Operand::Last => (last, false),
                Operand::Read(k) => blocks[k],
                Operand::Number(_) => (std::ptr::null(), true),
            };
            // SAFETY: blocks of `n` values, which a function may replace by its results.
            unsafe {
                match *call {
                    Call::Unary(f) => eltwise::unary::<f32, f32>(cpu.isa(), f, last, y, n),
                    Call::Binary(f, Operand::Number(v)) => {
                        eltwise::binary(cpu.isa(), f, last, &v, true, y, n);
                    }
                    Call::Binary(f, o) => {
                        let (b, same) = operand(o);
                        eltwise::binary(cpu.isa(), f, last, b, same, y, n);
                    }
                    Call::Reversed(f, o) => {
                        let full = [match o {
                            Operand::Number(v) => v,
                            Operand::Last | Operand::Read(_) => *operand(o).0,
                        }; 64];
                        match operand(o) {
                            (b, false) => eltwise::binary(cpu.isa(), f, b, last, false, y, n),
                            (_, true) => {
                                for i in (0..n).step_by(full.len()) {
                                    let m = (n - i).min(full.len());
                                    let (b, y) = (last.add(i), y.add(i));
                                    eltwise::binary(cpu.isa(), f, full.as_ptr(), b, false, y, m);
                                }
                            }
                        }
                    }
                }
            }
            last = y;
        }
    }

    /// The block of input `k`, gathered where it lies otherwise; one value for all only where `may_repeat`.
    ///
    /// # Safety
    /// The input must be readable at `n` places.
    unsafe fn block<E: Element>(&mut self, k: usize, p: *const E, step: isize, n: usize, may_repeat: bool) -> Block {
        if step == 1 && E::ELEM == Elem::F32 {
            return (p.cast(), false);
        }
        let own = &mut self.reads[k];
        let repeated = step == 0 && may_repeat;
        for (i, v) in own[..if repeated { 1 } else { n }].iter_mut().enumerate() {
            // SAFETY: passed on from the caller.
            *v = unsafe { (*p.offset(i as isize * step)).get() };
        }
        (own.as_ptr(), repeated)
    }
}

/// Stores a block at places `step` apart.
///
/// # Safety
/// They must be the caller's to write.
unsafe fn store<E: Element>(from: &[f32], to: *mut E, step: isize) {
    for (i, v) in from.iter().enumerate() {
        // SAFETY: passed on from the caller.
        unsafe { *to.offset(i as isize * step) = E::of(*v) };
    }
}
