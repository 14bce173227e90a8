//! One volume through the recipe.

use crate::recipe::{
    Activation, Axes, Back, Connect, Crop, Method, Normalise, Pad, Resize, Stage, WindowStyle,
};
use crate::{Error, Model, Result};
use ampoule_engine::Session;
use ampoule_imaging::normalise as intensity;
use ampoule_imaging::regions::{self, Connectivity};
use ampoule_imaging::resample::{self, Border, Order};
use ampoule_imaging::window::{self, Blend, Style};
use ampoule_imaging::{Volume, regions::fill_holes, regions::keep_largest};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Choices of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Fewer networks and mirrors, as the recipe says.
    pub fast: bool,
    /// Return the probability too.
    pub probability: bool,
}

/// Time spent per kind of work.
pub type Timings = Vec<(&'static str, Duration)>;

/// Memory that cases share, so that the second case allocates nothing large.
#[derive(Default)]
pub struct Workspace {
    timings: Timings,
}

/// What came out of a volume, on the grid that went in.
pub struct Prediction {
    /// 0 or 1.
    pub mask: Volume<u8>,
    /// Foreground probability, when asked for.
    pub probability: Option<Volume<f32>>,
    /// Time per kind of work.
    pub timings: Timings,
    /// Things a user should know.
    pub warnings: Vec<String>,
}

impl Workspace {
    fn time<T>(&mut self, what: &'static str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = f();
        self.add(what, start.elapsed());
        out
    }

    fn add(&mut self, what: &'static str, d: Duration) {
        match self.timings.iter_mut().find(|t| t.0 == what) {
            Some(t) => t.1 += d,
            None => self.timings.push((what, d)),
        }
    }
}

/// A box of the volume.
#[derive(Clone, Copy)]
struct Region {
    start: [usize; 3],
    end: [usize; 3],
}

/// Why a volume's content cannot be processed, in words; the caller knows the file.
type Content<T> = std::result::Result<T, String>;

/// Runs the recipe on `volume` (in the recipe's orientation, finite values) with voxels of
/// `spacing` mm.
pub fn predict(
    model: &mut Model,
    volume: &Volume<f32>,
    spacing: [f64; 3],
    settings: Settings,
    ws: &mut Workspace,
) -> Result<std::result::Result<Prediction, String>> {
    ws.timings.clear();
    let recipe = model.recipe.clone();
    let mut warnings = Vec::new();
    let (part, input, stage) = match narrowed(model, &recipe, volume, spacing, settings.fast, ws)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let p = network(model, stage, recipe.axes, input, settings.fast, ws)?;
    let post = &recipe.post;
    let (mut mask, probability) = ws.time("post-process", || part.back(p, post.back, post.threshold));
    ws.time("post-process", || {
        if let Some(c) = post.largest {
            let full = c == Connect::Full;
            keep_largest(&mut mask, if full { Connectivity::Full } else { Connectivity::Faces });
        }
        if post.fill_holes {
            fill_holes(&mut mask);
        }
        for _ in 0..post.dilate.unsigned_abs() {
            mask = regions::dilate(&mask, post.dilate > 0);
        }
    });
    if mask.data.iter().all(|&v| v == 0) {
        warnings.push("the predicted mask is empty".into());
    }
    let probability = probability.filter(|_| settings.probability);
    Ok(Ok(Prediction { mask, probability, timings: ws.timings.clone(), warnings }))
}

/// Runs all stages but the last: the part of the volume that is left, what the last stage sees of it, and that
/// stage.
fn narrowed<'a>(
    model: &mut Model,
    recipe: &'a crate::Recipe,
    volume: &'a Volume<f32>,
    spacing: [f64; 3],
    fast: bool,
    ws: &mut Workspace,
) -> Result<Content<(Part<'a>, Volume<f32>, &'a Stage)>> {
    if let Err(reason) = contrast(volume) {
        return Ok(Err(reason));
    }
    let mut region = Region { start: [0; 3], end: volume.dims };
    let mut ranges: HashMap<String, (f32, f32)> = HashMap::new();
    for stage in &recipe.stages {
        let part = Part { volume, region, spacing };
        let input = match ws.time("resample", || part.prepare(stage, &mut ranges)) {
            Ok(v) => v,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(crop) = stage.crop else { return Ok(Ok((part, input, stage))) };
        let p = network(model, stage, recipe.axes, input, fast, ws)?;
        match ws.time("box", || bounding_box(&p, volume.dims, crop)) {
            Some(r) => region = r,
            None => return Ok(Err("no head was found in it; is it a head scan of the right kind?".into())),
        }
    }
    Ok(Err("the recipe has no last stage".into()))
}

/// What the last stage's network sees, in the tensor's order and with its padding.
pub(crate) struct Enlarged {
    /// Depth, height, width.
    pub dims: [usize; 3],
    pub input: Vec<f32>,
    /// 0 or 1; empty without truth.
    pub truth: Vec<f32>,
    /// The stage's own result; empty where it is not asked for.
    pub taught: Vec<f32>,
}

/// Runs the recipe up to the last network, and that too if `taught`; `truth` follows the volume.
pub(crate) fn last_stage(
    model: &mut Model,
    volume: &Volume<f32>,
    spacing: [f64; 3],
    truth: Option<&Volume<u8>>,
    taught: bool,
    settings: Settings,
    ws: &mut Workspace,
) -> Result<Content<Enlarged>> {
    let recipe = model.recipe.clone();
    let (part, input, stage) = match narrowed(model, &recipe, volume, spacing, settings.fast, ws)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let taught = match taught {
        true => Some(network(model, stage, recipe.axes, input.clone(), settings.fast, ws)?),
        false => None,
    };
    let truth = truth.map(|t| {
        let (from, to) = (part.dims(), input.dims);
        let at = [0, 1, 2].map(|i| {
            let list = resample::nearest_exact(from[i], to[i]);
            list.into_iter().map(|x| x + part.region.start[i]).collect::<Vec<_>>()
        });
        resample::gather(&t.map(|v| (v > 0) as u8 as f32), [&at[0], &at[1], &at[2]])
    });
    let laid = |v: &Volume<f32>| {
        let v = stage.pad.map_or_else(|| v.clone(), |p| grown(v, p));
        let mut tensor = vec![0f32; v.data.len()];
        fill(&mut tensor, recipe.axes, &v, [false; 3]);
        (tensor_dims(recipe.axes, v.dims), tensor)
    };
    let (dims, input) = laid(&input);
    let [truth, taught] = [truth, taught].map(|v| v.map_or_else(Vec::new, |v| laid(&v).1));
    Ok(Ok(Enlarged { dims, input, truth, taught }))
}

/// Refuses volumes without contrast.
fn contrast(v: &Volume<f32>) -> Content<()> {
    let (low, high) =
        v.data.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, &x| (r.0.min(x), r.1.max(x)));
    if low < high {
        Ok(())
    } else {
        Err(format!("all voxels have the value {low}; there is nothing to segment"))
    }
}

