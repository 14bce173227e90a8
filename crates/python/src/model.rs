//! A model that is open.

use crate::errors::{input, json, raised, usage};
use crate::{array, image};
use ampoule::{ImageKind, Images, Precision, Prediction, Settings, TensorInfo, TensorView};
use numpy::{PyArrayDyn, PyReadonlyArray3, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

/// A model; calls from several threads are done one after the other.
#[pyclass(frozen, module = "ampoule_ai._native")]
pub(crate) struct Model {
    inner: Mutex<ampoule::Model>,
}

/// Name, axes (numbers; names; nothing) and element type.
type Info = (String, Vec<(Option<usize>, Option<String>)>, Option<&'static str>);

impl Model {
    /// The model, as soon as no other thread has it. Call without holding the interpreter.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ampoule::Model> {
        // A panic of another thread left the model as it was between two runs, or without a session.
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// How a model is opened, as the package's Python code hands it over.
#[derive(FromPyObject)]
pub(crate) struct Opening {
    #[pyo3(item)]
    path: PathBuf,
    #[pyo3(item)]
    threads: usize,
    #[pyo3(item)]
    precision: String,
    #[pyo3(item)]
    isa: Option<String>,
    #[pyo3(item)]
    max_ram: Option<u64>,
    #[pyo3(item)]
    recipe: Option<String>,
    #[pyo3(item)]
    fast: bool,
    #[pyo3(item)]
    models: Option<PathBuf>,
}

impl Opening {
    /// Choices that change results.
    pub(crate) fn settings(&self, probabilities: bool) -> Settings {
        Settings { fast: self.fast, scores: probabilities, heat: false }
    }

    /// Opens the model.
    pub(crate) fn open(self) -> PyResult<ampoule::Model> {
        let precision = Precision::parse(&self.precision).ok_or_else(|| {
            usage(format!("precision {}: it is fp32, fp32-strict, bf16 or bf16-fast", self.precision))
        })?;
        let mut builder =
            ampoule::Model::builder().threads(self.threads).precision(precision).fast(self.fast);
        if let Some(bytes) = self.max_ram {
            builder = builder.memory_limit(bytes);
        }
        if let Some(isa) = self.isa {
            builder = builder.features(isa);
        }
        if let Some(text) = self.recipe {
            builder = builder.recipe(text);
        }
        if let Some(folder) = self.models {
            builder = builder.models(folder);
        }
        builder.open(&self.path).map_err(raised)
    }
}

fn info(list: &[TensorInfo]) -> Vec<Info> {
    let axis = |d: &ampoule::Dim| match d.known() {
        Some(n) => (Some(n), None),
        None => (None, Some(d.to_string())),
    };
    list.iter()
        .map(|i| (i.name.clone(), i.shape.iter().map(axis).collect(), i.dtype.map(|d| d.name())))
        .collect()
}

#[pymethods]
impl Model {
    /// Opens what the command line takes as a model.
    #[new]
    fn new(py: Python<'_>, opening: Opening) -> PyResult<Self> {
        Ok(Model { inner: Mutex::new(py.detach(|| opening.open())?) })
    }

    fn inputs(&self, py: Python<'_>) -> Vec<Info> {
        py.detach(|| info(self.lock().inputs()))
    }

    fn outputs(&self, py: Python<'_>) -> Vec<Info> {
        py.detach(|| info(self.lock().outputs()))
    }

    fn labels(&self, py: Python<'_>) -> Vec<(String, u16)> {
        py.detach(|| self.lock().labels().into_iter().map(|l| (l.name, l.value)).collect())
    }

    /// The names of the recipe's inputs, and whether they are volumes.
    fn images(&self, py: Python<'_>) -> Option<(Vec<String>, bool)> {
        py.detach(|| {
            let model = self.lock();
            let recipe = model.recipe()?;
            Some((recipe.input.iter().map(|i| i.name.clone()).collect(), recipe.kind() == ImageKind::Volume))
        })
    }

    fn recipe(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.lock().recipe_text().map(str::to_owned))
    }

    fn skeleton(&self, py: Python<'_>, name: &str) -> String {
        py.detach(|| self.lock().skeleton(name))
    }

    fn notes(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.lock().notes().to_vec())
    }

    fn sha256(&self, py: Python<'_>) -> String {
        py.detach(|| self.lock().sha256().to_owned())
    }

    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.lock().write_onnx(path)).map_err(raised)
    }

    /// Runs the network on float32 arrays whose values lie in order.
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<(String, PyReadonlyArrayDyn<'py, f32>)>,
    ) -> PyResult<Vec<(String, Bound<'py, PyArrayDyn<f32>>)>> {
        let mut given = Vec::with_capacity(inputs.len());
        for (name, array) in &inputs {
            let values = array.as_slice().map_err(usage)?;
            given.push((name.as_str(), TensorView::new(array.shape(), values).map_err(raised)?));
        }
        let outputs = py.detach(|| self.lock().run_views(&given)).map_err(raised)?;
        let one = |(name, t): (String, ampoule::Tensor)| {
            let shape = t.shape().to_vec();
            Ok((name, array::tensor(py, &shape, t.into_values())?))
        };
        outputs.into_iter().map(one).collect()
    }

    /// Runs a case of files.
    fn predict_files<'py>(
        &self,
        py: Python<'py>,
        files: Vec<PathBuf>,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let files: Vec<&std::path::Path> = files.iter().map(PathBuf::as_path).collect();
        let found = py.detach(|| {
            let mut model = self.lock();
            model.set_probabilities(probabilities);
            model.predict_files(&files)
        });
        prediction(py, found.map_err(raised)?)
    }

    /// Runs a case of volumes in memory.
    fn predict_volumes<'py>(
        &self,
        py: Python<'py>,
        volumes: Vec<image::Voxels<'py>>,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let images = image::volumes(volumes)?;
        self.predict_images(py, images, probabilities)
    }

    /// Runs a picture in memory.
    fn predict_photo<'py>(
        &self,
        py: Python<'py>,
        rgb: PyReadonlyArray3<'py, u8>,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let images = image::photo(&rgb)?;
        self.predict_images(py, images, probabilities)
    }

    /// The cases that inputs hold, as JSON: cases, skipped files with reasons, notes.
    fn collect(&self, py: Python<'_>, inputs: Vec<PathBuf>, output: Option<PathBuf>) -> PyResult<String> {
        let found = py.detach(|| self.lock().collect(&inputs, output.as_deref())).map_err(raised)?;
        json(&serde_json::json!({ "cases": found.cases, "skipped": found.skipped, "notes": found.notes }))
    }
}

