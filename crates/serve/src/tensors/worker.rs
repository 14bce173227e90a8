//! A thread that runs a network: one session, made ready for the shapes of the last request.

use super::ask::{Answer, Ask, Job, Shared};
use crate::queue::Queue;
use crate::refusal::Refusal;
use ampoule_engine::{Error, Options, Pool, Session};
use ampoule_graph::{DType, Graph, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Worker {
    name: String,
    graph: Graph,
    shared: Shared,
    pool: Arc<Pool>,
    /// Its place in the budget.
    place: usize,
    ready: Option<Ready>,
}

/// A session, and what it was made for.
struct Ready {
    outputs: Vec<String>,
    shapes: Vec<Vec<usize>>,
    session: Session,
}

impl Worker {
    /// One of the instances of a network; they share the threads that there are.
    pub fn new(name: &str, graph: Graph, shared: Shared) -> Worker {
        let all = match shared.options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let pool = Arc::new(Pool::new((all / shared.instances).max(1)));
        let place = shared.budget.session();
        Worker { name: name.to_owned(), graph, shared, pool, place, ready: None }
    }

    /// Works until the queue is closed and empty.
    pub fn work(mut self, queue: &Queue<Job>) {
        while let Some(job) = queue.pop() {
            // Nobody waits for the answer any more.
            if job.reply.is_closed() {
                queue.done();
                continue;
            }
            let turn = self.shared.turn.clone();
            let turn = turn.as_ref().map(|t| t.lock().unwrap_or_else(|e| e.into_inner()));
            let (waited, begun) = (job.since.elapsed(), Instant::now());
            let run = catch_unwind(AssertUnwindSafe(|| self.answer(job.ask)));
            let answer = run.unwrap_or_else(|_| {
                self.ready = None;
                Err(Refusal::fault("the network could not be run; this is a fault of the program"))
            });
            if turn.is_some() && queue.counts().0 == 0 {
                // Whoever comes next may need the memory.
                self.rest();
            }
            drop(turn);
            self.note(waited, begun.elapsed());
            queue.done();
            // The client may have gone.
            let _ = job.reply.send(answer);
        }
    }

    fn note(&self, waited: Duration, computed: Duration) {
        self.shared.metrics.time(&self.name, "queue", waited);
        self.shared.metrics.time(&self.name, "compute", computed);
    }

    fn rest(&mut self) {
        if let Some(ready) = &mut self.ready {
            ready.session.release();
        }
    }

    fn answer(&mut self, ask: Ask) -> Result<Answer, Refusal> {
        let Ask { inputs, outputs, mut hold } = ask;
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|i| i.1.dims().to_vec()).collect();
        let own = self.ready.take().filter(|r| r.outputs == outputs && r.shapes == shapes);
        let mut ready = match own {
            Some(ready) => ready,
            None => self.make(outputs, shapes)?,
        };
        let tensors: Vec<Tensor> = inputs.into_iter().map(|i| i.1).collect();
        let elements =
            |s: &Session| s.iter_outputs().map(|o| o.dims.iter().product::<usize>()).sum::<usize>();
        // Inputs become float32 on their way, whole numbers through wider ones; outputs are gathered as float32 and packed.
        let wide = |t: &Tensor| if t.dtype() == DType::F32 { 4 } else { 20 } * t.len() as u64;
        hold.grow(tensors.iter().map(wide).sum::<u64>() + 8 * elements(&ready.session) as u64)?;
        let found = ready.session.run_tensors(&tensors).map_err(|e| self.refused(e))?;
        let outputs = ready.outputs.iter().cloned().zip(found).collect();
        self.ready = Some(ready);
        Ok(Answer { outputs, hold })
    }

    fn make(&mut self, outputs: Vec<String>, shapes: Vec<Vec<usize>>) -> Result<Ready, Refusal> {
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let graph = self.graph.extract(&names).map_err(|e| Refusal::bad(e.to_string()))?;
        let budget = self.shared.budget.clone();
        let made = budget.make(self.place, |held| {
            let limit = budget.limit().or(self.shared.options.max_bytes);
            let options = Options { max_bytes: limit, held_bytes: held, ..self.shared.options.clone() };
            let session = Session::with_pool(graph, &shapes, &options, self.pool.clone())?;
            let bytes = session.arena_bytes() + session.weight_bytes();
            Ok((session, bytes))
        });
        let session = made.map_err(|e| self.refused(e))?;
        Ok(Ready { outputs, shapes, session })
    }

    /// Why a network did not run, as an answer: what depends on shapes is the client's affair.
    fn refused(&self, e: Error) -> Refusal {
        match e {
            Error::Memory { needed_mib, .. } if self.shared.budget.limit().is_some() => {
                let least = self.shared.budget.least(needed_mib << 20).div_ceil(1 << 20);
                Refusal::memory(format!(
                    "the network needs {needed_mib} MiB with what the service holds; --max-ram of at least {least} MiB allows that"
                ))
            }
            e if e.is_memory() => Refusal::memory(format!("{e}; send less at a time")),
            Error::Run { .. } | Error::External { .. } => Refusal::fault(e.to_string()),
            e => Refusal::bad(format!("the model cannot be run on these inputs: {e}")),
        }
    }
}
