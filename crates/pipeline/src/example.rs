//! Cases as networks see them, with their ground truth on the network's own grid: what training learns from.

use crate::case::Case;
use crate::predict::{Plan, cut_or_refused, reading, run, seen_by};
use crate::prepare::{Kept, Refused, prepare};
use crate::read::{Source, load};
use crate::recipe::{LabelResampling, Recipe};
use crate::{Error, Model, Result, Settings, Workspace};
use ampoule_imaging::Volume;

/// Label of what has no ground truth: beyond the image's border.
pub const UNKNOWN: u8 = 255;

/// A case in front of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Depth, height and width as the tensor has them; an image is 1 deep.
    pub dims: [usize; 3],
    /// Channels of the input.
    pub channels: usize,
    /// The input, channels innermost.
    pub values: Vec<f32>,
    /// The channel of the network's output that is true at every place, or the one of a whole image; empty
    /// without ground truth.
    pub labels: Vec<u8>,
    /// The foreground's score at every place, of whoever teaches; empty if nobody does.
    pub taught: Vec<f32>,
}

impl Example {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        4 * (self.values.len() + self.taught.len()) + self.labels.len()
    }

    /// A case as the last network of the recipe sees it; networks before it run, and the last one too where `taught`
    /// is asked for. `truth` holds labels along the file's axes, or the number of the class of a whole image.
    pub fn of_case(
        model: &mut Model,
        case: &Case,
        truth: Option<&Volume<u16>>,
        taught: bool,
        settings: Settings,
    ) -> Result<Example> {
        let recipe = model.recipe.clone();
        if recipe.network.iter().any(|n| n.join || n.average) {
            let reason =
                "it has part models or an ensemble of configurations; train each of its models by itself";
            return Err(Error::mismatch(reason.into()));
        }
        let content = |refused: Refused| refused.of(case.main());
        let allowed = model.allowed();
        let loaded = load(&recipe, case, None, allowed, false)?;
        let image = loaded.image(recipe.input[0].colours);
        let (mut kept, mut ws) = (Kept::new(), Workspace::default());
        let mut image = cut_or_refused(model, image, settings.fast, &mut kept, &mut ws)?.map_err(content)?;
        prepare(&mut image, &recipe.preprocess, &mut kept).map_err(content)?;
        let mut seen = seen_by(model, recipe.network.len() - 1, image, settings.fast, &mut kept, &mut ws)?
            .map_err(content)?;
        let dims = seen.dims();
        let axes = model.shape(recipe.network.len() - 1).axes.clone();
        let order = Order::new(dims, &axes);
        let labels = match truth {
            None => Vec::new(),
            Some(t) if recipe.is_image_level() => t.data.iter().map(|v| *v as u8).collect(),
            Some(t) => {
                let turned = match &loaded.source {
                    Source::Volume { turn, .. } => turn.forward(t.clone()),
                    Source::Photo(_) => t.clone(),
                };
                let own = seen.history.labels(&turned, u16::MAX, LabelResampling::Nearest);
                let channel = channels(&recipe)?;
                order.lay(&own.map(channel))
            }
        };
        let taught = match taught {
            false => Vec::new(),
            true => order.lay(&foreground(model, &mut seen, settings, &mut ws)?),
        };
        let parts: Vec<Vec<f32>> = seen.floats().iter().map(|v| order.lay(v)).collect();
        let n = parts.len();
        let mut values = vec![0f32; n * order.voxels()];
        for (c, part) in parts.iter().enumerate() {
            part.iter().enumerate().for_each(|(i, v)| values[i * n + c] = *v);
        }
        Ok(Example { dims: order.tensor(), channels: n, values, labels, taught })
    }
}

/// The score of the first label above 0, by the last network.
fn foreground(
    model: &mut Model,
    seen: &mut crate::prepare::Image<'_>,
    settings: Settings,
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let recipe = model.recipe.clone();
    let last = recipe.network.len() - 1;
    let channel = recipe.foreground().next().map_or(0, |l| l.channel);
    let plan = Plan::new(model, last, seen.dims())?;
    if !plan.changes.is_empty() {
        let reason = "a network whose output lies on another grid than its input cannot teach";
        return Err(Error::mismatch(reason.into()));
    }
    let mut out = Volume::filled(plan.grid, 0f32);
    let channels = [channel];
    let all = crate::predict::channels(&recipe, recipe.last());
    let what = reading(&recipe, recipe.last(), &channels, &all);
    run(model, last, &plan, seen.floats(), &what, settings.fast, ws, &mut |start, size, scores| {
        for z in 0..size[2] {
            for y in 0..size[1] {
                let to = out.index(start[0], start[1] + y, start[2] + z);
                let from = size[0] * (y + size[1] * z);
                out.data[to..to + size[0]].copy_from_slice(&scores[from..from + size[0]]);
            }
        }
    })?;
    Ok(out)
}

/// The network's channel of each value of a label map.
fn channels(recipe: &Recipe) -> Result<impl Fn(u16) -> u8 + use<>> {
    if recipe.label.len() > UNKNOWN as usize {
        let reason =
            format!("training takes at most {UNKNOWN} labels, the recipe has {}", recipe.label.len());
        return Err(Error::mismatch(reason));
    }
    // Where no channel stands for the background, it comes before the others.
    let shift = (recipe.background().is_none() && recipe.label.iter().any(|l| l.channel == 0)) as usize;
    let mut list: Vec<(u16, u8)> =
        recipe.label.iter().map(|l| (l.value, (l.channel + shift).min(254) as u8)).collect();
    if recipe.background().is_none() {
        list.push((0, 0));
    }
    Ok(move |v: u16| list.iter().find(|l| l.0 == v).map_or(UNKNOWN, |l| l.1))
}

/// Voxels in a tensor's order.
struct Order {
    dims: [usize; 3],
    /// The image's axis of the tensor's depth, height and width.
    axes: [usize; 3],
}

impl Order {
    fn new(dims: [usize; 3], axes: &[usize]) -> Order {
        let axes = match *axes {
            [a, b, c] => [a, b, c],
            [a, b] => [3 - a - b, a, b],
            _ => [2, 1, 0],
        };
        Order { dims, axes }
    }

    fn tensor(&self) -> [usize; 3] {
        self.axes.map(|a| self.dims[a])
    }

    fn voxels(&self) -> usize {
        self.dims.iter().product()
    }

    fn lay<T: Copy>(&self, v: &Volume<T>) -> Vec<T> {
        if self.axes == [2, 1, 0] {
            return v.data.clone();
        }
        let (t, strides) = (self.tensor(), v.strides());
        let mut out = Vec::with_capacity(self.voxels());
        for d in 0..t[0] {
            for h in 0..t[1] {
                let at = d * strides[self.axes[0]] + h * strides[self.axes[1]];
                out.extend((0..t[2]).map(|w| v.data[at + w * strides[self.axes[2]]]));
            }
        }
        out
    }
}
