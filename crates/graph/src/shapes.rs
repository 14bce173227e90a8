//! What is known of shapes while they are inferred, and what shape rules have in common.

use crate::op_error::{OpError, OpResult};
use crate::{DType, Dim, Tensor};

/// What is known of one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub dtype: Option<DType>,
    pub shape: Option<Vec<Dim>>,
    /// Elements of a small integer tensor of rank 0 or 1, as far as they are sizes.
    pub elements: Option<Vec<Dim>>,
    /// All of a small tensor, where every element is known: negative numbers, quotients and rounded
    /// floats of shape arithmetic too.
    pub value: Option<Tensor>,
}

impl Info {
    pub fn dims(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }

    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
}

/// Inputs of a node as the rules see them.
pub(crate) struct Args<'a> {
    pub infos: Vec<Option<&'a Info>>,
    pub constants: Vec<Option<&'a Tensor>>,
}

impl Args<'_> {
    pub fn info(&self, i: usize) -> Option<&Info> {
        self.infos.get(i).copied().flatten()
    }

    pub fn shape(&self, i: usize) -> Option<&Vec<Dim>> {
        self.info(i)?.shape.as_ref()
    }

    pub fn constant(&self, i: usize) -> Option<&Tensor> {
        self.constants.get(i).copied().flatten()
    }

    /// Input `i` when all of it is known: a constant, or what follows from constants and known sizes.
    pub fn small(&self, i: usize) -> Option<&Tensor> {
        self.constant(i).or_else(|| self.info(i)?.value.as_ref())
    }

    /// Whether input `i` was given at all.
    pub fn given(&self, i: usize) -> bool {
        self.infos.get(i).is_some_and(Option::is_some)
    }

    /// The integers of input `i` when all are known.
    pub fn ints(&self, i: usize) -> Option<Vec<i64>> {
        if let Some(t) = self.small(i) {
            return t.to_i64();
        }
        let elements = self.info(i)?.elements.as_ref()?;
        elements.iter().map(|d| d.known().map(|n| n as i64)).collect()
    }
}

/// The type and shape of `i`.
pub(crate) fn like(i: Option<&Info>) -> Info {
    i.map_or_else(Info::default, |i| Info { elements: None, value: None, ..i.clone() })
}

/// A type and a shape, with elements that are not followed.
pub(crate) fn shaped(dtype: Option<DType>, shape: Option<Vec<Dim>>) -> Info {
    Info { dtype, shape, elements: None, value: None }
}

/// Known sizes as dimensions.
pub(crate) fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&d| Dim::Known(d)).collect()
}

/// The common size of two broadcast dimensions.
fn broadcast_dim(a: &Dim, b: &Dim) -> OpResult<Dim> {
    Ok(match (a, b) {
        (Dim::Known(1), x) | (x, Dim::Known(1)) => x.clone(),
        (Dim::Known(x), Dim::Known(y)) if x != y => return Err(OpError::BroadcastSizes { a: *x, b: *y }),
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Dim::Known(*n),
        (x, y) if x == y => x.clone(),
        _ => Dim::Unknown,
    })
}

/// numpy's broadcast of shapes.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> OpResult<Vec<Dim>> {
    let n = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i + s.len() < n { Dim::Known(1) } else { s[i + s.len() - n].clone() };
    (0..n).map(|i| broadcast_dim(&at(a, i), &at(b, i))).collect()
}

/// The broadcast of all inputs' shapes, when every one is known.
pub(crate) fn broadcast_all(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let mut out: Option<Vec<Dim>> = Some(vec![]);
    for i in 0..args.infos.len() {
        out = match (out, args.shape(i)) {
            (Some(a), Some(b)) => Some(broadcast(&a, b)?),
            _ => None,
        };
    }
    Ok(out)
}

/// Checks that the listed inputs have one element type, as far as types are known.
pub(crate) fn same_dtype(args: &Args, list: impl Iterator<Item = usize>) -> OpResult<()> {
    let mut first = None;
    for i in list {
        let Some(d) = args.info(i).and_then(|x| x.dtype) else { continue };
        match first {
            Some(f) if f != d => {
                return Err(OpError::ElementTypes { a: f, b: d });
            }
            _ => first = Some(d),
        }
    }
    Ok(())
}

/// Dimensions that integer input `i` holds.
pub(crate) fn target_dims(args: &Args, i: usize) -> Option<Vec<Dim>> {
    if let Some(v) = args.ints(i) {
        return v.iter().map(|&d| usize::try_from(d).ok().map(Dim::Known)).collect();
    }
    args.info(i)?.elements.clone()
}

/// `s` without `axes`, or with ones in their place.
pub(crate) fn reduced(s: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    s.iter()
        .enumerate()
        .filter_map(|(i, d)| match (axes.contains(&i), keep) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        })
        .collect()
}

/// `axis` counted from the front, for a tensor of `rank` axes.
pub fn axis(axis: i64, rank: usize) -> OpResult<usize> {
    let a = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(a).ok().filter(|&a| a < rank).ok_or(OpError::Axis { axis, rank })
}

/// All of `list` counted from the front, sorted, without duplicates.
pub fn axes(list: &[i64], rank: usize) -> OpResult<Vec<usize>> {
    let mut out = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    out.sort_unstable();
    let n = out.len();
    out.dedup();
    if out.len() == n { Ok(out) } else { Err(OpError::RepeatedAxes { axes: list.to_vec() }) }
}

/// The sizes behind batch and channels, when all are known.
fn spatial(s: &[Dim]) -> Option<Vec<usize>> {
    s.get(2..)?.iter().map(Dim::known).collect()
}

/// `[n, c, f(spatial)…]`, probing each unknown axis for one that keeps its size.
pub(crate) fn windowed(
    x: &[Dim],
    c: Dim,
    f: impl Fn(&[usize]) -> OpResult<Vec<usize>>,
) -> OpResult<Vec<Dim>> {
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
