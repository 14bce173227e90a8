//! Element-wise functions of one input.

use super::functions::functions;
use crate::DType;
use crate::array::{Array, Data};

functions! {
    /// Element-wise functions of one input.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Unary {
        Relu => "Relu", 18, Known;
        LeakyRelu { alpha: f32 = 0.01 } => "LeakyRelu", 18, Known;
        Elu { alpha: f32 = 1.0 } => "Elu", 18, Known;
        Celu { alpha: f32 = 1.0 } => "Celu", 18, None;
        Selu { alpha: f32 = 1.673_263_2, gamma: f32 = 1.050_701 } => "Selu", 18, Known;
        ThresholdedRelu { alpha: f32 = 1.0 } => "ThresholdedRelu", 18, None;
        HardSigmoid { alpha: f32 = 0.2, beta: f32 = 0.5 } => "HardSigmoid", 18, Known;
        Sigmoid => "Sigmoid", 18, Known;
        Tanh => "Tanh", 18, Known;
        Softplus => "Softplus", 18, Known;
        Softsign => "Softsign", 18, Known;
        /// `x · sigmoid(alpha·x)`; SiLU with alpha 1.
        Swish { alpha: f32 = 1.0 } => "Swish", 24, Known;
        HardSwish => "HardSwish", 18, Known;
        Mish => "Mish", 18, Known;
        /// Exact (erf) or the tanh approximation.
        Gelu { tanh: bool = false } => "Gelu", 20, Known;
        Erf => "Erf", 18, None;
        Exp => "Exp", 18, Known;
        Log => "Log", 18, Known;
        Sqrt => "Sqrt", 18, Known;
        Reciprocal => "Reciprocal", 18, Known;
        Neg => "Neg", 18, Known;
        Abs => "Abs", 18, Known;
        Sign => "Sign", 18, None;
        Floor => "Floor", 18, None;
        Ceil => "Ceil", 18, None;
        /// Ties to even.
        Round => "Round", 18, None;
        Sin => "Sin", 18, Known;
        Cos => "Cos", 18, Known;
        Tan => "Tan", 18, None;
        Asin => "Asin", 18, None;
        Acos => "Acos", 18, None;
        Atan => "Atan", 18, None;
        Sinh => "Sinh", 18, None;
        Cosh => "Cosh", 18, None;
        Asinh => "Asinh", 18, None;
        Acosh => "Acosh", 18, None;
        Atanh => "Atanh", 18, None;
        Not => "Not", 18, None;
        IsNan => "IsNaN", 18, None;
    }
}

impl Unary {
    /// The attributes that are numbers, by their ONNX names.
    pub fn numbers(&mut self) -> Vec<(&'static str, &mut f32)> {
        match self {
            Unary::LeakyRelu { alpha }
            | Unary::Elu { alpha }
            | Unary::Celu { alpha }
            | Unary::ThresholdedRelu { alpha }
            | Unary::Swish { alpha } => vec![("alpha", alpha)],
            Unary::Selu { alpha, gamma } => vec![("alpha", alpha), ("gamma", gamma)],
            Unary::HardSigmoid { alpha, beta } => vec![("alpha", alpha), ("beta", beta)],
            Unary::Gelu { tanh: _ }
            | Unary::Relu
            | Unary::Sigmoid
            | Unary::Tanh
            | Unary::Softplus
            | Unary::Softsign
            | Unary::HardSwish
            | Unary::Mish
            | Unary::Erf
            | Unary::Exp
            | Unary::Log
            | Unary::Sqrt
            | Unary::Reciprocal
            | Unary::Neg
            | Unary::Abs
            | Unary::Sign
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
            | Unary::Sin
            | Unary::Cos
            | Unary::Tan
            | Unary::Asin
            | Unary::Acos
            | Unary::Atan
            | Unary::Sinh
            | Unary::Cosh
            | Unary::Asinh
            | Unary::Acosh
            | Unary::Atanh
            | Unary::Not
            | Unary::IsNan => Vec::new(),
        }
    }
}

/// The error function, by its Maclaurin series below 3 and a continued fraction above.
fn erf(x: f64) -> f64 {
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
        let erfc = libm::exp(-a * a) / ((a + f) * std::f64::consts::PI.sqrt());
        (1.0 - erfc).copysign(x)
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// The function itself, in float64.
fn scalar(u: Unary, x: f64) -> f64 {
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
                alpha as f64 * libm::expm1(x)
            } else {
                x
            }
        }
        Unary::Celu { alpha } => {
            let a = alpha as f64;
            x.max(0.0) + (a * libm::expm1(x / a)).min(0.0)
        }
        Unary::Selu { alpha, gamma } => {
            gamma as f64 * if x > 0.0 { x } else { alpha as f64 * libm::expm1(x) }
        }
        Unary::ThresholdedRelu { alpha } => {
            if x > alpha as f64 {
                x
            } else {
                0.0
            }
        }
        Unary::HardSigmoid { alpha, beta } => (alpha as f64 * x + beta as f64).clamp(0.0, 1.0),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Softplus => softplus(x),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Swish { alpha } => x * sigmoid(alpha as f64 * x),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Mish => x * libm::tanh(softplus(x)),
        Unary::Gelu { tanh: false } => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Unary::Gelu { tanh: true } => {
            let c = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + libm::tanh(c * (x + 0.044715 * x * x * x)))
        }
        Unary::Erf => erf(x),
        Unary::Exp => libm::exp(x),
        Unary::Log => libm::log(x),
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
        Unary::Sin => libm::sin(x),
        Unary::Cos => libm::cos(x),
        Unary::Tan => libm::tan(x),
        Unary::Asin => libm::asin(x),
        Unary::Acos => libm::acos(x),
        Unary::Atan => libm::atan(x),
        Unary::Sinh => libm::sinh(x),
        Unary::Cosh => libm::cosh(x),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
        Unary::Not => (x == 0.0) as u8 as f64,
        Unary::IsNan => x.is_nan() as u8 as f64,
    }
}

pub(super) fn unary(u: Unary, a: &Array) -> Array {
    let dims = a.dims.clone();
    if u == Unary::IsNan {
        return Array::int(DType::Bool, dims, a.floats().iter().map(|x| x.is_nan() as i64).collect());
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
