//! The model that a trained network is part of.

use crate::network::forget_sizes;
use crate::{Error, Result};
use ampoule_graph::{Graph, passes};
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::{Activation, Axes, Kind, PadMode, Side, Step};

/// A model with one network in it that is trained: that of the last stage's first output. Where the recipe averages
/// several, it takes the place of all of them and of their mirrors.
#[derive(Clone)]
pub(super) struct TargetModel {
    graph: Graph,
    /// Output of the network.
    pub output: String,
    /// Outputs that it takes the place of, itself included.
    pub replaced: Vec<String>,
    /// Outputs of other stages.
    others: Vec<String>,
    /// The recipe of the result.
    recipe: String,
    /// The task.
    pub task: Task,
}

/// What a recipe says about its network.
#[derive(Clone)]
pub(super) struct Task {
    /// Classes, background included.
    pub classes: Vec<String>,
    /// Whether a whole image has one class or number.
    pub image_level: bool,
    /// Whether the recipe puts sigmoids on the channels.
    pub sigmoid: bool,
    /// Whether the network sees images of two axes.
    pub flat: bool,
    /// The foreground's channel, where there is one label.
    pub foreground: Option<usize>,
    /// Sizes are multiples of this.
    pub multiple: usize,
    /// Windows of this size, in the tensor's order.
    pub window: Option<[usize; 3]>,
    /// The tensor's axis (depth, height, width) from left to right of the head.
    pub across: usize,
}

/// The step that raises sizes to multiples, of those before the last network.
fn multiple(recipe: &Recipe) -> usize {
    recipe.steps().map(|s| if let Step::Pad { multiple, .. } = s { *multiple } else { 1 }).max().unwrap_or(1)
}

impl TargetModel {
    pub fn new(graph: &Graph, recipe: &str, fast: bool) -> Result<TargetModel> {
        let mut r = Recipe::parse(recipe, "recipe")?;
        let before = r.network.len() - 1;
        let others = r.network[..before].iter().flat_map(|n| n.outputs.clone()).collect();
        let zyx = r.last().axes == Axes::Zyx;
        let flat = r.kind() == Kind::Image;
        let foreground = match r.foreground().collect::<Vec<_>>()[..] {
            [only] if !flat && !r.is_image_level() => Some(only.channel),
            _ => None,
        };
        let mut classes = r.classes();
        if classes.len() == 1 {
            classes.insert(0, "background".into());
        }
        let (image_level, multiple) = (r.is_image_level(), multiple(&r));
        let last = &mut r.network[before];
        if let ([], [only]) = (&last.outputs[..], &graph.outputs[..]) {
            last.outputs.push(graph.value(*only).name.clone());
        }
        let replaced = last.active_outputs(fast).to_vec();
        let output = replaced.first().cloned();
        let output = output.ok_or(Error::NoOutput)?;
        let turned = |s: &[usize]| match s {
            [x, y, z] if zyx => Some([*z, *y, *x]),
            [x, y, z] => Some([*x, *y, *z]),
            [x, y] => Some([1, *y, *x]),
            _ => None,
        };
        let task = Task {
            classes,
            image_level,
            sigmoid: last.activation == Activation::Sigmoid,
            flat,
            foreground,
            multiple,
            window: last.window.as_ref().and_then(|w| turned(&w.size)),
            across: if zyx { 2 } else { 0 },
        };
        if last.outputs.len() > 1 {
            (last.outputs, last.flips, last.fast) = (vec![output.clone()], Vec::new(), None);
        }
        Ok(TargetModel { graph: graph.clone(), output, replaced, others, recipe: r.to_text(), task })
    }

    /// Lets the recipe raise sizes to multiples of `multiple` at least: students halve them.
    pub fn in_multiples(&mut self, multiple: usize) -> Result<()> {
        let multiple = self.task.multiple.max(1).next_multiple_of(multiple);
        if self.task.image_level || multiple == self.task.multiple {
            return Ok(());
        }
        let mut r = Recipe::parse(&self.recipe, "recipe")?;
        let mode = if self.task.flat { PadMode::Reflect } else { PadMode::Constant };
        let mut list =
            r.preprocess.iter_mut().chain(r.network.iter_mut().flat_map(|n| n.preprocess.iter_mut()));
        let own = list.find_map(|s| if let Step::Pad { multiple, .. } = s { Some(multiple) } else { None });
        match own {
            Some(m) => *m = multiple,
            None => {
                let pad = Step::Pad { multiple, size: Vec::new(), mode, value: 0.0, side: Side::End };
                let last = r.network.len() - 1;
                r.network[last].preprocess.push(pad);
            }
        }
        self.recipe = r.to_text();
        self.task.multiple = multiple;
        Ok(())
    }

