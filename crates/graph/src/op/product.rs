//! Products of matrices.

use crate::Dim;
use crate::array::{self, Array, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, broadcast};

pub(super) fn matmul_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let (Some(a), Some(b)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    if a.is_empty() || b.is_empty() {
        return Err(OpError::ScalarOperand);
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
        return Err(OpError::InnerSizes { a: Dim::Known(x), b: Dim::Known(y) });
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

pub(super) fn gemm_shape(args: &Args, ta: bool, tb: bool) -> OpResult<Option<Vec<Dim>>> {
    let (Some(a), Some(b)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    if a.len() != 2 || b.len() != 2 {
        return Err(OpError::Rank {
            what: "an operand",
            found: if a.len() == 2 { b.len() } else { a.len() },
            wanted: 2,
        });
    }
    let (k1, k2) = (&a[!ta as usize], &b[tb as usize]);
    if k1.known().is_some() && k2.known().is_some() && k1 != k2 {
        return Err(OpError::InnerSizes { a: k1.clone(), b: k2.clone() });
    }
    let out = vec![a[ta as usize].clone(), b[!tb as usize].clone()];
    if let Some(c) = args.shape(2) {
        let full = broadcast(&out, c)?;
        if full.len() != 2
            || full.iter().zip(&out).any(|(f, o)| f.known() != o.known() && o.known().is_some())
        {
            return Err(OpError::Summand);
        }
    }
    Ok(Some(out))
}

pub(super) fn matmul(a: &Array, b: &Array) -> OpResult<Array> {
    let (mut da, mut db) = (a.dims.clone(), b.dims.clone());
    let (squeeze_a, squeeze_b) = (da.len() == 1, db.len() == 1);
    if squeeze_a {
        da.insert(0, 1);
    }
    if squeeze_b {
        db.push(1);
    }
    let inner =
        |d: &[usize], back: usize| d.len().checked_sub(back).map_or(Dim::Unknown, |i| Dim::Known(d[i]));
    if da.len() < 2 || db.len() < 2 || da[da.len() - 1] != db[db.len() - 2] {
        return Err(OpError::InnerSizes { a: inner(&da, 1), b: inner(&db, 2) });
    }
    let (m, k, n) = (da[da.len() - 2], da[da.len() - 1], db[db.len() - 1]);
    let (batch, maps) = array::broadcast(&[&da[..da.len() - 2], &db[..db.len() - 2]])?;
    let (va, vb) = (a.floats(), b.floats());
    let count: usize = batch.iter().product();
    let mut out = vec![0.0; count * m * n];
    for t in 0..count {
        let (oa, ob) = (maps[0][t] * m * k, maps[1][t] * k * n);
        for i in 0..m {
            for j in 0..n {
                out[(t * m + i) * n + j] = (0..k).map(|p| va[oa + i * k + p] * vb[ob + p * n + j]).sum();
            }
        }
    }
    let mut dims = batch;
    if !squeeze_a {
        dims.push(m);
    }
    if !squeeze_b {
        dims.push(n);
    }
    Ok(if a.dtype.is_int() {
        Array::int(a.dtype, dims, out.into_iter().map(|x| x as i64).collect())
    } else {
        Array::float(a.dtype, dims, out)
    })
}

pub(super) fn gemm(x: &Inputs, alpha: f32, beta: f32, ta: bool, tb: bool) -> OpResult<Array> {
    let (a, b) = (x.required(0)?, x.required(1)?);
    if a.dims.len() != 2 || b.dims.len() != 2 {
        return Err(OpError::Rank {
            what: "an operand",
            found: if a.dims.len() == 2 { b.dims.len() } else { a.dims.len() },
            wanted: 2,
        });
    }
    let (va, vb) = (a.floats(), b.floats());
    let (m, k) = if ta { (a.dims[1], a.dims[0]) } else { (a.dims[0], a.dims[1]) };
    let (k2, n) = if tb { (b.dims[1], b.dims[0]) } else { (b.dims[0], b.dims[1]) };
    if k != k2 {
        return Err(OpError::InnerSizes { a: Dim::Known(k), b: Dim::Known(k2) });
    }
    let at_a = |i: usize, p: usize| if ta { va[p * m + i] } else { va[i * k + p] };
    let at_b = |p: usize, j: usize| if tb { vb[j * k + p] } else { vb[p * n + j] };
    let dims = vec![m, n];
    let c = match x.get(2) {
        Some(c) => {
            let (full, maps) = array::broadcast(&[&dims, &c.dims])?;
            if full != dims {
                return Err(OpError::Summand);
            }
            let v = c.floats();
            maps[1].iter().map(|&i| v[i]).collect()
        }
        None => vec![0.0; m * n],
    };
    let f = |i: usize, j: usize| {
        let s: f64 = (0..k).map(|p| at_a(i, p) * at_b(p, j)).sum();
        alpha as f64 * s + beta as f64 * c[i * n + j]
    };
    let v: Vec<f64> = (0..m * n).map(|t| f(t / n, t % n)).collect();
    Ok(if a.dtype.is_int() {
        Array::int(a.dtype, dims, v.into_iter().map(|x| x as i64).collect())
    } else {
        Array::float(a.dtype, dims, v)
    })
}
