//! Element-wise operators, reductions, products of matrices.

use super::{Array, Data, Inputs, R, indices, strides};
use crate::infer::{axes, axis};
use crate::op::*;
use crate::{DType, Op};

pub(super) fn compute(op: &Op, x: &Inputs) -> R<Option<Array>> {
    Ok(Some(match op {
        Op::Unary(u) => unary(*u, x.x(0)?),
        Op::Binary(b) => binary(*b, x.x(0)?, x.x(1)?)?,
        Op::Variadic(v) => variadic(*v, x)?,
        Op::Clip => clip(x)?,
        Op::Where => where_(x.x(0)?, x.x(1)?, x.x(2)?)?,
        Op::Cast { to } => cast(x.x(0)?, *to),
        Op::Reduce { kind, keep_dims, noop_with_empty_axes } => {
            reduce(*kind, x, *keep_dims, *noop_with_empty_axes)?
        }
        Op::ArgExtreme { max, axis, keep_dims, last } => {
            arg_extreme(x.x(0)?, *max, *axis, *keep_dims, *last)?
        }
        Op::Softmax { axis, log } => softmax(x.x(0)?, *axis, *log)?,
        Op::Quantize { axis, to } => quantize(x, *axis, *to)?,
        Op::Dequantize { axis } => dequantize(x, *axis)?,
        Op::MatMul => matmul(x.x(0)?, x.x(1)?)?,
        Op::Gemm { alpha, beta, trans_a, trans_b } => gemm(x, *alpha, *beta, *trans_a, *trans_b)?,
        _ => return Ok(None),
    }))
}

/// For every element of input 0 the index of its scale and zero point.
fn scale_index(x: &Inputs, at: i64) -> R<(Vec<f64>, Vec<f64>, Vec<usize>)> {
    let (v, scale) = (x.x(0)?, x.x(1)?.f());
    let zero = x.get(2).map_or_else(|| vec![0.0; scale.len()], Array::f);
    if zero.len() != scale.len() {
        return Err(format!("{} scales and {} zero points", scale.len(), zero.len()));
    }
    if let Some(s) = scale.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(format!("a scale of {s}; scales must be above 0"));
    }
    if scale.len() == 1 {
        return Ok((scale, zero, vec![0; v.len()]));
    }
    let a = axis(at, v.dims.len())?;
    if v.dims[a] != scale.len() {
        return Err(format!("{} scales for an axis of {}", scale.len(), v.dims[a]));
    }
    let inner: usize = v.dims[a + 1..].iter().product();
    let index = (0..v.len()).map(|i| i / inner.max(1) % scale.len()).collect();
    Ok((scale, zero, index))
}

fn quantize(x: &Inputs, axis: i64, to: DType) -> R<Array> {
    let (low, high) = to.range().ok_or_else(|| format!("quantization to {}", to.name()))?;
    let (scale, zero, index) = scale_index(x, axis)?;
    let v = x.x(0)?;
    // In float32, as the standard and every implementation do: a quotient in float64 would round ties
    // differently.
    let one = |(x, &k): (f64, &usize)| {
        let q = (x as f32 / scale[k] as f32).round_ties_even() as f64 + zero[k];
        // Not a number becomes the lowest code, as in the engine.
        if q.is_nan() { low } else { q.clamp(low as f64, high as f64) as i64 }
    };
    let data = Data::I(v.f().into_iter().zip(&index).map(one).collect());
    Ok(Array { dtype: to, dims: v.dims.clone(), data })
}

fn dequantize(x: &Inputs, axis: i64) -> R<Array> {
    let (scale, zero, index) = scale_index(x, axis)?;
    let v = x.x(0)?;
    let data = v.f().into_iter().zip(&index).map(|(x, &k)| (x - zero[k]) * scale[k]).collect();
    Ok(Array { dtype: DType::F32, dims: v.dims.clone(), data: Data::F(data) })
}

