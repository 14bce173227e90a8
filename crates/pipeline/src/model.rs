//! A model file, its recipe, and the networks in it made ready to run.

mod shape;

use crate::memory::{Allowance, held_bytes};
use crate::recipe::{Activation, Network};
use crate::slack::{LATER, slack};
use crate::watch::Watch;
use crate::{Error, Recipe, Result};
use ampoule_engine::{Options, Pool, Precision, Session, StepInfo};
use ampoule_graph::{DType, Graph};
use ampoule_onnx as onnx;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use shape::Shape;
use shape::image_input;

/// Key of the recipe in an ONNX file's `metadata_props`.
pub const RECIPE_KEY: &str = "ampoule.recipe";

/// A loaded model: its graphs, its recipe, and sessions made so far.
pub struct Model {
    /// The model, and others of the same ensemble (`--fold`).
    graphs: Arc<Vec<Graph>>,
    /// What each of the recipe's networks takes.
    shapes: Vec<Shape>,
    /// The recipe in force.
    pub recipe: Recipe,
    /// Its networks that run only where some labels were chosen ([`Model::keep_labels`]).
    aside: Vec<Network>,
    /// Hash of the model files, in hexadecimal.
    pub sha256: String,
    options: Options,
    /// Most resident memory of the whole process in bytes.
    pub max_ram: Option<u64>,
    /// Bytes that the process held when the present case was planned, and will take for its scores.
    committed: u64,
    /// Those of its scores.
    reserved: u64,
    /// Bytes that the process held when this model had been read, with what is touched later: what plans are made with.
    pub(crate) program: u64,
    /// Whether sessions are only planned, beside those bytes rather than what the process holds.
    planning: bool,
    /// Whether activations of the networks of an ensemble are held one after the other ([`Model::alternate`]).
    alternating: bool,
    /// Bytes of the weights of networks that are to be made ready beside those that are ([`Model::expect`]).
    expected: HashMap<Key, u64>,
    pool: Arc<Pool>,
    /// Whether inputs of one case may run side by side, one thread each.
    pub parallel_inputs: bool,
    /// Looks at the present case, and may end it.
    pub watch: Option<Arc<Watch>>,
    /// Steps of sessions that are gone, with their last times.
    past: Vec<(Key, Vec<StepInfo>)>,
    /// One or several side by side for each network and input shape.
    slots: HashMap<Key, Vec<Slot>>,
    /// Time spent in networks so far.
    pub network_time: Duration,
}

/// Which model of an ensemble, which of its outputs, and the shape of its image input.
pub(crate) type Key = (usize, String, Vec<usize>);

/// A session, and what each of its inputs takes: a constant, or the image.
pub(crate) struct Slot {
    pub session: Session,
    constants: Vec<Option<Vec<f32>>>,
    /// Which input is the image.
    pub image: usize,
}

impl Slot {
    /// Runs the network; the image's input was filled before.
    pub fn run(&mut self) -> Result<()> {
        for (i, constant) in self.constants.iter().enumerate() {
            if let Some(values) = constant {
                // A session may use the place of an input for other things once it is read.
                self.session.set_input(i, values)?;
            }
        }
        Ok(self.session.run()?)
    }

    fn sharing_weights(&self, pool: Arc<Pool>) -> Result<Slot> {
        let session = self.session.sharing_weights(pool)?;
        Ok(Slot { session, constants: self.constants.clone(), image: self.image })
    }
}

/// Bytes of activations of a network's sessions that run: the first alone, or all others side by side.
fn active_arenas(list: &[Slot]) -> u64 {
    let running = if list.len() > 1 { &list[1..] } else { list };
    running.iter().map(|s| s.session.arena_bytes()).sum()
}

impl Model {
    /// Loads a model file; `recipe` overrides the one inside.
    pub fn load(path: &Path, recipe: Option<&str>, options: Options) -> Result<Self> {
        let graph = onnx::read_file(path).map_err(|source| Error::Model { path: path.into(), source })?;
        let sha256 = crate::sha256_file(path)?;
        Self::from_graph(graph, recipe, sha256, options)
    }

