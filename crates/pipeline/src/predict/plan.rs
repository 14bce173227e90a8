//! How a network covers a grid: on which windows it runs, and where its output lies.

use crate::grid::{Change, Return};
use crate::model::{Model, Shape};
use crate::recipe::{Back, Network, OutputGrid, PadMode, Weighting, Window, WindowStyle};
use crate::tensor::{Region, output_size};
use crate::{Error, Result};
use ampoule_imaging::window::{Accumulator, Placed, Style, Tiling, importance, peak_bytes, positions};
use ampoule_imaging::{Volume, resample};
use std::borrow::Cow;

/// Blocks of volumes and of images in which windows are blended.
const BLOCK: [usize; 3] = [64, 64, 4];
const FLAT_BLOCK: [usize; 3] = [256, 256, 1];

/// Overlap of windows, as a share of a window, where a network has a fixed size and the recipe names no window.
const USUAL_OVERLAP: f64 = 0.25;

/// Scores that are read at a time where a single run gives them, and the most slices of them: what lies side by side in
/// the network's output is read together.
const SCORES: usize = 1 << 22;
const SLICES: usize = 16;

/// The extent of an output compared with that of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OutputExtent {
    Same,
    /// So many input pixels along one of the output, or so many output pixels along one of the input.
    Scaled,
    /// So many input pixels are lost on each side.
    Valid([usize; 3]),
}

/// A network over a grid.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What the network takes.
    pub shape: Shape,
    /// Sizes of an input.
    pub input: [usize; 3],
    /// The part of the image that each run sees.
    pub regions: Vec<Region>,
    /// Where the output of each run lies on the grid of scores.
    pub placed: Vec<Placed>,
    /// Sizes of the grid of scores.
    pub grid: [usize; 3],
    /// Changes from the image's grid to that of scores.
    pub changes: Vec<Change>,
    /// What lies beyond the image.
    pub border: PadMode,
    /// Weights of an output's pixels where windows overlap; `None` where one covers all.
    pub weights: Option<Volume<f32>>,
    /// The part of each output that counts, where windows are cut; `None` where all of it does.
    cuts: Option<Vec<Cut>>,
    block: [usize; 3],
}

/// The part of an output that counts.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Its first pixel within the output.
    from: [usize; 3],
    /// Where it lies on the grid of scores.
    placed: Placed,
}

/// Where windows lie along an axis, each with the pixels that are its own where windows are cut.
struct Line {
    starts: Vec<usize>,
    own: Vec<[usize; 2]>,
}

impl Line {
    /// Windows of `window` on `size` pixels; half of `overlap`, which neighbours have in common, is cut off.
    fn new(tiling: Tiling, size: usize, window: usize, step: usize) -> Line {
        let mut starts = positions(tiling, size, window, 1);
        starts.iter_mut().for_each(|s| *s -= *s % step);
        starts.dedup();
        let half = match tiling {
            Tiling::TorchIo { overlap } => overlap,
            Tiling::Monai { overlap } | Tiling::NnUnet { overlap } => {
                window - ((window as f64 * (1.0 - overlap)) as usize).min(window)
            }
        } / 2;
        let first = |i: usize| if i == 0 { 0 } else { starts[i] + half };
        let end = |i: usize| if i + 1 < starts.len() { first(i + 1) } else { size };
        let own = (0..starts.len()).map(|i| [first(i), end(i)]).collect();
        Line { starts, own }
    }
}

