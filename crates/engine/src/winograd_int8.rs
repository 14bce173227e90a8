//! Winograd INT8: layers that a model says are to be computed with values rounded to bytes in Winograd's
//! transform domain.
//!
//! That is another function than the direct convolution, so it is part of the model and not of the
//! machine: a metadata property, a line for each layer with the name of its output, a tab, and the
//! sixteen steps of [`Steps`]. Other engines ignore it.

use ampoule_graph::Graph;
pub use ampoule_kernels::winograd::Steps;
use std::collections::BTreeMap;

/// The metadata property.
pub const KEY: &str = "ampoule.winograd";

/// Steps by the name of the layer's output.
pub type Layers = BTreeMap<String, Steps>;

/// A line of the property that does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata {KEY}: `{line}` is not a name, a tab and 16 steps from 1 to 32767")]
pub struct BadLine {
    /// The line.
    pub line: String,
}

/// Notes `layers` in a model. Names with a tab or a line break cannot be noted; such layers stay direct.
pub fn record(graph: &mut Graph, layers: &Layers) {
    let fits = |name: &&String| !name.contains(['\t', '\n', '\r']);
    let line = |name: &String| {
        let steps: Vec<String> = layers[name].0.iter().map(i16::to_string).collect();
        format!("{name}\t{}\n", steps.join(" "))
    };
    let text: String = layers.keys().filter(fits).map(line).collect();
    if text.is_empty() {
        graph.metadata.retain(|(k, _)| k != KEY);
    } else {
        graph.set_meta(KEY, text);
    }
}

/// What a model says; an error names the line that does not read.
pub fn recorded(graph: &Graph) -> Result<Layers, BadLine> {
    let mut layers = Layers::new();
    for line in graph.meta(KEY).unwrap_or_default().lines() {
        let bad = || BadLine { line: line.to_owned() };
        let (name, numbers) = line.split_once('\t').ok_or_else(bad)?;
        let numbers: Result<Vec<i16>, _> = numbers.split(' ').map(str::parse).collect();
        let steps: [i16; 16] = numbers.ok().and_then(|n| n.try_into().ok()).ok_or_else(bad)?;
        if steps.iter().any(|s| *s < 1) {
            return Err(bad());
        }
        layers.insert(name.to_owned(), Steps(steps));
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_noted_and_read() {
        let mut g = Graph::default();
        let mut layers = Layers::new();
        layers.insert("a b/y".into(), Steps(std::array::from_fn(|i| i as i16 + 1)));
        layers.insert("z".into(), Steps([32767; 16]));
        record(&mut g, &layers);
        assert_eq!(recorded(&g).unwrap(), layers);
        record(&mut g, &Layers::new());
        assert!(g.meta(KEY).is_none() && recorded(&g).unwrap().is_empty());
        for bad in ["x", "x\t1 2", "x\t0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "x\t40000 1"] {
            g.set_meta(KEY, bad);
            assert_eq!(recorded(&g), Err(BadLine { line: bad.to_owned() }));
        }
    }
}