    /// Makes a model of a graph in memory. `recipe` is a text that overrides the one inside.
    pub fn from_graph(graph: Graph, recipe: Option<&str>, sha256: String, options: Options) -> Result<Self> {
        let (text, origin) = match (recipe, graph.meta(RECIPE_KEY)) {
            (Some(given), _) => (given.to_owned(), "recipe"),
            (None, Some(own)) => (own.to_owned(), "recipe of the model"),
            (None, None) => return Err(Error::NoRecipe),
        };
        let mut recipe = Recipe::parse(&text, origin)?;
        if let ([network], [only]) = (&mut recipe.network[..], &graph.outputs[..])
            && network.outputs.is_empty()
        {
            network.outputs.push(graph.value(*only).name.clone());
        }
        let aside = recipe.set_aside();
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let model = Model {
            graphs: Arc::new(Vec::new()),
            shapes: Vec::new(),
            recipe,
            aside,
            sha256: String::new(),
            options,
            max_ram: None,
            committed: 0,
            reserved: 0,
            program: 0,
            planning: false,
            alternating: false,
            expected: HashMap::new(),
            pool: Arc::new(Pool::new(threads)),
            parallel_inputs: true,
            watch: None,
            past: Vec::new(),
            slots: HashMap::new(),
            network_time: Duration::ZERO,
        };
        model.with(graph, sha256)
    }

    fn with(mut self, graph: Graph, sha256: String) -> Result<Self> {
        self.accepts(&graph)?;
        self.graphs = Arc::new(vec![graph]);
        self.sha256 = sha256;
        self.shapes = (0..self.recipe.network.len()).map(|i| self.find_shape(i)).collect::<Result<_>>()?;
        self.note_program();
        Ok(self)
    }

    /// Adds another model whose scores are averaged with the others': a fold of an ensemble. It must have the
    /// outputs that the recipe names.
    pub fn join(&mut self, graph: Graph, sha256: &str) -> Result<()> {
        self.accepts(&graph)?;
        Arc::make_mut(&mut self.graphs).push(graph);
        self.note_program();
        self.sha256 = crate::sha256_hex(format!("{} {sha256}", self.sha256).as_bytes());
        Ok(())
    }

    /// Notes what the process holds now that the model is read. Pages of its file come back as weights are packed.
    fn note_program(&mut self) {
        self.graphs.iter().for_each(Graph::release);
        self.program = ampoule_system::figures::rss_bytes().unwrap_or(0) + LATER;
    }

    /// What `plan` says where no weights are packed, nothing is run, and the process holds what it did when the model had been
    /// read. Sessions made before are gone afterwards.
    pub(crate) fn planning<T>(&mut self, plan: impl FnOnce(&mut Model) -> T) -> T {
        let (most, committed, reserved) = (self.max_ram, self.committed, self.reserved);
        self.slots.clear();
        (self.planning, self.committed, self.reserved) = (true, 0, 0);
        let found = plan(self);
        self.slots.clear();
        (self.max_ram, self.committed, self.reserved) = (most, committed, reserved);
        self.planning = false;
        found
    }

    /// Whether nothing but a plan is made ([`Model::planning`]).
    pub(crate) fn is_planning(&self) -> bool {
        self.planning
    }

    /// Forgets all sessions.
    pub(crate) fn forget_sessions(&mut self) {
        self.slots.clear();
    }

    /// A graph must be one that runs, with the outputs that the recipe names.
    fn accepts(&self, graph: &Graph) -> Result<()> {
        let unsupported = graph.unsupported();
        if !unsupported.is_empty() {
            return Err(Error::Engine(ampoule_graph::Error::Unsupported(unsupported).into()));
        }
        let names: Vec<&str> = graph.outputs.iter().map(|o| graph.value(*o).name.as_str()).collect();
        let have = names.join(", ");
        if self.recipe.network.iter().any(|n| n.outputs.is_empty()) {
            return Err(Error::mismatch(format!("it names no outputs, and the model has several: {have}")));
        }
        match self.recipe.used_outputs(false).into_iter().find(|o| !names.contains(o)) {
            Some(missing) => {
                Err(Error::mismatch(format!("it names the output `{missing}`; the model has {have}")))
            }
            None => self.activates_once(graph),
        }
    }

