//! What can be wrong with a model.

use crate::DType;
use crate::op_error::OpError;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One operator that a model uses and that is not supported, with where and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsupportedOp {
    /// Operator type, with its domain in front when that is not the default one.
    pub op: String,
    /// Name of the first node that uses it (or its first output's name).
    pub node: String,
    /// Why, in a few words.
    pub reason: String,
}

/// A model that cannot be read, is not valid, or uses what is not supported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor whose data do not fit its type and shape.
    #[error("a tensor of {} {dims:?} does not hold {given} {unit}", .dtype.name())]
    TensorData {
        /// Element type.
        dtype: DType,
        /// Dimensions, outermost first.
        dims: Vec<usize>,
        /// How much is given.
        given: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The graph is not well formed.
    #[error("invalid graph: {0}")]
    Invalid(#[from] Defect),
    /// Something that the graph does not have is asked for, or has a name that is taken.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More or fewer inputs than the graph has.
    #[error("{given} inputs given, {expected} expected")]
    InputCount {
        /// Inputs given.
        given: usize,
        /// Inputs of the graph.
        expected: usize,
    },
    /// A node whose attributes or input shapes do not fit its operator.
    #[error("node `{node}` ({op}, inputs {inputs}): {source}")]
    Node {
        /// Node name, or its first output's.
        node: String,
        /// Operator type.
        op: String,
        /// Shapes of all inputs.
        inputs: String,
        /// What is wrong.
        source: Box<OpError>,
    },
    /// Operators that are not supported, all of them.
    #[error("{}", list_unsupported(.0))]
    Unsupported(Vec<UnsupportedOp>),
    /// A pass changed what it must not change.
    #[error("graph pass `{pass}` produced an invalid graph: {source}")]
    Pass {
        /// Name of the pass.
        pass: &'static str,
        /// What the check found.
        source: Box<Error>,
    },
}

fn list_unsupported(ops: &[UnsupportedOp]) -> String {
    let list: Vec<String> =
        ops.iter().map(|o| format!("{} (node `{}`: {})", o.op, o.node, o.reason)).collect();
    format!(
        "the model uses {} unsupported operator{}: {}",
        ops.len(),
        if ops.len() == 1 { "" } else { "s" },
        list.join("; ")
    )
}

/// What makes a graph invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Defect {
    #[error("node `{node}` is part of a cycle")]
    Cycle { node: String },
    #[error("two values are named `{name}`")]
    SameName { name: String },
    #[error("`{name}` is defined twice")]
    DefinedTwice { name: String },
    #[error("node `{node}` reads `{value}`, which nothing computes before it")]
    ReadBeforeComputed { node: String, value: String },
    #[error("node `{node}` has no output")]
    NodeWithoutOutput { node: String },
    #[error("output `{name}` is never computed")]
    OutputNotComputed { name: String },
    #[error("the graph has no output")]
    NoOutput,
    #[error("`{name}` would have {dims:?} elements, which is too many")]
    TooLarge { name: String, dims: Vec<usize> },
}

/// A name that a graph does not have, or has already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum NameError {
    #[error("the model has no input `{name}`")]
    NoInput { name: String },
    #[error("the model has no output {}", .names.join(" or "))]
    NoOutput { names: Vec<String> },
    #[error("there is an output `{name}` already")]
    OutputTaken { name: String },
}
