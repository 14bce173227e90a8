//! One file per command.

mod bench;
mod compare;
mod demo;
mod doctor;
mod evaluate;
mod generate;
mod import;
mod inspect;
#[cfg(feature = "serve")]
mod listen;
mod merge;
mod models;
mod optimize;
mod plan;
mod report;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod study;
#[cfg(feature = "serve")]
mod view;

use crate::args::{Cli, Command, Global};
use crate::environment;
use crate::exit::{Code, Failure, Outcome};
use crate::terminal;
use ampoule_engine::{Options, Precision};
use ampoule_files::Scratch;
use ampoule_graph::Graph;
use ampoule_pipeline::{Error as PipelineError, Model, RECIPE_KEY, Recipe};
use ampoule_zoo::Located;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs what was typed.
pub fn run(cli: &Cli) -> Outcome {
    let g = &cli.global;
    QUIET.store(g.quiet, Ordering::Relaxed);
    ampoule_pipeline::limit_process(g.max_ram);
    start_threads();
    if runs_networks(&cli.command) {
        crate::calibration::install()?;
    }
    match &cli.command {
        Command::Demo(a) => demo::run(g, a),
        Command::Models { action } => models::run(g, action.as_ref()),
        Command::Import(a) => import::run(g, a),
        Command::Inspect(a) => inspect::run(g, a),
        Command::Run(a) => run::run(g, a, &cli.given),
        Command::Plan(a) => plan::run(g, a, &cli.given),
        Command::Merge(a) => merge::run(g, a),
        Command::Evaluate(a) => evaluate::run(g, a),
        Command::Compare(a) => compare::run(g, a, &cli.given),
        Command::Bench(a) => bench::run(g, a),
        Command::BenchWorker { task } => bench::worker(task),
        Command::Optimize(a) => optimize::run(g, a, &cli.given),
        Command::Study(a) => study::run(g, a),
        Command::Report(a) => report::run(g, a),
        Command::StudyWorker => study::worker(),
        #[cfg(feature = "serve")]
        Command::Serve(a) => serve::run(g, a),
        #[cfg(feature = "serve")]
        Command::Listen(a) => listen::run(g, a),
        #[cfg(feature = "serve")]
        Command::View(a) => view::run(g, a),
        Command::Doctor(a) => doctor::run(g, a),
        Command::Generate(a) => generate::run(g, a),
    }
}

/// Whether a command runs networks in this process, and so chooses algorithms.
fn runs_networks(command: &Command) -> bool {
    match command {
        Command::Demo(_)
        | Command::Inspect(_)
        | Command::Run(_)
        | Command::Plan(_)
        | Command::Compare(_)
        | Command::Bench(_)
        | Command::BenchWorker { .. }
        | Command::Optimize(_)
        | Command::StudyWorker => true,
        #[cfg(feature = "serve")]
        Command::Serve(_) | Command::Listen(_) => true,
        #[cfg(feature = "serve")]
        Command::View(_) => false,
        Command::Models { .. }
        | Command::Import(_)
        | Command::Merge(_)
        | Command::Evaluate(_)
        | Command::Study(_)
        | Command::Report(_)
        | Command::Doctor(_)
        | Command::Generate(_) => false,
    }
}

/// Starts the threads that decode and prepare images: as many as the system allows, and none but this one where it
/// allows none.
fn start_threads() {
    let most = std::thread::available_parallelism().map_or(1, |n| n.get());
    let pool = rayon::ThreadPoolBuilder::new();
    // The library's pool of the process can be asked for once only, also where that fails.
    let _ = match startable(most) {
        0 => pool.num_threads(1).use_current_thread().build_global(),
        n => pool.num_threads(n).build_global(),
    };
}

