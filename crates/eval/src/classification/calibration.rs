//! Temperature and reliability of probabilities.

use super::measures::{BINS, Sample, bin, calibration_error};
use serde::Serialize;

/// Photos whose class has a probability in one range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Photos.
    pub n: usize,
    /// Mean probability of their predicted classes.
    pub confidence: f64,
    /// Share of them that are right.
    pub accuracy: f64,
}

/// How far probabilities are from shares, as they are and divided by a temperature (Guo and others, *On calibration of modern
/// neural networks*, 2017).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The temperature that makes the ground truth most likely, 0.05 to 20: logits divided by it. It is fitted on these photos,
    /// so that what it does to them looks a little too good.
    pub temperature: f64,
    /// Whether it lies at an end of that range, so that none makes the ground truth most likely: where every photo is right,
    /// surer probabilities always seem better.
    pub at_end: bool,
    /// Mean negative log-likelihood of the ground truth, before and after.
    pub log_loss: [f64; 2],
    /// Expected calibration error, before and after.
    pub error: [f64; 2],
    /// The reliability diagram, before and after: bins that hold photos, by rising probability.
    pub reliability: [Vec<Bin>; 2],
}

/// Temperatures that are tried.
const RANGE: [f64; 2] = [0.05, 20.0];

/// Least probability that a logarithm is taken of.
const LEAST: f64 = 1e-7;

/// Probabilities whose logits are divided by `temperature`.
fn tempered(p: &[f64], temperature: f64) -> Vec<f64> {
    let logits: Vec<f64> = p.iter().map(|p| p.max(LEAST).ln() / temperature).collect();
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|l| (l - top).exp()).sum();
    logits.iter().map(|l| (l - top).exp() / sum).collect()
}

impl Calibration {
    /// Of photos with a probability for each class; `None` without photos.
    pub(crate) fn of(samples: &[&Sample]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let loss = |t: f64| {
            let of = |s: &&Sample| -tempered(&s.probabilities, t)[s.truth].max(LEAST).ln();
            samples.iter().map(of).sum::<f64>() / samples.len() as f64
        };
        let [low, high] = RANGE.map(f64::ln);
        let log = smallest(|log| loss(log.exp()), low, high);
        let temperature = log.exp();
        let at_end = (log - low).min(high - log) < 1e-3;
        let cooled: Vec<Sample> = samples
            .iter()
            .map(|s| Sample { probabilities: tempered(&s.probabilities, temperature), ..(*s).clone() })
            .collect();
        let after: Vec<&Sample> = cooled.iter().collect();
        Some(Calibration {
            temperature,
            at_end,
            log_loss: [loss(1.0), loss(temperature)],
            error: [calibration_error(samples), calibration_error(&after)],
            reliability: [bins(samples), bins(&after)],
        })
    }

    /// The reliability diagram as a picture: share of right photos over probability, before (grey) and after (blue).
    pub fn to_svg(&self) -> String {
        let mut out = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 320 330\" font-family=\"sans-serif\" font-size=\"10\">\
             <rect width=\"320\" height=\"330\" fill=\"white\"/><path d=\"M40 10V290H320M40 290L320 10\" fill=\"none\" stroke=\"#999\"/>",
        );
        let most = self.reliability.iter().flatten().map(|b| b.n).max().unwrap_or(1) as f64;
        let drawn = if self.at_end { 1 } else { 2 };
        for (bins, colour) in self.reliability.iter().take(drawn).zip(["#777777", "#1f6fb4"]) {
            let place = |b: &Bin| [40.0 + 280.0 * b.confidence, 290.0 - 280.0 * b.accuracy];
            let points: Vec<String> =
                bins.iter().map(|b| place(b).map(|v| format!("{v:.1}")).join(",")).collect();
            out += &format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", points.join(" "));
            for b in bins {
                let [x, y] = place(b);
                let r = 2.0 + 6.0 * (b.n as f64 / most).sqrt();
                out += &format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" fill=\"{colour}\" fill-opacity=\"0.5\"/>"
                );
            }
        }
        let after = match self.at_end {
            true => "no temperature fits".to_owned(),
            false => format!("{:.4} at temperature {:.2} (blue)", self.error[1], self.temperature),
        };
        out += &format!(
            "<text x=\"180\" y=\"308\" text-anchor=\"middle\">probability of the predicted class</text>\
             <text x=\"14\" y=\"150\" transform=\"rotate(-90 14 150)\" text-anchor=\"middle\">share that is right</text>\
             <text x=\"180\" y=\"324\" text-anchor=\"middle\">calibration error {:.4} (grey), {after}</text></svg>\n",
            self.error[0]
        );
        out
    }
}

/// Where a function with one valley is smallest (golden section).
fn smallest(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const SECTION: f64 = 0.618_033_988_749_894_9;
    for _ in 0..60 {
        let [a, b] = [high - SECTION * (high - low), low + SECTION * (high - low)];
        if f(a) <= f(b) { high = b } else { low = a }
    }
    0.5 * (low + high)
}

fn bins(samples: &[&Sample]) -> Vec<Bin> {
    let mut all = [(0usize, 0f64, 0usize); BINS];
    for s in samples.iter().filter(|s| s.predicted < s.probabilities.len()) {
        let confidence = s.probabilities[s.predicted];
        let b = &mut all[bin(confidence)];
        *b = (b.0 + 1, b.1 + confidence, b.2 + usize::from(s.truth == s.predicted));
    }
    let of = |(n, sum, right): (usize, f64, usize)| Bin {
        n,
        confidence: sum / n as f64,
        accuracy: right as f64 / n as f64,
    };
    all.into_iter().filter(|b| b.0 > 0).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_of_overconfident_probabilities_is_found() {
        // Logits are twice what they should be: right in 80 of 100 at a probability of 0.941.
        let sample = |i: usize| {
            let p = 16.0 / 17.0;
            let truth = usize::from(i.is_multiple_of(5));
            Sample { truth, predicted: 0, probabilities: vec![p, 1.0 - p], group: String::new() }
        };
        let list: Vec<Sample> = (0..100).map(sample).collect();
        let c = Calibration::of(&list.iter().collect::<Vec<_>>()).unwrap();
        assert!((c.temperature - 2.0).abs() < 1e-6, "{c:?}");
        assert!((c.error[0] - (16.0 / 17.0 - 0.8)).abs() < 1e-9 && c.error[1] < 1e-6);
        assert!(c.log_loss[1] < c.log_loss[0] && c.reliability[1][0].n == 100);
        assert!(c.to_svg().contains("temperature 2.00") && c.to_svg().ends_with("</svg>\n"));
        assert!(!c.at_end && Calibration::of(&[]).is_none());
        // Where every photo is right, none is most likely.
        let right: Vec<Sample> = list.iter().map(|s| Sample { truth: 0, ..s.clone() }).collect();
        assert!(Calibration::of(&right.iter().collect::<Vec<_>>()).unwrap().at_end);
    }
}