    /// The network, simplified and with all its parameters.
    pub fn network(&self) -> Result<Graph> {
        let mut g = self.graph.extract(&[&self.output])?;
        if g.inputs.len() != 1 {
            return Err(Error::Inputs { inputs: g.inputs.len() });
        }
        passes::trainable(&mut g)?;
        Ok(g)
    }

    /// The model with another network in that place, and its recipe.
    pub fn with(&self, network: &Graph) -> Result<(Graph, String)> {
        let mut network = network.clone();
        // Images of the size that the file speaks of, not of a batch of patches.
        let declared = self.graph.extract(&[&self.output])?;
        for (own, given) in network.inputs.clone().into_iter().zip(&declared.inputs) {
            network.values[own.0].shape = declared.value(*given).shape.clone();
        }
        forget_sizes(&mut network);
        for (own, given) in network.outputs.clone().into_iter().zip(&declared.outputs) {
            network.values[own.0].shape = declared.value(*given).shape.clone();
        }
        network.metadata = self.graph.metadata.clone();
        if self.others.is_empty() {
            return Ok((network, self.recipe.clone()));
        }
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        let mut g = self.graph.extract(&others)?;
        // What only the old network had is gone, names included.
        let used = g.uses();
        let values = g.values.iter_mut().enumerate().filter(|(i, _)| used[*i] == 0);
        let inputs = g.inputs.clone();
        values
            .filter(|(i, _)| !inputs.iter().any(|k| k.0 == *i))
            .for_each(|(i, v)| v.name = format!("unused/{i}"));
        g.join(&network)?;
        g.sort()?;
        g.check()?;
        Ok((g, self.recipe.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_graph::build::Builder;
    use ampoule_graph::op::Window;
    use ampoule_graph::{Dim, Tensor};

    /// Networks of one layer that share their input.
    fn networks(factors: &[(&str, f32)]) -> Graph {
        let mut b = Builder::new("several");
        let dims = [1, 1, 8, 8, 8].map(Dim::Known);
        let x = b.input("image", &dims);
        for (name, factor) in factors {
            let y = b.conv(x, Tensor::f32(&[1, 1, 1, 1, 1], &[*factor]), None, Window::of(&[1; 3]));
            let y = b.unary(y, ampoule_graph::op::Unary::Sigmoid);
            b.output(y, name, &dims);
        }
        b.finish()
    }

    const TWO: &str = r#"
version = 2
[model]
name = "two"
task = "segmentation"
[[input]]
name = "image"
[[network]]
outputs = ["box"]
bounds = { threshold = 0.5, plane-fraction = 0.02, margin = 0.1 }
[[network]]
outputs = ["main", "more"]
flips = ["x"]
[decide]
rule = "threshold"
[[label]]
name = "brain"
value = 1
channel = 0
"#;

    fn run(g: &Graph, output: &str) -> f32 {
        let g = g.extract(&[output]).unwrap();
        let mut s = ampoule_engine::Session::new(g, &[vec![1, 1, 8, 8, 8]], &Default::default()).unwrap();
        s.input(0).unwrap().fill(1.0);
        s.run().unwrap();
        s.output(0).unwrap().to_vec()[0]
    }

    #[test]
    fn a_network_takes_the_place_of_an_ensemble_beside_other_stages() {
        let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
        let g = networks(&[("box", 1.0), ("main", 2.0), ("more", 3.0)]);
        let model = TargetModel::new(&g, TWO, false).unwrap();
        assert_eq!((model.output.as_str(), model.replaced.len()), ("main", 2));
        assert!((run(&model.network().unwrap(), "main") - sigmoid(2.0)).abs() < 1e-6);
        let (all, recipe) = model.with(&networks(&[("main", -1.0)])).unwrap();
        assert!((run(&all, "box") - sigmoid(1.0)).abs() < 1e-6);
        assert!((run(&all, "main") - sigmoid(-1.0)).abs() < 1e-6);
        assert_eq!((all.inputs.len(), all.outputs.len()), (1, 2));
        let last = Recipe::parse(&recipe, "").unwrap().network.pop().unwrap();
        assert_eq!((last.outputs, last.flips), (vec!["main".to_owned()], vec![]));
        // What was written can be read.
        let bytes = ampoule_onnx::to_bytes(&all).unwrap();
        ampoule_onnx::from_bytes(bytes.into(), None, &Default::default()).unwrap();
    }

    #[test]
    fn students_get_sizes_that_they_can_halve() {
        let g = networks(&[("box", 1.0), ("main", 2.0), ("more", 3.0)]);
        let mut model = TargetModel::new(&g, TWO, false).unwrap();
        model.in_multiples(8).unwrap();
        let last = Recipe::parse(&model.recipe, "").unwrap().network.pop().unwrap();
        assert!(matches!(last.preprocess[..], [Step::Pad { multiple: 8, .. }]) && model.task.multiple == 8);
    }
}
