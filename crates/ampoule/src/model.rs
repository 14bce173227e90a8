use crate::error::{Error, Result};
use crate::options::Options;
use crate::outputs::Outputs;
use crate::prediction::{Label, Prediction};
use crate::tensor::{Tensor, TensorView};
use ampoule_engine::Session;
use ampoule_graph::{DType, Dim, Graph, ValueId};
use ampoule_pipeline::{Case, Images, RECIPE_KEY, Recipe, Settings};
use std::path::{Path, PathBuf};

/// An input or output of a model, as its file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// Axes, outermost first; free ones have a name or nothing. Empty where the file says nothing of the shape.
    pub shape: Vec<Dim>,
    /// Element type in the file, where it says one. [`Tensor`]s are float32 for all.
    pub dtype: Option<DType>,
}

/// A model, ready to be run.
pub struct Model {
    graph: Graph,
    recipe: Option<Recipe>,
    sha256: String,
    pub(crate) notes: Vec<String>,
    options: Options,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    /// The network made ready for the shapes of the last run.
    session: Option<Session>,
    /// Networks and recipe together, made when the first image comes.
    pipeline: Option<ampoule_pipeline::Model>,
}

impl Model {
    pub(crate) fn new(options: Options, graph: Graph, sha256: String) -> Result<Model> {
        ampoule_kernels::choose(options.features.as_deref()).map_err(ampoule_engine::Error::from)?;
        let text = options.recipe.as_deref().or_else(|| graph.meta(RECIPE_KEY));
        let recipe = text.map(|t| Recipe::parse(t, "recipe")).transpose()?;
        let info = |ids: &[ValueId]| ids.iter().map(|id| TensorInfo::new(&graph, *id)).collect();
        let (inputs, outputs) = (info(&graph.inputs), info(&graph.outputs));
        let notes = Vec::new();
        Ok(Model { graph, recipe, sha256, notes, options, inputs, outputs, session: None, pipeline: None })
    }

