//! What code of PyTorch computes with while it is followed: tensors as values of a graph, everything else as it is.

use ampoule_graph::ValueId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// A value of the program that is followed.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// An argument that was not given.
    Missing,
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<RefCell<Vec<Value>>>),
    Tuple(Rc<[Value]>),
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    Tensor(Handle),
    /// A number that depends on sizes which are free: a graph value of one element and one axis.
    Symbol(ValueId),
    Object(Rc<Object>),
    /// A dotted name: a function, class or operator.
    Path(Rc<str>),
    /// A method of an object.
    Method(Rc<Object>, Rc<str>),
    /// The result of an operator that is not known, and whatever is computed from it.
    Poison,
}

/// A module or another object of the program.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its class, `__torch__.package.Class`.
    pub class: Rc<str>,
    /// Its attributes.
    pub fields: RefCell<HashMap<Rc<str>, Value>>,
}

impl Value {
    /// A list of these.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(RefCell::new(items)))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Missing => "nothing",
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dictionary",
            Value::Tensor(_) => "a tensor",
            Value::Symbol(_) => "a size that is free",
            Value::Object(_) => "an object",
            Value::Path(_) => "a function or class",
            Value::Method(..) => "a method",
            Value::Poison => "the result of an unknown operator",
        }
    }

    /// Elements of a list or tuple.
    pub fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::List(l) => Some(l.borrow().clone()),
            Value::Tuple(t) => Some(t.to_vec()),
            _ => None,
        }
    }

    /// Whether a result of an unknown operator is in it.
    pub fn is_poisoned(&self) -> bool {
        match self {
            Value::Poison => true,
            Value::List(l) => l.borrow().iter().any(Value::is_poisoned),
            Value::Tuple(t) => t.iter().any(Value::is_poisoned),
            _ => false,
        }
    }
}

/// The memory that a tensor and its views share, as far as its changes are counted.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    version: Cell<u32>,
}

/// A part of another tensor along one axis.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub of: Handle,
    pub axis: usize,
    pub start: i64,
    pub end: i64,
    /// Whether the axis was taken away.
    pub selected: bool,
}

#[derive(Debug)]
struct Inner {
    id: Cell<ValueId>,
    version: Cell<u32>,
    storage: Rc<Storage>,
    part: Option<Part>,
}

/// A tensor variable: which graph value it holds. Operators that work in place give it another.
///
/// A view shares its storage with the tensor it was made of. Where one of them is changed, the others hold values
/// that are out of date, which [`Handle::id`] tells.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Rc<Inner>);

impl Handle {
    /// A tensor of its own.
    pub fn new(id: ValueId) -> Self {
        Self::within(id, Rc::default(), None)
    }

    fn within(id: ValueId, storage: Rc<Storage>, part: Option<Part>) -> Self {
        let version = Cell::new(storage.version.get());
        Handle(Rc::new(Inner { id: Cell::new(id), version, storage, part }))
    }

    /// A view of this tensor that holds `id`.
    pub fn view(&self, id: ValueId) -> Self {
        Self::within(id, self.0.storage.clone(), None)
    }

    /// A view of a part of a tensor.
    pub fn part(id: ValueId, part: Part) -> Self {
        let storage = part.of.0.storage.clone();
        Self::within(id, storage, Some(part))
    }

    /// The graph value, without asking whether it is up to date: for its shape.
    pub fn shape_id(&self) -> ValueId {
        self.0.id.get()
    }

    /// The graph value; `None` where a view or the tensor it views was changed since.
    pub fn id(&self) -> Option<ValueId> {
        (self.0.version.get() == self.0.storage.version.get()).then(|| self.0.id.get())
    }

    /// What it is a part of.
    pub fn part_of(&self) -> Option<&Part> {
        self.0.part.as_ref()
    }

    /// Another value for this tensor and nothing else that shares its storage.
    pub fn set(&self, id: ValueId) {
        let version = self.0.storage.version.get() + 1;
        self.0.storage.version.set(version);
        self.0.version.set(version);
        self.0.id.set(id);
    }

    /// Says that this tensor's value holds although its storage was changed: it was part of the change.
    pub fn renew(&self, id: ValueId) {
        self.0.version.set(self.0.storage.version.get());
        self.0.id.set(id);
    }

    /// Whether both are one variable.
    pub fn same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
