//! Functions of elements that have no vector kernel: in float32 where that is exact enough, else as the graph's reference.

use super::tensor;
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{DType, Op, Tensor, eval};

/// A function of rows of up to three operands.
#[derive(Clone)]
pub(crate) enum Function {
    /// In float32.
    Float(fn([&[f32]; 3], &mut [f32])),
    /// The operator itself, computed by the reference row by row, with the element types of its operands.
    Reference {
        /// The operator.
        op: Op,
        /// Element types of its operands.
        dtypes: Vec<DType>,
    },
}

/// A function of one value as one of rows.
macro_rules! one {
    ($f:expr) => {
        |[x, ..]: [&[f32]; 3], y: &mut [f32]| y.iter_mut().zip(x).for_each(|(y, x)| *y = $f(*x))
    };
}

/// A function of two values as one of rows.
macro_rules! two {
    ($f:expr) => {
        |[a, b, _]: [&[f32]; 3], y: &mut [f32]| {
            y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = $f(*a, *b))
        }
    };
}

fn truth(b: bool) -> f32 {
    b as u8 as f32
}

fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x * 0.0
    }
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + libm::log1pf(libm::expf(-x.abs()))
}

fn clipped(x: f32, low: f32, high: f32) -> f32 {
    if x.is_nan() { x } else { x.max(low).min(high) }
}

/// `x` where `c` is not 0, else `y`.
fn chosen([c, x, y]: [&[f32]; 3], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = if c[i] != 0.0 { x[i] } else { y[i] };
    }
}

impl Function {
    /// The function of `op`, whose operands have these element types.
    pub fn of(op: &Op, dtypes: &[DType]) -> Self {
        let floats = dtypes.iter().all(|d| matches!(d, DType::F32 | DType::F64));
        let exact = dtypes.iter().all(|d| *d != DType::U64);
        let fast = match op {
            Op::Unary(u) if floats => Self::unary(*u),
            Op::Unary(Unary::Not) => Some(one!(|x: f32| truth(x == 0.0)) as _),
            Op::Binary(b) if b.is_predicate() && exact => Self::predicate(*b),
            Op::Binary(Binary::Pow) if floats => Some(two!(f32::powf) as _),
            Op::Where if exact => Some(chosen as _),
            Op::Clip if floats => Some(
                (|[x, low, high]: [&[f32]; 3], y: &mut [f32]| {
                    y.iter_mut().enumerate().for_each(|(i, y)| *y = clipped(x[i], low[i], high[i]));
                }) as _,
            ),
            Op::Cast { to: DType::Bool } => Some(one!(|x: f32| truth(x != 0.0)) as _),
            // What float32 carries is far inside these types.
            Op::Cast { to: DType::I32 | DType::I64 } if floats => Some(one!(|x: f32| x as i64 as f32) as _),
            _ => None,
        };
        match fast {
            Some(f) => Function::Float(f),
            None => Function::Reference { op: op.clone(), dtypes: dtypes.to_vec() },
        }
    }

    fn unary(u: Unary) -> Option<fn([&[f32]; 3], &mut [f32])> {
        Some(match u {
            Unary::Log => one!(libm::logf),
            Unary::Sin => one!(libm::sinf),
            Unary::Cos => one!(libm::cosf),
            Unary::Floor => one!(f32::floor),
            Unary::Ceil => one!(f32::ceil),
            Unary::Round => one!(f32::round_ties_even),
            Unary::Sign => one!(sign),
            Unary::Softplus => one!(softplus),
            Unary::Softsign => one!(|x: f32| x / (1.0 + x.abs())),
            Unary::IsNan => one!(|x: f32| truth(x.is_nan())),
            // Rare in networks: the reference is fast enough.
            _ => return None,
        })
    }

    fn predicate(b: Binary) -> Option<fn([&[f32]; 3], &mut [f32])> {
        Some(match b {
            Binary::Equal => two!(|a: f32, b: f32| truth(a == b)),
            Binary::Less => two!(|a: f32, b: f32| truth(a < b)),
            Binary::LessOrEqual => two!(|a: f32, b: f32| truth(a <= b)),
            Binary::Greater => two!(|a: f32, b: f32| truth(a > b)),
            Binary::GreaterOrEqual => two!(|a: f32, b: f32| truth(a >= b)),
            Binary::And => two!(|a: f32, b: f32| truth(a != 0.0 && b != 0.0)),
            Binary::Or => two!(|a: f32, b: f32| truth(a != 0.0 || b != 0.0)),
            Binary::Xor => two!(|a: f32, b: f32| truth((a != 0.0) != (b != 0.0))),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div => return None,
            Binary::Pow | Binary::Mod { .. } | Binary::PRelu => return None,
        })
    }

    /// Whether it can be computed at all, which one element of each operand shows.
    pub fn possible(&self) -> bool {
        match self {
            Function::Float(_) => true,
            Function::Reference { op, dtypes } => {
                let rows = [[1.0f32]; 3];
                by_reference(op, dtypes, [&rows[0], &rows[1], &rows[2]]).is_some()
            }
        }
    }

    /// Computes a row.
    pub fn call(&self, x: [&[f32]; 3], y: &mut [f32]) {
        match self {
            Function::Float(f) => f(x, y),
            Function::Reference { op, dtypes } => match by_reference(op, dtypes, x) {
                Some(v) if v.len() == y.len() => y.copy_from_slice(&v),
                // `possible` has shown that there is none.
                _ => y.fill(f32::NAN),
            },
        }
    }

    /// What runs, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Function::Float(_) => "function",
            Function::Reference { .. } => "function of float64",
        }
    }
}

fn by_reference(op: &Op, dtypes: &[DType], x: [&[f32]; 3]) -> Option<Vec<f32>> {
    let given = dtypes.iter().zip(x);
    let inputs: Option<Vec<Option<Tensor>>> =
        given.map(|(d, x)| Some(Some(tensor(*d, &[x.len()], x)?))).collect();
    eval::node(op, &inputs?, 1).ok()?.first()?.to_f32()
}
