//! The service: models loaded, threads started, ports opened, and the way to an end.

use crate::budget::Budget;
use crate::cases::{Kind, Runner, Runners, Store};
use crate::config::{Config, Given};
use crate::gate::Gate;
use crate::listen::{Protocol, bind};
use crate::metrics::{Gauge, Metrics};
use crate::page::{Page, Sources};
use crate::stop::Stop;
use crate::tensors::{Network, Shared};
use crate::token::{Token, random};
use crate::v2::Networks;
use crate::{Error, Result, cases, grpc, listen, page, v2};
use ampoule_pipeline::recipe::Choice as _;
use ampoule_pipeline::{Model, Recipe, recipe};
use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked whether results may go, and whether all is done at the end.
const LOOK: Duration = Duration::from_millis(200);
/// How long results wait for their clients once the service is to end.
const HANDOVER: Duration = Duration::from_secs(10);

/// Where a service listens.
#[derive(Clone, Debug)]
pub struct Started {
    /// REST, cases, metrics and page.
    pub address: SocketAddr,
    /// gRPC.
    pub grpc: Option<SocketAddr>,
    /// Address of the page, with its key.
    pub page: String,
}

/// The threads that answer; few, as networks run on others.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(16).thread_name("requests").enable_all();
    builder.build().map_err(Error::System)
}

/// What runs, and what is asked about it.
struct Service {
    networks: Arc<Networks>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    stop: Stop,
    /// Runs cases until their queue is closed.
    cases: JoinHandle<()>,
}

/// Serves `models` until `stop` has let all that runs end; `started` is told where.
pub fn serve(
    config: Config,
    models: Vec<Given>,
    stop: &Stop,
    started: &mut dyn FnMut(&Started),
) -> Result<()> {
    if config.token.is_none() && !config.host.is_loopback() {
        return Err(Error::Open { host: config.host });
    }
    let runtime = runtime()?;
    let service = runtime.block_on(async { Service::start(&config, models, stop) })?;
    let key = random()?;
    let page = Page { sources: Sources::uploads(service.store.clone()) };
    let gate = Gate {
        loopback: config.host.is_loopback(),
        host: config.host,
        token: config.token.clone(),
        key: Token::new(&key, "the page's address")?,
        limits: config.limits,
        metrics: service.metrics.clone(),
        programs: service.programs(),
        page: page::router(page).merge(cases::router(service.store.clone())),
    };
    let ended = runtime.block_on(service.run(&config, gate.router(), &key, started));
    // Waits for what still reads or writes uploads.
    drop(runtime);
    service.end();
    ended
}

impl Service {
    /// Loads models and starts their threads.
    fn start(config: &Config, models: Vec<Given>, stop: &Stop) -> Result<Service> {
        let limit = ampoule_pipeline::memory_limit(config.max_ram);
        let (budget, metrics) = (Budget::new(limit), Arc::new(Metrics::default()));
        let turn = limit.map(|_| Arc::new(Mutex::new(())));
        let shared = Shared {
            options: config.options.clone(),
            budget: budget.clone(),
            metrics: metrics.clone(),
            turn: turn.clone(),
            instances: config.instances,
            queue: config.queue,
        };
        let (mut list, mut runners, mut kinds) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for given in &models {
            check_name(&given.name)?;
            let network = Network::start(&given.name, &given.graph, &shared).map_err(Error::System)?;
            if list.insert(given.name.clone(), network).is_some() {
                return Err(Error::Twice { name: given.name.clone() });
            }
        }
        for given in models.into_iter().filter(|g| g.recipe.is_some()) {
            let name = given.name.clone();
            let fail = |source| Error::Model { name: name.clone(), source };
            let model =
                Model::from_graph(given.graph, given.recipe.as_deref(), given.sha256, config.options.clone());
            let mut model = model.map_err(fail)?;
            model.max_ram = budget.limit();
            kinds.push(kind(&name, &model.recipe));
            let runner = Runner { model, isa: config.isa.clone(), calibration: config.calibration.clone() };
            runners.insert(name, runner);
        }
        budget.loaded();
        let store = Store::new(kinds, config.queue, config.keep.clone(), config.limits, stop.clone())?;
        let store = Arc::new(store);
        let all = Runners { list: runners, store: store.clone(), metrics: metrics.clone(), turn };
        let cases = all.start().map_err(Error::System)?;
        let networks = Networks { list, budget: budget.clone(), limits: config.limits, stop: stop.clone() };
        Ok(Service { networks: Arc::new(networks), store, metrics, budget, stop: stop.clone(), cases })
    }

    /// The interface for programs.
    fn programs(&self) -> Router {
        let (networks, store) = (self.networks.clone(), self.store.clone());
        let (metrics, budget) = (self.metrics.clone(), self.budget.clone());
        let figures = move || {
            let text = metrics.text(&gauges(&networks, &store, &budget));
            std::future::ready(text_of(text))
        };
        v2::router(self.networks.clone())
            .merge(cases::router(self.store.clone()))
            .route("/metrics", get(figures))
    }

