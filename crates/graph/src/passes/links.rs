//! Who computes and who reads each value, looked up often.

use crate::{Graph, Node, ValueId};

/// The nodes around each value of a graph as it was when they were listed.
pub(super) struct Links {
    producers: Vec<Option<usize>>,
    uses: Vec<usize>,
    /// The first node that reads each value.
    readers: Vec<Option<usize>>,
}

impl Links {
    pub fn of(g: &Graph) -> Self {
        let mut readers = vec![None; g.values.len()];
        for (i, n) in g.nodes.iter().enumerate().rev() {
            n.inputs.iter().flatten().for_each(|v| readers[v.0] = Some(i));
        }
        Links { producers: g.producers(), uses: g.uses(), readers }
    }

    /// The node that computes `v` as its first output.
    pub fn maker<'g>(&self, g: &'g Graph, v: ValueId) -> Option<&'g Node> {
        g.nodes.get(self.producers[v.0]?).filter(|n| n.output() == Some(v))
    }

    /// The node that computes `v`.
    pub fn producer(&self, v: ValueId) -> Option<usize> {
        self.producers[v.0]
    }

    /// The node that computes `v`, which one input of one node reads and nothing else.
    pub fn only_producer(&self, v: ValueId) -> Option<usize> {
        (self.uses[v.0] == 1).then(|| self.producers[v.0]).flatten()
    }

    /// The first node that reads `v`.
    pub fn first_reader(&self, v: ValueId) -> Option<usize> {
        self.readers[v.0]
    }

    /// The only node that reads `v`, which is no output.
    pub fn only_reader(&self, v: ValueId) -> Option<usize> {
        (self.uses[v.0] == 1).then(|| self.readers[v.0]).flatten()
    }
}
