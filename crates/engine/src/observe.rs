//! Watching the values of a running network: for calibration, bias correction and comparisons.

use ampoule_kernels::Elem;
use ampoule_runtime::run::values;
use ampoule_runtime::{Area, View};
use std::sync::Arc;

/// Which values are watched, and who sees them. Watched values are not fused away, so a watched
/// network is slower, and its results may differ in the last bits.
#[derive(Clone)]
pub struct Observe {
    /// Names of values, as they are called after the graph passes; unknown ones are ignored.
    pub names: Arc<Vec<String>>,
    /// Called with each value of a run as soon as it is computed. Sessions that run side by side call
    /// it at the same time.
    pub sink: Arc<dyn Fn(&Observed<'_>) + Send + Sync>,
}

impl std::fmt::Debug for Observe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Observe({} values)", self.names.len())
    }
}

/// A value of a running network.
pub struct Observed<'a> {
    /// Its name.
    pub name: &'a str,
    area: Area<'a>,
    view: &'a View,
}

impl<'a> Observed<'a> {
    pub(crate) fn new(name: &'a str, area: Area<'a>, view: &'a View) -> Self {
        Observed { name, area, view }
    }

    /// Dimensions in ONNX order.
    pub fn dims(&self) -> &[usize] {
        &self.view.dims
    }

    /// All elements in ONNX's row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        values::gather(self.area, self.view)
    }

    /// Calls `f` with the channels of every pixel (rank 3 to 5), in the order of memory; with runs of all
    /// values for other ranks.
    pub fn pixels(&self, mut f: impl FnMut(&[f32])) {
        let channels = self.view.dims.get(1).copied().unwrap_or(1);
        let grid = self.view.grid().filter(|g| g.uniform() && self.view.elem == Elem::F32);
        if let (Some(g), 3..=5) = (grid, self.view.dims.len()) {
            return values::pixels(self.area, &g, f);
        }
        let all = self.to_vec();
        if !(3..=5).contains(&self.view.dims.len()) {
            return f(&all);
        }
        let volume = all.len() / (self.view.dims[0] * channels).max(1);
        let mut pixel = vec![0.0; channels];
        for n in 0..self.view.dims[0] {
            for i in 0..volume {
                for (c, v) in pixel.iter_mut().enumerate() {
                    *v = all[(n * channels + c) * volume + i];
                }
                f(&pixel);
            }
        }
    }
}