impl Plan {
    /// The plan for an image of `dims`.
    pub fn new(model: &Model, i: usize, dims: [usize; 3]) -> Result<Plan> {
        let network = &model.recipe.network[i];
        let shape = model.shape(i).clone();
        let window = size(network, &shape, dims)?;
        let (mut input, extent) = output_extent(model, i, network, &shape, window.size)?;
        let border = match extent {
            OutputExtent::Valid(_) => network.border,
            OutputExtent::Same | OutputExtent::Scaled => {
                network.window.as_ref().map_or(PadMode::Constant, |w| w.border)
            }
        };
        let mut covered = match extent {
            OutputExtent::Valid(lost) => [0, 1, 2].map(|k| input[k] - 2 * lost[k]),
            OutputExtent::Same | OutputExtent::Scaled => input,
        };
        if window.whole
            && let OutputExtent::Valid(lost) = extent
        {
            // The input grows until the output covers the image.
            (input, covered) = grow(model, i, &shape, dims, lost)?;
        }
        let output = output_dims(model, i, &shape, input)?.unwrap_or(input);
        let covered = if let OutputExtent::Valid(_) = extent { output } else { covered };
        let ratio = [0, 1, 2].map(|k| input[k] as f64 / output[k].max(1) as f64);
        let step = |k: usize| match extent {
            OutputExtent::Scaled if ratio[k].fract() == 0.0 => ratio[k] as usize,
            OutputExtent::Same | OutputExtent::Scaled | OutputExtent::Valid(_) => 1,
        };
        let padded = [0, 1, 2].map(|k| dims[k].max(covered[k]).next_multiple_of(step(k)));
        let before = [0, 1, 2].map(|k| (padded[k] - dims[k]) / 2);
        let style = style_of(network.window.as_ref());
        let list = [0, 1, 2].map(|k| Line::new(window.tiling[k], padded[k], covered[k], step(k)));
        let lost = if let OutputExtent::Valid(lost) = extent { lost } else { [0; 3] };
        let (mut regions, mut placed, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
        for (z, z_own) in list[2].starts.iter().zip(&list[2].own) {
            for (y, y_own) in list[1].starts.iter().zip(&list[1].own) {
                for (x, x_own) in list[0].starts.iter().zip(&list[0].own) {
                    let at = [*x, *y, *z];
                    let own = [x_own, y_own, z_own];
                    cuts.push(Cut {
                        from: [0, 1, 2].map(|k| own[k][0] - at[k]),
                        placed: (own.map(|o| o[0] as u64), own.map(|o| o[1] - o[0])),
                    });
                    let start = [0, 1, 2].map(|k| at[k] as i64 - (before[k] + lost[k]) as i64);
                    regions.push(Region { start, size: input });
                    let to = [0, 1, 2].map(|k| match extent {
                        OutputExtent::Scaled => (at[k] as f64 / ratio[k]).round() as u64,
                        OutputExtent::Same | OutputExtent::Valid(_) => at[k] as u64,
                    });
                    placed.push((to, output));
                }
            }
        }
        let grid = match extent {
            OutputExtent::Scaled if regions.len() == 1 => output,
            OutputExtent::Scaled => [0, 1, 2].map(|k| (padded[k] as f64 / ratio[k]).round() as usize),
            OutputExtent::Same | OutputExtent::Valid(_) => padded,
        };
        let mut changes = Vec::new();
        if padded != dims {
            let start = before.map(|b| -(b as i64));
            changes.push(Change::Window { start, from: dims, to: padded });
        }
        if grid != padded {
            changes.push(Change::Scale {
                from: padded,
                to: grid,
                back: [Return::Corner(Back::Linear); 3],
                slices: None,
            });
        }
        let alone = regions.len() == 1;
        let through = |k: usize| !shape.axes.contains(&k);
        let weights = (!alone).then(|| match window.blend {
            Weighting::Average | Weighting::Crop => Volume::filled(output, 1.0),
            Weighting::Gaussian => {
                // Slices do not overlap, so nothing is weighted across them.
                let own = [0, 1, 2].map(|k| if through(k) { 1 } else { output[k] });
                match extent {
                    OutputExtent::Scaled => scaled_importance(style, input, own),
                    OutputExtent::Same | OutputExtent::Valid(_) => importance(style, own),
                }
            }
        });
        let block = if dims[2] == 1 { FLAT_BLOCK } else { BLOCK };
        if window.blend == Weighting::Crop && extent == OutputExtent::Scaled {
            let reason = "`blend` is \"crop\", which needs an output of the input's resolution";
            return Err(Error::mismatch(reason.into()));
        }
        let cuts = (window.blend == Weighting::Crop && !alone).then_some(cuts);
        Ok(Plan { shape, input, regions, placed, grid, changes, border, weights, cuts, block })
    }

    /// Where the parts of outputs that count lie on the grid of scores.
    fn counted(&self) -> impl Iterator<Item = Placed> + Clone + '_ {
        let cut = |i: usize| self.cuts.as_ref().map(|c| c[i].placed);
        self.placed.iter().enumerate().map(move |(i, p)| cut(i).unwrap_or(*p))
    }

