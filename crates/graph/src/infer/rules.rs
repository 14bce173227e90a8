//! One rule per operator.

use super::moves::*;
use super::{Args, Info, axes, axis};
use crate::op::*;
use crate::{DType, Dim, Op};

pub(super) type R<T> = Result<T, String>;

fn like(i: Option<&Info>) -> Info {
    i.map_or_else(Info::default, |i| Info { elements: None, ..i.clone() })
}

pub(super) fn shaped(dtype: Option<DType>, shape: Option<Vec<Dim>>) -> Info {
    Info { dtype, shape, elements: None }
}

fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&d| Dim::Known(d)).collect()
}

/// The common size of two broadcast dimensions.
fn broadcast_dim(a: &Dim, b: &Dim) -> R<Dim> {
    Ok(match (a, b) {
        (Dim::Known(1), x) | (x, Dim::Known(1)) => x.clone(),
        (Dim::Known(x), Dim::Known(y)) if x != y => return Err(format!("{x} and {y} do not broadcast")),
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Dim::Known(*n),
        (x, y) if x == y => x.clone(),
        _ => Dim::Unknown,
    })
}

/// numpy's broadcast of shapes.
fn broadcast(a: &[Dim], b: &[Dim]) -> R<Vec<Dim>> {
    let n = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i + s.len() < n { Dim::Known(1) } else { s[i + s.len() - n].clone() };
    (0..n).map(|i| broadcast_dim(&at(a, i), &at(b, i))).collect()
}

fn broadcast_all(args: &Args) -> R<Option<Vec<Dim>>> {
    let mut out: Option<Vec<Dim>> = Some(vec![]);
    for i in 0..args.infos.len() {
        out = match (out, args.shape(i)) {
            (Some(a), Some(b)) => Some(broadcast(&a, b)?),
            _ => None,
        };
    }
    Ok(out)
}

fn same_dtype(args: &Args, list: impl Iterator<Item = usize>) -> R<()> {
    let mut first = None;
    for i in list {
        let Some(d) = args.info(i).and_then(|x| x.dtype) else { continue };
        match first {
            Some(f) if f != d => {
                return Err(format!(
                    "inputs have different element types ({} and {})",
                    DType::name(f),
                    d.name()
                ));
            }
            _ => first = Some(d),
        }
    }
    Ok(())
}

