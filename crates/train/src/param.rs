//! Parameters: values, gradients, and where they belong in the graph.

use crate::rounding::quantize;
use ampoule_graph::{DType, Graph, Tensor, ValueId};

/// Index of a [`Param`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

/// What a parameter is, which decides how it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a layer: with weight decay.
    Weight,
    /// Biases and the factors and summands of normalisations: without.
    Affine,
    /// Scale of a quantizer, learned where that is asked for.
    Scale,
    /// Running statistics: followed, not trained.
    Running,
}

/// One parameter tensor.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name of the constant in the graph.
    pub name: String,
    /// The constant.
    pub id: ValueId,
    /// Dimensions as in the graph.
    pub dims: Vec<usize>,
    /// Values in the graph's order.
    pub values: Vec<f32>,
    /// Gradient of the loss, in the same order; empty for [`Role::Running`].
    pub grad: Vec<f32>,
    /// What it is.
    pub role: Role,
    /// Where the graph holds them quantized: their scale, and whether output channels are the outer index.
    pub(crate) quantized: Option<(ParamId, bool)>,
}

/// All parameters of a network.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// The parameters.
    pub list: Vec<Param>,
    /// Changes when values change, so that layers pack their weights anew.
    pub(crate) version: u64,
}

impl Params {
    /// Parameter `id`.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.list[id.0]
    }

    pub(crate) fn get_mut(&mut self, id: ParamId) -> &mut Param {
        &mut self.list[id.0]
    }

    /// Adds a constant as a parameter; one that is there already keeps its role.
    pub(crate) fn add(
        &mut self,
        id: ValueId,
        name: &str,
        dims: &[usize],
        values: Vec<f32>,
        role: Role,
    ) -> ParamId {
        if let Some(at) = self.list.iter().position(|p| p.id == id) {
            return ParamId(at);
        }
        let grad = if role == Role::Running { Vec::new() } else { vec![0.0; values.len()] };
        self.list.push(Param {
            name: name.into(),
            id,
            dims: dims.to_vec(),
            values,
            grad,
            role,
            quantized: None,
        });
        ParamId(self.list.len() - 1)
    }

    /// A number that is not trained and belongs to no constant.
    pub(crate) fn fixed(&mut self, value: f32) -> ParamId {
        self.list.push(Param {
            name: String::new(),
            id: ValueId(usize::MAX),
            dims: Vec::new(),
            values: vec![value],
            grad: vec![0.0],
            role: Role::Running,
            quantized: None,
        });
        ParamId(self.list.len() - 1)
    }

    /// Numbers that are not trained and belong to no constant of the graph.
    pub(crate) fn fixed_list(&mut self, values: Vec<f32>) -> ParamId {
        let id = self.fixed(0.0);
        self.get_mut(id).values = values;
        id
    }

    /// To be called after values were changed.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// Sets all gradients to 0.
    pub fn clear(&mut self) {
        self.list.iter_mut().for_each(|p| p.grad.fill(0.0));
    }

    /// Bytes of values and gradients.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(|p| 4 * (p.values.len() + p.grad.len())).sum()
    }

    /// Writes all values into the graph that the network was made of; weights that it holds quantized are
    /// quantized.
    pub fn store(&self, graph: &mut Graph) {
        let known = graph.values.len();
        for p in self.list.iter().filter(|p| p.id.0 < known) {
            let tensor = match p.quantized {
                None => Some(Tensor::f32(&p.dims, &p.values)),
                Some((scale, outer)) => {
                    let scale = &self.get(scale).values;
                    let inner = match outer {
                        true => p.values.len() / scale.len().max(1),
                        false => p.dims[2..].iter().product(),
                    };
                    let own =
                        |(i, w): (usize, &f32)| quantize(*w, scale[i / inner.max(1) % scale.len()]) as i64;
                    let values: Vec<i64> = p.values.iter().enumerate().map(own).collect();
                    Tensor::from_i64(DType::I8, &p.dims, &values)
                }
            };
            if let Some(t) = tensor {
                graph.set_constant(p.id, t);
            }
        }
    }

    /// Euclidean norm of all gradients.
    pub fn gradient_norm(&self) -> f64 {
        let squares = |p: &Param| p.grad.iter().map(|g| (*g as f64).powi(2)).sum::<f64>();
        self.list.iter().map(squares).sum::<f64>().sqrt()
    }
}