    /// An accumulator of the windows' scores on the grid of scores.
    pub fn accumulator(&self, scores: usize) -> Accumulator {
        Accumulator::new(scores, self.grid.map(|n| n as u64), self.block, self.counted())
    }

    /// What counts of window `i`: where it lies, and its scores, which are innermost.
    pub fn part<'a>(&self, i: usize, scores: &'a [f32]) -> (Placed, Cow<'a, [f32]>) {
        let (placed, cut) = match &self.cuts {
            None => return (self.placed[i], Cow::Borrowed(scores)),
            Some(cuts) => (self.placed[i].1, cuts[i]),
        };
        let n = scores.len() / placed.iter().product::<usize>().max(1);
        let size = cut.placed.1;
        let mut out = Vec::with_capacity(n * size.iter().product::<usize>());
        for z in cut.from[2]..cut.from[2] + size[2] {
            for y in cut.from[1]..cut.from[1] + size[1] {
                let at = n * (cut.from[0] + placed[0] * (y + placed[1] * z));
                out.extend_from_slice(&scores[at..at + n * size[0]]);
            }
        }
        (cut.placed, Cow::Owned(out))
    }

    /// Planes of the grid that finish at once.
    pub fn thick(&self, scores: usize, runs: usize) -> usize {
        match self.weights {
            Some(_) => self.block[2],
            None if runs == 1 => slices(scores, self.grid),
            None => self.grid[2],
        }
    }

    /// Bytes that a run takes in addition to the network's own memory: its inputs and the scores read from them.
    pub fn worker_bytes(&self, scores: usize) -> u64 {
        let output = self.placed.first().map_or(0, |p| pixels(p.1));
        // Where channels extent innermost in the file, the input is put together first.
        let copies = if self.shape.nhwc { 2 } else { 1 };
        let input = copies * self.shape.channels as u64 * pixels(self.input);
        4 * self.shape.batch as u64 * (scores as u64 * output + input)
    }

    /// Most bytes of scores that are held at one time where a network runs `runs` times on each window. With
    /// `by_plane`, finished scores stay until all of their plane are.
    pub fn bytes(&self, scores: usize, runs: usize, by_plane: bool) -> u64 {
        let grid = self.grid.map(|n| n as u64);
        match self.weights {
            Some(_) => {
                let cut = if self.cuts.is_some() { self.worker_bytes(scores) } else { 0 };
                peak_bytes(scores, grid, self.block, by_plane, self.counted())
                    + self.worker_bytes(scores)
                    + cut
            }
            // A single run is read slice by slice.
            None if runs == 1 => {
                let slice = 4 * scores as u64 * grid[0] * grid[1];
                let some = slices(scores, self.grid) as u64 * slice;
                self.worker_bytes(0) + some * if by_plane { 2 } else { 1 }
            }
            None => self.worker_bytes(scores) * if by_plane { 2 } else { 1 },
        }
    }
}

/// Slices of an output of `size` that are read at a time.
pub(super) fn slices(scores: usize, size: [usize; 3]) -> usize {
    (SCORES / (scores * size[0] * size[1]).max(1)).clamp(1, SLICES.min(size[2].max(1)))
}

fn pixels(d: [usize; 3]) -> u64 {
    d.iter().product::<usize>() as u64
}