    /// A network that ends with its activation takes no other one.
    fn activates_once(&self, graph: &Graph) -> Result<()> {
        for network in &self.recipe.network {
            for name in &network.outputs {
                let own = |o: &&ampoule_graph::ValueId| graph.value(**o).name == *name;
                let Some(output) = graph.outputs.iter().find(own) else { continue };
                let Some(last) = graph.nodes.iter().find(|n| n.outputs.contains(&Some(*output))) else {
                    continue;
                };
                let does = last.op.name();
                if ["Sigmoid", "Softmax"].contains(&does.as_ref()) && network.activation != Activation::None {
                    return Err(Error::mismatch(format!(
                        "the network ends with {does} already, and `activation` would be applied to that; set `activation = \"none\"`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Segments only the labels called `names`; see [`Recipe::keep_labels`]. The error says what is wrong with the names.
    pub fn keep_labels(&mut self, names: &[String]) -> std::result::Result<(), String> {
        let mut recipe = self.recipe.clone();
        recipe.network.splice(0..0, self.aside.iter().cloned());
        recipe.keep_labels(names)?;
        let count = recipe.network.len();
        let before = std::mem::replace(&mut self.recipe, recipe);
        match (0..count).map(|i| self.find_shape(i)).collect::<Result<_>>() {
            Ok(shapes) => {
                self.shapes = shapes;
                self.aside.clear();
                Ok(())
            }
            Err(e) => {
                self.recipe = before;
                Err(e.to_string())
            }
        }
    }

    /// The graph of the model file.
    pub fn graph(&self) -> &Graph {
        &self.graphs[0]
    }

    /// Models of the ensemble.
    pub(crate) fn folds(&self) -> usize {
        self.graphs.len()
    }

    /// How values are stored and multiplied.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// What network `i` takes.
    pub(crate) fn shape(&self, i: usize) -> &Shape {
        &self.shapes[i]
    }

    /// Sizes of a network's output for an image box of `size`, without running it; `None` where they are not known
    /// before.
    pub(crate) fn output_dims(
        &self,
        i: usize,
        shape: &Shape,
        size: [usize; 3],
    ) -> Result<Option<Vec<usize>>> {
        let network = &self.recipe.network[i];
        let output = network.outputs.first().map_or("", String::as_str);
        let mut graph = self.graphs[0].extract(&[output])?;
        let image = image_input(&graph, network)?;
        graph.set_input_dims(image, &shape.tensor(size));
        for (k, id) in graph.inputs.clone().into_iter().enumerate().filter(|(k, _)| *k != image) {
            if let Some(values) = network.constants.get(&graph.value(id).name) {
                graph.set_input_dims(k, &[1, values.len()]);
            }
        }
        ampoule_graph::infer::infer(&mut graph)?;
        Ok(graph.outputs.first().and_then(|o| graph.value(*o).dims()))
    }

    /// Whether a network's output holds labels rather than scores.
    pub(crate) fn gives_labels(&self, i: usize) -> bool {
        let output = self.recipe.network[i].outputs.first();
        let id = self.graphs[0].outputs.iter().find(|o| Some(&self.graphs[0].value(**o).name) == output);
        let dtype = id.and_then(|o| self.graphs[0].value(*o).dtype);
        dtype.is_some_and(|d| !d.is_float() && d != DType::F32)
    }

    /// Makes the session of a network for a shape, where there is none. Sessions of other shapes are dropped: cases
    /// differ in size, and memory is short.
    fn ready(&mut self, network: usize, key: &Key) -> Result<()> {
        self.slots.retain(|k, _| (k.0, &k.1) != (key.0, &key.1) || k.2 == key.2);
        if self.slots.contains_key(key) {
            return Ok(());
        }
        let network = &self.recipe.network[network];
        let graph = self.graphs[key.0].extract(&[&key.1])?;
        let image = image_input(&graph, network)?;
        let name = |k: usize| graph.value(graph.inputs[k]).name.clone();
        let constants: Vec<Option<Vec<f32>>> =
            (0..graph.inputs.len()).map(|k| network.constants.get(&name(k)).cloned()).collect();
        let shapes: Vec<Vec<usize>> = constants
            .iter()
            .map(|c| c.as_ref().map_or_else(|| key.2.clone(), |v| vec![1, v.len()]))
            .collect();
        let mut options = self.options.clone();
        if self.max_ram.is_some() {
            // Pages of the file are no part of what is held beside the network: they come back as weights are packed.
            graph.release();
            self.expected.remove(key);
            let held = if self.alternating { self.held_with(0) } else { self.held() };
            (options.max_bytes, options.held_bytes) = (self.max_ram, held);
        }
        options.planning = self.planning;
        let session = Session::with_pool(graph, &shapes, &options, self.pool.clone());
        let session = session.map_err(|e| crate::memory::least(e, self.max_ram))?;
        self.slots.insert(key.clone(), vec![Slot { session, constants, image }]);
        Ok(())
    }

    /// Bytes that the process holds or is sure to take for the present case, without activations that are yet to be
    /// made.
    fn held(&self) -> u64 {
        let arenas = self.slots.values().map(|list| active_arenas(list));
        self.held_with(if self.alternating { arenas.max().unwrap_or(0) } else { arenas.sum() })
    }

    /// The same, with the activations of some networks.
    fn held_with(&self, arenas: u64) -> u64 {
        self.used().max(self.committed + self.weight_bytes() + self.expected.values().sum::<u64>() + arenas)
    }

    /// Says which networks of an ensemble will be there together, so that the weights of those that are made ready last find
    /// room.
    pub(crate) fn expect(&mut self, networks: &[Key]) {
        let graphs = self.graphs.clone();
        let weights = |key: &Key| {
            // A graph that cannot be cut out is refused when its session is made.
            let graph = graphs[key.0].extract(&[&key.1]).ok()?;
            Some((key.clone(), 4 * graph.parameter_count() as u64))
        };
        let missing = networks.iter().filter(|k| !self.slots.contains_key(k));
        self.expected = missing.filter_map(weights).collect();
    }

    /// Decides whether activations of an ensemble of `networks` like the one that is ready are held one after the other: where
    /// all at one time do not fit.
    pub(crate) fn alternate(&mut self, networks: u64) -> bool {
        let arena = self.slots.values().map(|list| active_arenas(list)).max().unwrap_or(0);
        let weights =
            self.slots.values().flat_map(|list| list.first()).map(|s| s.session.weight_bytes()).max();
        // Weights are packed alike.
        let packed = self.expected.len() as u64 * weights.unwrap_or(0);
        let packed = packed.saturating_sub(self.expected.values().sum());
        self.alternating = networks > 1
            && match self.max_ram {
                Some(most) => self.held_with(networks * arena) + packed > most,
                None => arena > crate::available_memory().unwrap_or(u64::MAX) / 8,
            };
        self.alternating
    }

    /// Bytes that the process holds, with those that are left free of a limit.
    pub(crate) fn used(&self) -> u64 {
        match self.planning {
            true => self.program + self.max_ram.map_or(0, slack),
            false => held_bytes(self.max_ram),
        }
    }

    /// Bytes that the process may take in addition to what it holds.
    pub(crate) fn room(&self) -> u64 {
        match self.max_ram {
            Some(most) => most.saturating_sub(self.used()),
            None => crate::total_memory().unwrap_or(u64::MAX),
        }
    }

    /// The same, with the limit that it is left of.
    pub(crate) fn allowed(&self) -> Allowance {
        Allowance::of(self.room(), self.max_ram)
    }

    /// Notes that the present case will take so many bytes in addition to what the process holds now and its networks.
    pub(crate) fn reserve(&mut self, bytes: u64) {
        let now = self.used().saturating_sub(self.weight_bytes());
        self.committed = now + bytes;
        self.reserved = bytes;
    }

    /// What was reserved last.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Drops sessions of an earlier case that take too much in addition to what is reserved for this one.
    pub(crate) fn replan(&mut self, key: &Key) {
        if self.max_ram.is_some_and(|most| self.held() > most) {
            self.slots.remove(key);
        }
    }

    /// The session of a network for one input shape; all threads work on it.
    pub(crate) fn slot(&mut self, network: usize, key: &Key) -> Result<&mut Slot> {
        self.ready(network, key)?;
        let list = self.slots.get_mut(key);
        list.and_then(|l| l.first_mut()).ok_or_else(|| Error::mismatch("no session".into()))
    }

    /// How many inputs of up to `jobs` run side by side, one thread each, where each takes `each` bytes in addition to its
    /// activations: as many as there are threads and memory for. 1 if only that fits; it has all threads.
    pub(crate) fn workers(&mut self, network: usize, key: &Key, jobs: usize, each: u64) -> Result<usize> {
        let first = self.slot(network, key)?;
        let (arena, external) = (first.session.arena_bytes(), first.session.is_external());
        // Who watches values sees them run by run.
        let alone = external || self.is_observed() || !self.parallel_inputs;
        let threads = self.threads();
        let own = self.slots.get(key).map_or(0, |list| active_arenas(list));
        let room = match self.max_ram {
            // Those that are here already are counted as held.
            Some(most) => (most + own).saturating_sub(self.held()),
            // The first session's memory may be untouched so far.
            None => crate::available_memory().unwrap_or(0).saturating_sub(arena) / 2,
        };
        let fits = (room / (arena + each).max(1)) as usize;
        Ok(if threads.min(jobs) <= fits && !alone { threads.min(jobs).max(1) } else { 1 })
    }

    /// Sessions of a network to run side by side on up to `jobs` inputs ([`Model::workers`]). A single one has all threads.
    pub(crate) fn slots(&mut self, network: usize, key: &Key, jobs: usize, each: u64) -> Result<&mut [Slot]> {
        let workers = self.workers(network, key, jobs, each)?;
        let list = self.slots.get_mut(key).ok_or_else(|| Error::mismatch("no session".into()))?;
        if workers > 1 && list.len() <= workers {
            for _ in list.len()..=workers {
                let next = list[0].sharing_weights(Arc::new(Pool::new(1)))?;
                list.push(next);
            }
        }
        let (alone, together) = list.split_at_mut(1);
        let (used, idle) = if workers > 1 { (together, alone) } else { (alone, together) };
        idle.iter_mut().for_each(|s| s.session.release());
        Ok(if workers > 1 { &mut used[..workers] } else { used })
    }

    /// Bytes of activations and of weights of the session of a network for one input shape, and the multiplications of a run.
    pub(crate) fn session_bytes(&mut self, network: usize, key: &Key) -> Result<(u64, u64, u64)> {
        let s = &self.slot(network, key)?.session;
        Ok((s.arena_bytes(), s.weight_bytes(), s.macs()))
    }

    /// Bytes that may be kept beside `workers` sessions that run side by side, each with `each` bytes in addition to its
    /// activations. What is kept is noted with [`Model::keep`].
    pub(crate) fn spare(&self, workers: usize, each: u64) -> u64 {
        match self.max_ram {
            Some(most) => most.saturating_sub(self.held() + workers as u64 * each),
            None => crate::available_memory().unwrap_or(0) / 8,
        }
    }

    /// Notes that `bytes` more are kept for the present case, or with `false` no longer.
    pub(crate) fn keep(&mut self, bytes: u64, kept: bool) {
        self.committed = match kept {
            true => self.committed + bytes,
            false => self.committed.saturating_sub(bytes),
        };
    }

    /// An error where the present case is to end early.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), |w| w.check())
    }

    /// Notes how many windows of the network at work are done.
    pub(crate) fn note(&self, done: usize, of: usize) {
        if let Some(watch) = &self.watch {
            watch.note(done, of);
        }
    }

    /// Whether somebody watches the values of every run.
    pub(crate) fn is_observed(&self) -> bool {
        self.options.observe.is_some()
    }

    /// Another model with the same weights and one thread, to run other cases in parallel.
    pub fn sharing_weights(&self) -> Result<Self> {
        let one = Arc::new(Pool::new(1));
        let copy =
            |(k, list): (&Key, &Vec<Slot>)| Ok((k.clone(), vec![list[0].sharing_weights(one.clone())?]));
        let slots = self.slots.iter().map(copy).collect::<Result<_>>()?;
        Ok(Model {
            graphs: self.graphs.clone(),
            shapes: self.shapes.clone(),
            recipe: self.recipe.clone(),
            aside: self.aside.clone(),
            sha256: self.sha256.clone(),
            options: Options { threads: 1, ..self.options.clone() },
            max_ram: self.max_ram,
            committed: self.committed,
            reserved: self.reserved,
            program: self.program,
            planning: self.planning,
            alternating: self.alternating,
            expected: HashMap::new(),
            pool: one,
            parallel_inputs: false,
            watch: self.watch.clone(),
            past: Vec::new(),
            slots,
            network_time: Duration::ZERO,
        })
    }

    /// Bytes of activations of all sessions made so far.
    pub fn arena_bytes(&self) -> u64 {
        self.slots.values().flatten().map(|s| s.session.arena_bytes()).sum()
    }

    /// Bytes of weights of all sessions made so far.
    pub(crate) fn weight_bytes(&self) -> u64 {
        // Sessions of a network share them.
        self.slots.values().filter_map(|list| list.first()).map(|s| s.session.weight_bytes()).sum()
    }

    /// Multiplications of one run of every session made so far.
    pub(crate) fn macs(&self) -> u64 {
        self.slots.values().filter_map(|list| list.first()).map(|s| s.session.macs()).sum()
    }

    /// Whether an external backend computes.
    pub(crate) fn is_external(&self) -> bool {
        self.slots.values().flatten().any(|s| s.session.is_external())
    }

    /// Gives back the memory of activations until the next run.
    pub(crate) fn release(&mut self) {
        self.slots.values_mut().flatten().for_each(|s| s.session.release());
    }

    /// Steps of the networks with their times in the most recent run of each.
    pub fn steps(&self) -> Vec<StepInfo> {
        let mut all: Vec<StepInfo> = self.past.iter().flat_map(|p| p.1.clone()).collect();
        let mut keys: Vec<_> = self.slots.keys().collect();
        keys.sort();
        all.extend(keys.into_iter().flat_map(|k| steps_of(&self.slots[k])));
        all
    }

    /// Forgets the sessions of a network, weights included.
    pub(crate) fn forget_all(&mut self, network: &Network, fast: bool) {
        for fold in 0..self.folds() {
            network.active_outputs(fast).iter().for_each(|o| self.forget(fold, o));
        }
    }

    /// Forgets the sessions of an output, weights included.
    pub(crate) fn forget(&mut self, fold: usize, output: &str) {
        let own = |k: &Key| k.0 == fold && k.1 == output;
        if let Some((key, steps)) =
            self.slots.iter().find(|(k, _)| own(k)).map(|(k, s)| (k.clone(), steps_of(s)))
        {
            self.past.retain(|p| !own(&p.0));
            self.past.push((key, steps));
        }
        self.slots.retain(|k, _| !own(k));
    }
}

/// Steps of the session among those side by side that ran last: the first where it is alone.
fn steps_of(slots: &[Slot]) -> Vec<StepInfo> {
    slots.last().map_or(Vec::new(), |s| s.session.steps())
}

impl From<ampoule_graph::Error> for Error {
    fn from(e: ampoule_graph::Error) -> Self {
        Error::Engine(e.into())
    }
}
