//! A network for photos, and one photo through it.

use super::recipe::{FilterName, Input, Intensity, Pad, PhotoRecipe, Resize, Task};
use crate::recipe::Activation;
use crate::{Error, Result};
use ampoule_engine::{Options, Pool, Precision, Session, StepInfo};
use ampoule_graph::Graph;
use ampoule_imaging::photo::{Photo, linear};
use ampoule_imaging::stain;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A loaded model for photos and its recipe. Sessions have one thread each; several run side by side.
pub struct PhotoModel {
    graphs: Vec<Graph>,
    /// The recipe in force.
    pub recipe: PhotoRecipe,
    /// Hash of the model file, in hexadecimal.
    pub sha256: String,
    options: Options,
    /// Most resident memory of the whole process in bytes.
    pub max_ram: Option<u64>,
    threads: usize,
    /// All threads work on one photo, for the least delay, and none beside it.
    pub together: bool,
    sessions: HashMap<Key, Seat>,
    /// Time spent in networks so far.
    pub network: Duration,
}

/// A session, and what each of its inputs takes: a constant, or the photo.
struct Seat {
    session: Session,
    inputs: Vec<Option<Vec<f32>>>,
}

impl Seat {
    fn run(&mut self, photo: &[f32]) -> Result<()> {
        for (i, constant) in self.inputs.iter().enumerate() {
            match constant {
                // Sessions may use the place of an input for other things once it is read.
                Some(values) => self.session.set_input(i, values)?,
                None => self.session.input(i).copy_from_slice(photo),
            }
        }
        Ok(self.session.run()?)
    }
}

/// Which network, which of its outputs, and pixels across and down.
type Key = (usize, String, [usize; 2]);

/// Probabilities of classes, channels innermost: of a photo, or of every pixel of the reduced tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Pixels across and down; 1 and 1 for a whole photo.
    pub size: [usize; 2],
    /// `classes` values for every pixel.
    pub values: Vec<f32>,
}

impl PhotoModel {
    /// Makes a model of a graph in memory.
    pub fn from_graph(graph: Graph, recipe: &str, sha256: String, options: Options) -> Result<Self> {
        let mut recipe = PhotoRecipe::parse(recipe)?;
        if let ([], [only]) = (&recipe.outputs[..], &graph.outputs[..]) {
            recipe.outputs.push(graph.value(*only).name.clone());
        }
        check(&graph, &recipe)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let (graphs, sessions) = (vec![graph], HashMap::new());
        let network = Duration::ZERO;
        Ok(PhotoModel {
            graphs,
            recipe,
            sha256,
            options,
            max_ram: None,
            threads,
            together: false,
            sessions,
            network,
        })
    }

    /// Adds another network whose probabilities are averaged with the others': a fold of an ensemble. It
    /// must have the outputs that the recipe names.
    pub fn join(&mut self, graph: Graph, sha256: &str) -> Result<()> {
        check(&graph, &self.recipe)?;
        self.graphs.push(graph);
        self.sha256 = crate::sha256_hex(format!("{} {sha256}", self.sha256).as_bytes());
        Ok(())
    }

    /// How values are stored and multiplied.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Another model with the same weights, to run beside this one.
    pub fn beside(&self) -> Result<Self> {
        let sessions = self.sessions.iter();
        let copies = sessions.map(|(k, s)| {
            let session = s.session.beside(Arc::new(Pool::new(1)))?;
            Ok((k.clone(), Seat { session, inputs: s.inputs.clone() }))
        });
        Ok(PhotoModel {
            graphs: self.graphs.clone(),
            recipe: self.recipe.clone(),
            sha256: self.sha256.clone(),
            options: self.options.clone(),
            sessions: copies.collect::<Result<_>>()?,
            ..*self
        })
    }

    /// Steps of all sessions with their times in the most recent run.
    pub fn steps(&self) -> Vec<StepInfo> {
        let mut keys: Vec<&Key> = self.sessions.keys().collect();
        keys.sort();
        keys.into_iter().flat_map(|k| self.sessions[k].session.steps()).collect()
    }

