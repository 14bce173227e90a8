//! What can be wrong with a model.

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
    /// A tensor whose description and data disagree.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph is not well formed.
    #[error("invalid graph: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
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
        source: OpError,
    },
    /// Operators that are not supported, all of them.
    #[error("{}", list_unsupported(.0))]
    Unsupported(Vec<UnsupportedOp>),
    /// A pass changed what it must not change.
    #[error("graph pass `{pass}` produced an invalid graph: {reason}")]
    Pass {
        /// Name of the pass.
        pass: &'static str,
        /// What the check found.
        reason: String,
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

impl Error {
    /// The graph is not well formed, with `reason`.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Error::Invalid { reason: reason.into() }
    }

    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Error::Tensor { name: name.to_owned(), reason: reason.into() }
    }
}
