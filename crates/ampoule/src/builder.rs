use crate::error::Result;
use crate::model::Model;
use crate::options::Options;
use ampoule_engine::Precision;
use ampoule_onnx as onnx;
use std::path::Path;

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
    /// Opens an ONNX file with all defaults.
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

    /// The same from a file.
    pub fn recipe_file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
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

    /// Reads an ONNX file. Its weights are mapped, not copied.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        let graph = onnx::read_file(path)
            .map_err(|source| ampoule_pipeline::Error::Model { path: path.into(), source })?;
        let sha256 = ampoule_pipeline::sha256_file(path)?;
        Model::new(self.options, graph, sha256)
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