/// Part of a volume.
struct Part<'a> {
    volume: &'a Volume<f32>,
    region: Region,
    spacing: [f64; 3],
}

impl Part<'_> {
    fn dims(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.region.end[i] - self.region.start[i])
    }

    fn whole(&self) -> bool {
        self.dims() == self.volume.dims
    }

    /// Size after a resize.
    fn target(&self, r: &Resize) -> [usize; 3] {
        let dims = self.dims();
        match (r.shape, r.spacing) {
            (Some(s), _) => s,
            (None, Some(mm)) => {
                [0, 1, 2].map(|i| ((self.spacing[i] / mm * dims[i] as f64).round_ties_even() as usize).max(1))
            }
            (None, None) => dims,
        }
    }

    /// The stage's input: cut, resized, normalised.
    fn prepare(&self, stage: &Stage, ranges: &mut HashMap<String, (f32, f32)>) -> Content<Volume<f32>> {
        let mut v = self.resized(stage)?;
        for n in &stage.normalise {
            apply(n, &mut v, ranges)?;
        }
        Ok(v)
    }

    fn resized(&self, stage: &Stage) -> Content<Volume<f32>> {
        let cut = || match self.whole() {
            true => self.volume.clone(),
            false => self.volume.crop(self.region.start, self.region.end),
        };
        let Some(r) = &stage.resize else { return Ok(cut()) };
        let to = self.target(r);
        if to.iter().product::<usize>() > 1 << 31 {
            let words =
                format!("resampling it gives {}x{}x{} voxels, which is too many", to[0], to[1], to[2]);
            return Err(words);
        }
        let same_spacing = r.spacing.is_some() && self.spacing.iter().all(|s| Some(*s) == r.spacing);
        if same_spacing {
            return Ok(cut());
        }
        Ok(match r.method {
            Method::NearestExact => {
                let dims = self.dims();
                // Indices into the whole volume, so that no cut copy is made.
                let at = [0, 1, 2].map(|i| {
                    let list = resample::nearest_exact(dims[i], to[i]);
                    list.into_iter().map(|x| x + self.region.start[i]).collect::<Vec<_>>()
                });
                resample::gather(self.volume, [&at[0], &at[1], &at[2]])
            }
            Method::Linear => resample::resize(&cut(), to, Order::Linear, Border::Edge, false),
            Method::LinearAntialiased => resample::resize(&cut(), to, Order::Linear, Border::Zero, true),
            Method::Cubic => resample::resize(&cut(), to, Order::Cubic, Border::Edge, false),
        })
    }

    /// Mask (and probability) on the volume's grid from the stage's grid.
    fn back(&self, p: Volume<f32>, back: Back, threshold: f64) -> (Volume<u8>, Option<Volume<f32>>) {
        let dims = self.dims();
        let above = |v: f32| (v as f64 > threshold) as u8;
        let linear = |aa: bool| {
            let border = if aa { Border::Zero } else { Border::Edge };
            resample::resize(&p, dims, Order::Linear, border, aa)
        };
        let part = match back {
            Back::NearestExact => {
                let at = [0, 1, 2].map(|i| resample::nearest_exact(p.dims[i], dims[i]));
                resample::gather(&p, [&at[0], &at[1], &at[2]])
            }
            Back::Linear => linear(false),
            Back::LinearAntialiased => linear(true),
            Back::Nearest => {
                let at = [0, 1, 2].map(|i| resample::nearest(p.dims[i], dims[i]));
                resample::gather(&p, [&at[0], &at[1], &at[2]])
            }
        };
        if self.whole() {
            return (part.map(above), Some(part));
        }
        let mut all = Volume::filled(self.volume.dims, 0f32);
        all.paste(&part, self.region.start);
        (all.map(above), Some(all))
    }
}