pub(super) fn infer(op: &Op, args: &Args, outputs: usize) -> R<Vec<Info>> {
    let x = args.info(0);
    let dtype = x.and_then(|x| x.dtype);
    if let Some(out) = follow_elements(op, args) {
        return Ok(vec![out]);
    }
    let one = match op {
        Op::Conv { window, group } => {
            same_dtype(args, 0..3)?;
            shaped(dtype, conv(args, window, *group)?)
        }
        Op::ConvTranspose { window, group, output_padding, output_shape } => {
            same_dtype(args, 0..3)?;
            shaped(dtype, conv_transpose(args, window, *group, output_padding, output_shape)?)
        }
        Op::MaxPool(p) | Op::AveragePool(p) => shaped(dtype, pool(args, p)?),
        Op::GlobalAveragePool | Op::GlobalMaxPool => {
            let s = args.shape(0).map(|s| {
                s.iter().enumerate().map(|(i, d)| if i < 2 { d.clone() } else { Dim::Known(1) }).collect()
            });
            shaped(dtype, s)
        }
        Op::BatchNorm { .. } | Op::InstanceNorm { .. } | Op::GroupNorm { .. } => {
            per_channel(args)?;
            like(x)
        }
        Op::Unary(Unary::IsNan) => shaped(Some(DType::Bool), args.shape(0).cloned()),
        Op::Unary(_) | Op::Clip | Op::Softmax { .. } | Op::LayerNorm { .. } => like(x),
        Op::Quantize { to, .. } => shaped(Some(*to), args.shape(0).cloned()),
        Op::Dequantize { .. } => shaped(Some(DType::F32), args.shape(0).cloned()),
        Op::Identity => x.cloned().unwrap_or_default(),
        Op::Binary(b) => {
            if *b != Binary::Pow {
                same_dtype(args, 0..2)?;
            }
            let d = if b.is_predicate() { Some(DType::Bool) } else { dtype };
            shaped(d, broadcast_all(args)?)
        }
        Op::Variadic(_) => {
            same_dtype(args, 0..args.infos.len())?;
            shaped(dtype, broadcast_all(args)?)
        }
        Op::Where => shaped(args.info(1).and_then(|i| i.dtype), broadcast_all(args)?),
        Op::Cast { to } => shaped(Some(*to), args.shape(0).cloned()),
        Op::MatMul => {
            same_dtype(args, 0..2)?;
            shaped(dtype, matmul(args)?)
        }
        Op::Gemm { trans_a, trans_b, .. } => shaped(dtype, gemm(args, *trans_a, *trans_b)?),
        Op::Reduce { keep_dims, noop_with_empty_axes, .. } => {
            shaped(dtype, reduce(args, *keep_dims, *noop_with_empty_axes)?)
        }
        Op::ArgExtreme { axis: a, keep_dims, .. } => {
            let s = args.shape(0).map(|s| reduced(s, &[axis(*a, s.len())?], *keep_dims)).transpose()?;
            shaped(Some(DType::I64), s)
        }
        Op::Resize(r) => shaped(dtype, resize(args, r)?),
        Op::Concat { axis: a } => {
            same_dtype(args, 0..args.infos.len())?;
            shaped(dtype, concat(args, *a)?)
        }
        Op::Split { axis: a } => return split(args, *a, outputs),
        Op::Slice => shaped(dtype, slice(args)?),
        Op::Pad { .. } => shaped(dtype, pad(args)?),
        Op::Reshape { allow_zero } => shaped(dtype, reshape(args, *allow_zero)?),
        Op::Flatten { axis: a } => shaped(dtype, flatten(args, *a)?),
        Op::Transpose { perm } => shaped(dtype, transpose(args, perm)?),
        Op::Squeeze => shaped(dtype, squeeze(args)?),
        Op::Unsqueeze => shaped(dtype, unsqueeze(args)?),
        Op::Expand => {
            let target = target_dims(args, 1);
            let s = match (args.shape(0), target) {
                (Some(a), Some(b)) => Some(broadcast(a, &b)?),
                _ => None,
            };
            shaped(dtype, s)
        }
        Op::Tile => {
            let s = match (args.info(0).and_then(Info::dims), args.ints(1)) {
                (Some(d), Some(r)) if d.len() == r.len() => {
                    let out: Option<Vec<usize>> = d
                        .iter()
                        .zip(&r)
                        .map(|(&d, &r)| usize::try_from(r).ok().and_then(|r| d.checked_mul(r)))
                        .collect();
                    Some(known(&out.ok_or("repeats out of range")?))
                }
                (Some(_), Some(_)) => return Err("repeats do not fit the rank".into()),
                _ => args.shape(0).map(|s| vec![Dim::Unknown; s.len()]),
            };
            shaped(dtype, s)
        }
        Op::Gather { axis: a } => {
            let s = match (args.shape(0), args.shape(1)) {
                (Some(x), Some(i)) => {
                    let a = axis(*a, x.len())?;
                    Some([&x[..a], &i[..], &x[a + 1..]].concat())
                }
                _ => None,
            };
            shaped(dtype, s)
        }
        Op::Shape { start, end } => {
            let s = args.shape(0).map(|s| {
                let (a, b) = shape_range(s.len(), *start, *end);
                vec![Dim::Known(b - a)]
            });
            shaped(Some(DType::I64), s)
        }
        Op::Size => shaped(Some(DType::I64), Some(vec![])),
        Op::ConstantOfShape { value } => shaped(Some(value.dtype()), target_dims(args, 0)),
        Op::Range => shaped(dtype, Some(vec![range_len(args)])),
        Op::DepthToSpace { block, .. } => shaped(
            dtype,
            block_move(args, |c, h, w| {
                let b = *block;
                (c % (b * b) == 0).then(|| (c / (b * b), h * b, w * b))
            })?,
        ),
        Op::SpaceToDepth { block } => shaped(
            dtype,
            block_move(args, |c, h, w| {
                let b = *block;
                (h % b == 0 && w % b == 0).then(|| (c * b * b, h / b, w / b))
            })?,
        ),
        Op::Unknown(_) => Info::default(),
    };
    Ok(vec![one])
}

