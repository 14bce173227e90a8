//! The model that a trained network is part of.

use crate::{Error, Result};
use ampoule_graph::{Graph, passes};
use ampoule_pipeline::Recipe;
use ampoule_pipeline::photos::{PhotoRecipe, Task};
use ampoule_pipeline::recipe::Activation;

/// A model with one network in it that is trained: that of the last stage's first output. Where the recipe averages
/// several, it takes the place of all of them and of their mirrors.
#[derive(Clone)]
pub(super) struct Whole {
    graph: Graph,
    /// Output of the network.
    pub output: String,
    /// Outputs that it takes the place of, itself included.
    pub replaced: Vec<String>,
    /// Outputs of other stages.
    others: Vec<String>,
    /// The recipe of the result.
    recipe: String,
    /// What is known of the task.
    pub task: Known,
}

/// What a recipe says about its network.
#[derive(Clone)]
pub(super) struct Known {
    /// Classes, background included.
    pub classes: Vec<String>,
    pub whole: bool,
    pub sigmoid: bool,
    /// The foreground's channel in volumes.
    pub foreground: Option<usize>,
    /// Sizes are multiples of this.
    pub multiple: usize,
    /// Windows of this size, in the tensor's order.
    pub window: Option<[usize; 3]>,
    /// The tensor's axis (depth, height, width) from left to right of the head.
    pub across: usize,
}

impl Whole {
    pub fn new(graph: &Graph, recipe: &str, fast: bool) -> Result<Whole> {
        let text = |e: toml::ser::Error| Error::Utility(format!("the recipe cannot be written: {e}"));
        if PhotoRecipe::is_one(recipe) {
            let mut r = PhotoRecipe::parse(recipe)?;
            if let ([], [only]) = (&r.outputs[..], &graph.outputs[..]) {
                r.outputs.push(graph.value(*only).name.clone());
            }
            let output = r.outputs.first().cloned();
            let output = output.ok_or_else(|| Error::Utility("the recipe names no output to train".into()))?;
            let task = Known {
                classes: r.classes.clone(),
                whole: r.task == Task::Classification,
                sigmoid: r.activation == Activation::Sigmoid,
                foreground: None,
                multiple: r.input.multiple,
                window: None,
                across: 2,
            };
            let replaced = r.outputs.clone();
            let mut recipe = recipe.to_owned();
            if replaced.len() > 1 {
                (r.outputs, r.flips) = (vec![output.clone()], Vec::new());
                recipe = toml::to_string(&r).map_err(text)?;
            }
            return Ok(Whole { graph: graph.clone(), output, replaced, others: Vec::new(), recipe, task });
        }
        let mut r = Recipe::parse(recipe)?;
        let others = r.stages[..r.stages.len() - 1].iter().flat_map(|s| s.outputs.clone()).collect();
        let zyx = r.axes == ampoule_pipeline::recipe::Axes::Zyx;
        let Some(last) = r.stages.last_mut() else {
            return Err(Error::Utility("the recipe has no stage to train".into()));
        };
        let replaced = last.active_outputs(fast).to_vec();
        let output = replaced[0].clone();
        let turned = |s: [usize; 3]| if zyx { [s[2], s[1], s[0]] } else { s };
        let task = Known {
            classes: vec!["background".into(), "foreground".into()],
            whole: false,
            sigmoid: last.activation == Activation::Sigmoid,
            foreground: Some(last.channel),
            multiple: last.pad.map_or(16, |p| p.multiple),
            window: last.window.as_ref().map(|w| turned(w.size)),
            across: if zyx { 2 } else { 0 },
        };
        let mut recipe = recipe.to_owned();
        if last.outputs.len() > 1 {
            (last.outputs, last.mirror, last.fast) = (vec![output.clone()], Vec::new(), None);
            recipe = toml::to_string(&r).map_err(text)?;
        }
        Ok(Whole { graph: graph.clone(), output, replaced, others, recipe, task })
    }

    /// The network, simplified and with all its parameters.
    pub fn network(&self) -> Result<Graph> {
        let mut g = self.graph.extract(&[&self.output])?;
        if g.inputs.len() != 1 {
            let n = g.inputs.len();
            return Err(Error::Utility(format!("the network has {n} inputs; those with one can be trained")));
        }
        passes::trainable(&mut g)?;
        Ok(g)
    }

    /// The model with another network in that place, and its recipe.
    pub fn with(&self, network: &Graph) -> Result<(Graph, String)> {
        let mut network = network.clone();
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
        values.filter(|(i, _)| !inputs.iter().any(|k| k.0 == *i)).for_each(|(i, v)| v.name = format!("unused/{i}"));
        g.join(&network)?;
        g.sort()?;
        g.check()?;
        Ok((g, self.recipe.clone()))
    }
}
