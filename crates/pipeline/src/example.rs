//! Cases as networks see them, with their truth on the network's own grid: what training learns from.

use crate::Result;
use crate::photos::{PhotoRecipe, Task, photo_tensor};
use crate::stages::{Enlarged, last_stage};
use crate::{Model, Settings, Workspace};
use ampoule_imaging::Volume;
use ampoule_imaging::photo::Photo;

/// Label of what has no truth: beyond the image's border.
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
    /// The channel of the network's output that is true at every place, or the one of a whole photo; empty
    /// without truth.
    pub labels: Vec<u8>,
    /// The foreground's probability at every place, of whoever teaches; empty if nobody does.
    pub taught: Vec<f32>,
}

impl Example {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        4 * (self.values.len() + self.taught.len()) + self.labels.len()
    }

    /// A photo or tile. `truth` holds one class for classification (its index) and else the label of every
    /// pixel of the photo.
    pub fn of_photo(photo: &Photo, recipe: &PhotoRecipe, truth: Option<&Volume<u8>>) -> Example {
        let tensor = photo_tensor(photo, &recipe.input);
        let [width, height] = tensor.size;
        let labels = match (truth, recipe.task) {
            (None, _) => Vec::new(),
            (Some(t), Task::Classification) => t.data.clone(),
            (Some(t), Task::Delineation) => {
                let mut labels = vec![UNKNOWN; width * height];
                let class = inverse(recipe);
                for y in 0..tensor.inner[1] {
                    for x in 0..tensor.inner[0] {
                        let at = (tensor.offset[1] + y) * width + tensor.offset[0] + x;
                        labels[at] = class[majority(t, [x, y], recipe.input.reduce) as usize];
                    }
                }
                labels
            }
        };
        let dims = [1, height, width];
        Example { dims, channels: 3, values: tensor.values, labels, taught: Vec::new() }
    }

    /// A volume as the last stage of the recipe sees it. Earlier stages run, and the whole last stage too where
    /// `taught` is asked for. `truth` has voxels of 0 and 1. The inner error says what is wrong with the volume.
    pub fn of_volume(
        model: &mut Model,
        volume: &Volume<f32>,
        spacing: [f64; 3],
        truth: Option<&Volume<u8>>,
        taught: bool,
        settings: Settings,
    ) -> Result<std::result::Result<Example, String>> {
        let mut ws = Workspace::default();
        let seen = match last_stage(model, volume, spacing, truth, taught, settings, &mut ws)? {
            Ok(seen) => seen,
            Err(reason) => return Ok(Err(reason)),
        };
        let Enlarged { dims, input, truth, taught } = seen;
        let channel = model.recipe.stages.last().map_or(1, |s| s.channel);
        // One channel stands for two classes.
        let foreground = if channel == 0 { 1 } else { channel as u8 };
        let labels = truth.iter().map(|v| if *v > 0.5 { foreground } else { 0 }).collect();
        Ok(Ok(Example { dims, channels: 1, values: input, labels, taught }))
    }
}

/// The channel of each label of a map.
fn inverse(recipe: &PhotoRecipe) -> [u8; 256] {
    let mut class = [UNKNOWN; 256];
    for c in 0..recipe.classes.len() {
        class[recipe.label(c) as usize] = c as u8;
    }
    class
}

/// The commonest label of a block of `k` pixels a side, the smallest of equals.
fn majority(t: &Volume<u8>, [x, y]: [usize; 2], k: usize) -> u8 {
    let mut counts = [0u16; 256];
    for v in (y * k..(y + 1) * k).take_while(|v| *v < t.dims[1]) {
        for u in (x * k..(x + 1) * k).take_while(|u| *u < t.dims[0]) {
            counts[t.data[v * t.dims[0] + u] as usize] += 1;
        }
    }
    (0..=255).max_by_key(|&l| (counts[l as usize], 255 - l)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lie_where_pixels_do() {
        let text = "version = 1\nname = \"x\"\ntask = \"delineation\"\nclasses = [\"gland\", \"rest\"]\n\
                    background = \"rest\"\n[input]\nreduce = 2\nmultiple = 4\nnormalise = { kind = \"divide\", by = 1.0 }\n";
        let recipe = PhotoRecipe::parse(text).unwrap();
        let photo = Photo::new(6, 4, (0..72).collect());
        // The right two thirds are gland, whose label is 1 and whose channel is 0.
        let truth = Volume { dims: [6, 4, 1], data: (0..24).map(|i| (i % 6 >= 2) as u8).collect() };
        let e = Example::of_photo(&photo, &recipe, Some(&truth));
        assert_eq!((e.dims, e.channels, e.values.len()), ([1, 4, 4], 3, 48));
        let u = UNKNOWN;
        assert_eq!(e.labels, [1, 0, 0, u, 1, 0, 0, u, u, u, u, u, u, u, u, u]);
        assert_eq!(majority(&truth, [0, 0], 4), 0, "of as many, the smallest");
    }
}
