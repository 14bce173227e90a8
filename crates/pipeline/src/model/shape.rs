//! What a network takes.

use super::Model;
use crate::recipe::{Kind, Layout, Network};
use crate::{Error, Result};
use ampoule_graph::{DType, Dim, Graph};

/// What the file says of a network's image input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Entries of a batch; 1 where it is free.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Whether channels are last.
    pub nhwc: bool,
    /// Sizes of its spatial axes in the tensor's order, slowest first, where they are fixed.
    pub fixed: Vec<Option<usize>>,
    /// The image's axis of each spatial axis of the tensor.
    pub axes: Vec<usize>,
    /// Least and largest value where it takes whole numbers only.
    pub whole: Option<[f32; 2]>,
}

impl Shape {
    /// The tensor's sizes for a box of the image.
    pub fn tensor(&self, size: [usize; 3]) -> Vec<usize> {
        let spatial = self.axes.iter().map(|a| size[*a]);
        match self.nhwc {
            true => [self.batch].into_iter().chain(spatial).chain([self.channels]).collect(),
            false => [self.batch, self.channels].into_iter().chain(spatial).collect(),
        }
    }

    /// The sizes along the image's axes that the network insists on.
    pub fn wanted(&self) -> [Option<usize>; 3] {
        let mut out = [None; 3];
        for (a, n) in self.axes.iter().zip(&self.fixed) {
            out[*a] = *n;
        }
        if self.axes.len() == 2 {
            // A network of images sees one slice at a time.
            let through = 3 - self.axes[0] - self.axes[1];
            out[through] = Some(1);
        }
        out
    }
}

impl Model {
    /// What network `i` of the recipe takes, as the file says.
    pub(super) fn find_shape(&self, i: usize) -> Result<Shape> {
        let network = &self.recipe.network[i];
        let output = network.outputs.first().map_or("", String::as_str);
        let graph = self.graphs[0].extract(&[output])?;
        let image = image_input(&graph, network)?;
        let id = graph.inputs[image];
        let dims = graph.value(id).shape.clone().unwrap_or_default();
        let rank = dims.len();
        if !(4..=5).contains(&rank) && rank != 0 {
            return Err(Error::mismatch(format!(
                "the model's input `{}` has {rank} axes; images have 4 (batch, channels, height, width) and volumes 5",
                graph.value(id).name
            )));
        }
        let channels = self.recipe.channels_of(i);
        let spatial =
            if rank == 0 { if self.recipe.kind() == Kind::Volume { 3 } else { 2 } } else { rank - 2 };
        if spatial == 3 && self.recipe.kind() == Kind::Image {
            return Err(Error::mismatch(
                "the model takes volumes; its [[input]] must be of kind \"volume\"".into(),
            ));
        }
        let at = |k: usize| dims.get(k).and_then(Dim::known);
        let nhwc = match network.layout {
            Layout::Nhwc => true,
            Layout::Nchw => false,
            Layout::Auto => rank > 0 && at(1) != Some(channels) && at(rank - 1) == Some(channels),
        };
        let own = if nhwc { at(rank.max(1) - 1) } else { at(1) };
        if own.is_some_and(|n| n != channels) {
            let own = own.unwrap_or(0);
            let reason = format!(
                "the [[input]] tables, and the labels of a cascade before it, give {channels} channels; the model's input `{}` takes {own}",
                graph.value(id).name
            );
            return Err(Error::mismatch(reason));
        }
        let first = if nhwc { 1 } else { 2 };
        let fixed = (0..spatial).map(|k| at(first + k)).collect();
        let whole = match graph.value(id).dtype {
            Some(DType::U8) => Some([0.0, 255.0]),
            Some(DType::I8) => Some([-128.0, 127.0]),
            // Beyond these float32 has no room between whole numbers.
            Some(d) if !d.is_float() => Some([-16_777_216.0, 16_777_216.0]),
            _ => None,
        };
        let batch = at(0).unwrap_or(1).max(1);
        Ok(Shape { batch, channels, nhwc, fixed, axes: axes(network, spatial), whole })
    }
}

/// The image's axis of each spatial axis of a network's tensor, slowest first.
fn axes(network: &Network, spatial: usize) -> Vec<usize> {
    let mut order = network.axes.order().to_vec();
    if spatial == 2 {
        let through = network.slices.index();
        order.retain(|a| *a != through);
    }
    order
}

/// Which input of an output's graph is the image: the one without a constant.
pub(super) fn image_input(graph: &Graph, network: &Network) -> Result<usize> {
    let names: Vec<&str> = graph.inputs.iter().map(|i| graph.value(*i).name.as_str()).collect();
    if let Some(strange) = network.constants.keys().find(|k| !names.contains(&k.as_str())) {
        let have = names.join(", ");
        return Err(Error::mismatch(format!("`constants` name the input `{strange}`; the model has {have}")));
    }
    let free: Vec<usize> = (0..names.len()).filter(|i| !network.constants.contains_key(names[*i])).collect();
    match free[..] {
        [one] => Ok(one),
        _ => Err(Error::mismatch(format!(
            "the network needs the inputs {}; {} of them are to be the image (others need `constants`)",
            names.join(", "),
            free.len()
        ))),
    }
}
