//! Parity of two models: the same input through both.

mod layers;

pub use layers::{LayerParity, compare_layers};

use crate::{Mismatch, Result};
use ampoule_engine::{Options, Session};
use ampoule_graph::{Dim, Graph};
use ampoule_imaging::Volume;
use ampoule_imaging::metrics::counts;
use ampoule_pipeline::{Case, Model, Prediction, Settings, predict_case};
use ampoule_random::Random;
use serde::Serialize;

/// How far two outputs are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// Output or image.
    pub name: String,
    /// Elements compared.
    pub elements: usize,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Signal to noise in dB, the first model being the signal; `null` when they are equal.
    pub sqnr_db: Option<f64>,
    /// Share of equal labels: masks for images, largest channel for raw outputs.
    pub label_agreement: f64,
    /// Dice of the two masks, for images.
    pub dice: Option<f64>,
}

fn parity(name: &str, a: &[f32], b: &[f32], label_agreement: f64, dice: Option<f64>) -> Result<Parity> {
    let difference = |(x, y): (&f32, &f32)| (*x as f64 - *y as f64).abs();
    let differences = || a.iter().zip(b).map(difference);
    Ok(Parity {
        name: name.into(),
        elements: a.len(),
        max_abs: differences().fold(0.0, f64::max),
        mean_abs: differences().sum::<f64>() / a.len().max(1) as f64,
        sqnr_db: sqnr(name, a, b)?,
        label_agreement,
        dice,
    })
}

/// Signal to noise of `other` in dB; `None` when both are equal. Values that are not finite are an error: nothing can be
/// said of how far they are apart.
fn sqnr(name: &str, signal: &[f32], other: &[f32]) -> Result<Option<f64>> {
    if signal.iter().chain(other).any(|v| !v.is_finite()) {
        return Err(Mismatch::NotFinite { value: name.to_owned() }.into());
    }
    let (mut power, mut noise) = (0f64, 0f64);
    for (&x, &y) in signal.iter().zip(other) {
        power += (x as f64).powi(2);
        noise += (x as f64 - y as f64).powi(2);
    }
    Ok((noise > 0.0).then(|| 10.0 * (power / noise).log10()))
}

/// Both models with their recipes on a case: scores, and how many labels (or classes) are the same.
pub fn compare_on_case(a: &mut Model, b: &mut Model, case: &Case, settings: Settings) -> Result<Parity> {
    let settings = Settings { scores: true, ..settings };
    let (pa, pb) = (predict_case(a, case, settings)?, predict_case(b, case, settings)?);
    let name = case.main().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (Some(la), Some(lb)) = (&pa.labels, &pb.labels) else {
        if pa.numbers.len() != pb.numbers.len() {
            let (first, second) = (pa.numbers.len(), pb.numbers.len());
            return Err(Mismatch::Count { what: "classes", first, second }.into());
        }
        let same = pa.classes == pb.classes;
        return parity(&name, &pa.numbers, &pb.numbers, same as u8 as f64, None);
    };
    if la.dims != lb.dims || pa.scores.len() != pb.scores.len() {
        return Err(Mismatch::Sizes.into());
    }
    let flat =
        |p: &Prediction| p.scores.iter().flat_map(|(_, v)| v.data.iter().copied()).collect::<Vec<f32>>();
    let agreement = crate::overlap::agreement(la, lb);
    let mask = |v: &Volume<u16>| v.map(|l| (l > 0) as u8);
    parity(&name, &flat(&pa), &flat(&pb), agreement, Some(counts(&mask(la), &mask(lb)).dice()))
}

/// Both graphs on the same seeded random input (uniform -1 to 1), output by output. `size` stands
/// for spatial axes that the model leaves free; each graph has its own options.
pub fn compare_random(
    a: &Graph,
    b: &Graph,
    size: usize,
    seed: u64,
    options: &[Options; 2],
) -> Result<Vec<Parity>> {
    let shapes: Vec<Vec<usize>> =
        a.inputs.iter().map(|i| free_shape(a.value(*i).shape.as_deref(), size)).collect();
    let run = |g: &Graph, options: &Options| -> Result<Vec<(String, Vec<usize>, Vec<f32>)>> {
        let mut s = Session::new(g.clone(), &shapes, options)?;
        for (i, shape) in shapes.iter().enumerate() {
            let values = Random::at(&[seed + i as u64]).values(shape.iter().product());
            s.set_input(i, &values)?;
        }
        s.run()?;
        let name = |i: usize| g.value(g.outputs[i]).name.clone();
        Ok(s.iter_outputs().enumerate().map(|(i, o)| (name(i), o.dims.to_vec(), o.to_vec())).collect())
    };
    let (ra, rb) = (run(a, &options[0])?, run(b, &options[1])?);
    if ra.len() != rb.len() {
        return Err(Mismatch::Count { what: "outputs", first: ra.len(), second: rb.len() }.into());
    }
    let pairs = ra.iter().zip(&rb).map(|((name, da, va), (_, db, vb))| {
        if da != db {
            let (first, second) = (da.clone(), db.clone());
            return Err(Mismatch::Shapes { output: name.clone(), first, second }.into());
        }
        parity(name, va, vb, agreement(da, va, vb), None)
    });
    pairs.collect()
}

/// Share of positions with the same largest channel (axis 1).
fn agreement(dims: &[usize], a: &[f32], b: &[f32]) -> f64 {
    let channels = dims.get(1).copied().unwrap_or(1).max(1);
    let inner: usize = dims.iter().skip(2).product();
    let best = |v: &[f32], n: usize, p: usize| {
        let at = |c: usize| v[(n * channels + c) * inner + p];
        if channels == 1 {
            return (at(0) > 0.5) as usize;
        }
        (0..channels).fold(0, |best, c| if at(c) > at(best) { c } else { best })
    };
    let outer = a.len() / (channels * inner).max(1);
    let total = outer * inner;
    let same = (0..total).filter(|i| best(a, i / inner, i % inner) == best(b, i / inner, i % inner)).count();
    same as f64 / total.max(1) as f64
}

/// A declared shape with 1 for a free batch and `size` for free other axes.
fn free_shape(shape: Option<&[Dim]>, size: usize) -> Vec<usize> {
    let one = |(i, d): (usize, &Dim)| d.known().unwrap_or(if i == 0 { 1 } else { size });
    shape.unwrap_or_default().iter().enumerate().map(one).collect()
}