    /// Bytes of activations of all sessions made so far.
    pub fn arena_bytes(&self) -> u64 {
        self.sessions.values().map(|s| s.session.arena_bytes()).sum()
    }

    /// The session of an output for inputs of `width` by `height`; sessions of other sizes are dropped.
    fn session(&mut self, fold: usize, output: &str, [width, height]: [usize; 2]) -> Result<&mut Seat> {
        let key = (fold, output.to_owned(), [width, height]);
        self.sessions.retain(|k, _| (k.0, &k.1) != (key.0, &key.1) || k.2 == key.2);
        if !self.sessions.contains_key(&key) {
            let graph = self.graphs[fold].extract(&[output])?;
            let inputs = inputs(&graph, output, &self.recipe)?;
            let mut options = self.options.clone();
            if let Some(most) = self.max_ram {
                options.max_bytes = Some(most.saturating_sub(crate::system::rss_bytes().unwrap_or(0)));
            }
            let pool = Arc::new(Pool::new(if self.together { self.threads } else { 1 }));
            let shapes: Vec<Vec<usize>> = inputs
                .iter()
                .map(|v| v.as_ref().map_or_else(|| vec![1, 3, height, width], |v| vec![1, v.len()]))
                .collect();
            let session = Session::with_pool(graph, &shapes, &options, pool)?;
            self.sessions.insert(key.clone(), Seat { session, inputs });
        }
        self.sessions.get_mut(&key).ok_or_else(|| Error::Recipe("no session".into()))
    }

    /// Averages the outputs over the photo and its mirrored versions.
    pub fn predict(&mut self, photo: &Photo) -> Result<Scores> {
        self.predict_as(photo, self.recipe.input.clone())
    }

    /// The same for a patch of a slide, whose stains were normalised with the whole slide.
    pub(crate) fn predict_patch(&mut self, patch: &Photo) -> Result<Scores> {
        self.predict_as(patch, Input { stain: None, ..self.recipe.input.clone() })
    }

    fn predict_as(&mut self, photo: &Photo, input: Input) -> Result<Scores> {
        self.average(&|x, y| match (x, y) {
            (false, false) => Tensor::of(photo.clone(), &input),
            _ => Tensor::of(photo.flipped(x, y), &input),
        })
    }

    /// Averages the outputs over a window and its mirrored versions: grey levels of `inner` pixels across
    /// and down, channels innermost, on the grid that the network computes on.
    pub(crate) fn predict_window(&mut self, levels: &[f32], inner: [usize; 2]) -> Result<Scores> {
        let input = self.recipe.input.clone();
        self.average(&|x, y| Tensor::of_levels(levels, inner, (x, y), &input))
    }

    /// Makes the sessions for windows of `inner` pixels, so that what they take is known.
    pub(crate) fn prepare(&mut self, inner: [usize; 2]) -> Result<()> {
        let size = Tensor::size(inner, &self.recipe.input);
        for fold in 0..self.graphs.len() {
            for output in self.recipe.outputs.clone() {
                self.session(fold, &output, size)?;
            }
        }
        Ok(())
    }

    fn average(&mut self, tensor: &dyn Fn(bool, bool) -> Tensor) -> Result<Scores> {
        let recipe = self.recipe.clone();
        let mut versions = vec![(false, false)];
        versions.extend(recipe.flips.iter().map(|f| f.axes()));
        let mut sum: Option<Scores> = None;
        for &(x, y) in &versions {
            let tensor = tensor(x, y);
            for fold in 0..self.graphs.len() {
                for output in &recipe.outputs {
                    let seat = self.session(fold, output, tensor.size)?;
                    let start = Instant::now();
                    seat.run(&tensor.values)?;
                    let spent = start.elapsed();
                    let mut scores = read(&seat.session, &recipe, &tensor)?;
                    self.network += spent;
                    if (x, y) != (false, false) {
                        scores.flip(x, y, recipe.classes.len());
                    }
                    match &mut sum {
                        None => sum = Some(scores),
                        Some(s) => s.values.iter_mut().zip(&scores.values).for_each(|(a, b)| *a += b),
                    }
                }
            }
        }
        let n = (versions.len() * recipe.outputs.len() * self.graphs.len()) as f32;
        let mut scores = sum.unwrap_or(Scores { size: [0, 0], values: Vec::new() });
        if n > 1.0 {
            scores.values.iter_mut().for_each(|v| *v /= n);
        }
        Ok(scores)
    }
}