fn apply(n: &Normalise, v: &mut Volume<f32>, ranges: &mut HashMap<String, (f32, f32)>) -> Content<()> {
    let flat =
        || "its intensities are constant where the network looks; there is nothing to segment".to_owned();
    match n {
        Normalise::QuantileRange { low, high, keep } => {
            let q = |p: f64| intensity::quantile(&v.data, p).ok_or_else(flat);
            let (a, b) = (q(*low)?, q(*high)?);
            if let Some(name) = keep {
                ranges.insert(name.clone(), (a, b));
            }
            intensity::rescale(&mut v.data, a, b).ok_or_else(flat)
        }
        Normalise::KeptRange { from } => {
            let (a, b) = *ranges.get(from).ok_or_else(|| format!("the recipe keeps no range `{from}`"))?;
            intensity::rescale(&mut v.data, a, b).ok_or_else(flat)
        }
        Normalise::ZScore { ddof, scale, shift } => {
            intensity::z_score(&mut v.data, *ddof, *scale, *shift).ok_or_else(flat)
        }
        Normalise::DivideByMaximum => {
            let top = v.data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if top <= 0.0 {
                return Err("it has no positive intensities; there is nothing to segment".into());
            }
            v.data.iter_mut().for_each(|x| *x /= top);
            Ok(())
        }
    }
}

/// The box of planes where enough voxels are foreground, grown by a margin, in voxels of `dims`.
/// Centre and size are rounded to even halves and truncated as the original does with tensors.
fn bounding_box(p: &Volume<f32>, dims: [usize; 3], c: Crop) -> Option<Region> {
    let mut mask = p.map(|v| (v as f64 > c.threshold) as u8);
    keep_largest(&mut mask, Connectivity::Full);
    let mut planes = [0, 1, 2].map(|i| vec![0u32; mask.dims[i]]);
    for (i, &m) in mask.data.iter().enumerate() {
        if m != 0 {
            planes[0][i % mask.dims[0]] += 1;
            planes[1][i / mask.dims[0] % mask.dims[1]] += 1;
            planes[2][i / mask.dims[0] / mask.dims[1]] += 1;
        }
    }
    let mut region = Region { start: [0; 3], end: dims };
    for i in 0..3 {
        let area = (mask.data.len() / mask.dims[i]) as f32;
        let full = |n: &u32| *n as f32 / area > c.plane_fraction as f32;
        let (first, last) = (planes[i].iter().position(full)?, planes[i].iter().rposition(full)?);
        let scale = dims[i] as f32 / mask.dims[i] as f32;
        let centre = (scale * ((last + 1 + first) as f32 / 2.0)).round_ties_even();
        let size = ((1.0 + 2.0 * c.margin as f32) * (scale * (last + 1 - first) as f32)).round_ties_even();
        region.start[i] = ((centre - size / 2.0) as i64).max(0) as usize;
        region.end[i] = ((centre + size / 2.0) as i64).clamp(0, dims[i] as i64) as usize;
        if region.end[i] <= region.start[i] {
            return None;
        }
    }
    Some(region)
}

