//! Balanced accuracy and AUROC: errors by simulation.

use ampoule_eval::{Margin, Sample, claim_of_set};
use ampoule_random::Random;

const MARGIN: f64 = 0.05;

/// A way to draw a case: its sample of the baseline and of the variant.
type Draw = fn(usize, &mut Random) -> [Sample; 2];

pub fn tables(samples: usize) {
    println!("### Balanced accuracy and AUROC\n");
    println!(
        "The variant is worse by the margin, {MARGIN}; {samples} samples a row. Percent of samples in which it seems better than that.\n"
    );
    println!("| measure | cases | one of the classes | error, % |\n|---|---|---|---|");
    let kinds: [(&str, Draw); 2] = [("balanced-accuracy", recall), ("auroc", rank)];
    for (metric, draw) in kinds {
        // The loss of the AUROC is found with many cases.
        let true_loss = loss(metric, draw);
        for n in [60, 150, 400, 800] {
            for every in [2usize, 5] {
                let mut random = Random::at(&[26, n as u64, every as u64]);
                let preset = Margin::of_mean(true_loss).preset(metric);
                let wrong = (0..samples).filter(|_| {
                    let cases: Vec<[Sample; 2]> =
                        (0..n).map(|i| draw(usize::from(i % every == 0), &mut random)).collect();
                    claim_of_set(metric, 2, &cases, &preset).is_some_and(|c| c.bounds[1] <= preset.mean)
                });
                let share = 100.0 * wrong.count() as f64 / samples as f64;
                println!("| {metric} | {n} | 1 in {every} | {share:.1} |");
            }
        }
    }
    println!();
}

fn loss(metric: &str, draw: Draw) -> f64 {
    if metric == "balanced-accuracy" {
        return MARGIN;
    }
    let mut random = Random::at(&[27]);
    let cases: Vec<[Sample; 2]> = (0..400_000).map(|i| draw(i % 2, &mut random)).collect();
    let claim = claim_of_set(metric, 2, &cases, &Margin::of_mean(MARGIN).preset(metric));
    claim.map_or(MARGIN, |c| 0.5 * (c.bounds[0] + c.bounds[1]))
}

fn sample(truth: usize, p: f64, predicted: usize) -> Sample {
    Sample { truth, predicted, probabilities: vec![1.0 - p, p], group: String::new() }
}

/// A tenth of the right labels turns wrong, and so many of the wrong ones right that the difference is the margin.
fn recall(truth: usize, random: &mut Random) -> [Sample; 2] {
    const RIGHT: f32 = 0.9;
    const TURNS: f32 = 0.1;
    // RIGHT * TURNS - (1 - RIGHT) * back = MARGIN.
    let back = (RIGHT * TURNS - MARGIN as f32) / (1.0 - RIGHT);
    let first = random.unit() < RIGHT;
    let second = if first { random.unit() >= TURNS } else { random.unit() < back };
    [first, second].map(|right| sample(truth, 0.5, if right { truth } else { 1 - truth }))
}

/// Scores of the classes are normal and overlap; those of the variant have noise of their own besides.
fn rank(truth: usize, random: &mut Random) -> [Sample; 2] {
    let own = 1.6 * truth as f64 + f64::from(random.normal());
    let other = own + 0.75 * f64::from(random.normal());
    [own, other].map(|x| {
        let p = 1.0 / (1.0 + (0.8 - x).exp());
        sample(truth, p, usize::from(p > 0.5))
    })
}
