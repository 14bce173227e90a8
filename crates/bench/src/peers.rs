//! Other engines, through their C libraries from Python wheels.

use crate::task::{Loaded, Task, seeded};
use ampoule_engine::ExternalNetwork;
use openvino::{Core, DeviceType, ElementType, InferRequest, RwPropertyKey, Shape};
use ort::session::{Session, SessionInputValue, builder::GraphOptimizationLevel};
use ort::value::Tensor;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Mutex;

fn library(task: &Task) -> Result<&Path, String> {
    task.library.as_deref().ok_or_else(|| "no library given".to_owned())
}

/// Names and dimensions of inputs.
type Inputs = [(String, Vec<usize>)];

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// ONNX Runtime's CPU provider with all graph optimisations, denormals flushed.
pub struct OnnxRuntime {
    session: Session,
    inputs: Vec<(String, Vec<i64>, Tensor<f32>)>,
    outputs: Vec<Vec<f32>>,
    keep: bool,
}

impl OnnxRuntime {
    /// For the process of `bench`, with its inputs set.
    pub(crate) fn load(task: &Task) -> Result<Self, String> {
        let mut engine = Self::open(library(task)?, &task.model, &task.inputs, task.threads)?;
        for (i, v) in seeded(task).into_iter().enumerate() {
            engine.set(i, v)?;
        }
        Ok(engine)
    }

    /// Loads `model` with inputs of zeros.
    pub fn open(library: &Path, model: &Path, inputs: &Inputs, threads: usize) -> Result<Self, String> {
        // A process may have one environment only, however many networks.
        static ENVIRONMENT: Mutex<Option<ort::environment::Environment>> = Mutex::new(None);
        let mut kept = ENVIRONMENT.lock().unwrap_or_else(|e| e.into_inner());
        let environment = match kept.clone() {
            Some(e) => e,
            None => ort::init_from(library).map_err(text)?.with_telemetry(false).build().map_err(text)?,
        };
        *kept = Some(environment.clone());
        drop(kept);
        let session = Session::builder(&environment)
            .map_err(text)?
            .with_intra_threads(threads)
            .map_err(text)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(text)?
            .with_config_entry("session.set_denormal_as_zero", "1")
            .map_err(text)?
            .commit_from_file(model)
            .map_err(text)?;
        let tensor = |(name, dims): &(String, Vec<usize>)| {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let zeros = Tensor::from_array((shape.clone(), vec![0f32; dims.iter().product()]));
            zeros.map(|t| (name.clone(), shape, t)).map_err(text)
        };
        let inputs = inputs.iter().map(tensor).collect::<Result<_, _>>()?;
        Ok(OnnxRuntime { session, inputs, outputs: Vec::new(), keep: false })
    }

    fn set(&mut self, i: usize, values: Vec<f32>) -> Result<(), String> {
        let (_, shape, tensor) = &mut self.inputs[i];
        *tensor = Tensor::from_array((shape.clone(), values)).map_err(text)?;
        Ok(())
    }
}

impl Loaded for OnnxRuntime {
    fn run(&mut self) -> Result<(), String> {
        let inputs: Vec<(Cow<str>, SessionInputValue)> =
            self.inputs.iter().map(|(n, _, t)| (n.as_str().into(), t.into())).collect();
        let outputs = self.session.run(inputs).map_err(text)?;
        if self.keep {
            self.outputs.clear();
            for (_, value) in outputs.iter() {
                let (_, data) = value.try_extract_tensor::<f32>().map_err(text)?;
                self.outputs.push(data.to_vec());
            }
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, String> {
        self.keep = true;
        Loaded::run(self)?;
        self.keep = false;
        Ok(std::mem::take(&mut self.outputs))
    }
}

/// OpenVINO's CPU plugin with the latency hint and one stream.
pub struct OpenVino {
    request: InferRequest,
    inputs: Vec<openvino::Tensor>,
    outputs: usize,
    // Kept alive for the request.
    _core: Core,
}

impl OpenVino {
    /// For the process of `bench`, with its inputs set.
    pub(crate) fn load(task: &Task) -> Result<Self, String> {
        let mut engine =
            Self::open(library(task)?, &task.model, &task.inputs, task.threads, &task.precision)?;
        for (i, v) in seeded(task).iter().enumerate() {
            engine.set(i, v)?;
        }
        Ok(engine)
    }

    /// Loads `model`; its floating-point layers run in `precision`.
    pub fn open(
        library: &Path,
        model: &Path,
        inputs: &Inputs,
        threads: usize,
        precision: &str,
    ) -> Result<Self, String> {
        openvino_sys::library::load_from(library)?;
        let mut core = Core::new().map_err(text)?;
        let threads = threads.to_string();
        for (key, value) in [
            (RwPropertyKey::HintPerformanceMode, "LATENCY"),
            (RwPropertyKey::HintInferencePrecision, if precision == "fp32" { "f32" } else { "bf16" }),
            (RwPropertyKey::InferenceNumThreads, threads.as_str()),
            (RwPropertyKey::NumStreams, "1"),
        ] {
            core.set_property(&DeviceType::CPU, &key, value).map_err(text)?;
        }
        let path = model.to_string_lossy();
        let model = core.read_model_from_file(&path, "").map_err(text)?;
        let outputs = model.get_outputs_len().map_err(text)?;
        let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(text)?;
        let mut request = compiled.create_infer_request().map_err(text)?;
        let mut tensors = Vec::new();
        for (i, (_, dims)) in inputs.iter().enumerate() {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let shape = Shape::new(&shape).map_err(text)?;
            let tensor = openvino::Tensor::new(ElementType::F32, &shape).map_err(text)?;
            request.set_input_tensor_by_index(i, &tensor).map_err(text)?;
            tensors.push(tensor);
        }
        Ok(OpenVino { request, inputs: tensors, outputs, _core: core })
    }

    fn set(&mut self, i: usize, values: &[f32]) -> Result<(), String> {
        self.inputs[i].get_data_mut::<f32>().map_err(text)?.copy_from_slice(values);
        Ok(())
    }
}

impl Loaded for OpenVino {
    fn run(&mut self) -> Result<(), String> {
        self.request.infer().map_err(text)
    }

    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, String> {
        (0..self.outputs)
            .map(|i| {
                let tensor = self.request.get_output_tensor_by_index(i).map_err(text)?;
                Ok(tensor.get_data::<f32>().map_err(text)?.to_vec())
            })
            .collect()
    }
}

impl ExternalNetwork for OnnxRuntime {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, String> {
        for (i, v) in inputs.iter().enumerate() {
            self.set(i, v.clone())?;
        }
        self.outputs()
    }
}

impl ExternalNetwork for OpenVino {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, String> {
        for (i, v) in inputs.iter().enumerate() {
            self.set(i, v)?;
        }
        Loaded::run(self)?;
        self.outputs()
    }
}