/// What each input of the graph of an output takes: constants of the recipe, or, one of them, the photo.
fn inputs(graph: &Graph, output: &str, recipe: &PhotoRecipe) -> Result<Vec<Option<Vec<f32>>>> {
    let names: Vec<&str> = graph.inputs.iter().map(|i| graph.value(*i).name.as_str()).collect();
    let values: Vec<_> = names.iter().map(|n| recipe.constants.get(*n).cloned()).collect();
    if let Some(strange) = recipe.constants.keys().find(|k| !names.contains(&k.as_str())) {
        let have = names.join(", ");
        return Err(Error::Recipe(format!("constants name the input `{strange}`; the model has {have}")));
    }
    match values.iter().filter(|v| v.is_none()).count() {
        1 => Ok(values),
        n => Err(Error::Recipe(format!(
            "output `{output}` needs the inputs {}; {n} of them are to be the photo (others need `constants`)",
            names.join(", ")
        ))),
    }
}

/// A model must be one that runs, with the outputs that the recipe names.
fn check(graph: &Graph, recipe: &PhotoRecipe) -> Result<()> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(Error::Engine(ampoule_graph::Error::Unsupported(unsupported).into()));
    }
    let names: Vec<&str> = graph.outputs.iter().map(|o| graph.value(*o).name.as_str()).collect();
    let have = names.join(", ");
    if recipe.outputs.is_empty() {
        return Err(Error::Recipe(format!("it names no outputs, and the model has several: {have}")));
    }
    match recipe.outputs.iter().find(|o| !names.contains(&o.as_str())) {
        Some(missing) => Err(Error::Recipe(format!("it names the output `{missing}`; the model has {have}"))),
        None => Ok(()),
    }
}

impl Scores {
    fn flip(&mut self, left_right: bool, upside_down: bool, classes: usize) {
        let [w, h] = self.size;
        let old = self.values.clone();
        for y in 0..h {
            for x in 0..w {
                let from_x = if left_right { w - 1 - x } else { x };
                let from_y = if upside_down { h - 1 - y } else { y };
                let (to, from) = ((y * w + x) * classes, (from_y * w + from_x) * classes);
                self.values[to..to + classes].copy_from_slice(&old[from..from + classes]);
            }
        }
    }

    /// `value` of the pixel of a tile reduced `k` times that covers each pixel of the whole one; pixels are
    /// repeated, the last one also over what did not fill a block.
    pub fn over(&self, [width, height]: [usize; 2], k: usize, value: impl Fn(usize) -> u8) -> Vec<u8> {
        let [w, h] = self.size;
        (0..width * height)
            .map(|i| {
                let (x, y) = ((i % width / k).min(w - 1), (i / width / k).min(h - 1));
                value(y * w + x)
            })
            .collect()
    }
}

/// A network's input: channels-last values.
pub(crate) struct Tensor {
    /// Pixels across and down, with and without what was added to fill multiples.
    pub size: [usize; 2],
    pub inner: [usize; 2],
    /// Where the image begins.
    pub offset: [usize; 2],
    pub values: Vec<f32>,
}

/// The network's input for a whole photo.
pub(crate) fn photo_tensor(photo: &Photo, input: &Input) -> Tensor {
    Tensor::of(photo.clone(), input)
}

