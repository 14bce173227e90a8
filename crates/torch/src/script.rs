//! TorchScript: the code and data of an archive, followed with free or known sizes until they are a graph.
//!
//! The code is parsed and evaluated here, within bounds on steps, depth and memory. Tensors stand for values of the
//! graph that is built; numbers, lists and modules are computed with as they are; branches and loops are decided.

mod ast;
mod eval;
mod lexer;
mod load;
mod parser;

pub(crate) use load::Program;

use crate::net::{Followed, Net};
use crate::value::Value;

/// Code that cannot be parsed.
#[derive(Debug, PartialEq)]
pub(crate) struct SyntaxError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub reason: String,
}

/// The inputs that a program wants: name and whether it has to be given.
pub(crate) fn inputs(program: &Program) -> Followed<Vec<String>> {
    eval::inputs(program)
}

/// Follows `forward` of the program's module with these inputs; the outputs by name.
pub(crate) fn follow(program: &Program, net: &mut Net, inputs: Vec<Value>) -> Followed<Value> {
    eval::forward(program, net, inputs)
}
