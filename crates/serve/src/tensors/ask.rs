//! A question, its answer, and what all networks share.

use crate::budget::{Budget, Hold};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use ampoule_engine::Options;
use ampoule_graph::Tensor;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::oneshot;

/// What is asked of a network.
pub(crate) struct Ask {
    pub inputs: Vec<(String, Tensor)>,
    /// Outputs by name; all where there are none.
    pub outputs: Vec<String>,
    /// The memory of both.
    pub hold: Hold,
}

/// What a network gave.
pub(crate) struct Answer {
    pub outputs: Vec<(String, Tensor)>,
    /// The memory of the tensors, until they are sent.
    pub hold: Hold,
}

/// A question that waits for its answer.
pub(super) struct Job {
    pub ask: Ask,
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
    pub since: Instant,
}

/// What all networks share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub options: Options,
    pub budget: Arc<Budget>,
    pub metrics: Arc<Metrics>,
    /// Held by what runs, where memory is limited: a case and tensors take turns.
    pub turn: Option<Arc<Mutex<()>>>,
    pub instances: usize,
    pub queue: usize,
}