/// The error function, by its Maclaurin series below 3 and a continued fraction above.
pub(crate) fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut f = 0.0;
        for k in (1..=60).rev() {
            f = k as f64 / 2.0 / (a + f);
        }
        let erfc = (-a * a).exp() / ((a + f) * std::f64::consts::PI.sqrt());
        (1.0 - erfc).copysign(x)
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The function itself, in float64.
pub(crate) fn scalar(u: Unary, x: f64) -> f64 {
    match u {
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::LeakyRelu { alpha } => {
            if x < 0.0 {
                alpha as f64 * x
            } else {
                x
            }
        }
        Unary::Elu { alpha } => {
            if x < 0.0 {
                alpha as f64 * x.exp_m1()
            } else {
                x
            }
        }
        Unary::Celu { alpha } => {
            let a = alpha as f64;
            x.max(0.0) + (a * (x / a).exp_m1()).min(0.0)
        }
        Unary::Selu { alpha, gamma } => gamma as f64 * if x > 0.0 { x } else { alpha as f64 * x.exp_m1() },
        Unary::ThresholdedRelu { alpha } => {
            if x > alpha as f64 {
                x
            } else {
                0.0
            }
        }
        Unary::HardSigmoid { alpha, beta } => (alpha as f64 * x + beta as f64).clamp(0.0, 1.0),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::Softplus => softplus(x),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Swish { alpha } => x * sigmoid(alpha as f64 * x),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Mish => x * softplus(x).tanh(),
        Unary::Gelu { tanh: false } => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Unary::Gelu { tanh: true } => {
            let c = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (c * (x + 0.044715 * x * x * x)).tanh())
        }
        Unary::Erf => erf(x),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x * 0.0
            }
        }
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
        Unary::Not => (x == 0.0) as u8 as f64,
        Unary::IsNan => x.is_nan() as u8 as f64,
    }
}

fn unary(u: Unary, a: &Array) -> Array {
    let dims = a.dims.clone();
    if u == Unary::IsNan {
        return Array::int(DType::Bool, dims, a.f().iter().map(|x| x.is_nan() as i64).collect());
    }
    match &a.data {
        Data::F(v) => Array::float(a.dtype, dims, v.iter().map(|&x| scalar(u, x)).collect()),
        Data::I(v) => {
            let f = |x: i64| match u {
                Unary::Neg => x.wrapping_neg(),
                Unary::Abs => x.wrapping_abs(),
                Unary::Sign => x.signum(),
                Unary::Relu => x.max(0),
                Unary::Not => (x == 0) as i64,
                _ => scalar(u, x as f64) as i64,
            };
            Array::int(a.dtype, dims, v.iter().map(|&x| f(x)).collect())
        }
    }
}

/// The broadcast shape, and for each input the linear index of every output element.
fn broadcast(list: &[&[usize]]) -> R<(Vec<usize>, Vec<Vec<usize>>)> {
    let n = list.iter().map(|d| d.len()).max().unwrap_or(0);
    let mut dims = vec![1; n];
    for d in list {
        for (i, &s) in d.iter().enumerate() {
            let o = &mut dims[n - d.len() + i];
            if *o == 1 {
                *o = s;
            } else if s != 1 && s != *o {
                return Err(format!("{list:?} do not broadcast"));
            }
        }
    }
    let maps = list
        .iter()
        .map(|d| {
            let st = strides(d);
            let step = |i: usize| {
                let k = (i + d.len()).checked_sub(n)?;
                (d[k] != 1).then_some(st[k])
            };
            let steps: Vec<usize> = (0..n).map(|i| step(i).unwrap_or(0)).collect();
            indices(&dims).map(|idx| idx.iter().zip(&steps).map(|(i, s)| i * s).sum()).collect()
        })
        .collect();
    Ok((dims, maps))
}

