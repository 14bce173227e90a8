//! The node: models loaded, threads started, the port opened, and the way to an end.

use crate::accept::accept;
use crate::association::Node;
use crate::config::{Config, Rule};
use crate::deadline::Deadlines;
use crate::event::Event;
use crate::sender;
use crate::spool::Spool;
use crate::stop::Stop;
use crate::worker::{Runner, Worker};
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Model, sha256_hex};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(100);
/// How long associations may go on once the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// A model that a rule names.
pub struct Given {
    /// The network or networks.
    pub graph: Graph,
    /// Its recipe.
    pub recipe: Option<String>,
    /// Hash of the model files, in hexadecimal.
    pub sha256: String,
}

/// How models run.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Options of the engine.
    pub options: ampoule_engine::Options,
    /// Most resident bytes of the process.
    pub max_ram: Option<u64>,
    /// Feature set, for records.
    pub isa: String,
    /// Measured constants in force, for records.
    pub calibration: Option<String>,
}

/// Listens until `stop` asks for the end and what runs is finished. `open` gives the models of the rules, and `tell` is told of
/// everything that an administrator should know.
pub fn listen<E: From<Error>>(
    config: Config,
    setup: &Setup,
    open: &mut dyn FnMut(&Rule) -> std::result::Result<Given, E>,
    stop: &Stop,
    tell: Box<dyn Fn(&Event) + Send + Sync>,
) -> std::result::Result<(), E> {
    let spool = Spool::open(&config.spool, config.limits)?;
    let (runners, models) = loaded(&config, setup, open)?;
    let node = Node { config, spool, deadlines: Deadlines::default(), stop: stop.clone(), tell };
    let node = Arc::new(node);
    let worker = Worker {
        node: node.clone(),
        runners,
        models,
        isa: setup.isa.clone(),
        calibration: setup.calibration.clone(),
    };
    Ok(run(&node, worker)?)
}

/// The models of all rules; rules of the same model and labels share one.
fn loaded<E: From<Error>>(
    config: &Config,
    setup: &Setup,
    open: &mut dyn FnMut(&Rule) -> std::result::Result<Given, E>,
) -> std::result::Result<(Vec<Runner>, Vec<Model>), E> {
    let (mut runners, mut models): (Vec<Runner>, Vec<Model>) = (Vec::new(), Vec::new());
    for rule in &config.rules {
        let same =
            runners.iter().find(|r: &&Runner| r.rule.model == rule.model && r.rule.labels == rule.labels);
        if let Some(r) = same {
            let (model, sha256) = (r.model, r.sha256.clone());
            runners.push(Runner { rule: rule.clone(), model, sha256 });
            continue;
        }
        let given = open(rule)?;
        let fail = |source| Error::Model { rule: rule.name.clone(), source };
        let own = sha256_hex(format!("{} {:?}", given.sha256, given.recipe).as_bytes());
        let made =
            Model::from_graph(given.graph, given.recipe.as_deref(), given.sha256, setup.options.clone());
        let mut model = made.map_err(fail)?;
        model.max_ram = setup.max_ram;
        let wrong = |reason: String| Error::Config {
            path: rule.model.clone().into(),
            reason: format!("rule `{}`: {reason}", rule.name),
        };
        if model.recipe.kind() != Kind::Volume {
            return Err(wrong("the model takes images, and series are volumes".into()).into());
        }
        if !rule.labels.is_empty() {
            model.keep_labels(&rule.labels).map_err(|e| wrong(format!("`labels`: {e}")))?;
        }
        runners.push(Runner { rule: rule.clone(), model: models.len(), sha256: own });
        models.push(model);
    }
    Ok((runners, models))
}

fn run(node: &Arc<Node>, worker: Worker) -> Result<()> {
    let address = SocketAddr::new(node.config.host, node.config.port);
    let bind = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(bind)?;
    listener.set_nonblocking(true).map_err(Error::System)?;
    let (to_work, jobs) = mpsc::channel();
    let (to_send, ran) = mpsc::channel();
    let resumed = node.spool.jobs().map_err(Error::System)?;
    let sender = sender::Sender { node: node.clone() };
    let started = Event::Listening {
        ae: node.config.ae.clone(),
        address: listener.local_addr().map_err(Error::System)?,
        resumed: resumed.len() + node.spool.waiting(),
    };
    for job in resumed {
        // The worker has its end of this.
        let _ = to_work.send(job);
    }
    let closed = Arc::new(AtomicBool::new(false));
    let threads = [
        thread("rules", move || worker.work(&jobs, &to_send))?,
        thread("results", move || sender.work(&ran))?,
        watching(node.clone(), closed.clone(), to_work)?,
    ];
    (node.tell)(&started);
    let associations = accept(&listener, node);
    drop(listener);
    (node.tell)(&Event::Draining {});
    let asked = Instant::now();
    while associations.iter().any(|t| !t.is_finished()) {
        if asked.elapsed() > GRACE {
            node.deadlines.expire(true);
        }
        std::thread::sleep(LOOK);
    }
    closed.store(true, Ordering::SeqCst);
    for t in threads {
        // One that ended by a fault of the program has said so.
        let _ = t.join();
    }
    Ok(())
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    // Networks and parsers go deeper than small stacks.
    Builder::new().name(name.into()).stack_size(8 << 20).spawn(work).map_err(Error::System)
}

/// Looks after times: connections that wait too long, and studies that are complete.
fn watching(node: Arc<Node>, closed: Arc<AtomicBool>, jobs: mpsc::Sender<String>) -> Result<JoinHandle<()>> {
    thread("times", move || {
        while !closed.load(Ordering::SeqCst) {
            node.deadlines.expire(false);
            let due = node.spool.due();
            for c in due.closed {
                let event = Event::Closed { job: c.job.clone(), ae: c.calling, objects: c.objects };
                (node.tell)(&event);
                // The worker may have ended already; the job waits on the disk.
                let _ = jobs.send(c.job);
            }
            for (job, reason) in due.failed {
                (node.tell)(&Event::Failed { job, reason });
            }
            due.trouble.into_iter().for_each(|reason| (node.tell)(&Event::Trouble { reason }));
            std::thread::sleep(LOOK);
        }
    })
}