impl Tensor {
    fn of(photo: Photo, input: &Input) -> Tensor {
        let mut photo = photo;
        if let Some(Resize { squash: Some(size), filter: FilterName::Linear, .. }) = input.resize {
            return Tensor::of_levels(&linear(&photo, size), size, (false, false), input);
        }
        if let Some(r) = &input.resize {
            photo = match (r.squash, r.shorter) {
                (Some([w, h]), _) => photo.resized(w, h, r.filter.into()),
                (None, Some(n)) => photo.shorter_side(n, r.filter.into()),
                (None, None) => photo,
            };
        }
        if let Some([w, h]) = input.crop {
            photo = photo.centre(w, h);
        }
        if let Some(s) = input.stain
            && let Some(change) = stain::change(&photo, &s.into())
        {
            change.apply(&mut photo.rgb);
        }
        let k = input.reduce;
        let inner = [(photo.width / k).max(1), (photo.height / k).max(1)];
        let mut levels = Vec::with_capacity(3 * inner[0] * inner[1]);
        for y in 0..inner[1] {
            for x in 0..inner[0] {
                for c in 0..3 {
                    let (mut sum, mut n) = (0.0, 0u32);
                    for v in y * k..(y * k + k).min(photo.height) {
                        for u in x * k..(x * k + k).min(photo.width) {
                            sum += photo.rgb[3 * (v * photo.width + u) + c] as f32;
                            n += 1;
                        }
                    }
                    levels.push(sum / n as f32);
                }
            }
        }
        Tensor::of_levels(&levels, inner, (false, false), input)
    }

    /// Pixels across and down of the tensor for an image of `inner` pixels.
    fn size(inner: [usize; 2], input: &Input) -> [usize; 2] {
        inner.map(|n| n.next_multiple_of(input.multiple).max(input.frame))
    }

    /// Of grey levels on the network's own grid, mirrored left to right, upside down, or both.
    fn of_levels(levels: &[f32], inner: [usize; 2], (fx, fy): (bool, bool), input: &Input) -> Tensor {
        let size = Tensor::size(inner, input);
        let whole = inner.map(|n| n.next_multiple_of(input.multiple));
        let before = [0, 1].map(|i| match input.pad {
            Pad::End => 0,
            Pad::Both => (whole[i] - inner[i]) / 2,
        });
        let frame = [0, 1].map(|i| (size[i] - whole[i]) / 2);
        let scaled = intensity(levels, &input.normalise);
        let mut values = vec![0f32; 3 * size[0] * size[1]];
        let columns: Vec<usize> = (0..whole[0])
            .map(|x| reflected(x as i64 - before[0] as i64, inner[0]))
            .map(|x| if fx { inner[0] - 1 - x } else { x })
            .collect();
        for y in 0..whole[1] {
            let from = reflected(y as i64 - before[1] as i64, inner[1]);
            let from = if fy { inner[1] - 1 - from } else { from };
            let row = &levels[3 * from * inner[0]..][..3 * inner[0]];
            let to = 3 * ((frame[1] + y) * size[0] + frame[0]);
            for (p, &x) in values[to..to + 3 * whole[0]].chunks_exact_mut(3).zip(&columns) {
                (0..3).for_each(|c| p[c] = row[3 * x + c] * scaled[c][0] + scaled[c][1]);
            }
        }
        let offset = [0, 1].map(|i| frame[i] + before[i]);
        Tensor { size, inner, offset, values }
    }
}

/// Factor and summand of every channel.
fn intensity(levels: &[f32], kind: &Intensity) -> [[f32; 2]; 3] {
    let spread = |own: &mut dyn Iterator<Item = f32>| {
        let (least, most) = own.fold((255f32, 0f32), |(a, b), v| (v.min(a), v.max(b)));
        let factor = if most > least { 1.0 / (most - least) } else { 0.0 };
        [factor, -least * factor]
    };
    match kind {
        Intensity::Divide { by } => [[1.0 / by, 0.0]; 3],
        Intensity::MinMax => [spread(&mut levels.iter().copied()); 3],
        Intensity::MinMaxEach => [0, 1, 2].map(|c| spread(&mut levels.iter().skip(c).step_by(3).copied())),
        Intensity::MeanDeviation { mean, deviation } => {
            [0, 1, 2].map(|c| [1.0 / (255.0 * deviation[c]), -mean[c] / deviation[c]])
        }
    }
}

