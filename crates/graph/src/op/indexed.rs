//! Elements chosen by tensors of indices: gathered one by one or in slices, and scattered.

use crate::Dim;
use crate::array::{Array, Data, Inputs, indices, offset, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, axis};

/// What scattered elements do to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scatter {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Scatter {
    /// All of them, by ONNX's names.
    pub const ALL: [(&'static str, Scatter); 5] = [
        ("none", Scatter::Replace),
        ("add", Scatter::Add),
        ("mul", Scatter::Mul),
        ("max", Scatter::Max),
        ("min", Scatter::Min),
    ];

    /// ONNX's name.
    pub fn name(self) -> &'static str {
        match self {
            Scatter::Replace => "none",
            Scatter::Add => "add",
            Scatter::Mul => "mul",
            Scatter::Max => "max",
            Scatter::Min => "min",
        }
    }
}

/// Operators on elements or slices that a tensor of indices chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// Inputs `x, indices`: along `axis`, each index names an element.
    GatherElements {
        /// The axis that indices count along.
        axis: i64,
    },
    /// Inputs `x, indices`: the last axis of the indices names slices.
    GatherNd {
        /// Leading axes that both inputs have in common.
        batch_dims: usize,
    },
    /// Inputs `x, indices, updates`.
    ScatterElements {
        /// The axis that indices count along.
        axis: i64,
        /// What updates do.
        reduction: Scatter,
    },
    /// Inputs `x, indices, updates`: the last axis of the indices names slices.
    ScatterNd {
        /// What updates do.
        reduction: Scatter,
    },
}

impl Indexed {
    /// ONNX operator type.
    pub fn name(self) -> &'static str {
        match self {
            Indexed::GatherElements { .. } => "GatherElements",
            Indexed::GatherNd { .. } => "GatherND",
            Indexed::ScatterElements { .. } => "ScatterElements",
            Indexed::ScatterNd { .. } => "ScatterND",
        }
    }

    /// Number of inputs.
    pub(super) fn inputs(self) -> usize {
        match self {
            Indexed::GatherElements { .. } | Indexed::GatherNd { .. } => 2,
            Indexed::ScatterElements { .. } | Indexed::ScatterNd { .. } => 3,
        }
    }
}

