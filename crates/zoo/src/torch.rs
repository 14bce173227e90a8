//! Checkpoints of PyTorch, within the memory that the program may take.

use crate::{Result, Weights};
use ampoule_torch::{Budget, Checkpoint};
use std::path::Path;

/// How memory is asked for here.
pub(crate) fn budget() -> Budget {
    Budget::of(ampoule_pipeline::shortage)
}

/// The tensors of a checkpoint's network: a state dict, or the parameters and buffers of a TorchScript module under
/// their dotted names.
pub fn read(bytes: &[u8]) -> Result<Weights> {
    let state = ampoule_torch::from_bytes(bytes, budget())?.state(false)?;
    Ok(Weights::of(state.tensors))
}

/// All that the checkpoint in a file holds: tensors by name, and plain values as they are nested.
pub fn checkpoint(path: &Path) -> Result<Checkpoint> {
    Ok(ampoule_torch::read(path, budget())?)
}
