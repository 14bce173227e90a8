//! Bundles whose network is a TorchScript file, `models/model.ts`: it needs no definition that is known.

use super::super::config::Config;
use super::super::files::Files;
use super::form::Form;
use super::recipe::described;
use crate::torch::budget;
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_torch::InputShape;

/// The file.
pub(super) const SCRIPT: &str = "models/model.ts";
/// Most channels.
const MOST: usize = 1 << 16;

/// The network's graph, whose output is called `prediction`, and what it takes and gives.
///
/// `window` is the size of the bundle's windows: a network that insists on a size is one of that size.
pub(super) fn open(files: &Files, metadata: &Config, window: Option<&[usize]>) -> Result<(Graph, Form)> {
    let input = described(metadata, "inputs");
    let input = input.ok_or_else(|| metadata.wrong("names no input in network_data_format"))?;
    let channels = input.need("num_channels")?.size(MOST)?;
    let axes = match (window, input.get("spatial_shape")) {
        (Some(w), _) => w.len(),
        (None, Some(s)) => s.list()?.len(),
        (None, None) => return Err(input.wrong("has no spatial_shape, which tells the number of axes")),
    };
    let sized = |sizes: Vec<Option<usize>>| [vec![Some(1), Some(channels)], sizes].concat();
    let free = sized(vec![None; axes]);
    // nibabel's order is that of the tensor.
    let fixed = window.map(|w| sized(w.iter().copied().map(Some).collect()));
    let bytes = files.read(SCRIPT)?;
    let about = |source| Error::Program { path: files.path(SCRIPT), source };
    let of = |shape: InputShape| ampoule_torch::graph(&bytes, &[shape], budget());
    let graph = of(free).or_else(|e| fixed.map_or(Err(e), of)).map_err(about)?;
    named(files, metadata, graph, channels, axes)
}

fn named(
    files: &Files,
    metadata: &Config,
    mut graph: Graph,
    channels: usize,
    axes: usize,
) -> Result<(Graph, Form)> {
    let Some(&first) = graph.outputs.first() else { return Err(files.wrong(SCRIPT, "it gives no output")) };
    graph.outputs.truncate(1);
    graph.values[first.0].name = "prediction".into();
    let shape = graph.value(first).shape.clone().unwrap_or_default();
    let stated = match described(metadata, "outputs").and_then(|o| o.get("num_channels")) {
        Some(n) => Some(n.size(MOST)?),
        None => None,
    };
    let own = shape.get(1).and_then(|d| d.known());
    let outputs = own.or(stated).ok_or_else(|| {
        files.wrong(
            SCRIPT,
            "the channels of its output are not known; name them in metadata.json (num_channels)",
        )
    })?;
    let form = Form { axes, channels, outputs, classifier: shape.len() == 2 };
    Ok((graph, form))
}
