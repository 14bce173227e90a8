//! The graph of a file while names are being resolved.

use ampoule_graph::{Graph, Tensor, Value, ValueId};
use std::collections::HashMap;

/// A graph that grows node by node, and the values that names stand for.
pub(crate) struct Draft {
    pub graph: Graph,
    pub ids: HashMap<String, ValueId>,
}

impl Draft {
    /// The value called `name`, made at its first mention.
    pub fn id(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        self.graph.values.push(Value { name: name.into(), ..Default::default() });
        let id = ValueId(self.graph.values.len() - 1);
        self.ids.insert(name.into(), id);
        id
    }

    /// A value that the file does not name.
    pub fn extra(&mut self, hint: &str) -> ValueId {
        let mut n = self.graph.values.len();
        let mut name = format!("{hint}__{n}");
        while self.ids.contains_key(&name) {
            n += 1;
            name = format!("{hint}__{n}");
        }
        self.id(&name)
    }

    /// A constant that the file does not name.
    pub fn extra_constant(&mut self, hint: &str, t: Tensor) -> ValueId {
        let id = self.extra(hint);
        self.graph.set_constant(id, t);
        id
    }
}
