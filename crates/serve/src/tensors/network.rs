//! A network as clients see it: names, shapes, a queue.

use super::ask::{Answer, Ask, Job, Shared};
use super::datatype::datatype;
use super::worker;
use crate::queue::{Queue, Refused};
use crate::refusal::Refusal;
use ampoule_graph::{DType, Dim, Graph, Tensor, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Length of an axis; `None` where the model leaves it free.
pub(crate) type Axis = Option<usize>;

/// An input or output.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub name: String,
    pub dtype: DType,
    /// Axes, outermost first; `None` where the file says nothing of the shape.
    pub shape: Option<Vec<Axis>>,
}

/// A network that is served.
pub(crate) struct Network {
    pub name: String,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Which inputs an output depends on, where not all.
    needs: BTreeMap<String, Vec<String>>,
    queue: Arc<Queue<Job>>,
}

impl Network {
    /// Makes `graph` ready to be asked, and starts its threads.
    pub fn start(name: &str, graph: &Graph, shared: &Shared) -> std::io::Result<Network> {
        let ports = |ids: &[ValueId]| ids.iter().map(|id| Port::new(graph, *id)).collect::<Vec<_>>();
        let queue = Arc::new(Queue::new(shared.queue));
        let (inputs, outputs) = (ports(&graph.inputs), ports(&graph.outputs));
        let mut needs = BTreeMap::new();
        for o in outputs.iter().filter(|_| inputs.len() > 1) {
            if let Ok(part) = graph.extract(&[o.name.as_str()]) {
                let names = part.inputs.iter().map(|i| part.value(*i).name.clone());
                needs.insert(o.name.clone(), names.collect());
            }
        }
        for i in 0..shared.instances {
            let worker = worker::Worker::new(name, graph.clone(), shared.clone());
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("{name} {i}"));
            // The stack of a main thread: lowering a deep network recurses.
            thread.stack_size(8 << 20).spawn(move || worker.work(&queue))?;
        }
        Ok(Network { name: name.to_owned(), inputs, outputs, needs, queue })
    }

    /// Asks, and waits for the answer.
    pub async fn infer(&self, ask: Ask) -> Result<Answer, Refusal> {
        let ask = self.checked(ask)?;
        let (reply, answer) = oneshot::channel();
        let job = Job { ask, reply, since: Instant::now() };
        self.queue.push(job, |job| job.reply.is_closed()).map_err(|refused| match refused {
            Refused::Full(waiting) => Refusal::full(waiting),
            Refused::Closed => Refusal::ending(),
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(Refusal::fault("the request was dropped; look at the service's output")))
    }

    /// How many requests wait, and how many run.
    pub fn counts(&self) -> (usize, usize) {
        self.queue.counts()
    }

    /// Takes nothing new.
    pub fn close(&self) {
        self.queue.close();
    }

    /// What is asked, in the model's order; refuses what the model cannot take.
    fn checked(&self, ask: Ask) -> Result<Ask, Refusal> {
        let known = |ports: &[Port]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = ask.outputs.iter().find(|o| !self.outputs.iter().any(|p| p.name == **o)) {
            let have = known(&self.outputs);
            return Err(Refusal::bad(format!("the model has no output `{unknown}`; it has {have}")));
        }
        if let Some((unknown, _)) = ask.inputs.iter().find(|i| !self.inputs.iter().any(|p| p.name == i.0)) {
            let have = known(&self.inputs);
            return Err(Refusal::bad(format!("the model has no input `{unknown}`; it takes {have}")));
        }
        let outputs: Vec<String> = match ask.outputs.is_empty() {
            true => self.outputs.iter().map(|p| p.name.clone()).collect(),
            false => {
                self.outputs.iter().map(|p| p.name.clone()).filter(|n| ask.outputs.contains(n)).collect()
            }
        };
        let needed =
            |p: &&Port| outputs.iter().any(|o| self.needs.get(o).is_none_or(|n| n.contains(&p.name)));
        let (mut given, mut inputs) = (ask.inputs, Vec::new());
        for port in self.inputs.iter().filter(needed) {
            let name = &port.name;
            let Some(at) = given.iter().position(|i| i.0 == *name) else {
                return Err(Refusal::bad(format!("the input `{name}` is missing")));
            };
            let (name, tensor) = given.swap_remove(at);
            if given.iter().any(|i| i.0 == name) {
                return Err(Refusal::bad(format!("the input `{name}` is given twice")));
            }
            port.takes(&tensor)?;
            inputs.push((name, tensor));
        }
        Ok(Ask { inputs, outputs, hold: ask.hold })
    }
}

impl Port {
    fn new(graph: &Graph, id: ValueId) -> Port {
        let value = graph.value(id);
        let shape = value.shape.as_ref().map(|s| s.iter().map(Dim::known).collect());
        Port { name: value.name.clone(), dtype: value.dtype.unwrap_or(DType::F32), shape }
    }

    /// Axes for metadata, -1 where they are free.
    pub fn axes(&self) -> Vec<i64> {
        let axis = |a: &Axis| a.map_or(-1, |n| n as i64);
        self.shape.as_ref().map_or(vec![-1], |s| s.iter().map(axis).collect())
    }

    /// Name of the type for metadata.
    pub fn datatype(&self) -> &'static str {
        datatype(self.dtype).unwrap_or("BYTES")
    }

    /// Refuses a tensor of another type or shape.
    fn takes(&self, tensor: &Tensor) -> Result<(), Refusal> {
        let name = &self.name;
        if tensor.dtype() != self.dtype {
            let (given, own) = (datatype(tensor.dtype()).unwrap_or("?"), self.datatype());
            return Err(Refusal::bad(format!("the input `{name}` is {given}; the model takes {own}")));
        }
        let dims = tensor.dims();
        let fits = |s: &Vec<Axis>| {
            s.len() == dims.len() && s.iter().zip(dims).all(|(a, n)| a.is_none_or(|a| a == *n))
        };
        if !self.shape.as_ref().is_none_or(fits) {
            let own = self.axes();
            return Err(Refusal::bad(format!(
                "the input `{name}` has the shape {dims:?}; the model takes {own:?}"
            )));
        }
        match dims.contains(&0) {
            true => Err(Refusal::bad(format!("the input `{name}` has no elements"))),
            false => Ok(()),
        }
    }
}
