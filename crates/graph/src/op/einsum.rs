//! Einstein sums: products over labelled axes, summed over the labels that the result does not have.

use crate::Dim;
use crate::array::{Array, Inputs, strided, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::Args;

/// Labels of the axes that `...` stands for, counted from the last, begin here: above every letter.
const ELLIPSIS: u32 = 1 << 21;

/// The labels of each input's axes and of the result's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Of each input.
    pub inputs: Vec<Vec<u32>>,
    /// Of the result.
    pub output: Vec<u32>,
}

fn malformed(equation: &str) -> OpError {
    OpError::Equation { equation: equation.to_owned() }
}

/// The labels of one term for a tensor of `rank` axes; the result's rank is not known before.
fn labels(equation: &str, term: &str, rank: Option<usize>, wide: usize) -> OpResult<Vec<u32>> {
    let (before, after) = match term.split_once("...") {
        Some((a, b)) => (a, Some(b)),
        None => (term, None),
    };
    let letters = |s: &str| s.chars().map(|c| c as u32).collect::<Vec<u32>>();
    if !before.chars().chain(after.unwrap_or("").chars()).all(char::is_alphabetic) {
        return Err(malformed(equation));
    }
    let (mut out, last) = (letters(before), letters(after.unwrap_or("")));
    let named = out.len() + last.len();
    if after.is_some() {
        let hidden = match rank {
            Some(r) => r.checked_sub(named).ok_or_else(|| malformed(equation))?,
            None => wide,
        };
        out.extend((0..hidden as u32).rev().map(|i| ELLIPSIS + i));
    }
    out.extend(last);
    match rank.is_none_or(|r| r == out.len()) {
        true => Ok(out),
        false => Err(malformed(equation)),
    }
}

/// The labels of `equation` for inputs of these ranks.
pub fn einsum_labels(equation: &str, ranks: &[usize]) -> OpResult<Labels> {
    let bare: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match bare.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (bare.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        return Err(malformed(equation));
    }
    let inputs = terms
        .iter()
        .zip(ranks)
        .map(|(t, &r)| labels(equation, t, Some(r), 0))
        .collect::<OpResult<Vec<_>>>()?;
    let hidden = |l: &Vec<u32>| l.iter().filter(|&&c| c >= ELLIPSIS).count();
    let wide = inputs.iter().map(hidden).max().unwrap_or(0);
    let output = match right {
        Some(r) => labels(equation, r, None, wide)?,
        None => {
            // Letters that occur once, in order of the alphabet, behind the axes of `...`.
            let mut once: Vec<u32> = inputs.iter().flatten().copied().filter(|&c| c < ELLIPSIS).collect();
            once.sort_unstable();
            let single = |c: &u32| once.iter().filter(|d| *d == c).count() == 1;
            let named = once.iter().copied().filter(single);
            (0..wide as u32).rev().map(|i| ELLIPSIS + i).chain(named).collect()
        }
    };
    let known = |c: &u32| inputs.iter().flatten().any(|d| d == c);
    let repeated = output.iter().enumerate().any(|(i, c)| output[..i].contains(c));
    match output.iter().all(known) && !repeated {
        true => Ok(Labels { inputs, output }),
        false => Err(malformed(equation)),
    }
}

/// Most products that the reference adds up: their places are held in memory.
const MOST_PRODUCTS: usize = 1 << 26;

/// The size of each label, given the dimensions of the inputs; sizes of 1 broadcast.
pub fn einsum_sizes(labels: &Labels, dims: &[&[usize]]) -> OpResult<Vec<(u32, usize)>> {
    let mut sizes: Vec<(u32, usize)> = Vec::new();
    for (list, d) in labels.inputs.iter().zip(dims) {
        for (&label, &n) in list.iter().zip(*d) {
            match sizes.iter_mut().find(|s| s.0 == label) {
                None => sizes.push((label, n)),
                Some(s) if s.1 == n || n == 1 => {}
                Some(s) if s.1 == 1 => s.1 = n,
                Some(s) => return Err(OpError::BroadcastSizes { a: s.1, b: n }),
            }
        }
    }
    Ok(sizes)
}