/// Averages the stage's networks and mirrors; returns the foreground probability on `v`'s grid.
fn network(
    model: &mut Model,
    stage: &Stage,
    axes: Axes,
    v: Volume<f32>,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let dims = v.dims;
    let padded = match stage.pad {
        Some(p) => grown(&v, p),
        None => v,
    };
    let outputs = stage.active_outputs(fast).to_vec();
    let mirrors = window::mirrors(stage.active_mirror(fast));
    let mut sum: Option<Volume<f32>> = None;
    for output in &outputs {
        for mirror in &mirrors {
            let p = match &stage.window {
                None => whole(model, output, axes, stage, &padded, *mirror, ws)?,
                Some(w) => windows(model, output, axes, stage, w, &padded, *mirror, ws)?,
            };
            match &mut sum {
                None => sum = Some(p),
                Some(s) => s.data.iter_mut().zip(&p.data).for_each(|(a, b)| *a += b),
            }
        }
        // One network in memory at a time: a fold's weights and activations are large.
        if outputs.len() > 1 || model.recipe.stages.len() > 1 {
            model.forget(output);
        }
    }
    let mut p = sum.unwrap_or_else(|| Volume::filled(padded.dims, 0.0));
    let n = (outputs.len() * mirrors.len()) as f32;
    if n > 1.0 {
        p.data.iter_mut().for_each(|x| *x /= n);
    }
    Ok(if p.dims == dims { p } else { p.crop([0; 3], dims) })
}

fn grown(v: &Volume<f32>, p: Pad) -> Volume<f32> {
    let dims = v.dims.map(|d| d.next_multiple_of(p.multiple).max(p.minimum));
    if dims == v.dims { v.clone() } else { v.padded(dims, 0.0) }
}

/// One network over the whole volume.
fn whole(
    model: &mut Model,
    output: &str,
    axes: Axes,
    stage: &Stage,
    v: &Volume<f32>,
    mirror: [bool; 3],
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let start = Instant::now();
    let session = model.session(output, tensor_dims(axes, v.dims))?;
    ws.add("load network", start.elapsed());
    let start = Instant::now();
    fill(session.input(0), axes, v, mirror);
    session.run()?;
    let mut p = Volume::filled(v.dims, 0f32);
    read(session, stage, axes, &mut p, mirror)?;
    ws.add("network", start.elapsed());
    session.release();
    Ok(p)
}

/// One network window by window, blended.
fn windows(
    model: &mut Model,
    output: &str,
    axes: Axes,
    stage: &Stage,
    w: &crate::recipe::Window,
    v: &Volume<f32>,
    mirror: [bool; 3],
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let style = match w.style {
        WindowStyle::Nnunet => Style::NnUnet,
        WindowStyle::Monai => Style::Monai,
    };
    // Volumes smaller than a window are padded with zeros about the centre.
    let size = [0, 1, 2].map(|i| v.dims[i].max(w.size[i]));
    let before = [0, 1, 2].map(|i| (size[i] - v.dims[i]) / 2);
    let mut padded = Volume::filled(size, 0f32);
    padded.paste(v, before);
    let map = window::importance(style, w.size);
    let mut blend = Blend::new(size, 1);
    let starts = [0, 1, 2].map(|i| window::starts(style, size[i], w.size[i], w.overlap));
    let start = Instant::now();
    let positions: Vec<[usize; 3]> = starts[2]
        .iter()
        .flat_map(|&z| starts[1].iter().map(move |&y| (y, z)))
        .flat_map(|(y, z)| starts[0].iter().map(move |&x| [x, y, z]))
        .collect();
    let sessions = model.sessions(output, tensor_dims(axes, w.size), positions.len())?;
    let one = |session: &mut Session, at: [usize; 3]| -> Result<Volume<f32>> {
        let tile = padded.crop(at, [0, 1, 2].map(|i| at[i] + w.size[i]));
        fill(session.input(0), axes, &tile, mirror);
        session.run()?;
        let mut p = Volume::filled(w.size, 0f32);
        read(session, stage, axes, &mut p, mirror)?;
        Ok(p)
    };
    for round in positions.chunks(sessions.len()) {
        let found: Vec<Result<Volume<f32>>> = match round {
            [at] => vec![one(&mut sessions[0], *at)],
            _ => std::thread::scope(|s| {
                let one = &one;
                let jobs = sessions.iter_mut().zip(round).map(|(own, &at)| s.spawn(move || one(own, at)));
                let jobs: Vec<_> = jobs.collect();
                let join = |j: std::thread::ScopedJoinHandle<'_, _>| match j.join() {
                    Ok(p) => p,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                jobs.into_iter().map(join).collect()
            }),
        };
        // In the order of positions, whatever ran first: sums have the same bits for all threads.
        for (&at, p) in round.iter().zip(found) {
            let p = p?;
            blend.add(at, &map, |_, i| p.data[i]);
        }
    }
    ws.add("network", start.elapsed());
    let all = blend.finish().swap_remove(0);
    Ok(all.crop(before, [0, 1, 2].map(|i| before[i] + v.dims[i])))
}

