//! What a student learns from: another network's results, on the same patches or taken over whole cases.

use super::whole::bound;
use crate::{Error, Result};
use ampoule_engine::{Options, OutputRef, Session};
use ampoule_graph::{Graph, passes};
use ampoule_train::logits;

/// Networks that run on every batch; their logits are averaged.
pub(super) struct Teacher {
    sessions: Vec<Session>,
}

impl Teacher {
    /// A teacher of the named outputs of `graph`, for inputs of `shape`; `features` are further values to learn.
    pub fn new(
        graph: &Graph,
        outputs: &[String],
        features: &[String],
        shape: &[usize],
        options: &Options,
    ) -> Result<Self> {
        let session = |output: &String| -> Result<Session> {
            let fail = |e: ampoule_graph::Error| Error::Compress(e.into());
            let mut g = graph.extract(&[output]).map_err(fail)?;
            passes::trainable(&mut g).map_err(fail)?;
            let mut g = logits(&bound(&g, shape)?);
            for name in features {
                let id = g.value_named(name).ok_or_else(|| {
                    Error::Utility(format!("the teacher has no value `{name}`; values have the names that they have in the ONNX file"))
                })?;
                g.outputs.push(id);
            }
            Session::new(g, &[shape.to_vec()], options).map_err(|e| Error::Pipeline(e.into()))
        };
        Ok(Teacher { sessions: outputs.iter().map(session).collect::<Result<_>>()? })
    }

    /// Dimensions of its outputs in ONNX order: the logits, then the features.
    pub fn dims(&self) -> Vec<Vec<usize>> {
        let Some(s) = self.sessions.first() else { return Vec::new() };
        s.iter_outputs().map(|o| o.dims.to_vec()).collect()
    }

    /// Its logits and features for inputs with channels innermost, laid out alike.
    pub fn teach(&mut self, values: &[f32]) -> Result<Vec<Vec<f32>>> {
        let mut all: Vec<Vec<f32>> = Vec::new();
        let n = self.sessions.len() as f32;
        for s in &mut self.sessions {
            s.input(0).map_err(|e| Error::Pipeline(e.into()))?.copy_from_slice(values);
            s.run().map_err(|e| Error::Pipeline(e.into()))?;
            for (i, out) in s.iter_outputs().enumerate() {
                let out = channels_last(&out);
                match all.get_mut(i) {
                    None => all.push(out),
                    Some(sum) => sum.iter_mut().zip(&out).for_each(|(a, b)| *a += b),
                }
            }
        }
        if n > 1.0 {
            all.iter_mut().flatten().for_each(|v| *v /= n);
        }
        Ok(all)
    }
}

/// An output of a session with channels innermost.
pub(super) fn channels_last(out: &OutputRef<'_>) -> Vec<f32> {
    let (n, c) = (out.dims[0], out.dims.get(1).copied().unwrap_or(1));
    let pixels: usize = out.dims.iter().skip(2).product();
    let rows = out.to_vec();
    let mut last = vec![0f32; rows.len()];
    for (b, batch) in rows.chunks_exact((c * pixels).max(1)).enumerate().take(n) {
        for (k, plane) in batch.chunks_exact(pixels.max(1)).enumerate() {
            for (p, v) in plane.iter().enumerate() {
                last[(b * pixels + p) * c + k] = *v;
            }
        }
    }
    last
}

/// Logits of `channels` that stand for a probability of the foreground, which is channel `foreground` where there
/// are two.
pub(super) fn logits_of(taught: &[f32], channels: usize, foreground: usize) -> Vec<f32> {
    // Certainty is finite, so that its gradient is.
    const LEAST: f32 = 1e-4;
    let logit = |p: f32| {
        let p = p.clamp(LEAST, 1.0 - LEAST);
        (p / (1.0 - p)).ln()
    };
    match channels {
        1 => taught.iter().map(|&p| logit(p)).collect(),
        n => taught
            .iter()
            .flat_map(|&p| (0..n).map(move |k| if k == foreground { logit(p) } else { 0.0 }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_have_logits() {
        assert_eq!(logits_of(&[0.5], 2, 1), [0.0, 0.0]);
        let z = logits_of(&[0.9, 1.0], 2, 0);
        assert!((z[0].exp() / (z[0].exp() + 1.0) - 0.9).abs() < 1e-6 && z[2] < 10.0 && z[3] == 0.0);
        assert!(logits_of(&[0.2], 1, 0)[0] < 0.0);
    }
}
