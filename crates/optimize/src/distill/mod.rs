//! Distillation: a network learns the results of another one, the teacher, on the same patches or over whole cases.

mod options;

pub use options::DistillOptions;

use crate::model::Model;
use crate::network::bound;
use crate::{Error, Result};
use ampoule_engine::{Options, OutputRef, Session};
use ampoule_graph::{Graph, passes};
use ampoule_train::logits;

/// The teacher of a distillation.
#[derive(Clone, Debug)]
pub enum Teacher {
    /// The original model.
    Original,
    /// Another model for the same images.
    Model(Box<Model>),
}

/// The teacher's networks, which run on every batch; their logits are averaged.
pub(crate) struct TeacherNetwork {
    sessions: Vec<Session>,
}

impl TeacherNetwork {
    /// The teacher of the named outputs of `graph`, for inputs of `shape`; `features` are further values to learn.
    pub fn new(
        graph: &Graph,
        outputs: &[String],
        features: &[String],
        shape: &[usize],
        options: &Options,
    ) -> Result<Self> {
        let session = |output: &String| -> Result<Session> {
            let mut g = graph.extract(&[output])?;
            passes::trainable(&mut g)?;
            let mut g = logits(&bound(&g, shape)?);
            for name in features {
                let missing = || Error::NoValue { network: "teacher", value: name.clone() };
                let id = g.value_named(name).ok_or_else(missing)?;
                g.outputs.push(id);
            }
            Ok(Session::new(g, &[shape.to_vec()], options)?)
        };
        Ok(TeacherNetwork { sessions: outputs.iter().map(session).collect::<Result<_>>()? })
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
            s.input(0)?.copy_from_slice(values);
            s.run()?;
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
fn channels_last(out: &OutputRef<'_>) -> Vec<f32> {
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
pub(crate) fn logits_of(taught: &[f32], channels: usize, foreground: usize) -> Vec<f32> {
    // Certainty is finite, so that its gradient is.
    const LEAST: f32 = 1e-4;
    let logit = |p: f32| {
        let p = p.clamp(LEAST, 1.0 - LEAST);
        libm::logf(p / (1.0 - p))
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
