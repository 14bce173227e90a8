//! Graph passes: constants folded, normalisations and activations fused into layers, what nobody reads removed. Results
//! stay what they were.

use crate::Result;
use crate::state::State;
use ampoule_graph::passes;

/// Simplifies the network and all finished ones.
pub(crate) fn apply(state: &mut State) -> Result<()> {
    passes::optimize(&mut state.network)?;
    state.simplified = Some(state.network.clone());
    for g in &mut state.finished {
        passes::optimize(g)?;
    }
    Ok(())
}
