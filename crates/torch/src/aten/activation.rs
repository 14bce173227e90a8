//! Functions of one tensor.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{DType, Op, ValueId};

/// Applies a function of float32; integers are widened first.
pub(super) fn apply(net: &mut Net, x: ValueId, u: Unary) -> Followed<Value> {
    let keeps_type =
        matches!(u, Unary::Relu | Unary::Neg | Unary::Abs | Unary::Sign | Unary::Not | Unary::IsNan);
    let x = if keeps_type { x } else { net.cast(x, DType::F32)? };
    let out = net.one(Op::Unary(u), &[x])?;
    Ok(net.tensor(out))
}

macro_rules! unary {
    ($($name:ident => $u:expr;)*) => {
        $(pub(super) fn $name(net: &mut Net, a: &Args) -> Followed<Value> {
            let x = a.tensor(net, 0)?;
            apply(net, x, $u)
        })*
    };
}

unary! {
    relu => Unary::Relu;
    selu => Unary::Selu { alpha: 1.673_263_2, gamma: 1.050_701 };
    sigmoid => Unary::Sigmoid;
    tanh => Unary::Tanh;
    silu => Unary::Swish { alpha: 1.0 };
    hardswish => Unary::HardSwish;
    hardsigmoid => Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
    mish => Unary::Mish;
    erf => Unary::Erf;
    exp => Unary::Exp;
    log => Unary::Log;
    sqrt => Unary::Sqrt;
    reciprocal => Unary::Reciprocal;
    neg => Unary::Neg;
    abs => Unary::Abs;
    sign => Unary::Sign;
    floor => Unary::Floor;
    ceil => Unary::Ceil;
    round => Unary::Round;
    sin => Unary::Sin;
    cos => Unary::Cos;
    tan => Unary::Tan;
    atan => Unary::Atan;
    isnan => Unary::IsNan;
    softsign => Unary::Softsign;
}

/// `leaky_relu(self, negative_slope)`.
pub(super) fn leaky_relu(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, alpha) = (a.tensor(net, 0)?, a.float_or(net, 1, 0.01)? as f32);
    apply(net, x, Unary::LeakyRelu { alpha })
}

/// `elu(self, alpha, scale, input_scale)`.
pub(super) fn elu(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, alpha) = (a.tensor(net, 0)?, a.float_or(net, 1, 1.0)? as f32);
    if a.float_or(net, 2, 1.0)? != 1.0 || a.float_or(net, 3, 1.0)? != 1.0 {
        return wrong("ELU with scales");
    }
    apply(net, x, Unary::Elu { alpha })
}

/// `celu(self, alpha)`.
pub(super) fn celu(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, alpha) = (a.tensor(net, 0)?, a.float_or(net, 1, 1.0)? as f32);
    apply(net, x, Unary::Celu { alpha })
}

/// `gelu(self, *, approximate)`.
pub(super) fn gelu(net: &mut Net, a: &Args) -> Followed<Value> {
    let tanh = match a.text(1, "none")?.as_str() {
        "none" => false,
        "tanh" => true,
        other => return wrong(format!("GELU approximated by `{other}`")),
    };
    let x = a.tensor(net, 0)?;
    apply(net, x, Unary::Gelu { tanh })
}

/// `softplus(self, beta, threshold)`; above the threshold it is the identity up to float32's precision.
pub(super) fn softplus(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, beta) = (a.tensor(net, 0)?, a.float_or(net, 1, 1.0)?);
    if a.float_or(net, 2, 20.0)? < 15.0 {
        return wrong("softplus with a low threshold");
    }
    if beta == 1.0 {
        return apply(net, x, Unary::Softplus);
    }
    let beta = net.number(beta as f32)?;
    let scaled = net.one(Op::Binary(Binary::Mul), &[x, beta])?;
    let soft = net.one(Op::Unary(Unary::Softplus), &[scaled])?;
    let out = net.one(Op::Binary(Binary::Div), &[soft, beta])?;
    Ok(net.tensor(out))
}

/// `prelu(self, weight)`: one slope, or one a channel.
pub(super) fn prelu(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, mut slope) = (a.tensor(net, 0)?, a.tensor(net, 1)?);
    let n: usize = net.sizes(slope, "slopes of a free number")?.iter().product();
    let rank = net.rank(x)?;
    if n > 1 && rank > 2 {
        let shape: Vec<Value> =
            (0..rank - 1).map(|i| Value::Int(if i == 0 { n as i64 } else { 1 })).collect();
        slope = net.reshape(slope, &shape)?;
    }
    let out = net.one(Op::Binary(Binary::PRelu), &[x, slope])?;
    Ok(net.tensor(out))
}

