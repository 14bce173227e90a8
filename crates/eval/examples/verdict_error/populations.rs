//! Distributions of losses whose mean is the margin: a verdict of non-inferiority is an error.

use ampoule_random::Random;

/// The margin of the mean, as of Dice.
pub const MARGIN: f64 = 0.01;

/// Where losses come from.
pub struct Population {
    pub name: String,
    /// Whether cases fail so rarely that the mean alone cannot tell: the second claim is there for them.
    pub rare: bool,
    draw: Box<dyn Fn(&mut Random) -> f64>,
}

impl Population {
    fn new(name: &str, rare: bool, draw: impl Fn(&mut Random) -> f64 + 'static) -> Self {
        Population { name: name.to_owned(), rare, draw: Box::new(draw) }
    }

    /// So many losses.
    pub fn sample(&self, n: usize, random: &mut Random) -> Vec<f64> {
        (0..n).map(|_| (self.draw)(random)).collect()
    }
}

/// Above 0 and below 1, with 53 bits.
fn unit(random: &mut Random) -> f64 {
    ((random.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

fn normal(random: &mut Random) -> f64 {
    (-2.0 * unit(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

/// Losses of a share of cases, each of the size that makes the mean the margin.
fn failing(share: f64) -> impl Fn(&mut Random) -> f64 {
    move |r| if unit(r) < share { MARGIN / share } else { 0.0 }
}

/// Standard deviation of the logarithm of lognormal losses.
const LOG_DEVIATION: f64 = 1.25;

/// All distributions, with those of `studies`, whose losses are in units of their margins, moved so that their mean is the margin.
pub fn all(studies: &[(String, Vec<f64>)]) -> Vec<Population> {
    let mut list = vec![
        Population::new("normal, deviation of one margin", false, |r| MARGIN * (1.0 + normal(r))),
        Population::new("normal, deviation of three margins", false, |r| MARGIN * (1.0 + 3.0 * normal(r))),
        Population::new("exponential", false, |r| -MARGIN * unit(r).ln()),
        Population::new("lognormal", false, |r| {
            MARGIN * (LOG_DEVIATION * normal(r) - LOG_DEVIATION * LOG_DEVIATION / 2.0).exp()
        }),
        Population::new("one case in ten fails", true, failing(0.1)),
        Population::new("three in a hundred fail badly", true, failing(0.03)),
    ];
    for (name, losses) in studies {
        let losses = losses.clone();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        list.push(Population::new(name, false, move |r| {
            MARGIN * (1.0 + losses[r.below(losses.len())] - mean)
        }));
    }
    list
}
