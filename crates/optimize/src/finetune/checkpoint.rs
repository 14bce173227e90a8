//! Where training stands, so that a killed run goes on and a spoilt one has something to go back to.

use crate::report::Epoch;
use crate::{Error, Result};
use ampoule_graph::{Graph, Tensor};
use ampoule_onnx::{self as onnx, Limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// What a state belongs to and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    /// A hash of the model, the cases and the choices.
    pub key: String,
    /// The phase at hand, or to be begun.
    pub phase: usize,
    /// Epochs of it that are done; nothing of the rest below belongs to a phase that is to be begun.
    pub epochs: usize,
    /// Epochs since the best one.
    pub stale: usize,
    /// The best measure of the phase.
    pub best: Option<f64>,
    /// Steps of the optimizer.
    pub steps: u64,
    /// All epochs so far.
    pub history: Vec<Epoch>,
    /// Channels that pruning keeps, by layer.
    pub target: BTreeMap<String, [usize; 2]>,
    /// Bytes of the graph and lengths of the lists that follow; set when it is written.
    pub graph: usize,
    pub lists: [Vec<usize>; 4],
}

/// A state.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub header: Header,
    /// The network of the phase.
    pub graph: Graph,
    /// Of each parameter, its value, its best value so far, and the two memories of the optimizer; all empty
    /// where the phase is to be begun.
    pub lists: [Vec<Vec<f32>>; 4],
}

/// The file.
pub(super) struct Checkpoint {
    path: Option<PathBuf>,
    key: String,
}

impl Checkpoint {
    pub fn new(path: Option<&Path>, key: String) -> Self {
        Checkpoint { path: path.map(Path::to_path_buf), key }
    }

    /// Its path as text; empty where there is none.
    pub fn place(&self) -> String {
        self.path.as_ref().map_or_else(String::new, |p| p.display().to_string())
    }

    /// The state of an earlier run with the same model, cases and choices.
    pub fn load(&self) -> Option<State> {
        let file = std::fs::File::open(self.path.as_ref()?).ok()?;
        let mut reader = std::io::BufReader::new(file);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let header: Header = serde_json::from_str(&line).ok()?;
        if header.key != self.key {
            return None;
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).ok()?;
        let floats: usize = header.lists.iter().flatten().sum();
        // A file that was cut is none.
        if bytes.len() != header.graph + 4 * floats {
            return None;
        }
        let mut values = bytes.split_off(header.graph).into_iter();
        let graph = onnx::from_bytes(bytes.into(), None, &Limits::default()).ok()?;
        let mut float = || {
            let mut b = [0u8; 4];
            b.fill_with(|| values.next().unwrap_or(0));
            f32::from_le_bytes(b)
        };
        let lists = header.lists.clone().map(|l| {
            l.into_iter().map(|n| (0..n).map(|_| float()).collect::<Vec<f32>>()).collect::<Vec<_>>()
        });
        Some(State { header, graph, lists })
    }

    /// Writes a state, under its name when it is whole.
    pub fn save(&self, state: &State) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let fail = |reason: String| Error::File { path: path.clone(), reason };
        let graph = onnx::to_bytes(&state.graph)?;
        let header = Header {
            key: self.key.clone(),
            graph: graph.len(),
            lists: [0, 1, 2, 3].map(|i| state.lists[i].iter().map(Vec::len).collect()),
            ..state.header.clone()
        };
        let mut line = serde_json::to_vec(&header).map_err(|e| fail(e.to_string()))?;
        line.push(b'\n');
        let written = ampoule_files::write_atomic(path, |file| {
            file.write_all(&line)?;
            file.write_all(&graph)?;
            let mut lists = state.lists.iter().flatten();
            lists.try_for_each(|list| file.write_all(Tensor::f32(&[list.len()], list).bytes()))
        });
        written.map_err(|e| fail(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_and_cut_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.training");
        let c = Checkpoint::new(Some(&path), "k".into());
        assert!(c.load().is_none());
        let header = Header { phase: 2, epochs: 3, best: Some(0.5), ..Header::default() };
        let lists = [vec![vec![1.5, -2.0], vec![]], vec![], vec![vec![f32::MAX]], vec![vec![0.0; 3]]];
        let mut b = ampoule_graph::build::Builder::new("g");
        let x = b.input("x", &[ampoule_graph::Dim::Known(4)]);
        let y = b.unary(x, ampoule_graph::op::Unary::Relu);
        b.output(y, "y", &[ampoule_graph::Dim::Known(4)]);
        c.save(&State { header, graph: b.finish(), lists: lists.clone() }).unwrap();
        let s = c.load().unwrap();
        assert_eq!((s.header.phase, s.header.epochs, s.header.best), (2, 3, Some(0.5)));
        assert_eq!(s.lists, lists);
        assert!(Checkpoint::new(Some(&path), "other".into()).load().is_none());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(c.load().is_none());
    }
}