/// The first and one-past-last axis of `Shape` with `start` and `end`.
pub(crate) fn shape_range(rank: usize, start: i64, end: Option<i64>) -> (usize, usize) {
    let r = rank as i64;
    let fix = |a: i64| (if a < 0 { a + r } else { a }).clamp(0, r) as usize;
    let (a, b) = (fix(start), fix(end.unwrap_or(r)));
    (a, b.max(a))
}

/// Follows shape tensors element by element where some dimensions are unknown.
fn follow_elements(op: &Op, args: &Args) -> Option<Info> {
    let make = |e: Vec<Dim>, rank: usize| {
        // Shapes are short; longer lists are data that happens to be integer.
        if e.len() > 1024 {
            return None;
        }
        let shape = if rank == 0 { vec![] } else { vec![Dim::Known(e.len())] };
        Some(Info { dtype: args.info(0).and_then(|i| i.dtype), shape: Some(shape), elements: Some(e) })
    };
    let e0 = || args.info(0)?.elements.clone();
    match op {
        Op::Shape { start, end } => {
            let s = args.shape(0)?;
            let (a, b) = shape_range(s.len(), *start, *end);
            let e = s[a..b].to_vec();
            Some(Info { dtype: Some(DType::I64), shape: Some(vec![Dim::Known(e.len())]), elements: Some(e) })
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
            let (x, y) = (e0()?, args.info(1)?.elements.clone()?);
            let n = x.len().max(y.len());
            let rank = args.info(0)?.rank()?.max(args.info(1)?.rank()?);
            let at = |v: &[Dim], i: usize| v.get(if v.len() == 1 { 0 } else { i }).and_then(Dim::known);
            let f = |i: usize| {
                let (p, q) = (at(&x, i)?, at(&y, i)?);
                match b {
                    Binary::Add => p.checked_add(q),
                    Binary::Sub => p.checked_sub(q),
                    Binary::Mul => p.checked_mul(q),
                    Binary::Div => p.checked_div(q),
                    _ => None,
                }
            };
            matches!(b, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                .then(|| make((0..n).map(|i| f(i).map_or(Dim::Unknown, Dim::Known)).collect(), rank))
                .flatten()
        }
        _ => None,
    }
}

/// Dimensions that integer input `i` holds.
fn target_dims(args: &Args, i: usize) -> Option<Vec<Dim>> {
    if let Some(v) = args.ints(i) {
        return v.iter().map(|&d| usize::try_from(d).ok().map(Dim::Known)).collect();
    }
    args.info(i)?.elements.clone()
}

fn spatial(s: &[Dim]) -> Option<Vec<usize>> {
    s.get(2..)?.iter().map(Dim::known).collect()
}

fn conv(args: &Args, w: &Window, group: usize) -> R<Option<Vec<Dim>>> {
    let Some(weight) = args.info(1).and_then(Info::dims) else { return Ok(None) };
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != weight.len() || x.len() < 3 {
        return Err(format!("input has {} axes, weights have {}", x.len(), weight.len()));
    }
    if let Some(c) = x[1].known()
        && c != weight[1].checked_mul(group).unwrap_or(0)
    {
        return Err(format!("input has {c} channels, weights take {} x {group} groups", weight[1]));
    }
    if weight[0] % group != 0 || weight.contains(&0) {
        return Err(format!("{} output channels in {group} groups", weight[0]));
    }
    if let Some(b) = args.info(2).and_then(Info::dims)
        && b != [weight[0]]
    {
        return Err(format!("bias {b:?} for {} output channels", weight[0]));
    }
    Ok(Some(windowed(x, Dim::Known(weight[0]), |s| w.resolve(s, &weight[2..], false).map(|r| r.out))?))
}

/// `[n, c, f(spatial)…]`, probing each unknown axis for one that keeps its size.
fn windowed(x: &[Dim], c: Dim, f: impl Fn(&[usize]) -> R<Vec<usize>>) -> R<Vec<Dim>> {
    let mut out = vec![x[0].clone(), c];
    if let Some(s) = spatial(x) {
        out.extend(known(&f(&s)?));
        return Ok(out);
    }
    // A window that maps 1024 to 1024 and 1025 to 1025 maps every size to itself.
    let probe = |n: usize| f(&vec![n; x.len() - 2]);
    let (a, b) = (probe(1 << 16), probe((1 << 16) + 1));
    for (i, d) in x[2..].iter().enumerate() {
        let kept = matches!((&a, &b), (Ok(a), Ok(b)) if a[i] == 1 << 16 && b[i] == (1 << 16) + 1);
        out.push(if kept { d.clone() } else { Dim::Unknown });
    }
    Ok(out)
}

fn conv_transpose(
    args: &Args,
    w: &Window,
    group: usize,
    opad: &[usize],
    oshape: &[usize],
) -> R<Option<Vec<Dim>>> {
    let Some(weight) = args.info(1).and_then(Info::dims) else { return Ok(None) };
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != weight.len() || x.len() < 3 {
        return Err(format!("input has {} axes, weights have {}", x.len(), weight.len()));
    }
    if x[1].known().is_some_and(|c| c != weight[0]) || weight[0] % group != 0 || weight.contains(&0) {
        return Err(format!("weights take {} channels in {group} groups", weight[0]));
    }
    let out = weight[1].checked_mul(group).ok_or("channels overflow")?;
    if let Some(b) = args.info(2).and_then(Info::dims)
        && b != [out]
    {
        return Err(format!("bias {b:?} for {out} output channels"));
    }
    let f = |s: &[usize]| w.resolve_transposed(s, &weight[2..], opad, oshape).map(|r| r.out);
    Ok(Some(windowed(x, Dim::Known(out), f)?))
}

fn pool(args: &Args, p: &Pool) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() < 3 {
        return Err("pooling needs a spatial axis".into());
    }
    let f = |s: &[usize]| p.window.resolve(s, &[], p.ceil_mode).map(|r| r.out);
    Ok(Some(windowed(x, x[1].clone(), f)?))
}

