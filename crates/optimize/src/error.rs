use crate::options_error::OptionsError;
use std::path::PathBuf;

/// What can go wrong while a model is optimized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The graph is broken or holds what cannot be rewritten.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// An ONNX file that cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] ampoule_onnx::Error),
    /// A network could not be run.
    #[error(transparent)]
    Engine(#[from] ampoule_engine::Error),
    /// A case could not be run through the recipe.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// Results could not be judged.
    #[error(transparent)]
    Eval(#[from] ampoule_eval::Error),
    /// A network that cannot be trained, or no longer.
    #[error(transparent)]
    Train(#[from] ampoule_train::Error),
    /// Options that contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// An instruction-set tier that is unknown or not that of this CPU.
    #[error(transparent)]
    Isa(#[from] ampoule_kernels::FeatureSetError),
    /// There are no cases to calibrate on.
    #[error("there are no cases to calibrate on (--calibrate)")]
    NoCalibration,
    /// A limit on a metric that ground truth is needed for.
    #[error("{metric} needs the ground truth of the validation cases (--truth)")]
    NeedsGroundTruth {
        /// The metric.
        metric: String,
    },
    /// Nothing was seen of a tensor that needs a range.
    #[error("calibration saw nothing of `{tensor}`; are there calibration cases?")]
    Unseen {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor held a value that is not finite.
    #[error("`{tensor}` held a value that is not finite in case {case}; the case or the model is damaged")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// The case.
        case: String,
    },
    /// There is nothing to quantize.
    #[error(
        "there is no convolution or matrix product with constant weights to quantize; `--preset all` takes a first layer of up to three channels too"
    )]
    NothingToQuantize,
    /// A technique that works on INT8, before calibration has made it; a fault of this program.
    #[error("the network is not in INT8 yet; a fault of this program")]
    NotInt8,
    /// Training ended without the network that was asked for; a fault of this program.
    #[error("training gave no network in float32; a fault of this program")]
    NoFloat,
    /// A layer without the constant that a technique changes.
    #[error("input {input} of the layer `{node}` is no constant")]
    NotConstant {
        /// Name of the layer.
        node: String,
        /// Position of the input, from 0.
        input: usize,
    },
    /// A constant that is not made of numbers.
    #[error("the constant `{tensor}` is of {dtype}, not of numbers")]
    NotNumeric {
        /// Name of the constant.
        tensor: String,
        /// Name of its type.
        dtype: &'static str,
    },
    /// Quantized values beyond their type; a fault of this program.
    #[error("quantized values of `{tensor}` do not fit their type; a fault of this program")]
    Overflow {
        /// Name of the tensor.
        tensor: String,
    },
    /// A layer whose channels are not those of the values that it reads or writes.
    #[error("the layer `{node}` has {found} channels where its values have {wanted}")]
    Channels {
        /// Name of the layer.
        node: String,
        /// Channels of its weights.
        found: usize,
        /// Channels of the values.
        wanted: usize,
    },
    /// A journal that cannot be used.
    #[error(transparent)]
    Journal(#[from] ampoule_pipeline::JournalError),
    /// The recipe runs none of the file's networks.
    #[error("the network was never run")]
    NeverRun,
    /// No channels can be pruned.
    #[error("the network cannot be pruned anywhere: {reason}")]
    NothingToPrune {
        /// Why.
        reason: String,
    },
    /// A node whose channels are pruned and that cannot be cut; a fault of this program.
    #[error("the node `{node}` ({op}) cannot be cut; a fault of this program")]
    NotCut {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A class that no training case shows.
    #[error("no case of --finetune shows the class `{class}`, which training would unlearn; add cases of it")]
    ClassMissing {
        /// The class.
        class: String,
    },
    /// The recipe names no output.
    #[error("the recipe names no output to train")]
    NoOutput,
    /// A network with several inputs.
    #[error("the network has {inputs} inputs; those with one can be trained")]
    Inputs {
        /// How many.
        inputs: usize,
    },
    /// An output without channels, which no student can have.
    #[error("the network's output has no channels")]
    NoChannels,
    /// A student whose name is no architecture, or that does not fit.
    #[error("{reason}")]
    Student {
        /// Why.
        reason: String,
    },
    /// A value inside a network that is to be distilled and is not there.
    #[error("the {network} has no value `{value}`; values have the names that they have in the ONNX file")]
    NoValue {
        /// `teacher` or `network`.
        network: &'static str,
        /// The name that was asked for.
        value: String,
    },
    /// Outputs or inner values of teacher and student that differ in size.
    #[error(
        "the teacher's {what} has the size {teacher:?}, the student's {student:?}; they cannot be compared"
    )]
    Sizes {
        /// `output`, or the name of an inner value.
        what: String,
        /// Size of the teacher's.
        teacher: Vec<usize>,
        /// Size of the student's.
        student: Vec<usize>,
    },
    /// A checkpoint that belongs to another network.
    #[error("{place} is of another network; remove it")]
    Checkpoint {
        /// The file.
        place: String,
    },
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Engine(e) => e.is_memory(),
            Error::Pipeline(e) => e.is_memory(),
            Error::Eval(e) => e.is_memory(),
            Error::Train(e) => e.is_memory(),
            Error::File { .. }
            | Error::Graph(_)
            | Error::Onnx(_)
            | Error::Options(_)
            | Error::Isa(_)
            | Error::NoCalibration
            | Error::NeedsGroundTruth { .. }
            | Error::Unseen { .. }
            | Error::NotFinite { .. }
            | Error::NothingToQuantize
            | Error::NotInt8
            | Error::NoFloat
            | Error::NotConstant { .. }
            | Error::NotNumeric { .. }
            | Error::Overflow { .. }
            | Error::Channels { .. }
            | Error::Journal(_)
            | Error::NeverRun
            | Error::NothingToPrune { .. }
            | Error::NotCut { .. }
            | Error::ClassMissing { .. }
            | Error::NoOutput
            | Error::Inputs { .. }
            | Error::NoChannels
            | Error::Student { .. }
            | Error::NoValue { .. }
            | Error::Sizes { .. }
            | Error::Checkpoint { .. } => false,
        }
    }

    /// A constant that is not made of numbers.
    pub(crate) fn not_numeric(g: &ampoule_graph::Graph, id: ampoule_graph::ValueId) -> Self {
        let dtype = g.constants.get(&id).map_or("unknown", |t| t.dtype().name());
        Error::NotNumeric { tensor: g.value(id).name.clone(), dtype }
    }

    /// An input of node `i` that is no constant.
    pub(crate) fn not_constant(g: &ampoule_graph::Graph, i: usize, input: usize) -> Self {
        Error::NotConstant { node: g.node_name(&g.nodes[i]).to_owned(), input }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