    /// What a user should know of the model, such as that weights are not as they were fetched.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The recipe in force; `None` for a network without one.
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_ref()
    }

    /// Its text.
    pub fn recipe_text(&self) -> Option<&str> {
        self.options.recipe.as_deref().or_else(|| self.graph.meta(RECIPE_KEY))
    }

    /// A recipe to begin with, from what the model says of its inputs and outputs; its lines marked FILL IN must be
    /// looked at.
    pub fn skeleton(&self, name: &str) -> String {
        ampoule_pipeline::recipe::skeleton(&self.graph, name)
    }

    /// Hash of the model's files, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Writes the model as an ONNX file with its recipe inside; whole or not at all.
    pub fn write_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        let (path, mut graph) = (path.as_ref(), self.graph.clone());
        if let Some(recipe) = self.recipe_text() {
            graph.set_meta(RECIPE_KEY, recipe);
        }
        ampoule_onnx::write_file(&graph, path)
            .map_err(|source| ampoule_pipeline::Error::Model { path: path.into(), source }.into())
    }

    /// Inputs in the order of the file.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// Outputs in the order of the file.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Labels or classes of the recipe that results have; empty without one.
    pub fn labels(&self) -> Vec<Label> {
        let Some(recipe) = &self.recipe else { return Vec::new() };
        let own = (0..recipe.label.len()).filter(|i| !recipe.label[*i].auxiliary);
        own.map(|i| Label::of_recipe(recipe, i)).collect()
    }

    /// Keeps only these outputs, and the inputs that they depend on.
    ///
    /// ```
    /// use ampoule::Model;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/deepbet_f16.onnx");
    ///
    /// // Two networks in one file, each with an input of its own.
    /// let model = Model::open(path)?;
    /// assert_eq!(model.inputs().len(), 2);
    /// let main = model.only(&["main"])?;
    /// assert_eq!(main.inputs()[0].name, "main_image");
    /// # Ok::<(), ampoule::Error>(())
    /// ```
    pub fn only(self, outputs: &[&str]) -> Result<Model> {
        if let Some(unknown) = outputs.iter().find(|o| !self.outputs.iter().any(|i| i.name == **o)) {
            return Err(Error::UnknownOutput { name: (*unknown).to_owned(), known: names(&self.outputs) });
        }
        let mut graph = self.graph.extract(outputs)?;
        if let Some(recipe) = self.graph.meta(RECIPE_KEY) {
            graph.set_meta(RECIPE_KEY, recipe);
        }
        Model::new(self.options, graph, self.sha256)
    }

    /// Runs the network on tensors by the names of its inputs, in any order, in the axes of the file (such as NCHW).
    ///
    /// The network is made ready for the shapes given; a run with the same shapes as the one before starts at once.
    pub fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Outputs> {
        let views: Vec<(&str, TensorView)> = inputs.iter().map(|(name, t)| (*name, t.view())).collect();
        self.run_views(&views)
    }

    /// The same on values that lie elsewhere; they are copied once, into the network's own layout.
    pub fn run_views(&mut self, inputs: &[(&str, TensorView)]) -> Result<Outputs> {
        let given = self.in_order(inputs)?;
        let shapes: Vec<Vec<usize>> = given.iter().map(|t| t.shape().to_vec()).collect();
        let ready =
            |s: &Session| shapes.iter().enumerate().all(|(i, d)| s.input_dims(i).is_ok_and(|own| own == d));
        let mut session = match self.session.take().filter(ready) {
            Some(session) => session,
            None => Session::new(self.graph.clone(), &shapes, &self.engine_options(true))?,
        };
        for (i, t) in given.iter().enumerate() {
            session.set_input(i, t.values())?;
        }
        session.run()?;
        let list = self
            .outputs
            .iter()
            .zip(session.iter_outputs())
            .map(|(info, output)| Ok((info.name.clone(), Tensor::new(output.dims, output.to_vec())?)));
        let list = list.collect::<Result<_>>()?;
        self.session = Some(session);
        Ok(Outputs { list })
    }

    /// Reads an image (a volume, photo or tile, or the DICOM series of a folder or ZIP file), runs it through recipe and network, and returns what was found on the
    /// image's own grid. A recipe with several `[[input]]` files takes [`Model::predict_files`].
    pub fn predict(&mut self, file: impl AsRef<Path>) -> Result<Prediction> {
        self.predict_files(&[file.as_ref()])
    }

    /// The same for a case of several files, one for each `[[input]]` of the recipe, in its order.
    pub fn predict_files(&mut self, files: &[&Path]) -> Result<Prediction> {
        let Some(first) = files.first() else {
            let recipe = self.recipe.as_ref().ok_or(ampoule_pipeline::Error::NoRecipe)?;
            let name = recipe.input.first().map_or(String::new(), |i| i.name.clone());
            return Err(Error::InputCount { name, times: 0 });
        };
        let case = Case { files: files.iter().map(PathBuf::from).collect(), ..Case::of_file(first) };
        let settings = Settings { fast: self.options.fast, scores: self.options.probabilities, heat: false };
        let pipeline = self.pipeline()?;
        let recipe = pipeline.recipe.clone();
        if let Some(missing) = recipe.input.get(files.len()) {
            return Err(Error::InputCount { name: missing.name.clone(), times: 0 });
        }
        if files.len() > recipe.input.len() {
            let known = recipe.input.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
            let name = files[recipe.input.len()].display().to_string();
            return Err(Error::UnknownInput { name, known });
        }
        if ampoule_pipeline::is_slide(&recipe, &case) {
            return Err(Error::Slide { path: (*first).to_owned() });
        }
        let found = ampoule_pipeline::predict_case(pipeline, &case, settings)?;
        Ok(Prediction::new(&recipe, found))
    }

    /// Runs a case whose images are in memory: a volume for each `[[input]]` of the recipe, in its order, or a photo.
    pub fn predict_images(&mut self, images: Images) -> Result<Prediction> {
        let settings = Settings { fast: self.options.fast, scores: self.options.probabilities, heat: false };
        let pipeline = self.pipeline()?;
        let found = ampoule_pipeline::predict_images(pipeline, images, settings)?;
        Ok(Prediction::new(&pipeline.recipe, found))
    }

    /// Whether [`Model::predict`] also returns scores, from now on ([`Builder::probabilities`](crate::Builder::probabilities)).
    pub fn set_probabilities(&mut self, wanted: bool) {
        self.options.probabilities = wanted;
    }

    /// The tensors in the order of the model's inputs.
    fn in_order<'a>(&self, given: &[(&str, TensorView<'a>)]) -> Result<Vec<TensorView<'a>>> {
        if let Some((name, _)) = given.iter().find(|(n, _)| !self.inputs.iter().any(|i| i.name == *n)) {
            return Err(Error::UnknownInput { name: (*name).to_owned(), known: names(&self.inputs) });
        }
        let one = |info: &TensorInfo| {
            let mut own = given.iter().filter(|(n, _)| *n == info.name).map(|(_, t)| *t);
            match (own.next(), own.count()) {
                (Some(t), 0) if info.takes(t.shape()) => Ok(t),
                (Some(t), 0) => Err(Error::InputShape {
                    name: info.name.clone(),
                    wanted: info.axes(),
                    shape: t.shape().to_vec(),
                }),
                (first, more) => {
                    Err(Error::InputCount { name: info.name.clone(), times: more + first.is_some() as usize })
                }
            }
        };
        self.inputs.iter().map(one).collect()
    }

    /// Recipe and networks together, as the crates behind this one take them; an error without a recipe.
    pub fn pipeline(&mut self) -> Result<&mut ampoule_pipeline::Model> {
        if self.pipeline.is_none() {
            let (graph, recipe) = (self.graph.clone(), self.options.recipe.as_deref());
            let options = self.engine_options(false);
            let mut made = ampoule_pipeline::Model::from_graph(graph, recipe, self.sha256.clone(), options)?;
            made.max_ram = self.limit();
            self.pipeline = Some(made);
        }
        self.pipeline.as_mut().ok_or(Error::Pipeline(ampoule_pipeline::Error::NoRecipe))
    }

    /// The name of the instruction-set tier that runs.
    pub(crate) fn isa(&self) -> Result<String> {
        let chosen = ampoule_kernels::choose(self.options.features.as_deref());
        Ok(chosen.map_err(ampoule_engine::Error::from)?.name().to_owned())
    }

    #[cfg(feature = "optimize")]
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    fn limit(&self) -> Option<u64> {
        ampoule_pipeline::memory_limit(self.options.memory_limit)
    }

    /// Options of the engine; `alone` where nothing but a network is to fit in what the process may still take.
    pub(crate) fn engine_options(&self, alone: bool) -> ampoule_engine::Options {
        let held = if alone { ampoule_pipeline::rss_bytes().unwrap_or(0) } else { 0 };
        ampoule_engine::Options {
            isa: self.options.features.clone(),
            threads: self.options.threads,
            max_bytes: self.limit().or_else(ampoule_pipeline::total_memory),
            held_bytes: held,
            precision: self.options.precision,
            ..ampoule_engine::Options::default()
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Model");
        out.field("inputs", &self.inputs).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl TensorInfo {
    fn new(graph: &Graph, id: ValueId) -> TensorInfo {
        let value = graph.value(id);
        TensorInfo {
            name: value.name.clone(),
            shape: value.shape.clone().unwrap_or_default(),
            dtype: value.dtype,
        }
    }

    /// Whether a tensor of this shape can be given.
    fn takes(&self, shape: &[usize]) -> bool {
        let axis = |(d, n): (&Dim, &usize)| d.known().is_none_or(|k| k == *n);
        self.shape.is_empty() || self.shape.len() == shape.len() && self.shape.iter().zip(shape).all(axis)
    }

    /// The shape for people.
    fn axes(&self) -> String {
        let axes: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        format!("[{}]", axes.join(", "))
    }
}

fn names(list: &[TensorInfo]) -> String {
    list.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")
}
