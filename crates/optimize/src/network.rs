//! A network for inputs of one shape.

use crate::Result;
use ampoule_engine::{Options, Session};
use ampoule_graph::Graph;
use ampoule_onnx::{self as onnx, Limits};

/// `g` for inputs of `shape`, whatever the file says of them. Nothing is computed in advance, so that it stays a network
/// for any size.
pub(crate) fn bound(g: &Graph, shape: &[usize]) -> Result<Graph> {
    let mut g = g.clone();
    g.set_input_dims(0, shape);
    forget_sizes(&mut g);
    ampoule_graph::infer::infer(&mut g)?;
    Ok(g)
}

/// Forgets sizes that follow from those of inputs.
pub(crate) fn forget_sizes(g: &mut Graph) {
    let inputs = g.inputs.clone();
    for (i, v) in g.values.iter_mut().enumerate() {
        let id = ampoule_graph::ValueId(i);
        if !inputs.contains(&id) && !g.constants.contains_key(&id) {
            v.shape = None;
        }
    }
}

/// The graph as a file stores it, so that what is saved and read is what was trained.
pub(crate) fn as_stored(g: &Graph) -> Result<Graph> {
    let mut g = onnx::from_bytes(onnx::to_bytes(g)?.into(), None, &Limits::default())?;
    ampoule_graph::infer::infer(&mut g)?;
    Ok(g)
}

/// Dimensions of all outputs of `g` for inputs of `shape`.
pub(crate) fn output_dims(g: &Graph, shape: &[usize], options: &Options) -> Result<Vec<Vec<usize>>> {
    let s = Session::new(g.clone(), &[shape.to_vec()], options)?;
    Ok(s.iter_outputs().map(|o| o.dims.to_vec()).collect())
}
