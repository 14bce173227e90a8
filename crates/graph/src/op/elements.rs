//! Integer tensors that describe shapes, followed element by element where some dimensions are unknown.

use super::Op;
use super::binary::Binary;
use super::shape_of::shape_range;
use super::slice::slice_range;
use crate::shapes::{Args, Info};
use crate::{DType, Dim};

/// Follows shape tensors element by element where some dimensions are unknown.
pub(super) fn follow(op: &Op, args: &Args) -> Option<Info> {
    let make = |e: Vec<Dim>, rank: usize| {
        // Shapes are short; longer lists are data that happens to be integer.
        if e.len() > 1024 {
            return None;
        }
        let shape = if rank == 0 { vec![] } else { vec![Dim::Known(e.len())] };
        let dtype = args.info(0).and_then(|i| i.dtype);
        Some(Info { dtype, shape: Some(shape), elements: Some(e), value: None })
    };
    let e0 = || args.info(0)?.elements.clone();
    match op {
        Op::Shape { start, end } => {
            let s = args.shape(0)?;
            let (a, b) = shape_range(s.len(), *start, *end);
            let e = s[a..b].to_vec();
            let shape = Some(vec![Dim::Known(e.len())]);
            Some(Info { dtype: Some(DType::I64), shape, elements: Some(e), value: None })
        }
        Op::Cast { to: to @ (DType::I32 | DType::I64) } => {
            let e = e0()?;
            make(e, args.info(0)?.rank()?).map(|i| Info { dtype: Some(*to), ..i })
        }
        Op::Squeeze | Op::Reshape { .. } if e0()?.len() == 1 => {
            let rank = if matches!(op, Op::Squeeze) { 0 } else { args.ints(1)?.len() };
            if rank > 1 { None } else { make(e0()?, rank) }
        }
        Op::Unsqueeze if args.info(0)?.rank()? == 0 && args.ints(1)?.len() == 1 => make(e0()?, 1),
        Op::Gather { axis: 0 } => {
            let (e, i) = (e0()?, args.ints(1)?);
            let rank = args.info(1)?.rank()?;
            let pick = |&i: &i64| {
                let i = if i < 0 { i + e.len() as i64 } else { i };
                usize::try_from(i).ok().and_then(|i| e.get(i).cloned())
            };
            if rank > 1 { None } else { make(i.iter().map(pick).collect::<Option<_>>()?, rank) }
        }
        Op::Concat { .. } => {
            let mut all = Vec::new();
            for i in 0..args.infos.len() {
                all.extend(args.info(i)?.elements.clone()?);
            }
            make(all, 1)
        }
        Op::Slice if args.info(0)?.rank()? == 1 => {
            let e = e0()?;
            let (s, t) = (args.ints(1)?, args.ints(2)?);
            let step = if args.given(4) { args.ints(4)? } else { vec![1] };
            let (start, len, step) = slice_range(e.len(), *s.first()?, *t.first()?, *step.first()?).ok()?;
            make((0..len).map(|i| e[(start as i64 + i as i64 * step) as usize].clone()).collect(), 1)
        }
        Op::Binary(b) => {
            let (x, y) = (numbers(args, 0)?, numbers(args, 1)?);
            let n = x.len().max(y.len());
            let rank = args.info(0)?.rank()?.max(args.info(1)?.rank()?);
            let at = |v: &[Option<i64>], i: usize| *v.get(if v.len() == 1 { 0 } else { i })?;
            let f = |i: usize| {
                let (p, q) = (at(&x, i)?, at(&y, i)?);
                let result = match b {
                    Binary::Add => p.checked_add(q),
                    Binary::Sub => p.checked_sub(q),
                    Binary::Mul => p.checked_mul(q),
                    Binary::Div => p.checked_div(q),
                    _ => None,
                };
                usize::try_from(result?).ok()
            };
            matches!(b, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                .then(|| make((0..n).map(|i| f(i).map_or(Dim::Unknown, Dim::Known)).collect(), rank))
                .flatten()
        }
        _ => None,
    }
}

/// The elements of an integer input, each as far as it is known.
fn numbers(args: &Args, i: usize) -> Option<Vec<Option<i64>>> {
    if let Some(list) = args.ints(i) {
        return Some(list.into_iter().map(Some).collect());
    }
    let elements = args.info(i)?.elements.as_ref()?;
    Some(elements.iter().map(|d| d.known().map(|n| n as i64)).collect())
}