fn per_channel(args: &Args) -> R<()> {
    let Some(c) = args.shape(0).and_then(|s| s.get(1)).and_then(Dim::known) else { return Ok(()) };
    for i in 1..args.infos.len() {
        if let Some(d) = args.info(i).and_then(Info::dims)
            && d != [c]
        {
            return Err(format!("input {i} has shape {d:?} for {c} channels"));
        }
    }
    Ok(())
}

fn matmul(args: &Args) -> R<Option<Vec<Dim>>> {
    let (Some(a), Some(b)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    if a.is_empty() || b.is_empty() {
        return Err("a scalar operand".into());
    }
    let (mut a2, mut b2) = (a.clone(), b.clone());
    if a.len() == 1 {
        a2.insert(0, Dim::Known(1));
    }
    if b.len() == 1 {
        b2.push(Dim::Known(1));
    }
    let (k1, k2) = (&a2[a2.len() - 1], &b2[b2.len() - 2]);
    if let (Some(x), Some(y)) = (k1.known(), k2.known())
        && x != y
    {
        return Err(format!("inner sizes {x} and {y}"));
    }
    let mut out = broadcast(&a2[..a2.len() - 2], &b2[..b2.len() - 2])?;
    if a.len() > 1 {
        out.push(a2[a2.len() - 2].clone());
    }
    if b.len() > 1 {
        out.push(b2[b2.len() - 1].clone());
    }
    Ok(Some(out))
}

fn gemm(args: &Args, ta: bool, tb: bool) -> R<Option<Vec<Dim>>> {
    let (Some(a), Some(b)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    if a.len() != 2 || b.len() != 2 {
        return Err("both operands must have two axes".into());
    }
    let (k1, k2) = (&a[!ta as usize], &b[tb as usize]);
    if k1.known().is_some() && k2.known().is_some() && k1 != k2 {
        return Err(format!("inner sizes {k1} and {k2}"));
    }
    let out = vec![a[ta as usize].clone(), b[!tb as usize].clone()];
    if let Some(c) = args.shape(2) {
        let full = broadcast(&out, c)?;
        if full.len() != 2
            || full.iter().zip(&out).any(|(f, o)| f.known() != o.known() && o.known().is_some())
        {
            return Err("C does not broadcast to the result".into());
        }
    }
    Ok(Some(out))
}

pub(super) fn reduced(s: &[Dim], axes: &[usize], keep: bool) -> R<Vec<Dim>> {
    Ok(s.iter()
        .enumerate()
        .filter_map(|(i, d)| match (axes.contains(&i), keep) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        })
        .collect())
}

fn reduce(args: &Args, keep: bool, noop: bool) -> R<Option<Vec<Dim>>> {
    let Some(s) = args.shape(0) else { return Ok(None) };
    let list = if args.given(1) { args.ints(1) } else { Some(vec![]) };
    let Some(list) = list else { return Ok(keep.then(|| vec![Dim::Unknown; s.len()])) };
    if list.is_empty() && noop {
        return Ok(Some(s.clone()));
    }
    let list = if list.is_empty() { (0..s.len()).collect() } else { axes(&list, s.len())? };
    Ok(Some(reduced(s, &list, keep)?))
}

/// Output sizes and scales of a `Resize` over known `dims`.
pub fn resize_geometry(
    r: &Resize,
    dims: &[usize],
    scales: Option<&[f64]>,
    sizes: Option<&[i64]>,
) -> R<(Vec<usize>, Vec<f64>)> {
    let rank = dims.len();
    if dims.contains(&0) {
        return Err(format!("an empty input {dims:?}"));
    }
    let list = if r.axes.is_empty() {
        (0..rank).collect()
    } else {
        r.axes.iter().map(|&a| axis(a, rank)).collect::<R<Vec<_>>>()?
    };
    let mut out = dims.to_vec();
    let mut scale = vec![1.0; rank];
    if let Some(sizes) = sizes.filter(|s| !s.is_empty()) {
        if sizes.len() != list.len() {
            return Err(format!("{} sizes for {} axes", sizes.len(), list.len()));
        }
        let ratios: Vec<f64> = sizes.iter().zip(&list).map(|(&s, &a)| s as f64 / dims[a] as f64).collect();
        let common = match r.aspect {
            1 => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
            2 => Some(ratios.iter().copied().fold(0.0, f64::max)),
            _ => None,
        };
        for (k, &a) in list.iter().enumerate() {
            let exact = usize::try_from(sizes[k]).map_err(|_| "negative size")?;
            out[a] = common.map_or(exact, |c| (dims[a] as f64 * c).round() as usize);
            scale[a] = common.unwrap_or(ratios[k]);
        }
    } else if let Some(scales) = scales.filter(|s| !s.is_empty()) {
        if scales.len() != list.len() {
            return Err(format!("{} scales for {} axes", scales.len(), list.len()));
        }
        for (k, &a) in list.iter().enumerate() {
            let size = dims[a] as f64 * scales[k];
            if !(scales[k] > 0.0 && size < 1e12) {
                return Err(format!("scale {}", scales[k]));
            }
            out[a] = size.floor() as usize;
            scale[a] = scales[k];
        }
    } else {
        return Err("neither scales nor sizes are given".into());
    }
    if out.contains(&0) || out.iter().any(|&n| n > 1 << 24) {
        return Err(format!("output size {out:?}"));
    }
    Ok((out, scale))
}

fn resize(args: &Args, r: &Resize) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let scales = args.constant(2).and_then(crate::Tensor::to_f64);
    let sizes = if args.given(3) { args.ints(3) } else { None };
    if let Some(d) = args.info(0).and_then(Info::dims) {
        if scales.is_none() && sizes.is_none() {
            return Ok(Some(vec![Dim::Unknown; d.len()]));
        }
        return Ok(Some(known(&resize_geometry(r, &d, scales.as_deref(), sizes.as_deref())?.0)));
    }
    let mut out = vec![Dim::Unknown; x.len()];
    for (i, d) in x.iter().enumerate() {
        let same = scales.as_ref().is_some_and(|s| s.get(i) == Some(&1.0)) && r.axes.is_empty();
        if same {
            out[i] = d.clone();
        }
    }
    if let (Some(e), true) = (args.info(3).and_then(|i| i.elements.clone()), r.axes.is_empty()) {
        return Ok(Some(e));
    }
    Ok(Some(out))
}
