//! Steps along gradients, and how long they are.

use crate::param::{Params, Role};
use serde::{Deserialize, Serialize};

/// How values follow gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Stochastic gradient descent with momentum; weight decay joins the gradient.
    Sgd {
        /// Share of the last step that is kept.
        momentum: f32,
    },
    /// Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Memory of the mean.
        beta1: f32,
        /// Memory of the square.
        beta2: f32,
    },
    /// Adam whose weight decay joins the gradient.
    Adam {
        /// Memory of the mean.
        beta1: f32,
        /// Memory of the square.
        beta2: f32,
    },
}

impl Kind {
    /// AdamW with the usual memory.
    pub const ADAMW: Kind = Kind::AdamW { beta1: 0.9, beta2: 0.999 };
    /// Adam with the usual memory.
    pub const ADAM: Kind = Kind::Adam { beta1: 0.9, beta2: 0.999 };
    /// Descent with the usual momentum.
    pub const SGD: Kind = Kind::Sgd { momentum: 0.9 };
}

/// The length of steps over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Down half a cosine to nothing.
    Cosine,
    /// Times `factor` after each `every` of the steps.
    Step {
        /// Steps between two changes.
        every: usize,
        /// What each multiplies.
        factor: f32,
    },
}

impl Schedule {
    /// The factor of the learning rate at step `step` of `steps`, the first `warm_up` of which rise.
    pub fn factor(&self, step: usize, steps: usize, warm_up: usize) -> f32 {
        if step < warm_up {
            return (step + 1) as f32 / warm_up as f32;
        }
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let share = (step - warm_up) as f32 / (steps.saturating_sub(warm_up)).max(1) as f32;
                0.5 * (1.0 + libm::cosf(std::f32::consts::PI * share.min(1.0)))
            }
            Schedule::Step { every, factor } => factor.powi((step / (*every).max(1)) as i32),
        }
    }
}

/// An optimizer with its memory.
#[derive(Clone, Debug)]
pub struct Optimizer {
    /// How values follow gradients.
    pub kind: Kind,
    /// Weight decay, of weights only.
    pub decay: f32,
    /// Whether the scales of quantizers are learned.
    pub scales: bool,
    /// Steps done.
    pub steps: u64,
    /// For each parameter, its mean gradient, or last step.
    pub first: Vec<Vec<f32>>,
    /// For each parameter, its mean squared gradient.
    pub second: Vec<Vec<f32>>,
}

impl Optimizer {
    /// An optimizer for these parameters.
    pub fn new(kind: Kind, decay: f32, scales: bool, params: &Params) -> Self {
        let zeros = |wanted: bool| {
            let of = |p: &crate::Param| vec![0f32; if wanted { p.grad.len() } else { 0 }];
            params.list.iter().map(of).collect::<Vec<_>>()
        };
        let second = !matches!(kind, Kind::Sgd { .. });
        Optimizer { kind, decay, scales, steps: 0, first: zeros(true), second: zeros(second) }
    }

    /// Changes values by one step of the learning rate `rate`, and forgets the gradients.
    pub fn step(&mut self, params: &mut Params, rate: f32) {
        self.steps += 1;
        for (i, p) in params.list.iter_mut().enumerate() {
            let moves = match p.role {
                Role::Weight | Role::Affine => true,
                Role::Scale => self.scales,
                Role::Running => false,
            };
            if !moves {
                continue;
            }
            let decay = if p.role == Role::Weight { self.decay } else { 0.0 };
            let (first, second) = (&mut self.first[i], &mut self.second[i]);
            let smallest = if p.role == Role::Scale { 1e-12 } else { f32::NEG_INFINITY };
            match self.kind {
                Kind::Sgd { momentum } => {
                    for ((v, g), m) in p.values.iter_mut().zip(&p.grad).zip(first) {
                        *m = momentum * *m + g + decay * *v;
                        *v = (*v - rate * *m).max(smallest);
                    }
                }
                Kind::Adam { beta1, beta2 } | Kind::AdamW { beta1, beta2 } => {
                    let joined = matches!(self.kind, Kind::Adam { .. });
                    let t = self.steps as i32;
                    let (c1, c2) = (1.0 - beta1.powi(t), 1.0 - beta2.powi(t));
                    let rows = p.values.iter_mut().zip(&p.grad).zip(first).zip(second);
                    for (((v, g), m), s) in rows {
                        let g = if joined { g + decay * *v } else { *g };
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *s = beta2 * *s + (1.0 - beta2) * g * g;
                        let own = if joined { 0.0 } else { decay * *v };
                        *v = (*v - rate * ((*m / c1) / ((*s / c2).sqrt() + 1e-8) + own)).max(smallest);
                    }
                }
            }
        }
        params.clear();
        params.touch();
    }
}

/// Scales all gradients down so that their norm is at most `most`; returns what it was.
pub fn clip(params: &mut Params, most: f64) -> f64 {
    let norm = params.gradient_norm();
    if norm > most && norm.is_finite() {
        let factor = (most / norm) as f32;
        params.list.iter_mut().for_each(|p| p.grad.iter_mut().for_each(|g| *g *= factor));
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_rise_and_fall() {
        let s = Schedule::Cosine;
        assert_eq!(s.factor(0, 110, 10), 0.1);
        assert_eq!(s.factor(10, 110, 10), 1.0);
        assert!((s.factor(60, 110, 10) - 0.5).abs() < 1e-6);
        assert!(s.factor(109, 110, 10) < 1e-3);
        let s = Schedule::Step { every: 10, factor: 0.1 };
        assert!((s.factor(25, 100, 0) - 0.01).abs() < 1e-9);
    }
}
