//! Tensors of a pickle: calls that would have made them, read as descriptions.

use crate::budget::Meter;
use crate::pickle::{Id, Pickle, Value};
use crate::storage::{self, Storages};
use crate::{Error, Result};
use ampoule_graph::{DType, Tensor};
use bytes::Bytes;

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// More axes than any tensor of a network has.
const AXES: usize = 16;

/// How the call that makes a tensor describes it.
enum Form<'a> {
    /// `storage, offset, size, stride, …`, and an element type where the storage has none.
    Strided(&'a [Id], Option<DType>),
    Numpy(Tensor),
}

/// The description of the tensor that a recorded call makes, or that the parameter which it makes holds.
fn form(p: &Pickle, mut id: Id) -> Result<Option<Form<'_>>> {
    // A parameter is made of a tensor, not of parameters.
    for _ in 0..2 {
        let Some((name, args)) = p.call(id) else { return Ok(None) };
        match name {
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                id = *args.first().ok_or_else(|| bad("a parameter without tensor"))?;
            }
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                return Ok(Some(Form::Strided(args, None)));
            }
            "torch._utils._rebuild_tensor_v3" => {
                let dtype = args.get(6).and_then(|&d| match p.get(d) {
                    Value::Global(name) => storage::dtype_named(name),
                    _ => None,
                });
                let dtype = dtype.ok_or_else(|| bad("a tensor of an unknown element type"))?;
                return Ok(Some(Form::Strided(args, Some(dtype))));
            }
            // `function, class, arguments, state`: a class of its own around a tensor.
            "torch._tensor._rebuild_from_type_v2" | "torch._tensor._rebuild_from_type" => {
                let [function, _, inner, ..] = args else {
                    return Err(bad("a tensor with too few arguments"));
                };
                let Value::Global(function) = p.get(*function) else { return Ok(None) };
                let inner = p.items(*inner).unwrap_or_default();
                return match function.as_str() {
                    "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                        Ok(Some(Form::Strided(inner, None)))
                    }
                    other => Err(bad(format!("a tensor that `{other}` makes"))),
                };
            }
            name if name.starts_with("torch._utils._rebuild_") => {
                return Err(bad(format!("a tensor that `{name}` makes; save dense tensors of plain types")));
            }
            _ => return Ok(crate::numpy::array(p, id)?.map(Form::Numpy)),
        }
    }
    Err(bad("a parameter that is made of parameters"))
}

/// The tensor that a recorded call describes.
pub(crate) fn tensor(
    p: &Pickle,
    id: Id,
    storages: &mut Storages,
    meter: &mut Meter,
) -> Result<Option<Tensor>> {
    let (args, given) = match form(p, id)? {
        None => return Ok(None),
        Some(Form::Numpy(t)) => return Ok(Some(t)),
        Some(Form::Strided(args, given)) => (args, given),
    };
    let [store, offset, size, stride, ..] = args else { return Err(bad("a tensor with too few arguments")) };
    let (key, element) = storage::reference(p, *store)?;
    let dtype = given.unwrap_or(element);
    let sizes = |id: Id| -> Option<Vec<usize>> {
        // `torch.Size` is a call with the tuple as its argument.
        let id = p.call(id).and_then(|(_, args)| args.first().copied()).unwrap_or(id);
        p.items(id)?.iter().take(AXES + 1).map(|&i| p.int(i).and_then(|n| usize::try_from(n).ok())).collect()
    };
    let (Some(dims), Some(strides)) = (sizes(*size), sizes(*stride)) else {
        return Err(bad("a tensor whose sizes are not numbers"));
    };
    if dims.len() > AXES {
        return Err(bad(format!("a tensor of more than {AXES} axes")));
    }
    let offset =
        p.int(*offset).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad("a negative offset"))?;
    let data = storages.get(&key)?;
    let bytes = dims.iter().fold(dtype.bits() / 8, |n, &d| n.saturating_mul(d));
    meter.take("its tensors", bytes.min(data.len()) as u64)?;
    strided(&data, dtype, offset, dims, &strides)
        .ok_or_else(|| bad("a tensor that reaches outside its storage"))
        .map(Some)
}

/// A tensor over a storage: a share of it where its elements lie in order, else a copy. `None` where any lies outside.
pub(crate) fn strided(
    data: &Bytes,
    dtype: DType,
    offset: usize,
    dims: Vec<usize>,
    strides: &[usize],
) -> Option<Tensor> {
    let width = dtype.bits() / 8;
    let bytes = dims.iter().try_fold(width, |n, &d| n.checked_mul(d));
    let bytes = bytes.filter(|&b| b <= data.len() && dims.len() == strides.len())?;
    if bytes == 0 {
        return Tensor::from_bytes(dtype, dims, Bytes::new()).ok();
    }
    let mut expected = 1;
    let mut in_order = true;
    for (&d, &s) in dims.iter().zip(strides).rev() {
        in_order &= d == 1 || s == expected;
        expected *= d;
    }
    if in_order {
        let start = offset.checked_mul(width)?;
        let end = start.checked_add(bytes).filter(|&e| e <= data.len())?;
        return Tensor::from_bytes(dtype, dims, data.slice(start..end)).ok();
    }
    let gathered = gather(data, offset, &dims, strides, width)?;
    Tensor::from_bytes(dtype, dims, gathered.into()).ok()
}

/// Elements in row-major order, `None` when any lies outside `data`.
fn gather(data: &[u8], offset: usize, dims: &[usize], strides: &[usize], width: usize) -> Option<Vec<u8>> {
    let count: usize = dims.iter().product();
    let mut out = Vec::with_capacity(count * width);
    let mut index = vec![0usize; dims.len()];
    for _ in 0..count {
        let mut at = offset;
        for (i, s) in index.iter().zip(strides) {
            at = at.checked_add(i.checked_mul(*s)?)?;
        }
        let start = at.checked_mul(width)?;
        out.extend_from_slice(data.get(start..start.checked_add(width)?)?);
        for k in (0..dims.len()).rev() {
            index[k] += 1;
            if index[k] < dims[k] {
                break;
            }
            index[k] = 0;
        }
    }
    Some(out)
}