    async fn run(
        &self,
        config: &Config,
        router: Router,
        key: &str,
        started: &mut dyn FnMut(&Started),
    ) -> Result<()> {
        let listener = bind(SocketAddr::new(config.host, config.port)).await?;
        let address = listener.local_addr().map_err(Error::System)?;
        let calls = match config.grpc_port {
            Some(port) => Some(bind(SocketAddr::new(config.host, port)).await?),
            None => None,
        };
        let grpc = calls.as_ref().map(|c| c.local_addr()).transpose().map_err(Error::System)?;
        started(&Started { address, grpc, page: format!("http://{address}/p/{key}/") });
        let (limits, stop) = (config.limits, self.stop.clone());
        let first = listen::serve(listener, router, Protocol::Http1, limits, stop.clone());
        let second = async {
            if let Some(calls) = calls {
                let router = grpc::router(self.networks.clone(), config.token.clone(), self.metrics.clone());
                listen::serve(calls, router, Protocol::Http2, limits, stop.clone()).await;
            }
        };
        tokio::join!(first, second, self.watch());
        Ok(())
    }

    /// Lets results go in time; once the end is asked for, waits for what runs, and closes.
    async fn watch(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => self.tidy().await,
                () = self.stop.draining() => break,
            }
        }
        self.networks.list.values().for_each(Network::close);
        // Uploads that wait are not begun: nobody could fetch their results in time.
        self.store.queue.clear().iter().for_each(|job| job.cancel());
        self.store.queue.close();
        let busy = |(waiting, running): (usize, usize)| waiting + running > 0;
        while self.networks.list.values().any(|n| busy(n.counts())) || busy(self.store.queue.counts()) {
            tokio::time::sleep(LOOK / 4).await;
        }
        let done = Instant::now();
        while self.store.is_wanted() && done.elapsed() < HANDOVER {
            tokio::time::sleep(LOOK / 4).await;
        }
        self.stop.close();
    }

    /// Removes the folder of uploads, which its thread holds until it ends.
    fn end(self) {
        self.store.queue.close();
        drop((self.store, self.networks));
        // Its panics are those of cases, which it catches.
        let _ = self.cases.join();
    }

    async fn tidy(&self) {
        let store = self.store.clone();
        // A thread that fails to tidy up is followed by the next.
        let _ = tokio::task::spawn_blocking(move || store.tidy()).await;
    }
}

/// Names stand in addresses and labels of figures.
fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.len() <= 100 && name.chars().all(fine) && !name.starts_with('.') {
        true => Ok(()),
        false => Err(Error::Name { name: name.into() }),
    }
}

/// What a model takes and gives.
fn kind(name: &str, recipe: &Recipe) -> Kind {
    Kind {
        name: name.to_owned(),
        kind: match recipe.kind() {
            recipe::Kind::Volume => "volume",
            recipe::Kind::Image => "image",
        },
        task: recipe.model.task.name(),
        inputs: recipe.input.iter().map(|i| i.name.clone()).collect(),
        labels: recipe
            .label
            .iter()
            .filter(|l| l.value != 0 || recipe.is_image_level())
            .map(|l| l.name.clone())
            .collect(),
    }
}

fn gauges(networks: &Networks, store: &Store, budget: &Budget) -> Vec<Gauge> {
    let each = |which: fn((usize, usize)) -> usize| {
        let one = |n: &Network| (format!("{{model=\"{}\"}}", n.name), which(n.counts()) as f64);
        networks.list.values().map(one).collect::<Vec<_>>()
    };
    let (waiting, running) = store.queue.counts();
    let alone = |v: f64| vec![(String::new(), v)];
    let resident = ampoule_pipeline::rss_bytes().unwrap_or(0) as f64;
    vec![
        ("ampoule_requests_waiting", "Requests with tensors that wait.", each(|c| c.0)),
        ("ampoule_requests_running", "Requests with tensors that run.", each(|c| c.1)),
        ("ampoule_cases_waiting", "Uploads that wait.", alone(waiting as f64)),
        ("ampoule_cases_running", "Uploads that run.", alone(running as f64)),
        ("ampoule_request_bytes", "Memory of requests and answers.", alone(budget.held() as f64)),
        ("process_resident_memory_bytes", "Resident memory.", alone(resident)),
        ("ampoule_ready", "Whether requests are taken.", alone(f64::from(u8::from(networks.is_ready())))),
    ]
}

fn text_of(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn a_service_that_cannot_start_leaves_nothing() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            host: [127, 0, 0, 1].into(),
            port: taken.local_addr().unwrap().port(),
            grpc_port: None,
            token: None,
            instances: 1,
            queue: 1,
            keep: None,
            max_ram: None,
            options: ampoule_engine::Options::default(),
            isa: "test".into(),
            calibration: None,
            limits: Limits::default(),
        };
        let stop = Stop::default();
        let refused = serve(config, Vec::new(), &stop, &mut |_| unreachable!());
        assert!(matches!(refused, Err(Error::Bind { .. })), "{refused:?}");
        let folders = stop.folders();
        assert!(folders.len() == 1 && folders.iter().all(|f| !f.exists()), "{folders:?}");
    }
}
