//! An external backend in this engine's place: the same inputs, outputs and pipeline around it, for
//! comparing engines by what they do to a case and not only by their time.

use crate::error::{Error, ExternalError, Result};
use ampoule_graph::Graph;
use std::fmt;
use std::sync::Arc;

/// A whole network, loaded by another engine.
pub trait ExternalNetwork: Send {
    /// Runs on all inputs and gives all outputs, each float32 in ONNX's row-major order.
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError>;
}

/// Loads a network whose input dimensions are all known.
pub type Loader = dyn Fn(&Graph) -> Result<Box<dyn ExternalNetwork>, ExternalError> + Send + Sync;

/// Loads networks into another engine, which runs them.
#[derive(Clone)]
pub struct ExternalBackend(pub Arc<Loader>);

impl fmt::Debug for ExternalBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalBackend")
    }
}

/// A graph with the inputs and outputs of `graph` and nothing between: its outputs are inputs too, which come
/// after the others.
pub(crate) fn shell(graph: &Graph) -> Result<Graph> {
    let mut shell = graph.clone();
    shell.nodes.clear();
    shell.constants.clear();
    for &o in &graph.outputs {
        let value = graph.value(o);
        if graph.inputs.contains(&o) || graph.constants.contains_key(&o) || value.dims().is_none() {
            return Err(Error::ExternalOutput { name: value.name.clone() });
        }
        shell.inputs.push(o);
    }
    Ok(shell)
}
