use crate::tensor::Tensor;

/// The outputs of a run, in the order of the model.
///
/// ```
/// # use ampoule::{Model, Tensor};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/quick/discs.onnx");
/// let mut model = Model::open(path)?;
/// let outputs = model.run(&[("image", Tensor::filled(&[1, 3, 32, 32], 0.0))])?;
/// let prob = &outputs["prob"]; // panics where there is no such output; `get` does not
/// assert!(prob.values().iter().all(|p| (0.0..=1.0).contains(p)));
/// assert!(outputs.get("logits").is_none());
/// assert_eq!(outputs.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["prob"]);
/// # Ok::<(), ampoule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub(crate) list: Vec<(String, Tensor)>,
}

impl Outputs {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.list.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    /// The output of this name, taken out.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        let at = self.list.iter().position(|(n, _)| n == name)?;
        Some(self.list.remove(at).1)
    }

    /// All outputs with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.list.iter().map(|(n, t)| (n.as_str(), t))
    }
}

impl std::ops::Index<&str> for Outputs {
    type Output = Tensor;

    /// Panics where there is no output of this name, as maps do.
    fn index(&self, name: &str) -> &Tensor {
        match self.get(name) {
            Some(t) => t,
            None => panic!("there is no output `{name}`"),
        }
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}
