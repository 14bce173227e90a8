//! The betting bound of a mean (Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*,
//! Journal of the Royal Statistical Society B 86, 2024), with stakes that do not depend on the order of the cases.
//!
//! Where the mean loss is `m` or more and no case counts for more than `most`, a gambler who stakes the share `f` of what
//! may be staked on losses below `m` multiplies the capital by `1 + f (m - x) / (most - m)` at a loss of `x`, and does not
//! gain on average. The capital of several gamblers together is above 40 times the first with a probability of at most 1/40
//! (Ville's inequality), for every distribution, at every number of cases, and whenever one looks. A mean at which it is can
//! be excluded with 97.5 % confidence.

use super::ERROR;

/// Shares that are staked, each with its part of the first capital. All that may be staked wins soonest where hardly a case
/// loses anything, little where losses scatter.
const STAKES: [(f64, f64); 8] = [
    (1.0, 0.65),
    (0.5, 0.05),
    (0.25, 0.05),
    (0.125, 0.05),
    (0.0625, 0.05),
    (0.03125, 0.05),
    (0.015625, 0.05),
    (0.0078125, 0.05),
];

/// What bets on a mean loss below a margin have made of a capital of 1, loss by loss. It may be looked at after every case.
#[derive(Clone, Debug, PartialEq)]
pub struct Wealth {
    margin: f64,
    most: f64,
    /// Logarithms of what each gambler made of 1.
    logs: [f64; STAKES.len()],
    cases: usize,
}

impl Wealth {
    /// No bet yet. No case counts for a loss, or a gain, of more than `most`, which must be above the margin.
    pub fn new(margin: f64, most: f64) -> Self {
        Wealth { margin, most, logs: [0.0; STAKES.len()], cases: 0 }
    }

    /// A case with its loss.
    pub fn add(&mut self, loss: f64) {
        let win = (self.margin - loss.clamp(-self.most, self.most)) / (self.most - self.margin);
        self.logs.iter_mut().zip(STAKES).for_each(|(log, (stake, _))| *log += (stake * win).ln_1p());
        self.cases += 1;
    }

    /// The capital's logarithm if there were `times` as many cases like these.
    fn log(&self, times: f64) -> f64 {
        let of = |(log, (_, part)): (&f64, (f64, f64))| {
            // No number of cases like these brings back what is lost.
            part.ln() + if *log == f64::NEG_INFINITY { *log } else { times * log }
        };
        let all: Vec<f64> = self.logs.iter().zip(STAKES).map(of).collect();
        let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            top
        } else {
            top + all.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
        }
    }

    /// Whether a mean loss of the margin or more is excluded, with 97.5 % confidence.
    pub fn excludes(&self) -> bool {
        self.log(1.0) >= -ERROR.ln()
    }

    /// The same of `cases` cases like these.
    pub(super) fn excludes_with(&self, cases: usize) -> bool {
        self.log(cases as f64 / self.cases.max(1) as f64) >= -ERROR.ln()
    }

    fn of(losses: &[f64], margin: f64, most: f64) -> Self {
        let mut wealth = Wealth::new(margin, most);
        losses.iter().for_each(|l| wealth.add(*l));
        wealth
    }
}

/// Whether a mean loss of `margin` or more is excluded with 97.5 % confidence, counting no case for more than `most`.
pub fn mean_loss_below(losses: &[f64], margin: f64, most: f64) -> bool {
    margin >= most || Wealth::of(losses, margin, most).excludes()
}

/// The same of `cases` cases like these.
pub(super) fn below_with(losses: &[f64], margin: f64, most: f64, cases: usize) -> bool {
    margin >= most || Wealth::of(losses, margin, most).excludes_with(cases)
}

/// Upper 97.5 % confidence bound of the mean of losses of which none counts for more than `most`, by bisection: the capital
/// grows with the mean that is bet against.
pub(super) fn upper(losses: &[f64], most: f64) -> f64 {
    let (mut low, mut high) = (-most, most);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match Wealth::of(losses, middle, most).excludes() {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_random::Random;

    #[test]
    fn nothing_lost_leaves_a_bound_that_shrinks_with_the_cases() {
        let bound = |n: usize| upper(&vec![0.0; n], 1.0);
        // Near the exact bound of a share of which no case was seen, 1 - 0.025^(1/n).
        for (n, exact) in [(1, 0.975), (6, 0.4593), (50, 0.0711), (400, 0.00918)] {
            assert!(bound(n) >= exact && bound(n) < 1.3 * exact + 0.02, "{n}: {} {exact}", bound(n));
        }
        assert!((1..200).all(|n| bound(n + 1) < bound(n)));
        assert!(upper(&[], 1.0) == 1.0);
    }

    #[test]
    fn the_order_does_not_matter_and_a_loss_raises_the_bound() {
        let some = [0.01, -0.02, 0.0, 0.04, 0.003, 0.0, 0.001];
        let turned: Vec<f64> = some.iter().rev().copied().collect();
        assert!((upper(&some, 0.05) - upper(&turned, 0.05)).abs() < 1e-12);
        let mut more = some;
        more[2] = 0.02;
        assert!(upper(&more, 0.05) > upper(&some, 0.05));
        // More than the most counts as the most.
        more[2] = 0.05;
        let at = upper(&more, 0.05);
        more[2] = 7.0;
        assert_eq!(upper(&more, 0.05), at);
    }

    #[test]
    fn looking_after_every_case_errs_in_few_of_all_samples() {
        // The mean loss is the margin: a tenth of the cases loses ten times as much.
        let wrong = (0..800u64).filter(|sample| {
            let mut random = Random::at(&[25, *sample]);
            let mut wealth = Wealth::new(0.1, 1.0);
            (0..150).any(|_| {
                wealth.add((random.unit() < 0.1) as u8 as f64);
                wealth.excludes()
            })
        });
        let share = wrong.count() as f64 / 800.0;
        assert!(share > 0.001 && share < 0.04, "{share}");
    }
}