fn binary(b: Binary, x: &Array, y: &Array) -> R<Array> {
    use Binary::*;
    let (dims, m) = broadcast(&[&x.dims, &y.dims])?;
    let n = dims.iter().product::<usize>();
    let dtype = if b.is_predicate() { DType::Bool } else { x.dtype };
    if let (Data::I(p), Data::I(q)) = (&x.data, &y.data) {
        let signed = x.dtype != DType::U64;
        let f = |a: i64, c: i64| match b {
            Add => a.wrapping_add(c),
            Sub => a.wrapping_sub(c),
            Mul => a.wrapping_mul(c),
            Div if !signed => (a as u64).checked_div(c as u64).unwrap_or(0) as i64,
            Div => a.checked_div(c).unwrap_or(0),
            Pow => (a as f64).powf(c as f64) as i64,
            Mod { fmod: true } => a.checked_rem(c).unwrap_or(0),
            Mod { fmod: false } if !signed => (a as u64).checked_rem(c as u64).unwrap_or(0) as i64,
            Mod { fmod: false } => {
                let r = a.checked_rem(c).unwrap_or(0);
                if r != 0 && (r < 0) != (c < 0) { r + c } else { r }
            }
            PRelu => {
                if a < 0 {
                    a.wrapping_mul(c)
                } else {
                    a
                }
            }
            Equal => (a == c) as i64,
            Less => {
                if signed {
                    (a < c) as i64
                } else {
                    ((a as u64) < c as u64) as i64
                }
            }
            LessOrEqual => {
                if signed {
                    (a <= c) as i64
                } else {
                    (a as u64 <= c as u64) as i64
                }
            }
            Greater => {
                if signed {
                    (a > c) as i64
                } else {
                    (a as u64 > c as u64) as i64
                }
            }
            GreaterOrEqual => {
                if signed {
                    (a >= c) as i64
                } else {
                    (a as u64 >= c as u64) as i64
                }
            }
            And => (a != 0 && c != 0) as i64,
            Or => (a != 0 || c != 0) as i64,
            Xor => ((a != 0) != (c != 0)) as i64,
        };
        let v = (0..n).map(|k| f(p[m[0][k]], q[m[1][k]])).collect();
        return Ok(Array::int(dtype, dims, v));
    }
    let (p, q) = (x.f(), y.f());
    let f = |a: f64, c: f64| match b {
        Add => a + c,
        Sub => a - c,
        Mul => a * c,
        Div => a / c,
        Pow => a.powf(c),
        Mod { fmod: true } => a % c,
        Mod { fmod: false } => a - c * (a / c).floor(),
        PRelu => {
            if a < 0.0 {
                a * c
            } else {
                a
            }
        }
        Equal => (a == c) as u8 as f64,
        Less => (a < c) as u8 as f64,
        LessOrEqual => (a <= c) as u8 as f64,
        Greater => (a > c) as u8 as f64,
        GreaterOrEqual => (a >= c) as u8 as f64,
        And => (a != 0.0 && c != 0.0) as u8 as f64,
        Or => (a != 0.0 || c != 0.0) as u8 as f64,
        Xor => ((a != 0.0) != (c != 0.0)) as u8 as f64,
    };
    let v: Vec<f64> = (0..n).map(|k| f(p[m[0][k]], q[m[1][k]])).collect();
    Ok(if b.is_predicate() {
        Array::int(dtype, dims, v.into_iter().map(|x| x as i64).collect())
    } else if dtype.is_int() {
        Array::int(dtype, dims, v.into_iter().map(|x| x as i64).collect())
    } else {
        Array::float(dtype, dims, v)
    })
}

fn variadic(kind: Variadic, x: &Inputs) -> R<Array> {
    let list = (0..x.count()).map(|i| x.x(i)).collect::<R<Vec<_>>>()?;
    let dims: Vec<&[usize]> = list.iter().map(|a| a.dims.as_slice()).collect();
    let (dims, maps) = broadcast(&dims)?;
    let n: usize = dims.iter().product();
    let dtype = list[0].dtype;
    if dtype.is_int() {
        let v: Vec<Vec<i64>> = list.iter().map(|a| a.i()).collect();
        let unsigned = dtype == DType::U64;
        let greater = |a: i64, b: i64| if unsigned { (a as u64) > b as u64 } else { a > b };
        let f = |k: usize| {
            let mut it = v.iter().zip(&maps).map(|(v, m)| v[m[k]]);
            let first = it.next().unwrap_or(0);
            it.fold(first, |a, b| match kind {
                Variadic::Sum | Variadic::Mean => a.wrapping_add(b),
                Variadic::Max => {
                    if greater(a, b) {
                        a
                    } else {
                        b
                    }
                }
                Variadic::Min => {
                    if greater(a, b) {
                        b
                    } else {
                        a
                    }
                }
            })
        };
        return Ok(Array::int(dtype, dims, (0..n).map(f).collect()));
    }
    let v: Vec<Vec<f64>> = list.iter().map(|a| a.f()).collect();
    let f = |k: usize| {
        let mut it = v.iter().zip(&maps).map(|(v, m)| v[m[k]]);
        let first = it.next().unwrap_or(0.0);
        let r = it.fold(first, |a, b| match kind {
            Variadic::Sum | Variadic::Mean => a + b,
            Variadic::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Variadic::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
        });
        if kind == Variadic::Mean { r / v.len() as f64 } else { r }
    };
    Ok(Array::float(dtype, dims, (0..n).map(f).collect()))
}

