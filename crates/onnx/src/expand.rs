//! Operators that stand for several others: those of ONNX Runtime's optimizer, quantized and dynamically quantized
//! ones, and functions of the standard that have no row of their own. Each becomes a list of standard nodes in their
//! newest form, so that nothing behind the reader knows them.

mod attention;
mod contrib;
mod dynamic;
mod functions;
mod qlinear;

use crate::draft::Draft;
use crate::ops::fields::ints;
use crate::proto::{AttributeProto, NodeProto};
use crate::refusal::{Read, Refusal};
use ampoule_graph::{DType, Dim, Tensor};

/// The nodes that one node stands for, while they are made.
pub(super) struct Expansion<'a> {
    draft: &'a mut Draft,
    node: &'a NodeProto,
    nodes: Vec<NodeProto>,
}

/// The nodes that `n` stands for, `None` if it stands for itself.
pub(crate) fn expand(draft: &mut Draft, n: &NodeProto) -> Option<Read<Vec<NodeProto>>> {
    let rule = rule(n, draft.graph.opset)?;
    let mut e = Expansion { draft, node: n, nodes: Vec::new() };
    Some(rule(&mut e).map(|()| e.nodes))
}

type Rule = fn(&mut Expansion) -> Read<()>;

/// How `n` is taken apart.
fn rule(n: &NodeProto, opset: i64) -> Option<Rule> {
    let own = matches!(n.domain.as_str(), "" | "ai.onnx");
    let runtime = n.domain == "com.microsoft";
    let found: Option<Rule> = match n.op_type.as_str() {
        name if own => functions::rule(n, opset).or_else(|| dynamic::rule(name)),
        name if runtime => contrib::rule(name).or_else(|| dynamic::runtime_rule(name)),
        _ => None,
    };
    found.or_else(|| qlinear::applies(n).then_some(qlinear::expand as Rule))
}

impl Expansion<'_> {
    /// Name of input `i`, empty where it is left out.
    fn input(&self, i: usize) -> String {
        self.node.input.get(i).cloned().unwrap_or_default()
    }

    /// Whether input `i` is given.
    fn has(&self, i: usize) -> bool {
        self.node.input.get(i).is_some_and(|s| !s.is_empty())
    }

    /// Input `i`, which the operator needs.
    fn needed(&self, i: usize) -> Read<String> {
        match self.has(i) {
            true => Ok(self.input(i)),
            false => Err(Refusal::Inputs { given: self.node.input.len(), least: i + 1, most: usize::MAX }),
        }
    }

    /// Name of output `i`, empty where nothing reads it.
    fn output(&self, i: usize) -> String {
        self.node.output.get(i).cloned().unwrap_or_default()
    }

    /// Refuses inputs from `first` on.
    fn no_inputs_from(&self, first: usize) -> Read<()> {
        match self.node.input.iter().skip(first).all(String::is_empty) {
            true => Ok(()),
            false => Err(Refusal::Inputs { given: self.node.input.len(), least: 0, most: first }),
        }
    }

    /// Refuses outputs from `first` on.
    fn no_outputs_from(&self, first: usize) -> Read<()> {
        match self.node.output.iter().skip(first).all(String::is_empty) {
            true => Ok(()),
            false => Err(Refusal::Outputs { given: self.node.output.len(), most: first }),
        }
    }

    /// A node whose output gets a name of its own.
    fn op<S: AsRef<str>>(&mut self, op: &str, inputs: &[S], attributes: Vec<AttributeProto>) -> String {
        let hint = format!("{}/{}", self.output(0), op.to_lowercase());
        let id = self.draft.extra(&hint);
        let name = self.draft.graph.value(id).name.clone();
        self.into(op, inputs, attributes, &name);
        name
    }

    /// A node that computes `output`.
    fn into<S: AsRef<str>>(&mut self, op: &str, inputs: &[S], attribute: Vec<AttributeProto>, output: &str) {
        self.nodes.push(NodeProto {
            name: output.into(),
            op_type: op.into(),
            input: inputs.iter().map(|s| s.as_ref().to_owned()).collect(),
            output: vec![output.into()],
            attribute,
            ..NodeProto::default()
        });
    }

    /// A constant.
    fn constant(&mut self, t: Tensor) -> String {
        let hint = format!("{}/constant", self.output(0));
        let id = self.draft.extra_constant(&hint, t);
        self.draft.graph.value(id).name.clone()
    }

    /// A float32 number.
    fn number(&mut self, value: f32) -> String {
        self.constant(Tensor::f32(&[], &[value]))
    }

    /// A list of integers.
    fn list(&mut self, values: &[i64]) -> String {
        self.constant(Tensor::i64s(values))
    }

    /// The constant called `name`, if it is one.
    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.draft.graph.constants.get(self.draft.ids.get(name)?)
    }

    /// What the file says of the sizes of `name`.
    fn shape(&self, name: &str) -> Option<&Vec<Dim>> {
        self.draft.graph.value(*self.draft.ids.get(name)?).shape.as_ref()
    }

    /// What the file says of the element type of `name`.
    fn dtype(&self, name: &str) -> Option<DType> {
        self.draft.graph.value(*self.draft.ids.get(name)?).dtype
    }

    /// `a + b`, or `a` where `b` is left out.
    fn plus(&mut self, a: String, b: &str) -> String {
        if b.is_empty() { a } else { self.op("Add", &[a.as_str(), b], vec![]) }
    }

    /// A change of the order of axes.
    fn transpose(&mut self, x: &str, perm: &[i64]) -> String {
        self.op("Transpose", &[x], vec![ints("perm", perm.iter().copied())])
    }

    /// A conversion of the element type.
    fn cast(&mut self, x: &str, to: DType) -> String {
        self.op("Cast", &[x], vec![crate::ops::fields::int("to", to.code() as i64)])
    }
}