/// How windows are laid along an axis, `across` which the network sees or not.
pub(super) fn tiling_of(window: Option<&Window>, seen: bool) -> Tiling {
    let overlap = if seen { window.map_or(USUAL_OVERLAP, |w| w.overlap) } else { 0.0 };
    match (window.and_then(|w| w.overlap_voxels), style_of(window)) {
        (Some(voxels), _) => Tiling::TorchIo { overlap: if seen { voxels } else { 0 } },
        (None, Style::NnUnet) => Tiling::NnUnet { overlap },
        (None, Style::Monai) => Tiling::Monai { overlap },
    }
}

fn style_of(window: Option<&Window>) -> Style {
    match window.map(|w| w.style) {
        Some(WindowStyle::Nnunet) => Style::NnUnet,
        Some(WindowStyle::Monai) | None => Style::Monai,
    }
}

/// Weights of an output that is smaller or larger than its input: those of the input at the nearest pixels, as MONAI's
/// sliding windows have them.
fn scaled_importance(style: Style, input: [usize; 3], output: [usize; 3]) -> Volume<f32> {
    let own = [0, 1, 2].map(|k| if output[k] == 1 { 1 } else { input[k] });
    let at = [0, 1, 2].map(|k| resample::nearest_exact(own[k], output[k]));
    resample::gather(&importance(style, own), [&at[0], &at[1], &at[2]])
}

/// What one run is to see.
struct Wanted {
    size: [usize; 3],
    tiling: [Tiling; 3],
    blend: Weighting,
    /// The whole image.
    whole: bool,
}

fn size(network: &Network, shape: &Shape, dims: [usize; 3]) -> Result<Wanted> {
    let fixed = shape.wanted();
    let mut named = [None; 3];
    if let Some(w) = &network.window {
        let along: Vec<usize> = (0..3).filter(|a| shape.axes.contains(a)).collect();
        let list: Vec<usize> = match (w.size.len(), along.len()) {
            (3, 2) => along.iter().map(|a| w.size[*a]).collect(),
            (a, b) if a == b => w.size.clone(),
            (a, b) => {
                return Err(Error::mismatch(format!("`window` has {a} sizes, the network {b} spatial axes")));
            }
        };
        along.into_iter().zip(list).for_each(|(a, n)| named[a] = Some(n));
    }
    for k in 0..3 {
        if let (Some(a), Some(b)) = (named[k], fixed[k])
            && a != b
        {
            let reason = format!("`window` is {a} along {}, the model takes {b} only", ["x", "y", "z"][k]);
            return Err(Error::mismatch(reason));
        }
    }
    let size = [0, 1, 2].map(|k| named[k].or(fixed[k]).unwrap_or(dims[k]));
    // Slices follow one another.
    let tiling = [0, 1, 2].map(|k| tiling_of(network.window.as_ref(), shape.axes.contains(&k)));
    let blend = network.window.as_ref().map_or(Weighting::Gaussian, |w| w.blend);
    Ok(Wanted {
        size,
        tiling,
        blend,
        whole: named == [None; 3] && fixed.iter().all(|f| matches!(f, None | Some(1))),
    })
}

/// Sizes along the image's axes of the output for an input of `input`, where they are known before.
fn output_dims(model: &Model, i: usize, shape: &Shape, input: [usize; 3]) -> Result<Option<[usize; 3]>> {
    let dims = model.output_dims(i, shape, input)?;
    Ok(dims.and_then(|d| output_size(shape, &d, input)).map(|s| s.0))
}

/// The input of a run and the extent of its output.
fn output_extent(
    model: &Model,
    i: usize,
    network: &Network,
    shape: &Shape,
    input: [usize; 3],
) -> Result<([usize; 3], OutputExtent)> {
    let Some(output) = output_dims(model, i, shape, input)? else { return Ok((input, OutputExtent::Same)) };
    let valid = || OutputExtent::Valid([0, 1, 2].map(|k| input[k].saturating_sub(output[k]) / 2));
    let found = match network.output {
        _ if output == input => OutputExtent::Same,
        OutputGrid::Same => {
            let reason = format!("`output` is \"same\", and the network makes {output:?} of {input:?}");
            return Err(Error::mismatch(reason));
        }
        OutputGrid::Scaled => OutputExtent::Scaled,
        OutputGrid::Valid => valid(),
        OutputGrid::Auto => match loses(model, i, shape, input, output)? {
            true => valid(),
            false => OutputExtent::Scaled,
        },
    };
    if found == OutputExtent::Scaled && !scales(input, output) {
        let reason = format!(
            "the network makes {output:?} (along x, y and z) of {input:?}, which is neither its image at another resolution nor a part of it; is it a segmentation, and its `layout` right?"
        );
        return Err(Error::mismatch(reason));
    }
    if let (OutputExtent::Valid(_), Some(k)) = (found, (0..3).find(|k| output[*k] > input[*k])) {
        let reason = format!("its output is larger than its input along {}", ["x", "y", "z"][k]);
        return Err(Error::mismatch(reason));
    }
    Ok((input, found))
}

