//! Steps that the graph's own reference computes: rare operators, correct and slow.

use super::{Arg, Context, Step};
use ampoule_graph::{DType, Op, Tensor, eval};
use ampoule_kernels::{Elem, Element, bf16, f16};
use ampoule_runtime::view::{View, row_major};

/// Every element of a view in row-major order.
///
/// # Safety
/// The view must be readable at `base`.
pub(crate) unsafe fn gather(base: *const u8, v: &View) -> Vec<f32> {
    // SAFETY: passed on from the caller.
    unsafe {
        match v.elem {
            Elem::F32 => gather_as::<f32>(base.cast(), v),
            Elem::Bf16 => gather_as::<bf16>(base.cast(), v),
            Elem::F16 => gather_as::<f16>(base.cast(), v),
            Elem::U8 => gather_as::<u8>(base.cast(), v),
        }
    }
}

/// Safety: as for [`gather`], and the view must be of type `E`.
unsafe fn gather_as<E: Element>(base: *const E, v: &View) -> Vec<f32> {
    let n = v.len();
    let mut out = Vec::with_capacity(n);
    if n == 0 {
        return out;
    }
    if v.is_row_major() {
        // SAFETY: contiguous by the check.
        out.extend(unsafe { std::slice::from_raw_parts(base, n) }.iter().map(|x| x.get()));
        return out;
    }
    walk(v, |at| {
        // SAFETY: an element of the view.
        out.push(unsafe { *base.offset(at) }.get());
    });
    out
}

/// Calls `f` with the offset of each element, in row-major order.
fn walk(v: &View, mut f: impl FnMut(isize)) {
    let rank = v.dims.len();
    let mut idx = vec![0; rank];
    let mut at = 0isize;
    for _ in 0..v.len() {
        f(at);
        for i in (0..rank).rev() {
            idx[i] += 1;
            at += v.strides[i];
            if idx[i] < v.dims[i] {
                break;
            }
            at -= v.strides[i] * v.dims[i] as isize;
            idx[i] = 0;
        }
    }
}

/// Writes row-major `values` into a view.
///
/// # Safety
/// The view must be writable at `base`.
pub(crate) unsafe fn scatter(base: *mut u8, v: &View, values: &[f32]) {
    let mut it = values.iter();
    walk(v, |at| {
        if let Some(&x) = it.next() {
            // SAFETY: an element of the view.
            unsafe {
                match v.elem {
                    Elem::F32 => *base.cast::<f32>().offset(at) = x,
                    Elem::Bf16 => *base.cast::<bf16>().offset(at) = bf16::of(x),
                    Elem::F16 => *base.cast::<f16>().offset(at) = f16::of(x),
                    Elem::U8 => *base.offset(at) = u8::of(x),
                }
            }
        }
    });
}

/// A tensor of `dtype` from float32 carriers.
pub(crate) fn tensor(dtype: DType, dims: &[usize], v: &[f32]) -> Option<Tensor> {
    let wide: Vec<f64> = v.iter().map(|&x| x as f64).collect();
    Tensor::from_f64(dtype, dims, &wide)
}

/// # Safety
/// See [`Step::run`].
pub(super) unsafe fn run(step: &Step, op: &Op, args: &[Arg], cx: &Context) -> Result<(), String> {
    let inputs = args
        .iter()
        .map(|a| match a {
            Arg::Missing => Ok(None),
            Arg::Constant(t) => Ok(Some(t.clone())),
            Arg::Read(i, dtype) => {
                let v = &step.reads[*i];
                // SAFETY: an input of this step, computed before it.
                let data = unsafe { gather(cx.bytes(v), v) };
                let t = tensor(*dtype, &v.dims, &data);
                t.map(Some).ok_or_else(|| format!("{} cannot be computed with", dtype.name()))
            }
        })
        .collect::<Result<Vec<_>, String>>()?;
    let out = eval::node(op, &inputs, step.writes.len())?;
    for (t, w) in out.iter().zip(&step.writes) {
        let data = t.to_f32().ok_or("a result that is not numeric")?;
        if t.dims() != w.dims {
            return Err(format!("shape {:?} instead of {:?}", t.dims(), w.dims));
        }
        debug_assert_eq!(w.strides.len(), row_major(&w.dims).len());
        // SAFETY: an output of this step.
        unsafe { scatter(cx.bytes(w), w, &data) };
    }
    Ok(())
}
