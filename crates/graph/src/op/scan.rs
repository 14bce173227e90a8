//! Running sums and triangles of matrices.

use crate::Dim;
use crate::array::{Array, Data, Inputs, fibres};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, axis};

/// The one integer of `list`.
fn one(list: &[i64], what: &'static str) -> OpResult<i64> {
    match list {
        [i] => Ok(*i),
        _ => Err(OpError::Count { what, given: list.len(), wanted: 1 }),
    }
}

/// The axis that a constant names, of a tensor of `rank` axes.
pub fn cumsum_axis(list: &[i64], rank: usize) -> OpResult<usize> {
    axis(one(list, "axes of a running sum")?, rank)
}

pub(super) fn cumsum(x: &Inputs, exclusive: bool, reverse: bool) -> OpResult<Array> {
    let a = x.required(0)?;
    let at = cumsum_axis(&x.required(1)?.integers(), a.dims.len())?;
    let (_, mut groups) = fibres(&a.dims, &[at]);
    let mut out = a.clone();
    for g in &mut groups {
        if reverse {
            g.reverse();
        }
        let (mut f, mut n) = (0.0, 0i64);
        for &i in g.iter() {
            match &mut out.data {
                Data::F(v) => {
                    let next = f + v[i];
                    v[i] = if exclusive { f } else { next };
                    f = next;
                }
                Data::I(v) => {
                    let next = n.wrapping_add(v[i]);
                    v[i] = if exclusive { n } else { next };
                    n = next;
                }
            }
        }
    }
    Ok(out)
}

pub(super) fn trilu_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    match x.len() >= 2 {
        true => Ok(Some(x.clone())),
        false => Err(OpError::Rank { what: "the input", found: x.len(), wanted: 2 }),
    }
}

/// The upper or lower triangle of the last two axes, from diagonal `k` on.
pub(super) fn trilu(x: &Inputs, upper: bool) -> OpResult<Array> {
    let a = x.required(0)?;
    let k = x.ints(1).map_or(Ok(0), |k| one(&k, "diagonals"))?;
    let [.., rows, columns] = a.dims[..] else {
        return Err(OpError::Rank { what: "the input", found: a.dims.len(), wanted: 2 });
    };
    let kept = |i: usize| {
        let (row, column) = ((i / columns % rows) as i64, (i % columns) as i64);
        let above = column - row;
        if upper { above >= k } else { above <= k }
    };
    let index: Vec<Option<usize>> = (0..a.len()).map(|i| kept(i).then_some(i)).collect();
    Ok(a.take(a.dims.clone(), &index, 0.0))
}
