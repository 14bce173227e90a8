use crate::error::Result;
use crate::model::Model;
use crate::options::Options;
use ampoule_engine::Precision;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
use ampoule_zoo::{Folders, Located, Opened};
use std::path::{Path, PathBuf};

/// How a model is opened and run.
///
/// ```
/// use ampoule::{Kind, Model, Precision};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/quick/discs.onnx");
///
/// let model = Model::builder().threads(1).precision(Precision::Bf16).open(path)?;
/// assert_eq!(model.outputs()[0].name, "prob");
///
/// let error = Model::builder().features("abacus").open(path).unwrap_err();
/// assert_eq!(error.kind(), Kind::Usage);
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    options: Options,
}

impl Model {
    /// Opens a model with all defaults; [`Builder::open`] says what a model may be.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Builder::default().open(path)
    }

    /// Options, to be followed by [`Builder::open`].
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Threads; 0, the default, for as many as the process may use. Results are the same bits with any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// Most resident bytes of this process [default: the limit of its container, if there is one]. A network that does
    /// not fit is run in parts with the same result, or refused with [`Kind::Memory`](crate::Kind::Memory) before it
    /// runs.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.memory_limit = Some(bytes);
        self
    }

    /// CPU features to compute with, by the names of `ampoule doctor`, such as `avx2` [default: the best of this CPU].
    pub fn features(mut self, name: impl Into<String>) -> Self {
        self.options.features = Some(name.into());
        self
    }

    /// How values are stored and multiplied.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = precision;
        self
    }

    /// The text of a recipe (`docs/recipes.md`) instead of the one in the model.
    pub fn recipe(mut self, text: impl Into<String>) -> Self {
        self.options.recipe = Some(text.into());
        self
    }

    /// The same from a file; or the name of one that comes with the program, such as `glas`, where there is no such file.
    pub fn recipe_file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_file()
            && let Some(text) = path.to_str().and_then(ampoule_zoo::shipped_recipe)
        {
            return Ok(self.recipe(text));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| ampoule_pipeline::Error::Io { path: path.into(), source })?;
        Ok(self.recipe(text))
    }

    /// The faster way that the recipe names, if it does: a smaller ensemble, no test-time augmentation.
    pub fn fast(mut self, fast: bool) -> Self {
        self.options.fast = fast;
        self
    }

    /// Whether [`Model::predict`] also returns the scores of all labels of a segmentation.
    pub fn probabilities(mut self, wanted: bool) -> Self {
        self.options.probabilities = wanted;
        self
    }

    /// The folder of models that `ampoule models fetch` brought, to be opened by name.
    pub fn models(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.folders.models = Some(folder.into());
        self
    }

    /// The folder of TotalSegmentator's weights, for models called `totalsegmentator-TASK`.
    pub fn weights(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.folders.weights = Some(folder.into());
        self
    }

    /// Opens what the command line takes as a model: an ONNX file, whose weights are mapped and not copied; a TorchScript
    /// or `torch.export` archive; a folder of a framework; else the name of a model that was fetched
    /// ([`Builder::models`]) or comes with the program (`deepbet`).
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        let located = match path.to_str() {
            Some(name) => ampoule_zoo::locate(name, &self.options.folders)?,
            None => Located::Path(path.into()),
        };
        let Opened { mut graph, sha256, notes } = located.open(&[])?;
        // A model of the catalogue goes with the recipe of this program, whenever it was fetched.
        if let Some(entry) = path.to_str().and_then(|name| ampoule_zoo::entry(name).ok()) {
            graph.set_meta(RECIPE_KEY, entry.recipe);
        }
        let mut model = Model::new(self.options, graph, sha256)?;
        model.notes = notes;
        Ok(model)
    }

    /// Takes an ONNX file that is in memory.
    pub fn open_bytes(self, bytes: impl Into<Vec<u8>>) -> Result<Model> {
        let bytes = bytes::Bytes::from(bytes.into());
        let sha256 = ampoule_pipeline::sha256_hex(&bytes);
        let graph = onnx::from_bytes(bytes, None, &onnx::Limits::default())
            .map_err(|source| ampoule_pipeline::Error::Model { path: "model in memory".into(), source })?;
        Model::new(self.options, graph, sha256)
    }
}

/// The file of a model by its path or name, for what needs one; a model that comes with the program is written into
/// `folder`. `models` is the folder of those that were fetched.
pub fn model_path(name: &str, models: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    let folders = Folders { models: models.map(Path::to_owned), weights: None };
    Ok(ampoule_zoo::locate(name, &folders)?.into_path(folder)?)
}
