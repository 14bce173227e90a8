//! Why an operator of a file is not supported.

use ampoule_graph::DType;

/// Shorthand for what reading an operator gives.
pub(crate) type Read<T> = Result<T, Refusal>;

/// Why an operator of a file is not supported; the node is kept as it is and the reason told with its name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("not one of the operators that are known here")]
    NotKnown,
    #[error("domain {domain} is not supported")]
    Domain { domain: String },
    #[error("attribute {name} is not understood")]
    NotUnderstood { name: String },
    #[error("attribute {name} refers to a function's attribute")]
    OfFunction { name: String },
    #[error("attribute {name} has type {found}, not {wanted}")]
    Type { name: String, found: i32, wanted: i32 },
    #[error("attribute {name} is negative: {values:?}")]
    Negative { name: String, values: Vec<i64> },
    #[error("attribute {name} is not UTF-8")]
    NotText { name: String },
    #[error("attribute {name} holds no tensor")]
    NoTensor { name: String },
    #[error("attribute {name} holds a tensor that cannot be read: {source}")]
    Tensor { name: String, source: Box<crate::Error> },
    #[error("{name} is missing")]
    Missing { name: &'static str },
    #[error("{name} must be positive")]
    NotPositive { name: &'static str },
    #[error("{name} {value} is not supported")]
    Value { name: &'static str, value: String },
    #[error("element type {code} is not known")]
    ElementType { code: i32 },
    #[error("{action} {} is not supported", .dtype.name())]
    DType { action: &'static str, dtype: DType },
    #[error("the scales of blocks of {size} are no constants that fit the values")]
    Blocks { size: i64 },
    #[error("{name} is computed, where a constant is needed")]
    NotConstant { name: &'static str },
    #[error("the inputs {names} are not supported")]
    ExtraInputs { names: &'static str },
    #[error("its branches are not known before a run: {reason}")]
    Control { reason: &'static str },
    #[error("functions call each other more than {most} deep")]
    Functions { most: usize },
    #[error("the outputs {names} are not supported")]
    ExtraOutputs { names: &'static str },
    #[error("training mode is not supported")]
    Training,
    #[error("num_outputs is {said}, but the node has {found} outputs")]
    OutputCount { said: i64, found: usize },
    #[error("value must be one number")]
    NotOneNumber,
    #[error("a Constant node must have one attribute, not {found}")]
    ConstantAttributes { found: usize },
    #[error("exclude_outside with linear interpolation is not supported")]
    ExcludeOutside,
    #[error("{given} inputs, {}", expected(*.least, *.most))]
    Inputs { given: usize, least: usize, most: usize },
    #[error("{given} outputs, at most {most} expected")]
    Outputs { given: usize, most: usize },
}

fn expected(least: usize, most: usize) -> String {
    match most {
        usize::MAX => format!("at least {least} expected"),
        most if most == least => format!("{least} expected"),
        most => format!("{least} to {most} expected"),
    }
}