/// Whether an output may be its input at another resolution: not larger along one axis and smaller along another, and
/// more than a single value.
fn scales(input: [usize; 3], output: [usize; 3]) -> bool {
    let larger = (0..3).any(|k| output[k] > input[k]);
    let smaller = (0..3).any(|k| output[k] < input[k]);
    !(larger && smaller) && (output != [1; 3] || input.iter().all(|n| *n <= 4))
}

/// Whether a network loses a border rather than resolution: the same number of pixels whatever the size; for networks
/// of one size, a number of pixels of which the size is no multiple.
fn loses(model: &Model, i: usize, shape: &Shape, input: [usize; 3], output: [usize; 3]) -> Result<bool> {
    if (0..3).any(|k| output[k] > input[k]) {
        return Ok(false);
    }
    let wanted = shape.wanted();
    if wanted.iter().any(|f| f.is_some_and(|n| n > 1)) {
        return Ok((0..3).any(|k| !input[k].is_multiple_of(output[k].max(1))));
    }
    let larger = [0, 1, 2].map(|k| if wanted[k] == Some(1) { 1 } else { 2 * input[k] });
    let Ok(Some(other)) = output_dims(model, i, shape, larger) else { return Ok(false) };
    Ok((0..3).all(|k| input[k] - output[k] == larger[k].saturating_sub(other[k])))
}

/// Most pixels by which an input is grown beyond what its output needs.
const GROWN: usize = 64;

/// The least input whose output covers `dims`, and that output.
fn grow(
    model: &Model,
    i: usize,
    shape: &Shape,
    dims: [usize; 3],
    lost: [usize; 3],
) -> Result<([usize; 3], [usize; 3])> {
    let along = |k: usize| shape.axes.contains(&k);
    for more in 0..GROWN {
        let input = [0, 1, 2].map(|k| if along(k) { dims[k] + 2 * lost[k] + more } else { 1 });
        let Ok(Some(output)) = output_dims(model, i, shape, input) else { continue };
        if (0..3).filter(|k| along(*k)).all(|k| output[k] >= dims[k] && (input[k] - output[k]) % 2 == 0) {
            return Ok((input, output));
        }
    }
    Err(Error::mismatch(format!("no input was found whose output covers {dims:?}; name a `window`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_are_cut_cover_every_pixel_once() {
        for (overlap, size, window) in [(8, 40, 16), (16, 44, 32), (0, 50, 16), (4, 16, 16), (30, 100, 32)] {
            let line = Line::new(Tiling::TorchIo { overlap }, size, window, 1);
            assert_eq!((line.own[0][0], line.own[line.own.len() - 1][1]), (0, size));
            assert!(line.own.windows(2).all(|p| p[0][1] == p[1][0]));
            for (start, own) in line.starts.iter().zip(&line.own) {
                assert!(
                    *start <= own[0] && own[0] < own[1] && own[1] <= start + window,
                    "{own:?} of {start}"
                );
            }
        }
        // torchio cuts half of the overlap on either side of the border, and the window at the end lies over the one before.
        let line = Line::new(Tiling::TorchIo { overlap: 16 }, 44, 32, 1);
        assert_eq!((line.starts, line.own), (vec![0, 12], vec![[0, 20], [20, 44]]));
    }
}
