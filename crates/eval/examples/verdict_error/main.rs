//! How often a verdict of non-inferiority is wrong, by simulation: the tables of `docs/evidence.md`.
//!
//!     cargo run -p ampoule-eval --example verdict_error [SAMPLES [losses | labels | sets]]
//!
//! In every row the true mean loss is the margin, so that non-inferiority is claimed in error; 2.5 % is what is promised.

mod labels;
mod methods;
mod populations;
mod sets;

use ampoule_eval::{Margin, Preset, Verdict, claims_of_losses, mean_loss_below};
use ampoule_random::Random;
use methods::METHODS;
use populations::{MARGIN, Population};
use std::collections::BTreeMap;

/// Numbers of cases.
const CASES: [usize; 7] = [6, 10, 17, 36, 50, 100, 300];

/// Cases from which a method that resamples takes too long to be worth it here.
const RESAMPLED: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let samples: usize = std::env::args().nth(1).map_or(Ok(2000), |a| a.parse())?;
    let part = std::env::args().nth(2);
    let all = |name: &str| part.as_deref().is_none_or(|p| p == name);
    let worst = if all("losses") { of_losses(samples)? } else { 0.0 };
    if all("labels") {
        labels::tables();
    }
    if all("sets") {
        sets::tables(samples / 4);
    }
    if worst > 3.0 {
        return Err("the verdict errs in more than 3 % of samples".into());
    }
    Ok(())
}

/// The table of the mean loss; the largest error of the verdict in percent, rows of rare failures left out.
fn of_losses(samples: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let text = include_str!("differences.json");
    let studies: BTreeMap<String, Vec<f64>> = serde_json::from_str(text)?;
    let losses: Vec<(String, Vec<f64>)> = studies.into_iter().collect();
    let preset = Margin::of_mean(MARGIN).preset("dice");
    println!("### Mean loss\n");
    println!(
        "Margin {MARGIN}, a case loses much from {}; {samples} samples a row. Percent of samples.\n",
        preset.loss
    );
    let names: Vec<&str> = METHODS.iter().map(|m| m.0).collect();
    println!(
        "| losses | cases | {} | betting, fixed limit | **mean claim** | **non-inferior** |",
        names.join(" | ")
    );
    println!("|---|---|{}---|---|---|", "---|".repeat(names.len()));
    let mut worst = (0.0, String::new());
    for (i, population) in populations::all(&losses).iter().enumerate() {
        for n in CASES {
            let (shares, verdict) = row(population, i, n, samples, &preset);
            let cells: Vec<String> =
                shares.iter().map(|s| s.map_or("–".into(), |s| format!("{s:.1}"))).collect();
            println!("| {} | {n} | {} | **{verdict:.1}** |", population.name, cells.join(" | "));
            if !population.rare && verdict > worst.0 {
                worst = (verdict, format!("{}, {n} cases", population.name));
            }
        }
    }
    println!(
        "\nLargest error of the verdict, rows of rare failures left out: {:.2} % ({}).\n",
        worst.0, worst.1
    );
    Ok(worst.0)
}

/// Percent of samples in which each method, and in the end the verdict, says that the loss is below the margin.
fn row(
    population: &Population,
    place: usize,
    n: usize,
    samples: usize,
    preset: &Preset,
) -> (Vec<Option<f64>>, f64) {
    let mut random = Random::at(&[25, place as u64, n as u64]);
    let (mut counts, mut verdicts) = (vec![0usize; METHODS.len() + 2], 0);
    for _ in 0..samples {
        let losses = population.sample(n, &mut random);
        for (count, (_, says)) in counts.iter_mut().zip(METHODS) {
            *count += usize::from(n <= RESAMPLED && says(&losses, preset.mean, &mut random));
        }
        counts[METHODS.len()] += usize::from(mean_loss_below(&losses, preset.mean, preset.loss));
        // Losses are not held to shares of 1 here, since a normal or lognormal loss is not.
        let (mean, _, verdict) = claims_of_losses(&losses, preset, f64::INFINITY);
        counts[METHODS.len() + 1] += usize::from(mean.bounds[1] <= preset.mean);
        verdicts += usize::from(verdict == Verdict::NonInferior);
    }
    let percent = |count: usize| 100.0 * count as f64 / samples as f64;
    let shown = |(i, count): (usize, &usize)| (n <= RESAMPLED || i >= METHODS.len()).then(|| percent(*count));
    (counts.iter().enumerate().map(shown).collect(), percent(verdicts))
}