/// Position `i` of a line of `n`, continued by reflection about its first and last elements.
fn reflected(i: i64, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let k = i.rem_euclid(2 * n as i64 - 2) as usize;
    if k < n { k } else { 2 * n - 2 - k }
}

/// The probabilities that a session computed.
fn read(session: &Session, recipe: &PhotoRecipe, tensor: &Tensor) -> Result<Scores> {
    let classes = recipe.classes.len();
    let out = session.output(0);
    let whole = recipe.task == Task::Classification;
    let shape = |channels: usize| match whole {
        true => vec![1, channels],
        false => vec![1, channels, tensor.size[1], tensor.size[0]],
    };
    // One channel for two classes is the probability of the second.
    let single = classes == 2 && out.dims == shape(1);
    if out.dims != shape(classes) && !single {
        let reason = format!("the network's output is {:?}; {:?} is expected", out.dims, shape(classes));
        return Err(Error::Recipe(reason));
    }
    let (data, strides) =
        out.raw().ok_or_else(|| Error::Recipe("the network's output is reversed".into()))?;
    let size = if whole { [1, 1] } else { tensor.inner };
    let mut values = Vec::with_capacity(size[0] * size[1] * classes);
    for y in 0..size[1] {
        for x in 0..size[0] {
            let (v, u) = (tensor.offset[1] + y, tensor.offset[0] + x);
            let at = if whole { 0 } else { v * strides[2] + u * strides[3] };
            let own = values.len();
            values.extend((0..if single { 1 } else { classes }).map(|c| data[at + c * strides[1]]));
            activate(&mut values[own..], recipe.activation);
            if single {
                values.insert(own, 1.0 - values[own]);
            }
        }
    }
    if values.iter().any(|v| !v.is_finite()) {
        let reason = "the network's output is not finite; the model or the photo is damaged";
        return Err(Error::Recipe(reason.into()));
    }
    // Rounding of eight-bit networks may go a little beyond.
    if let Some(v) = values.iter().find(|v| !(-0.05..=1.05).contains(*v)) {
        let reason =
            format!("the network's output ({v}) is no probability; set `activation` to softmax or sigmoid");
        return Err(Error::Recipe(reason));
    }
    Ok(Scores { size, values })
}

fn activate(v: &mut [f32], activation: Activation) {
    match activation {
        Activation::None => {}
        Activation::Sigmoid => v.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
        Activation::Softmax => {
            let top = v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            v.iter_mut().for_each(|x| *x = (*x - top).exp());
            let sum: f32 = v.iter().sum();
            v.iter_mut().for_each(|x| *x /= sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_repeats_no_edge() {
        let line: Vec<usize> = (-2..9).map(|i| reflected(i, 4)).collect();
        assert_eq!(line, [2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(reflected(5, 1), 0);
    }

    #[test]
    fn blocks_are_averaged_and_borders_reflected() {
        let rgb: Vec<u8> = (0..5 * 3u8).flat_map(|i| [10 * i, 0, 255]).collect();
        let photo = Photo::new(5, 3, rgb);
        let normalise = Intensity::Divide { by: 1.0 };
        let t = Tensor::of(photo, &Input { reduce: 2, normalise, multiple: 4, ..Input::UNTOUCHED });
        assert_eq!((t.inner, t.size), ([2, 1], [4, 4]));
        let red: Vec<f32> = t.values.iter().step_by(3).copied().take(4).collect();
        // Means of 0, 10, 50, 60 and of 20, 30, 70, 80; then reflected.
        assert_eq!(red, [30.0, 50.0, 30.0, 50.0]);
    }
}
