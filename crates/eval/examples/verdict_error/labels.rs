//! Labels: exact errors, by all tables of pairs that can come up.

use ampoule_eval::{Margin, tango_upper};

/// Shares of cases that get better, besides those that get worse.
const BETTER: [f64; 4] = [0.0, 0.01, 0.05, 0.2];

pub fn tables() {
    println!("### Labels (Tango's score interval), exact\n");
    println!(
        "The largest error over shares that get better of 0, 1, 5 and 20 %, from the least number of cases to eight times it.\n"
    );
    println!("| margin | least cases | largest error, % | at |\n|---|---|---|---|");
    for margin in [0.01, 0.02, 0.05, 0.1] {
        let first =
            (1..2000).find(|n| tango_upper(0.0, 0.0, f64::from(*n)) <= margin).unwrap_or(2000) as usize;
        let mut worst = (0.0, String::new());
        for times in [1.0, 1.3, 1.5, 2.0, 3.0, 5.0, 8.0] {
            let n = (first as f64 * times) as usize;
            for better in BETTER {
                let e = 100.0 * error(n, better + margin, better, margin);
                if e > worst.0 {
                    worst = (e, format!("{n} cases, {better} better"));
                }
            }
        }
        println!("| {margin} | {first} | {:.2} | {} |", worst.0, worst.1);
    }
    println!("\n### Least numbers of cases\n");
    println!("When no case loses anything, with default limits.\n");
    println!(
        "| margin | masks: mean | masks: share of cases | labels: mean | labels: share of cases |\n|---|---|---|---|---|"
    );
    for margin in [0.005, 0.01, 0.02, 0.05] {
        let of = |metric: &str| {
            let preset = Margin::of_mean(margin).preset(metric);
            ampoule_eval::claims_of_losses(&[0.0], &preset, 1.0)
        };
        let (masks, classes) = (of("dice"), of("accuracy"));
        let labels = (1..5000).find(|n| tango_upper(0.0, 0.0, f64::from(*n)) <= margin);
        println!(
            "| {margin} | {} | {} | {} | {} |",
            masks.0.least.unwrap_or(0),
            masks.1.least,
            labels.unwrap_or(0),
            classes.1.least
        );
    }
    println!();
}

/// Probability that the bound is within the margin, where these shares of cases get worse and better.
fn error(n: usize, worse: f64, better: f64, margin: f64) -> f64 {
    let logs: Vec<f64> = std::iter::once(0.0)
        .chain((1..=n).scan(0.0, |sum, i| {
            *sum += (i as f64).ln();
            Some(*sum)
        }))
        .collect();
    let times = |k: usize, p: f64| if k == 0 { 0.0 } else { k as f64 * p.ln() };
    // Numbers that come up less than once in a million million.
    let few = |p: f64| (n as f64 * p + 8.0 * (n as f64 * p).sqrt() + 8.0).min(n as f64) as usize;
    let mut sum = 0.0;
    for c in 0..=if better > 0.0 { few(better) } else { 0 } {
        // More that got worse raise the bound.
        for b in 0..=few(worse).min(n - c) {
            if tango_upper(b as f64, c as f64, n as f64) > margin {
                break;
            }
            let rest = n - b - c;
            let log = logs[n] - logs[b] - logs[c] - logs[rest]
                + times(b, worse)
                + times(c, better)
                + times(rest, 1.0 - worse - better);
            sum += log.exp();
        }
    }
    sum
}