/// How many threads can be there at once, up to `most`: so many are started, and end again.
fn startable(most: usize) -> usize {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let start = |_| {
        let wait = wait.clone();
        let idle = move || {
            if let Ok(wait) = wait.lock() {
                // Ends with an error when all have been started.
                let _ = wait.recv();
            }
        };
        std::thread::Builder::new().spawn(idle).ok()
    };
    let threads: Vec<_> = (0..most).map_while(start).collect();
    drop(release);
    threads.into_iter().map(|t| t.join()).filter(Result::is_ok).count()
}

/// The precision to run with.
fn precision(g: &Global) -> Result<Precision, Failure> {
    let Some(asked) = g.precision else { return Ok(Precision::default()) };
    Precision::parse(asked.name()).ok_or_else(|| {
        Failure::usage(format!(
            "--precision {} is for `optimize`; an INT8 model runs in INT8 with any precision",
            asked.name()
        ))
    })
}

/// The tier to run, where one is asked for: by `--isa`, or by `AMPOULE_ISA`.
fn tier(g: &Global) -> Result<Option<String>, Failure> {
    match &g.isa[..] {
        [] => Ok(environment::isa()),
        [one] => Ok(Some(one.clone())),
        _ => Err(Failure::usage("--isa takes one tier here")),
    }
}

/// Name of the tier that runs.
fn tier_name(g: &Global) -> Result<String, Failure> {
    let chosen = ampoule_kernels::choose(tier(g)?.as_deref()).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(chosen.name().to_owned())
}

/// What MODEL means: an existing path, else a name, fetched or built in.
fn locate(g: &Global, model: &str) -> Result<Located, Failure> {
    Ok(ampoule_zoo::locate(model, &environment::folders(g.weights.as_deref()))?)
}

/// Engine options from what was typed; the tier is checked before any work.
fn options(g: &Global) -> Result<Options, Failure> {
    tier_name(g)?;
    let [threads] = g.threads[..] else {
        return Err(Failure::usage("--threads takes one number here"));
    };
    Ok(Options {
        isa: tier(g)?,
        threads,
        max_bytes: g.memory_limit().or_else(ampoule_pipeline::total_memory),
        precision: precision(g)?,
        ..Options::default()
    })
}

/// The same for a network that runs in addition to what the process holds already.
fn network_options(g: &Global) -> Result<Options, Failure> {
    let options = options(g)?;
    Ok(Options { held_bytes: ampoule_pipeline::held_bytes(g.memory_limit()), ..options })
}

/// Bytes of a file; 0 where it cannot be told, and then reading it says why.
fn file_size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |m| m.len())
}

/// A model file and the recipe in force.
#[derive(Clone)]
struct Opened {
    graph: Graph,
    recipe: Option<String>,
    sha256: String,
}

/// Reads what MODEL means, with its own recipe in its metadata, and tells what a user should know of it.
fn read_model(g: &Global, model: &str) -> Result<ampoule_zoo::Opened, Failure> {
    read_shaped(g, model, &[])
}

/// The same with sizes of the inputs, for models that do not say them.
fn read_shaped(
    g: &Global,
    model: &str,
    shapes: &[ampoule_zoo::InputShape],
) -> Result<ampoule_zoo::Opened, Failure> {
    let opened = locate(g, model)?.open(shapes)?;
    opened.notes.iter().for_each(note);
    Ok(opened)
}

/// A model as an ONNX file, for other processes and engines.
struct ModelFile {
    path: PathBuf,
    /// Where another model was written as one; gone when this is.
    _folder: Option<Scratch>,
}

/// The ONNX file that MODEL means; another model is written as one in a temporary folder.
fn as_file(g: &Global, model: &str) -> Result<ModelFile, Failure> {
    let located = locate(g, model)?;
    if let Located::Path(path) = &located
        && !ampoule_zoo::is_folder(path)
    {
        return Ok(ModelFile { path: path.clone(), _folder: None });
    }
    let folder = Scratch::new().map_err(|e| Failure::input(format!("no temporary folder: {e}")))?;
    let written = folder.path().join(Path::new(model).with_extension("onnx").file_name().unwrap_or_default());
    ampoule_onnx::write_file(&read_model(g, model)?.graph, &written)
        .map_err(|e| Failure::input(e.to_string()))?;
    Ok(ModelFile { path: written, _folder: Some(folder) })
}

