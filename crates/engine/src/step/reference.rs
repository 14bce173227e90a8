//! Steps that the graph's own reference computes: rare operators, correct and slow.

use super::{Arg, Context, Step};
use crate::error::StepError;
use ampoule_graph::{DType, Op, Tensor, eval};
use ampoule_runtime::run::values::{gather, scatter};

/// A tensor of `dtype` from float32 carriers.
pub(crate) fn tensor(dtype: DType, dims: &[usize], v: &[f32]) -> Option<Tensor> {
    let wide: Vec<f64> = v.iter().map(|&x| x as f64).collect();
    Tensor::from_f64(dtype, dims, &wide)
}

pub(super) fn run(
    step: &Step,
    op: &Op,
    args: &[Arg],
    outputs: &[bool],
    cx: &Context,
) -> Result<(), StepError> {
    let inputs = args
        .iter()
        .map(|a| match a {
            Arg::Missing => Ok(None),
            Arg::Constant(t) => Ok(Some(t.clone())),
            Arg::Read(i, dtype) => {
                let v = &step.reads[*i];
                let t = tensor(*dtype, &v.dims, &gather(cx.area(v), v));
                t.map(Some).ok_or(StepError::Type { dtype: *dtype })
            }
        })
        .collect::<Result<Vec<_>, StepError>>()?;
    let out = eval::node(op, &inputs, outputs.len())?;
    let wanted = out.iter().zip(outputs).filter(|o| *o.1).map(|o| o.0);
    for (t, w) in wanted.zip(&step.writes) {
        let data = t.to_f32().ok_or(StepError::Type { dtype: t.dtype() })?;
        if t.dims() != w.dims {
            return Err(StepError::Shape { found: t.dims().to_vec(), planned: w.dims.clone() });
        }
        scatter(cx.area(w), w, &data);
    }
    Ok(())
}
