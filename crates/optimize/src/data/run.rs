//! Networks on batches of training data.

use super::batches::Batches;
use super::examples::Examples;
use crate::Result;
use ampoule_engine::{Options, Session};
use ampoule_graph::Graph;

/// Runs `graph` on batches that are not augmented and gives every output.
pub(crate) fn run_batches(
    graph: &Graph,
    shape: &[usize],
    options: &Options,
    batches: &Batches,
    examples: &mut Examples,
    count: usize,
    mut each: impl FnMut(usize, Vec<f32>),
) -> Result<()> {
    let mut session = Session::new(graph.clone(), &[shape.to_vec()], options)?;
    for i in 0..count.min(batches.steps) {
        let batch = batches.draw(examples, 0, 9_001, i)?;
        session.input(0)?.copy_from_slice(&batch.values);
        session.run()?;
        each(i, session.output(0)?.to_vec());
    }
    Ok(())
}