fn clip(x: &Inputs) -> R<Array> {
    let a = x.x(0)?;
    let bound = |i: usize| x.get(i).map(Array::f).and_then(|v| v.first().copied());
    let (low, high) = (bound(1).unwrap_or(f64::NEG_INFINITY), bound(2).unwrap_or(f64::INFINITY));
    let dims = a.dims.clone();
    Ok(match &a.data {
        // min(max(x, low), high): the upper bound wins where the bounds cross.
        Data::F(v) => {
            let f = |&x: &f64| if x.is_nan() { x } else { x.max(low).min(high) };
            Array::float(a.dtype, dims, v.iter().map(f).collect())
        }
        Data::I(v) => {
            let f = |&x: &i64| {
                let y = if (x as f64) < low { low as i64 } else { x };
                if y as f64 > high { high as i64 } else { y }
            };
            Array::int(a.dtype, dims, v.iter().map(f).collect())
        }
    })
}

fn where_(c: &Array, x: &Array, y: &Array) -> R<Array> {
    let (dims, m) = broadcast(&[&c.dims, &x.dims, &y.dims])?;
    let n: usize = dims.iter().product();
    let c = c.i();
    Ok(match (&x.data, &y.data) {
        (Data::I(p), Data::I(q)) => {
            let f = |k: usize| if c[m[0][k]] != 0 { p[m[1][k]] } else { q[m[2][k]] };
            Array::int(x.dtype, dims, (0..n).map(f).collect())
        }
        _ => {
            let (p, q) = (x.f(), y.f());
            let f = |k: usize| if c[m[0][k]] != 0 { p[m[1][k]] } else { q[m[2][k]] };
            Array::float(x.dtype, dims, (0..n).map(f).collect())
        }
    })
}

fn cast(a: &Array, to: DType) -> Array {
    let dims = a.dims.clone();
    match (&a.data, to.is_int()) {
        (Data::F(v), true) if to == DType::Bool => {
            Array::int(to, dims, v.iter().map(|&x| (x != 0.0) as i64).collect())
        }
        (Data::F(v), true) => Array::int(to, dims, v.iter().map(|&x| x as i64).collect()),
        (Data::F(v), false) => Array::float(to, dims, v.clone()),
        (Data::I(v), true) => Array::int(to, dims, v.clone()),
        (Data::I(v), false) => Array::float(to, dims, v.iter().map(|&x| x as f64).collect()),
    }
}

/// For every position of the kept axes, the linear indices that are reduced, in order.
fn fibres(dims: &[usize], over: &[usize]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let kept: Vec<usize> =
        dims.iter().enumerate().map(|(i, &d)| if over.contains(&i) { 1 } else { d }).collect();
    let inner: Vec<usize> =
        dims.iter().enumerate().map(|(i, &d)| if over.contains(&i) { d } else { 1 }).collect();
    let st = strides(dims);
    let at = |idx: &[usize]| idx.iter().zip(&st).map(|(i, s)| i * s).sum::<usize>();
    let offsets: Vec<usize> = indices(&inner).map(|i| at(&i)).collect();
    let groups = indices(&kept).map(|i| offsets.iter().map(|o| at(&i) + o).collect()).collect();
    (kept, groups)
}

fn reduce(kind: Reduction, x: &Inputs, keep: bool, noop: bool) -> R<Array> {
    let a = x.x(0)?;
    let list = x.ints(1).unwrap_or_default();
    let over = match (list.is_empty(), noop) {
        (true, true) => vec![],
        (true, false) => (0..a.dims.len()).collect(),
        _ => axes(&list, a.dims.len())?,
    };
    let (kept, groups) = fibres(&a.dims, &over);
    let v = a.f();
    let f = |g: &Vec<usize>| {
        let it = || g.iter().map(|&i| v[i]);
        let n = g.len() as f64;
        match kind {
            Reduction::Sum => it().sum(),
            Reduction::Mean => it().sum::<f64>() / n,
            Reduction::Max => it().fold(f64::NEG_INFINITY, |p, q| if p > q || p.is_nan() { p } else { q }),
            Reduction::Min => it().fold(f64::INFINITY, |p, q| if p < q || p.is_nan() { p } else { q }),
            Reduction::Prod => it().product(),
            Reduction::L1 => it().map(f64::abs).sum(),
            Reduction::L2 => it().map(|x| x * x).sum::<f64>().sqrt(),
            Reduction::SumSquare => it().map(|x| x * x).sum(),
            Reduction::LogSum => it().sum::<f64>().ln(),
            Reduction::LogSumExp => {
                let m = it().fold(f64::NEG_INFINITY, f64::max);
                if m.is_finite() { m + it().map(|x| (x - m).exp()).sum::<f64>().ln() } else { m }
            }
        }
    };
    let out: Vec<f64> = groups.iter().map(f).collect();
    let dims: Vec<usize> = if keep {
        kept
    } else {
        a.dims.iter().enumerate().filter(|(i, _)| !over.contains(i)).map(|(_, &d)| d).collect()
    };
    if a.dtype.is_int() {
        // An empty extreme is the type's own limit; saturating conversion gives int64's.
        let limit =
            |x: f64| if a.dtype == DType::Bool && x.is_infinite() { (x > 0.0) as i64 } else { x as i64 };
        return Ok(Array::int(a.dtype, dims, out.into_iter().map(limit).collect()));
    }
    Ok(Array::float(a.dtype, dims, out))
}

