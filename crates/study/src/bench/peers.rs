//! Other engines, through their C libraries from Python wheels.

use super::worker::{Loaded, Task, seeded};
use openvino::{Core, DeviceType, ElementType, InferRequest, RwPropertyKey, Shape};
use ort::session::{Session, SessionInputValue, builder::GraphOptimizationLevel};
use ort::value::Tensor;
use std::borrow::Cow;

fn library(task: &Task) -> Result<&std::path::Path, String> {
    task.library.as_deref().ok_or_else(|| "no library given".to_owned())
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// ONNX Runtime's CPU provider with all graph optimisations, denormals flushed.
pub(super) struct OnnxRuntime {
    session: Session,
    inputs: Vec<(String, Tensor<f32>)>,
    outputs: Vec<Vec<f32>>,
    keep: bool,
}

impl OnnxRuntime {
    pub fn load(task: &Task) -> Result<Self, String> {
        let environment =
            ort::init_from(library(task)?).map_err(text)?.with_telemetry(false).build().map_err(text)?;
        let session = Session::builder(&environment)
            .map_err(text)?
            .with_intra_threads(task.threads)
            .map_err(text)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(text)?
            .with_config_entry("session.set_denormal_as_zero", "1")
            .map_err(text)?
            .commit_from_file(&task.model)
            .map_err(text)?;
        let tensor = |((name, dims), values): (&(String, Vec<usize>), Vec<f32>)| {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            Tensor::from_array((shape, values)).map(|t| (name.clone(), t)).map_err(text)
        };
        let inputs = task.inputs.iter().zip(seeded(task)).map(tensor).collect::<Result<_, _>>()?;
        Ok(OnnxRuntime { session, inputs, outputs: Vec::new(), keep: false })
    }
}

impl Loaded for OnnxRuntime {
    fn run(&mut self) -> Result<(), String> {
        let inputs: Vec<(Cow<str>, SessionInputValue)> =
            self.inputs.iter().map(|(n, t)| (n.as_str().into(), t.into())).collect();
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
        self.run()?;
        self.keep = false;
        Ok(std::mem::take(&mut self.outputs))
    }
}

/// OpenVINO's CPU plugin with the latency hint and one stream.
pub(super) struct OpenVino {
    request: InferRequest,
    outputs: usize,
    // Kept alive for the request.
    _core: Core,
}

impl OpenVino {
    pub fn load(task: &Task) -> Result<Self, String> {
        openvino_sys::library::load_from(library(task)?)?;
        let mut core = Core::new().map_err(text)?;
        let threads = task.threads.to_string();
        for (key, value) in [
            (RwPropertyKey::HintPerformanceMode, "LATENCY"),
            (RwPropertyKey::HintInferencePrecision, if task.precision == "fp32" { "f32" } else { "bf16" }),
            (RwPropertyKey::InferenceNumThreads, threads.as_str()),
            (RwPropertyKey::NumStreams, "1"),
        ] {
            core.set_property(&DeviceType::CPU, &key, value).map_err(text)?;
        }
        let path = task.model.to_string_lossy();
        let model = core.read_model_from_file(&path, "").map_err(text)?;
        let outputs = model.get_outputs_len().map_err(text)?;
        let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(text)?;
        let mut request = compiled.create_infer_request().map_err(text)?;
        for (i, ((_, dims), values)) in task.inputs.iter().zip(seeded(task)).enumerate() {
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let shape = Shape::new(&shape).map_err(text)?;
            let mut tensor = openvino::Tensor::new(ElementType::F32, &shape).map_err(text)?;
            tensor.get_data_mut::<f32>().map_err(text)?.copy_from_slice(&values);
            request.set_input_tensor_by_index(i, &tensor).map_err(text)?;
        }
        Ok(OpenVino { request, outputs, _core: core })
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
