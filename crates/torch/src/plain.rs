//! Plain values of a checkpoint: what is beside its tensors.

/// A value of a checkpoint, read as data.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Plain {
    /// Python's `None`.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// An integer; numpy's too.
    Int(i64),
    /// A number; numpy's too.
    Float(f64),
    /// Text, a path, a device, the name of a class or of an element type.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, tuple, set or `torch.Size`.
    List(Vec<Plain>),
    /// A dictionary, `OrderedDict` or `defaultdict`, in its order.
    Dict(Vec<(Plain, Plain)>),
    /// A tensor or array, by its name in [`Checkpoint::tensors`].
    ///
    /// [`Checkpoint::tensors`]: crate::Checkpoint::tensors
    Tensor(String),
    /// A tensor that was left where it is: the state of an optimizer.
    Skipped,
    /// An object of a class that is not known here, never made: its fields.
    Object {
        /// `module.class`.
        class: String,
        /// Fields by name; empty where the object keeps them in a form of its own.
        fields: Vec<(Plain, Plain)>,
    },
}

impl Plain {
    /// The entry `key` of a dictionary, or the field of an object.
    pub fn get(&self, key: &str) -> Option<&Plain> {
        self.entries()?.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// Entries of a dictionary, or fields of an object.
    pub fn entries(&self) -> Option<&[(Plain, Plain)]> {
        match self {
            Plain::Dict(entries) | Plain::Object { fields: entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// Elements of a list.
    pub fn items(&self) -> Option<&[Plain]> {
        match self {
            Plain::List(items) => Some(items),
            _ => None,
        }
    }

    /// Text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Plain::Text(t) => Some(t),
            _ => None,
        }
    }

    /// An integer.
    pub fn int(&self) -> Option<i64> {
        match self {
            Plain::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// A number, also an integer.
    pub fn number(&self) -> Option<f64> {
        match self {
            Plain::Float(x) => Some(*x),
            Plain::Int(n) => Some(*n as f64),
            _ => None,
        }
    }

    /// A truth value.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Plain::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// Names of all tensors in it.
    pub fn tensors(&self) -> Vec<&str> {
        match self {
            Plain::Tensor(name) => vec![name],
            Plain::List(items) => items.iter().flat_map(Plain::tensors).collect(),
            Plain::Dict(entries) | Plain::Object { fields: entries, .. } => {
                entries.iter().flat_map(|(_, v)| v.tensors()).collect()
            }
            _ => Vec::new(),
        }
    }
}