pub(super) fn shape(args: &Args, op: Indexed) -> OpResult<Option<Vec<Dim>>> {
    let (Some(x), Some(i)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    match op {
        Indexed::GatherElements { axis: a } => {
            fits(x, i, axis(a, x.len())?)?;
            Ok(Some(i.clone()))
        }
        Indexed::GatherNd { batch_dims } => {
            let Some(Dim::Known(k)) = i.last().cloned() else {
                return if i.is_empty() { Err(OpError::ScalarOperand) } else { Ok(None) };
            };
            slices(x.len(), i.len(), batch_dims, k)?;
            Ok(Some([&i[..i.len() - 1], &x[batch_dims + k..]].concat()))
        }
        Indexed::ScatterElements { axis: a, .. } => {
            fits(x, i, axis(a, x.len())?)?;
            alike(args.shape(2), i)?;
            Ok(Some(x.clone()))
        }
        Indexed::ScatterNd { .. } => {
            if let Some(Dim::Known(k)) = i.last() {
                slices(x.len(), i.len(), 0, *k)?;
                alike(args.shape(2), &[&i[..i.len() - 1], &x[*k..]].concat())?;
            }
            Ok(Some(x.clone()))
        }
    }
}

/// Checks that indices `i` along axis `at` stay inside `x` along the others.
fn fits(x: &[Dim], i: &[Dim], at: usize) -> OpResult<()> {
    if i.len() != x.len() {
        return Err(OpError::Ranks { a: x.len(), b: i.len() });
    }
    for (k, sizes) in x.iter().zip(i).enumerate() {
        if let (Some(a), Some(b)) = (sizes.0.known(), sizes.1.known())
            && k != at
            && b > a
        {
            return Err(OpError::BroadcastSizes { a, b });
        }
    }
    Ok(())
}

/// Checks that updates have the shape `wanted`, as far as both are known.
fn alike(updates: Option<&Vec<Dim>>, wanted: &[Dim]) -> OpResult<()> {
    let Some(updates) = updates else { return Ok(()) };
    if updates.len() != wanted.len() {
        return Err(OpError::Ranks { a: updates.len(), b: wanted.len() });
    }
    for (u, w) in updates.iter().zip(wanted) {
        if let (Some(a), Some(b)) = (u.known(), w.known())
            && a != b
        {
            return Err(OpError::BroadcastSizes { a, b });
        }
    }
    Ok(())
}

/// Checks that `k` indices behind `batch` common axes name slices of `rank` axes.
fn slices(rank: usize, index_rank: usize, batch: usize, k: usize) -> OpResult<()> {
    match batch + k <= rank && batch < index_rank {
        true => Ok(()),
        false => Err(OpError::Rank { what: "the data", found: rank, wanted: batch + k }),
    }
}

/// `index` counted from the front of an axis of `size`.
pub fn index_in(index: i64, size: usize) -> OpResult<usize> {
    let i = if index < 0 { index + size as i64 } else { index };
    let fits = usize::try_from(i).ok().filter(|i| *i < size);
    fits.ok_or(OpError::Index { index, size: size as i64 })
}

/// For each tuple of indices, the first element of the slice of `dims` that it names, and how many elements a slice
/// has; tuples lie in row-major order behind `batch` common axes.
pub fn slice_offsets(
    dims: &[usize],
    index_dims: &[usize],
    index: &[i64],
    batch: usize,
) -> OpResult<(Vec<usize>, usize)> {
    let k = *index_dims.last().ok_or(OpError::ScalarOperand)?;
    slices(dims.len(), index_dims.len(), batch, k)?;
    if dims[..batch] != index_dims[..batch] {
        return Err(OpError::Broadcast { shapes: vec![dims.to_vec(), index_dims.to_vec()] });
    }
    let st = strides(dims);
    let inner: usize = dims[batch + k..].iter().product();
    let tuples: usize = index_dims[..index_dims.len() - 1].iter().product();
    let entries: usize = dims[..batch].iter().product();
    let per_entry = (tuples / entries.max(1)).max(1);
    let entry: usize = dims[batch..].iter().product();
    let mut out = Vec::with_capacity(tuples);
    for t in 0..tuples {
        let mut at = t / per_entry * entry;
        for j in 0..k {
            at += index_in(index[t * k + j], dims[batch + j])? * st[batch + j];
        }
        out.push(at);
    }
    Ok((out, inner))
}

pub(super) fn compute(x: &Inputs, op: Indexed) -> OpResult<Array> {
    let (a, index) = (x.required(0)?, x.required(1)?);
    match op {
        Indexed::GatherElements { axis: at } => {
            let at = axis(at, a.dims.len())?;
            let from = positions(a, index, at)?.into_iter().map(Some).collect::<Vec<_>>();
            Ok(a.take(index.dims.clone(), &from, 0.0))
        }
        Indexed::GatherNd { batch_dims } => {
            let (first, inner) = slice_offsets(&a.dims, &index.dims, &index.integers(), batch_dims)?;
            let k = index.dims[index.dims.len() - 1];
            let dims = [&index.dims[..index.dims.len() - 1], &a.dims[batch_dims + k..]].concat();
            let from: Vec<_> = first.iter().flat_map(|f| (0..inner).map(move |i| Some(f + i))).collect();
            Ok(a.take(dims, &from, 0.0))
        }
        Indexed::ScatterElements { axis: at, reduction } => {
            let at = axis(at, a.dims.len())?;
            let updates = x.required(2)?;
            scatter(a, &positions(a, index, at)?, updates, reduction)
        }
        Indexed::ScatterNd { reduction } => {
            let (first, inner) = slice_offsets(&a.dims, &index.dims, &index.integers(), 0)?;
            let to: Vec<usize> = first.iter().flat_map(|f| (0..inner).map(move |i| f + i)).collect();
            scatter(a, &to, x.required(2)?, reduction)
        }
    }
}

/// The elements of `a` that indices along axis `at` name.
fn positions(a: &Array, index: &Array, at: usize) -> OpResult<Vec<usize>> {
    let outside = (0..a.dims.len()).any(|i| i != at && index.dims.get(i).is_none_or(|n| *n > a.dims[i]));
    if outside || index.dims.len() != a.dims.len() {
        return Err(OpError::Broadcast { shapes: vec![a.dims.clone(), index.dims.clone()] });
    }
    let st = strides(&a.dims);
    let list = index.integers();
    indices(&index.dims)
        .zip(list)
        .map(|(mut idx, i)| {
            idx[at] = index_in(i, a.dims[at])?;
            Ok(offset(&idx, &st))
        })
        .collect()
}

fn scatter(a: &Array, to: &[usize], updates: &Array, reduction: Scatter) -> OpResult<Array> {
    if updates.len() != to.len() {
        return Err(OpError::ElementCount { from: updates.dims.clone(), to: vec![to.len()] });
    }
    let mut out = a.clone();
    match &mut out.data {
        Data::F(v) => {
            for (&i, u) in to.iter().zip(updates.floats()) {
                v[i] = match reduction {
                    Scatter::Replace => u,
                    Scatter::Add => v[i] + u,
                    Scatter::Mul => v[i] * u,
                    Scatter::Max => v[i].max(u),
                    Scatter::Min => v[i].min(u),
                };
            }
        }
        Data::I(v) => {
            for (&i, u) in to.iter().zip(updates.integers()) {
                v[i] = match reduction {
                    Scatter::Replace => u,
                    Scatter::Add => v[i].wrapping_add(u),
                    Scatter::Mul => v[i].wrapping_mul(u),
                    Scatter::Max => v[i].max(u),
                    Scatter::Min => v[i].min(u),
                };
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Tensor, eval};

    #[test]
    fn indices_outside_are_refused_and_negative_ones_count_from_the_end() {
        let x = Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let run = |i: i64| {
            let op = Op::Indexed(Indexed::GatherNd { batch_dims: 0 });
            eval::node(&op, &[Some(x.clone()), Some(Tensor::i64(&[1, 1], &[i]))], 1)
        };
        assert_eq!(run(-1).unwrap()[0].to_f32().unwrap(), [3.0, 4.0]);
        assert_eq!(run(2), Err(OpError::Index { index: 2, size: 2 }));
        assert_eq!(run(-3), Err(OpError::Index { index: -3, size: 2 }));
    }

    #[test]
    fn indices_and_updates_of_other_shapes_are_refused() {
        let (x, i) = (Tensor::f32(&[2, 3], &[0.0; 6]), |dims: &[usize]| {
            Tensor::i64(dims, &vec![0; dims.iter().product()])
        });
        let u = |dims: &[usize]| Tensor::f32(dims, &vec![1.0; dims.iter().product()]);
        let gather = Indexed::GatherElements { axis: 1 };
        let elements = Indexed::ScatterElements { axis: 1, reduction: Scatter::Replace };
        let nd = Indexed::ScatterNd { reduction: Scatter::Replace };
        for (op, args) in [
            (gather, vec![x.clone(), i(&[4, 3])]),
            (elements, vec![x.clone(), i(&[4, 3]), u(&[4, 3])]),
            (elements, vec![x.clone(), i(&[2, 3, 1]), u(&[2, 3, 1])]),
            (elements, vec![x.clone(), i(&[2, 2]), u(&[2, 3])]),
            (nd, vec![x.clone(), i(&[2, 1]), u(&[3])]),
            (nd, vec![x.clone(), i(&[2, 1]), u(&[2, 2])]),
            (nd, vec![x.clone(), i(&[1, 3]), u(&[1])]),
        ] {
            let mut b = crate::build::Builder::new("refused");
            let ids: Vec<_> =
                args.iter().enumerate().map(|(k, t)| b.constant(&k.to_string(), t.clone())).collect();
            let y = b.node(Op::Indexed(op), &ids);
            b.output(y, "y", &[]);
            let mut g = b.finish();
            assert!(crate::infer::infer(&mut g).is_err(), "{op:?}");
            assert!(
                eval::node(&Op::Indexed(op), &args.into_iter().map(Some).collect::<Vec<_>>(), 1).is_err()
            );
        }
    }

    #[test]
    fn updates_of_one_place_add_up_in_order() {
        let x = Tensor::f32(&[3], &[1.0, 2.0, 3.0]);
        let run = |reduction| {
            let op = Op::Indexed(Indexed::ScatterNd { reduction });
            let args = [x.clone(), Tensor::i64(&[2, 1], &[1, 1]), Tensor::f32(&[2], &[5.0, 4.0])];
            eval::node(&op, &args.map(Some), 1).unwrap()[0].to_f32().unwrap()
        };
        assert_eq!(run(Scatter::Add), [1.0, 11.0, 3.0]);
        assert_eq!(run(Scatter::Replace), [1.0, 4.0, 3.0]);
        assert_eq!(run(Scatter::Max), [1.0, 5.0, 3.0]);
    }
}