impl Model {
    fn predict_images<'py>(
        &self,
        py: Python<'py>,
        images: Images,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| {
            let mut model = self.lock();
            model.set_probabilities(probabilities);
            model.predict_images(images)
        });
        prediction(py, found.map_err(raised)?)
    }
}

/// Installs this machine's measured constants from a file, where it is there and of this CPU.
#[pyfunction]
pub(crate) fn install_calibration(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    py.detach(|| ampoule::install_calibration(&path)).map_err(input)
}

/// What was found, by name.
fn prediction(py: Python<'_>, found: Prediction) -> PyResult<Bound<'_, PyDict>> {
    let flat = found.affine.is_none();
    let out = PyDict::new(py);
    let labels = found.labels.map(|l| array::volume(py, l, flat)).transpose()?;
    out.set_item("labels", labels)?;
    let probabilities = PyDict::new(py);
    for (label, scores) in found.probabilities {
        probabilities.set_item(label.name, array::volume(py, scores, flat)?)?;
    }
    out.set_item("probabilities", probabilities)?;
    out.set_item("classes", found.classes)?;
    out.set_item("scores", found.scores)?;
    out.set_item("affine", found.affine.map(|a| a.0))?;
    out.set_item("spacing_mm", found.spacing_mm)?;
    out.set_item("warnings", found.warnings)?;
    let seconds: Vec<(&str, f64)> = found.timings.iter().map(|(k, d)| (*k, d.as_secs_f64())).collect();
    out.set_item("seconds", seconds)?;
    out.set_item("peak_memory_bytes", ampoule::peak_rss_bytes())?;
    out.set_item("measured", serde_json::to_string(&found.measured).map_err(input)?)?;
    Ok(out)
}