/// Spatial sizes in tensor order.
fn tensor_dims(axes: Axes, d: [usize; 3]) -> [usize; 3] {
    match axes {
        Axes::Xyz => d,
        Axes::Zyx => [d[2], d[1], d[0]],
    }
}

/// Position in the tensor of voxel `(x, y, z)`, mirrored.
fn place(axes: Axes, d: [usize; 3], mirror: [bool; 3]) -> impl Fn(usize, usize, usize) -> usize {
    move |x, y, z| {
        let p = [x, y, z];
        let p = [0, 1, 2].map(|i| if mirror[i] { d[i] - 1 - p[i] } else { p[i] });
        match axes {
            Axes::Xyz => (p[0] * d[1] + p[1]) * d[2] + p[2],
            Axes::Zyx => (p[2] * d[1] + p[1]) * d[0] + p[0],
        }
    }
}

/// Writes a volume into a one-channel tensor.
fn fill(tensor: &mut [f32], axes: Axes, v: &Volume<f32>, mirror: [bool; 3]) {
    if axes == Axes::Zyx && mirror == [false; 3] {
        tensor.copy_from_slice(&v.data);
        return;
    }
    let at = place(axes, v.dims, mirror);
    each_voxel(v.dims, |x, y, z, i| tensor[at(x, y, z)] = v.data[i]);
}

/// Visits voxels in blocks, so that transposing orders stays inside the caches.
fn each_voxel(d: [usize; 3], mut f: impl FnMut(usize, usize, usize, usize)) {
    const B: usize = 16;
    for y in 0..d[1] {
        for z0 in (0..d[2]).step_by(B) {
            for x0 in (0..d[0]).step_by(B) {
                for x in x0..(x0 + B).min(d[0]) {
                    for z in z0..(z0 + B).min(d[2]) {
                        f(x, y, z, x + d[0] * (y + d[1] * z));
                    }
                }
            }
        }
    }
}

/// Reads the foreground probability back into a volume.
fn read(session: &Session, stage: &Stage, axes: Axes, p: &mut Volume<f32>, mirror: [bool; 3]) -> Result<()> {
    let out = session.output(0);
    let (d, t) = (p.dims, tensor_dims(axes, p.dims));
    let channels = out.dims.get(1).copied().unwrap_or(0);
    if out.dims.len() != 5 || out.dims[0] != 1 || out.dims[2..] != t || stage.channel >= channels {
        return Err(Error::Recipe(format!(
            "the network's output is {:?}; channel {} of size {t:?} is asked for",
            out.dims, stage.channel
        )));
    }
    let (data, strides) =
        out.raw().ok_or_else(|| Error::Recipe("the network's output is reversed".into()))?;
    let value = |q: [usize; 3]| {
        let at = q[0] * strides[2] + q[1] * strides[3] + q[2] * strides[4];
        let v = data[at + stage.channel * strides[1]];
        match stage.activation {
            Activation::None => v,
            Activation::Sigmoid => 1.0 / (1.0 + (-v).exp()),
            Activation::Softmax => {
                1.0 / (0..channels).map(|k| (data[at + k * strides[1]] - v).exp()).sum::<f32>()
            }
        }
    };
    let mut finite = true;
    each_voxel(d, |x, y, z, i| {
        let q = [x, y, z];
        let q = [0, 1, 2].map(|k| if mirror[k] { d[k] - 1 - q[k] } else { q[k] });
        let q = if axes == Axes::Xyz { q } else { [q[2], q[1], q[0]] };
        let v = value(q);
        finite &= v.is_finite();
        p.data[i] = v;
    });
    if !finite {
        return Err(Error::Recipe(
            "the network's output is not finite; the model or the image is damaged".into(),
        ));
    }
    Ok(())
}