fn arg_extreme(a: &Array, max: bool, ax: i64, keep: bool, last: bool) -> R<Array> {
    let ax = axis(ax, a.dims.len())?;
    let (kept, groups) = fibres(&a.dims, &[ax]);
    let v = a.f();
    let pick = |g: &Vec<usize>| {
        let mut best = 0;
        for k in 1..g.len() {
            let (x, b) = (v[g[k]], v[g[best]]);
            if (if max { x > b } else { x < b }) || (last && x == b) {
                best = k;
            }
        }
        best as i64
    };
    let dims = if keep { kept } else { [&a.dims[..ax], &a.dims[ax + 1..]].concat() };
    Ok(Array::int(DType::I64, dims, groups.iter().map(pick).collect()))
}

fn softmax(a: &Array, ax: i64, log: bool) -> R<Array> {
    let ax = axis(ax, a.dims.len())?;
    let (_, groups) = fibres(&a.dims, &[ax]);
    let v = a.f();
    let mut out = vec![0.0; v.len()];
    for g in groups {
        let m = g.iter().map(|&i| v[i]).fold(f64::NEG_INFINITY, f64::max);
        let s: f64 = g.iter().map(|&i| (v[i] - m).exp()).sum();
        for &i in &g {
            out[i] = if log { v[i] - m - s.ln() } else { (v[i] - m).exp() / s };
        }
    }
    Ok(Array::float(a.dtype, a.dims.clone(), out))
}

fn matmul(a: &Array, b: &Array) -> R<Array> {
    let (mut da, mut db) = (a.dims.clone(), b.dims.clone());
    let (squeeze_a, squeeze_b) = (da.len() == 1, db.len() == 1);
    if squeeze_a {
        da.insert(0, 1);
    }
    if squeeze_b {
        db.push(1);
    }
    if da.len() < 2 || db.len() < 2 || da[da.len() - 1] != db[db.len() - 2] {
        return Err(format!("{:?} by {:?}", a.dims, b.dims));
    }
    let (m, k, n) = (da[da.len() - 2], da[da.len() - 1], db[db.len() - 1]);
    let (batch, maps) = broadcast(&[&da[..da.len() - 2], &db[..db.len() - 2]])?;
    let (va, vb) = (a.f(), b.f());
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

fn gemm(x: &Inputs, alpha: f32, beta: f32, ta: bool, tb: bool) -> R<Array> {
    let (a, b) = (x.x(0)?, x.x(1)?);
    if a.dims.len() != 2 || b.dims.len() != 2 {
        return Err("both operands must have two axes".into());
    }
    let (va, vb) = (a.f(), b.f());
    let (m, k) = if ta { (a.dims[1], a.dims[0]) } else { (a.dims[0], a.dims[1]) };
    let (k2, n) = if tb { (b.dims[1], b.dims[0]) } else { (b.dims[0], b.dims[1]) };
    if k != k2 {
        return Err(format!("inner sizes {k} and {k2}"));
    }
    let at_a = |i: usize, p: usize| if ta { va[p * m + i] } else { va[i * k + p] };
    let at_b = |p: usize, j: usize| if tb { vb[j * k + p] } else { vb[p * n + j] };
    let dims = vec![m, n];
    let c = match x.get(2) {
        Some(c) => {
            let (full, maps) = broadcast(&[&dims, &c.dims])?;
            if full != dims {
                return Err("C does not broadcast".into());
            }
            let v = c.f();
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
