//! A model file and its recipe.

use crate::{Error, Recipe, Result};
use ampoule_engine::{Options, Pool, Precision, Session, StepInfo};
use ampoule_graph::{Graph, onnx};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Key of the recipe in an ONNX file's `metadata_props`.
pub const RECIPE_KEY: &str = "ampoule.recipe";

/// A loaded model: its graph, its recipe, and sessions made so far.
pub struct Model {
    graph: Graph,
    /// The recipe in force.
    pub recipe: Recipe,
    /// Hash of the model file, in hexadecimal.
    pub sha256: String,
    options: Options,
    /// Most resident memory of the whole process in bytes.
    pub max_ram: Option<u64>,
    pool: Arc<Pool>,
    /// Steps of sessions that are gone, with their last times.
    past: Vec<(String, Vec<StepInfo>)>,
    /// One or several side by side for each output and size.
    sessions: HashMap<(String, [usize; 3]), Vec<Session>>,
}

impl Model {
    /// Loads a model file; `recipe` overrides the one inside.
    pub fn load(path: &Path, recipe: Option<&str>, options: Options) -> Result<Self> {
        let graph = onnx::read_file(path).map_err(|source| Error::Model { path: path.into(), source })?;
        let sha256 = crate::sha256_file(path)?;
        Self::from_graph(graph, recipe, sha256, options)
    }

    /// Makes a model of a graph in memory.
    pub fn from_graph(graph: Graph, recipe: Option<&str>, sha256: String, options: Options) -> Result<Self> {
        let text = recipe.or_else(|| graph.meta(RECIPE_KEY)).map(str::to_owned);
        let text = text.ok_or_else(|| {
            Error::Recipe("the model carries none; give one with --recipe FILE (see docs/recipes.md)".into())
        })?;
        let recipe = Recipe::parse(&text)?;
        let unsupported = graph.unsupported();
        if !unsupported.is_empty() {
            return Err(Error::Engine(ampoule_graph::Error::Unsupported(unsupported).into()));
        }
        let names: Vec<&str> = graph.outputs.iter().map(|o| graph.value(*o).name.as_str()).collect();
        if let Some(missing) = recipe.outputs(false).into_iter().find(|o| !names.contains(o)) {
            return Err(Error::Recipe(format!(
                "it names the output `{missing}`; the model has {}",
                names.join(", ")
            )));
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let pool = Arc::new(Pool::new(threads));
        Ok(Model {
            graph,
            recipe,
            sha256,
            options,
            max_ram: None,
            pool,
            past: Vec::new(),
            sessions: HashMap::new(),
        })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How values are stored and multiplied.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The session for one output at one spatial size (in tensor order). Sessions of other sizes
    /// are dropped: scans differ in size, and memory is short.
    pub fn session(&mut self, output: &str, dims: [usize; 3]) -> Result<&mut Session> {
        let key = (output.to_owned(), dims);
        self.sessions.retain(|k, _| k.0 != key.0 || k.1 == dims);
        if !self.sessions.contains_key(&key) {
            let graph = self.graph.extract(&[output])?;
            let shape = vec![1, 1, dims[0], dims[1], dims[2]];
            if graph.inputs.len() != 1 {
                let reason =
                    format!("output `{output}` needs {} inputs, one image is given", graph.inputs.len());
                return Err(Error::Recipe(reason));
            }
            let mut options = self.options.clone();
            // What the process holds already, and the result that is read from the network.
            let held = crate::system::rss_bytes().unwrap_or(0) + 4 * dims.iter().product::<usize>() as u64;
            if let Some(m) = self.max_ram {
                options.max_bytes = Some(m.saturating_sub(held));
            }
            let session = Session::with_pool(graph, &[shape], &options, self.pool.clone());
            // Speak of the limit that was given, not of what is left of it.
            let session = session.map_err(|e| match (e, self.max_ram) {
                (ampoule_engine::Error::Memory { needed_mib, .. }, Some(m)) => {
                    ampoule_engine::Error::Memory {
                        needed_mib: needed_mib + (held >> 20),
                        limit_mib: m >> 20,
                    }
                }
                (e, _) => e,
            })?;
            self.sessions.insert(key.clone(), vec![session]);
        }
        let first = self.sessions.get_mut(&key).and_then(|s| s.first_mut());
        first.ok_or_else(|| Error::Recipe("no session".into()))
    }

    /// Sessions of one output and size to run side by side on up to `jobs` inputs, one thread each: as
    /// many as there are threads and memory for. A single one if only that fits; it has all threads.
    pub fn sessions(&mut self, output: &str, dims: [usize; 3], jobs: usize) -> Result<&mut [Session]> {
        let first = self.session(output, dims)?;
        let (arena, foreign) = (first.arena_bytes(), first.is_foreign());
        // Who watches values sees them run by run.
        let alone = foreign || self.options.observe.is_some();
        let threads = self.threads();
        let room = match self.max_ram {
            Some(most) => most.saturating_sub(crate::system::rss_bytes().unwrap_or(0) + arena),
            // The first session's memory may be untouched so far.
            None => crate::available_memory().unwrap_or(0).saturating_sub(arena) / 2,
        };
        let fits = (room / arena.max(1)) as usize;
        let lanes = if threads.min(jobs) <= fits && !alone { threads.min(jobs) } else { 1 };
        let key = (output.to_owned(), dims);
        let list = self.sessions.get_mut(&key).ok_or_else(|| Error::Recipe("no session".into()))?;
        if lanes > 1 && list.len() <= lanes {
            for _ in list.len()..=lanes {
                let next = list[0].beside(Arc::new(Pool::new(1)))?;
                list.push(next);
            }
        }
        Ok(if lanes > 1 { &mut list[1..=lanes] } else { &mut list[..1] })
    }

    /// Steps of the networks with their times in the most recent run of each.
    pub fn steps(&self) -> Vec<StepInfo> {
        let mut all: Vec<StepInfo> = self.past.iter().flat_map(|p| p.1.clone()).collect();
        let mut keys: Vec<_> = self.sessions.keys().collect();
        keys.sort();
        all.extend(keys.into_iter().flat_map(|k| steps_of(&self.sessions[k])));
        all
    }

    /// Forgets the session of an output, weights included.
    pub fn forget(&mut self, output: &str) {
        if let Some(steps) = self.sessions.iter().find(|(k, _)| k.0 == output).map(|(_, s)| steps_of(s)) {
            self.past.retain(|p| p.0 != output);
            self.past.push((output.to_owned(), steps));
        }
        self.sessions.retain(|k, _| k.0 != output);
    }
}

/// Steps of the session among those side by side that ran last: the first where it is alone.
fn steps_of(sessions: &[Session]) -> Vec<StepInfo> {
    sessions.last().map_or(Vec::new(), Session::steps)
}

impl From<ampoule_graph::Error> for Error {
    fn from(e: ampoule_graph::Error) -> Self {
        Error::Engine(e.into())
    }
}