fn clipped(net: &mut Net, x: ValueId, low: Option<ValueId>, high: Option<ValueId>) -> Followed<Value> {
    let out = net.node(Op::Clip, vec![Some(x), low, high], 1)?[0];
    Ok(net.tensor(out))
}

/// `hardtanh(self, min_val, max_val)`.
pub(super) fn hardtanh(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let (low, high) = (a.float_or(net, 1, -1.0)?, a.float_or(net, 2, 1.0)?);
    let (low, high) = (net.number(low as f32)?, net.number(high as f32)?);
    clipped(net, x, Some(low), Some(high))
}

/// `relu6(self)`.
pub(super) fn relu6(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let (low, high) = (net.number(0.0)?, net.number(6.0)?);
    clipped(net, x, Some(low), Some(high))
}

/// `clamp(self, min, max)`.
pub(super) fn clamp(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let dtype = net.dtype(x);
    let bound = |net: &mut Net, i: usize| -> Followed<Option<ValueId>> {
        if !a.given(i) {
            return Ok(None);
        }
        let v = a.tensor(net, i)?;
        let v = net.cast(v, dtype)?;
        if net.rank(v)? > 0 {
            let shape = net.ints(&[])?;
            return Ok(Some(net.one(Op::Reshape { allow_zero: false }, &[v, shape])?));
        }
        Ok(Some(v))
    };
    let (low, high) = (bound(net, 1)?, bound(net, 2)?);
    clipped(net, x, low, high)
}

/// `clamp_min(self, min)`.
pub(super) fn clamp_min(net: &mut Net, a: &Args) -> Followed<Value> {
    clamp(net, &Args { values: &[a.get(0).clone(), a.get(1).clone()], names: a.names })
}

/// `clamp_max(self, max)`.
pub(super) fn clamp_max(net: &mut Net, a: &Args) -> Followed<Value> {
    clamp(net, &Args { values: &[a.get(0).clone(), Value::None, a.get(1).clone()], names: a.names })
}

/// `softmax(self, dim, dtype)`.
pub(super) fn softmax(net: &mut Net, a: &Args) -> Followed<Value> {
    soft(net, a, false)
}

/// `log_softmax(self, dim, dtype)`.
pub(super) fn log_softmax(net: &mut Net, a: &Args) -> Followed<Value> {
    soft(net, a, true)
}

fn soft(net: &mut Net, a: &Args, log: bool) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axis = a.int(net, 1)?;
    net.axis(x, axis)?;
    let x = net.cast(x, DType::F32)?;
    let out = net.one(Op::Softmax { axis, log }, &[x])?;
    Ok(net.tensor(out))
}

/// `log_sigmoid(self)`.
pub(super) fn log_sigmoid(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let x = net.one(Op::Unary(Unary::Neg), &[x])?;
    let x = net.one(Op::Unary(Unary::Softplus), &[x])?;
    apply(net, x, Unary::Neg)
}

/// `rsqrt(self)`.
pub(super) fn rsqrt(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let x = net.one(Op::Unary(Unary::Sqrt), &[x])?;
    apply(net, x, Unary::Reciprocal)
}

/// `square(self)`.
pub(super) fn square(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let out = net.one(Op::Binary(Binary::Mul), &[x, x])?;
    Ok(net.tensor(out))
}

/// `logical_not(self)`, `bitwise_not(self)` of truth values.
pub(super) fn not(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let x = net.cast(x, DType::Bool)?;
    apply(net, x, Unary::Not)
}

/// `glu(self, dim)`: the first half times the sigmoid of the second.
pub(super) fn glu(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis) = (a.tensor(net, 0)?, a.int_or(net, 1, -1)?);
    let at = net.axis(x, axis)?;
    let Some(n) = net.dims(x)?[at].known() else { return wrong("GLU over a size that is free") };
    let halves = net.ints(&[(n / 2) as i64, (n - n / 2) as i64])?;
    let parts = net.node(Op::Split { axis }, vec![Some(x), Some(halves)], 2)?;
    let gate = net.one(Op::Unary(Unary::Sigmoid), &[parts[1]])?;
    let out = net.one(Op::Binary(Binary::Mul), &[parts[0], gate])?;
    Ok(net.tensor(out))
}

/// Operators that do nothing when a network is used: dropout and its kin, `contiguous`, `detach`.
pub(super) fn same(_: &mut Net, a: &Args) -> Followed<Value> {
    Ok(a.get(0).clone())
}

/// `dropout(input, p, train)` and its kin.
pub(super) fn dropout(net: &mut Net, a: &Args) -> Followed<Value> {
    if a.flag(2, false)? && a.float_or(net, 1, 0.5)? > 0.0 {
        return wrong("the network was saved for training (dropout); call eval() on it before saving it");
    }
    Ok(a.get(0).clone())
}

/// `clone(self)`: a copy of its own.
pub(super) fn clone(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    Ok(net.tensor(x))
}
