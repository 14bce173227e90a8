//! Watching tensors over calibration cases, in memory bounded by bins × tensors.

use super::histogram::Histogram;
use crate::{Error, Result};
use ampoule_engine::{Observe, Observed};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What was seen of some tensors so far.
pub struct Collector {
    names: Arc<Vec<String>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    histograms: HashMap<String, Histogram>,
    /// The first tensor that held a value that is not finite.
    broken: Option<String>,
}

impl Collector {
    /// Watches the tensors of these names.
    pub fn new(names: Vec<String>) -> Self {
        Collector { names: Arc::new(names), seen: Arc::default() }
    }

    /// For the options of a session whose runs shall be watched.
    pub fn observe(&self) -> Observe {
        let seen = self.seen.clone();
        let sink = move |v: &Observed<'_>| {
            // Counted apart, so that sessions side by side wait only for the sum.
            let mut own = Histogram::default();
            let mut finite = true;
            let mut line = Vec::with_capacity(CHUNK + 64);
            v.pixels(|p| {
                line.extend_from_slice(p);
                if line.len() >= CHUNK {
                    finite &= own.add(&line);
                    line.clear();
                }
            });
            finite &= own.add(&line);
            let mut seen = lock(&seen);
            match finite {
                true => seen.histograms.entry(v.name.into()).or_default().merge_values(&own),
                false => {
                    seen.broken.get_or_insert_with(|| v.name.into());
                }
            }
        };
        Observe { names: self.names.clone(), sink: Arc::new(sink) }
    }

    /// Ends case `case`; an error if a tensor held a value that is not finite.
    pub fn end_case(&self, case: &str) -> Result<()> {
        let mut seen = lock(&self.seen);
        if let Some(tensor) = seen.broken.take() {
            return Err(Error::NotFinite { tensor, case: case.into() });
        }
        seen.histograms.values_mut().for_each(Histogram::end_case);
        Ok(())
    }

    /// What was seen of a tensor.
    pub fn histogram(&self, name: &str) -> Option<Histogram> {
        lock(&self.seen).histograms.get(name).cloned()
    }
}

/// Values that are counted at once.
const CHUNK: usize = 1 << 14;

fn lock(m: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}
