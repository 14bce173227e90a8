//! Other engines, through their C libraries from Python wheels.

use crate::error::PeerError;
use crate::task::{Failure, Loaded, Task, is_float32, seeded};
use ampoule_engine::{ExternalError, ExternalNetwork};
use openvino::{Core, DeviceType, ElementType, InferRequest, RwPropertyKey, Shape};
use ort::session::{Session, SessionInputValue, builder::GraphOptimizationLevel};
use ort::value::Tensor;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Mutex;

fn library(task: &Task) -> Result<&Path, PeerError> {
    task.library.as_deref().ok_or(PeerError::NoLibrary)
}

/// Names and dimensions of inputs.
type Inputs = [(String, Vec<usize>)];

fn onnx_runtime(e: impl std::fmt::Display) -> PeerError {
    PeerError::OnnxRuntime { message: e.to_string() }
}

fn openvino(e: impl std::fmt::Display) -> PeerError {
    PeerError::OpenVino { message: e.to_string() }
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
    pub(crate) fn load(task: &Task) -> Result<Self, PeerError> {
        let mut engine = Self::open(library(task)?, &task.model, &task.inputs, task.threads)?;
        for (i, v) in seeded(task).into_iter().enumerate() {
            engine.set(i, v)?;
        }
        Ok(engine)
    }

    /// Loads `model` with inputs of zeros.
    pub fn open(library: &Path, model: &Path, inputs: &Inputs, threads: usize) -> Result<Self, PeerError> {
        // A process may have one environment only, however many networks.
        static ENVIRONMENT: Mutex<Option<ort::environment::Environment>> = Mutex::new(None);
        let mut kept = ENVIRONMENT.lock().unwrap_or_else(|e| e.into_inner());
        let environment = match kept.clone() {
            Some(e) => e,
            None => ort::init_from(library)
                .map_err(onnx_runtime)?
                .with_telemetry(false)
                .build()
                .map_err(onnx_runtime)?,
        };
        *kept = Some(environment.clone());
        drop(kept);
        let session = Session::builder(&environment)
            .map_err(onnx_runtime)?
            .with_intra_threads(threads)
            .map_err(onnx_runtime)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(onnx_runtime)?
            .with_config_entry("session.set_denormal_as_zero", "1")
            .map_err(onnx_runtime)?
            .commit_from_file(model)
            .map_err(onnx_runtime)?;
        let tensor = |(name, dims): &(String, Vec<usize>)| {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let zeros = Tensor::from_array((shape.clone(), vec![0f32; dims.iter().product()]));
            zeros.map(|t| (name.clone(), shape, t)).map_err(onnx_runtime)
        };
        let inputs = inputs.iter().map(tensor).collect::<Result<_, _>>()?;
        Ok(OnnxRuntime { session, inputs, outputs: Vec::new(), keep: false })
    }

    fn set(&mut self, i: usize, values: Vec<f32>) -> Result<(), PeerError> {
        let (_, shape, tensor) = &mut self.inputs[i];
        *tensor = Tensor::from_array((shape.clone(), values)).map_err(onnx_runtime)?;
        Ok(())
    }

    fn infer(&mut self) -> Result<(), PeerError> {
        let inputs: Vec<(Cow<str>, SessionInputValue)> =
            self.inputs.iter().map(|(n, _, t)| (n.as_str().into(), t.into())).collect();
        let outputs = self.session.run(inputs).map_err(onnx_runtime)?;
        if self.keep {
            self.outputs.clear();
            for (_, value) in outputs.iter() {
                let (_, data) = value.try_extract_tensor::<f32>().map_err(onnx_runtime)?;
                self.outputs.push(data.to_vec());
            }
        }
        Ok(())
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>, PeerError> {
        self.keep = true;
        self.infer()?;
        self.keep = false;
        Ok(std::mem::take(&mut self.outputs))
    }
}

impl Loaded for OnnxRuntime {
    fn run(&mut self) -> Result<(), Failure> {
        Ok(self.infer()?)
    }

    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, Failure> {
        Ok(self.results()?)
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
    pub(crate) fn load(task: &Task) -> Result<Self, PeerError> {
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
    ) -> Result<Self, PeerError> {
        openvino_sys::library::load_from(library).map_err(openvino)?;
        let mut core = Core::new().map_err(openvino)?;
        let threads = threads.to_string();
        for (key, value) in [
            (RwPropertyKey::HintPerformanceMode, "LATENCY"),
            (RwPropertyKey::HintInferencePrecision, if is_float32(precision) { "f32" } else { "bf16" }),
            (RwPropertyKey::InferenceNumThreads, threads.as_str()),
            (RwPropertyKey::NumStreams, "1"),
        ] {
            core.set_property(&DeviceType::CPU, &key, value).map_err(openvino)?;
        }
        let path = model.to_string_lossy();
        let model = core.read_model_from_file(&path, "").map_err(openvino)?;
        let outputs = model.get_outputs_len().map_err(openvino)?;
        let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(openvino)?;
        let mut request = compiled.create_infer_request().map_err(openvino)?;
        let mut tensors = Vec::new();
        for (i, (_, dims)) in inputs.iter().enumerate() {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let shape = Shape::new(&shape).map_err(openvino)?;
            let tensor = openvino::Tensor::new(ElementType::F32, &shape).map_err(openvino)?;
            request.set_input_tensor_by_index(i, &tensor).map_err(openvino)?;
            tensors.push(tensor);
        }
        Ok(OpenVino { request, inputs: tensors, outputs, _core: core })
    }

    fn set(&mut self, i: usize, values: &[f32]) -> Result<(), PeerError> {
        self.inputs[i].get_data_mut::<f32>().map_err(openvino)?.copy_from_slice(values);
        Ok(())
    }
}

impl Loaded for OpenVino {
    fn run(&mut self) -> Result<(), Failure> {
        Ok(self.infer()?)
    }

    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, Failure> {
        Ok(self.results()?)
    }
}

impl OpenVino {
    fn infer(&mut self) -> Result<(), PeerError> {
        self.request.infer().map_err(openvino)
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>, PeerError> {
        (0..self.outputs)
            .map(|i| {
                let tensor = self.request.get_output_tensor_by_index(i).map_err(openvino)?;
                Ok(tensor.get_data::<f32>().map_err(openvino)?.to_vec())
            })
            .collect()
    }
}

impl ExternalNetwork for OnnxRuntime {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError> {
        for (i, v) in inputs.iter().enumerate() {
            self.set(i, v.clone())?;
        }
        Ok(self.results()?)
    }
}

impl ExternalNetwork for OpenVino {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError> {
        for (i, v) in inputs.iter().enumerate() {
            self.set(i, v)?;
        }
        self.infer()?;
        Ok(self.results()?)
    }
}