pub(super) fn shape(args: &Args, equation: &str) -> OpResult<Option<Vec<Dim>>> {
    let shapes: Option<Vec<&Vec<Dim>>> = (0..args.infos.len()).map(|i| args.shape(i)).collect();
    let Some(shapes) = shapes else { return Ok(None) };
    let ranks: Vec<usize> = shapes.iter().map(|s| s.len()).collect();
    let labels = einsum_labels(equation, &ranks)?;
    let known: Option<Vec<Vec<usize>>> = shapes.iter().map(|s| s.iter().map(Dim::known).collect()).collect();
    if let Some(dims) = known {
        let lists: Vec<&[usize]> = dims.iter().map(Vec::as_slice).collect();
        let sizes = einsum_sizes(&labels, &lists)?;
        return Ok(Some(labels.output.iter().map(|l| Dim::Known(size_of(&sizes, *l))).collect()));
    }
    let find = |label: &u32| {
        let places = labels.inputs.iter().zip(&shapes);
        let mut all = places.flat_map(|(l, s)| l.iter().zip(s.iter())).filter(|p| p.0 == label).map(|p| p.1);
        let first = all.next().cloned().unwrap_or(Dim::Unknown);
        let rest: Vec<&Dim> = all.collect();
        let known = rest.iter().find(|d| d.known().is_some_and(|n| n > 1));
        known.map_or(first, |d| (*d).clone())
    };
    Ok(Some(labels.output.iter().map(find).collect()))
}

fn size_of(sizes: &[(u32, usize)], label: u32) -> usize {
    sizes.iter().find(|s| s.0 == label).map_or(1, |s| s.1)
}

pub(super) fn einsum(x: &Inputs, equation: &str) -> OpResult<Array> {
    let list = (0..x.count()).map(|i| x.required(i)).collect::<OpResult<Vec<_>>>()?;
    let ranks: Vec<usize> = list.iter().map(|a| a.dims.len()).collect();
    let labels = einsum_labels(equation, &ranks)?;
    let dims: Vec<&[usize]> = list.iter().map(|a| a.dims.as_slice()).collect();
    let sizes = einsum_sizes(&labels, &dims)?;
    let summed: Vec<u32> = sizes.iter().map(|s| s.0).filter(|l| !labels.output.contains(l)).collect();
    let out_dims: Vec<usize> = labels.output.iter().map(|l| size_of(&sizes, *l)).collect();
    let sum_dims: Vec<usize> = summed.iter().map(|l| size_of(&sizes, *l)).collect();
    let products = out_dims.iter().chain(&sum_dims).try_fold(1usize, |n, d| n.checked_mul(*d));
    if products.is_none_or(|n| n > MOST_PRODUCTS) {
        return Err(OpError::OutOfRange { what: "the number of products" });
    }
    // How far each input moves along a label.
    let steps = |over: &[u32]| -> Vec<Vec<usize>> {
        let of = |(k, a): (usize, &&Array)| {
            let st = strides(&a.dims);
            let along = |label: &u32| {
                let own = labels.inputs[k].iter().zip(&a.dims).zip(&st);
                own.filter(|((l, n), _)| *l == label && **n != 1).map(|(_, s)| *s).sum()
            };
            over.iter().map(along).collect()
        };
        list.iter().enumerate().map(of).collect()
    };
    let outer: Vec<Vec<usize>> = steps(&labels.output).iter().map(|s| strided(&out_dims, s)).collect();
    let inner: Vec<Vec<usize>> = steps(&summed).iter().map(|s| strided(&sum_dims, s)).collect();
    let (n, m): (usize, usize) = (out_dims.iter().product(), sum_dims.iter().product());
    let values: Vec<Vec<f64>> = list.iter().map(|a| a.floats()).collect();
    let term = |o: usize, i: usize| -> f64 {
        values.iter().enumerate().map(|(k, v)| v[outer[k][o] + inner[k][i]]).product()
    };
    let out: Vec<f64> = (0..n).map(|o| (0..m).map(|i| term(o, i)).sum()).collect();
    let dtype = list.first().map_or(crate::DType::F32, |a| a.dtype);
    Ok(match dtype.is_int() {
        true => Array::int(dtype, out_dims, out.into_iter().map(|x| x as i64).collect()),
        false => Array::float(dtype, out_dims, out),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_too_many_products_are_refused() {
        use crate::{Op, Tensor, eval};
        for (equation, count, size) in [("i,j,k->", 3, 4096), ("a,b,c,d->", 4, 65536)] {
            let args = vec![Some(Tensor::f32(&[size], &vec![1.0; size])); count];
            let op = Op::Einsum { equation: equation.into() };
            let refused = Err(OpError::OutOfRange { what: "the number of products" });
            assert_eq!(eval::node(&op, &args, 1), refused, "{equation}");
        }
    }

    #[test]
    fn labels_follow_the_equation() {
        let l = einsum_labels("b h w c , h k c -> b h w k", &[4, 3]).unwrap();
        assert_eq!(l.output.len(), 4);
        assert_eq!(l.inputs[1][1], 'k' as u32);
        let l = einsum_labels("...ij,jk", &[4, 2]).unwrap();
        assert_eq!(l.output, [ELLIPSIS + 1, ELLIPSIS, 'i' as u32, 'k' as u32]);
        for bad in ["ij->k", "ij->ii", "i1->i", "ij", "ij,jk->ik"] {
            assert!(einsum_labels(bad, &[2, 2, 2][..bad.len() % 3 + 1]).is_err(), "{bad}");
        }
    }
}