/// Reads a model by file, folder or name.
fn open(g: &Global, model: &str) -> Result<Opened, Failure> {
    open_shaped(g, model, &[])
}

/// The same with sizes of the inputs, for models that do not say them.
fn open_shaped(g: &Global, model: &str, shapes: &[ampoule_zoo::InputShape]) -> Result<Opened, Failure> {
    let given = g.recipe.as_deref().map(read_recipe).transpose()?;
    let ampoule_zoo::Opened { graph, sha256, .. } = read_shaped(g, model, shapes)?;
    // A model of the catalogue goes with the recipe of this program, whenever it was fetched.
    let own = ampoule_zoo::entry(model).ok().map(|e| e.recipe.to_owned());
    let recipe = given.or(own).or_else(|| graph.meta(RECIPE_KEY).map(str::to_owned));
    Ok(Opened { graph, recipe, sha256 })
}

impl Opened {
    /// As a model that is ready to be run.
    fn model(self, g: &Global) -> Result<Model, Failure> {
        let mut m = Model::from_graph(self.graph, self.recipe.as_deref(), self.sha256, options(g)?)?;
        m.max_ram = g.memory_limit();
        Ok(m)
    }

    /// Its recipe, read.
    fn recipe(&self) -> Result<Recipe, Failure> {
        match &self.recipe {
            Some(text) => Ok(Recipe::parse(text, "recipe")?),
            None => Err(PipelineError::NoRecipe.into()),
        }
    }
}

/// Loads a model by file or name with the recipe in force.
fn load(g: &Global, model: &str) -> Result<Model, Failure> {
    open(g, model)?.model(g)
}

/// The text of a recipe: a plain file of a size that a recipe can have, or one that comes with the program.
fn read_recipe(file: &std::path::Path) -> Result<String, Failure> {
    let fail = |e: std::io::Error| Failure::usage(format!("{}: {e}", file.display()));
    if !file.is_file()
        && let Some(text) = file.to_str().and_then(ampoule_zoo::shipped_recipe)
    {
        return Ok(text.to_owned());
    }
    let meta = std::fs::metadata(file).map_err(|e| {
        let known = ampoule_zoo::shipped_recipes().join(", ");
        Failure::usage(format!("{}: {e}; recipes that come with the program: {known}", file.display()))
    })?;
    if !meta.is_file() || meta.len() > 1 << 20 {
        return Err(Failure::usage(format!(
            "{}: not a recipe (a plain file of at most 1 MiB)",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).map_err(fail)?;
    // What is wrong with it is told with its name.
    Recipe::parse(&text, &file.display().to_string())?;
    Ok(text)
}

/// Whether `--quiet` was typed; set before a command begins.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints a line for people on standard output, unless `--quiet` was typed.
fn say(text: impl std::fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        print(terminal::message(&text.to_string()));
    }
}

/// The first of many lines for people, and how many more there are.
fn say_first(lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    lines.by_ref().take(terminal::MOST_LINES).for_each(say);
    if lines.peek().is_some() {
        say(format!("and {} more, which --json names", lines.count()));
    }
}

/// Prints a line for people on standard error, unless `--quiet` was typed. One that cannot be written is not a reason
/// to stop.
fn note(text: impl std::fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "note: {}", terminal::message(&text.to_string()));
    }
}

/// Prints a line on standard output; a closed pipe ends the program quietly.
fn print(text: impl std::fmt::Display) {
    if let Err(e) = writeln!(std::io::stdout(), "{text}") {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "ampoule: standard output cannot be written: {e}");
        std::process::exit(Code::SomeFailed as i32);
    }
}

/// Prints a result as one line of JSON on standard output.
fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(serde_json::to_string(value).map_err(|e| Failure::input(e.to_string()))?);
    Ok(())
}
