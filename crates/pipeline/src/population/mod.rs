//! What is usual in a population of cases: intensities and volumes, by site, held against those of the cases that the model
//! was calibrated on.

mod compare;
mod page;
mod smirnov;

pub use compare::{Comparison, Drift, compare};
pub(crate) use page::{table, write};
pub use smirnov::smirnov;

use crate::measure::Measured;
use ampoule_imaging::Volume;
use ampoule_imaging::photo::Photo;
use ampoule_imaging::rounding::round_to;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Key of a [`Reference`] in an ONNX file's `metadata_props`.
pub const POPULATION_KEY: &str = "ampoule.population";

/// Most values of a feature that a model keeps.
const KEPT: usize = 200;
/// Voxels that statistics of an image are taken over.
const SAMPLE: usize = 100_000;

/// Intensities of one channel of a case, over the values above its lowest one, which is air or padding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// Name of the channel.
    pub name: String,
    /// Median.
    pub median: f64,
    /// First and ninety-ninth percentile.
    pub range: [f64; 2],
}

impl Intensity {
    fn of(name: &str, mut sample: Vec<f32>) -> Option<Intensity> {
        sample.retain(|v| v.is_finite());
        sample.sort_unstable_by(f32::total_cmp);
        let low = *sample.first()?;
        let above = &sample[sample.partition_point(|v| *v <= low)..];
        let above = if above.is_empty() { &sample[..] } else { above };
        let at = |q: f64| f64::from(above[(q * (above.len() - 1) as f64).round() as usize]);
        Some(Intensity { name: name.into(), median: at(0.5), range: [at(0.01), at(0.99)] })
    }

    /// Of a channel of a volume.
    pub(crate) fn of_volume(name: &str, v: &Volume<f32>) -> Option<Intensity> {
        Intensity::of(name, v.data.iter().copied().step_by((v.data.len() / SAMPLE).max(1)).collect())
    }

    /// Of the three channels of a photo.
    pub(crate) fn of_photo(p: &Photo) -> Vec<Intensity> {
        let step = (p.rgb.len() / 3 / SAMPLE).max(1);
        let one = |(k, name): (usize, &str)| {
            let values = p.rgb.chunks_exact(3).step_by(step).map(|c| f32::from(c[k]));
            Intensity::of(name, values.collect())
        };
        ["red", "green", "blue"].into_iter().enumerate().filter_map(one).collect()
    }
}

/// Named numbers of a case.
pub type Features = BTreeMap<String, f64>;

/// The features of a case: intensities, what labels cover, and numbers of a whole image.
pub fn features(intensities: &[Intensity], labels: &[Measured], scores: &[(String, f32)]) -> Features {
    let mut out = Features::new();
    for i in intensities {
        out.insert(format!("median intensity of {}", i.name), i.median);
        out.insert(format!("intensity range of {}", i.name), i.range[1] - i.range[0]);
    }
    for m in labels {
        let (value, unit) = match (m.ml, m.mm2) {
            (Some(v), _) => (v, "ml"),
            (_, Some(v)) => (v, "mm²"),
            _ => (m.share, "share"),
        };
        out.insert(format!("{} ({unit})", m.name), value);
    }
    for (name, value) in scores {
        out.insert(format!("score of {name}"), f64::from(*value));
    }
    out
}

/// Features of the cases that a model was calibrated on, kept in its file: as many values of each as are enough to compare with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Cases.
    pub cases: usize,
    /// Values of each feature, ascending.
    pub features: BTreeMap<String, Vec<f64>>,
}

impl Reference {
    /// Of these cases; of many an even selection of each feature's values.
    pub fn of(cases: &[Features]) -> Reference {
        let mut features: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in cases.iter().flatten().filter(|f| f.1.is_finite()) {
            features.entry(name.clone()).or_default().push(*value);
        }
        for values in features.values_mut() {
            values.sort_by(f64::total_cmp);
            let n = values.len();
            if n > KEPT {
                *values = (0..KEPT).map(|i| values[i * (n - 1) / (KEPT - 1)]).collect();
            }
            values.iter_mut().for_each(|v| *v = shortened(*v));
        }
        Reference { cases: cases.len(), features }
    }

    /// That of a model's metadata; `None` where it is absent or damaged.
    pub fn parse(text: &str) -> Option<Reference> {
        serde_json::from_str(text).ok()
    }

    /// As a model's metadata have it.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Six digits are more than any comparison needs.
fn shortened(v: f64) -> f64 {
    if v == 0.0 {
        return v;
    }
    let digits = 5 - v.abs().log10().floor() as i32;
    round_to(v, 10f64.powi(digits.clamp(-12, 12)))
}

/// The middle of values; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => 0.0,
        n if n % 2 == 1 => v[n / 2],
        n => (v[n / 2 - 1] + v[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_keeps_the_spread_of_many_cases() {
        let cases: Vec<Features> =
            (0..1000).map(|i| Features::from([("brain (ml)".to_owned(), 1000.0 + i as f64 / 3.0)])).collect();
        let r = Reference::of(&cases);
        let values = &r.features["brain (ml)"];
        assert_eq!((r.cases, values.len(), values[0], values[KEPT - 1]), (1000, KEPT, 1000.0, 1333.0));
        assert_eq!(Reference::parse(&r.to_text()), Some(r.clone()));
        assert!(r.to_text().len() < 4000);
        assert_eq!(Reference::parse("{"), None);
        assert_eq!([123456.78, -0.00123456789, 0.0].map(shortened), [123457.0, -0.00123457, 0.0]);
    }

    #[test]
    fn air_has_no_say_in_intensities() {
        let mut data = vec![0f32; 900];
        data.extend((0..101).map(|i| 100.0 + i as f32));
        let i = Intensity::of("T1", data).unwrap();
        assert_eq!((i.median, i.range), (150.0, [101.0, 199.0]));
        assert_eq!(Intensity::of("x", vec![3.0; 5]).unwrap().median, 3.0);
        assert_eq!(Intensity::of("x", Vec::new()), None);
    }
}
