//! One file per command.

mod bench;
mod compare;
mod demo;
mod doctor;
mod evaluate;
mod generate;
mod inspect;
mod models;
mod optimize;
mod run;
mod study;

use crate::args::{Cli, Command, Global};
use crate::exit::{Code, Failure, Outcome};
use ampoule_engine::{Options, Precision};
use ampoule_graph::{Graph, onnx};
use ampoule_pipeline::{Error as PipelineError, Model, RECIPE_KEY, Recipe};

/// Runs what was typed.
pub fn run(cli: &Cli) -> Outcome {
    let g = &cli.global;
    match &cli.command {
        Command::Demo { output } => demo::run(g, output),
        Command::Models { action } => models::run(g, action.as_ref()),
        Command::Inspect { model, size, output, profile } => {
            inspect::run(g, model, size.0, output.as_deref(), *profile)
        }
        Command::Run {
            model,
            inputs,
            output,
            mask,
            fast,
            save_probabilities,
            frame,
            top,
            fold,
            mpp,
            gzip,
            keep_header,
        } => {
            let job = run::Job {
                model,
                inputs,
                output,
                mask: mask.as_deref(),
                fast: *fast,
                probabilities: *save_probabilities,
                frame: *frame,
                top: *top,
                folds: fold,
                mpp: *mpp,
                gzip: *gzip,
                keep_header: *keep_header,
            };
            run::run(g, &job)
        }
        Command::Evaluate { predictions, truth, csv } => evaluate::run(g, predictions, truth, csv.as_deref()),
        Command::Compare { model_a, model_b, inputs, layers: true, fast, .. } => {
            compare::layers(g, model_a, model_b, inputs, *fast)
        }
        Command::Compare { model_a, model_b, inputs, size, fast, .. } => {
            compare::run(g, model_a, model_b, inputs, *size, *fast)
        }
        Command::Bench { models, against, size, seconds, environment, profile } => {
            let job = bench::Job {
                models,
                precision: precision(g)?.name(),
                against,
                size: size.0,
                seconds: *seconds,
                environment,
                profile: *profile,
            };
            bench::run(g, &job)
        }
        Command::BenchWorker { task } => bench::worker(task),
        Command::Optimize(o) => optimize::run(g, o),
        Command::Study { study, output } => study::run(g, study, output),
        Command::Report { studies, output } => study::merge(g, studies, output),
        Command::StudyWorker { task } => study::worker(task),
        Command::Doctor => doctor::run(g),
        Command::Generate { what, model } => generate::run(*what, model.as_deref()),
    }
}

/// The precision to run with.
fn precision(g: &Global) -> Result<Precision, Failure> {
    let Some(name) = &g.precision else { return Ok(Precision::default()) };
    Precision::parse(name).ok_or_else(|| {
        Failure::usage(format!(
            "--precision {name} is for `optimize`; an INT8 model runs in INT8 with any precision"
        ))
    })
}

/// Engine options from what was typed; the tier is checked before any work.
fn options(g: &Global) -> Result<Options, Failure> {
    ampoule_kernels::choose(g.isa.as_deref()).map_err(|e| Failure::usage(e.to_string()))?;
    let [threads] = g.threads[..] else {
        return Err(Failure::usage("--threads takes one number here".to_owned()));
    };
    Ok(Options {
        isa: g.isa.clone(),
        threads,
        max_bytes: g.max_ram.or_else(ampoule_pipeline::total_memory),
        precision: precision(g)?,
        observe: None,
        rewrites: Default::default(),
        external: None,
    })
}

/// A model file and the recipe in force.
struct Opened {
    graph: Graph,
    recipe: Option<String>,
    sha256: String,
}

/// Reads a model by file or name.
fn open(g: &Global, model: &str) -> Result<Opened, Failure> {
    let path = ampoule_zoo::resolve(model)?;
    let given = g.recipe.as_deref().map(read_recipe).transpose()?;
    let graph =
        onnx::read_file(&path).map_err(|source| PipelineError::Model { path: path.clone(), source })?;
    // A model of the catalogue goes with the recipe of this program, whenever it was fetched.
    let own = ampoule_zoo::entry(model).ok().map(|e| e.recipe.to_owned());
    let recipe = given.or(own).or_else(|| graph.meta(RECIPE_KEY).map(str::to_owned));
    let sha256 = ampoule_pipeline::sha256_file(&path)?;
    Ok(Opened { graph, recipe, sha256 })
}

impl Opened {
    /// As a model that is ready to be run.
    fn model(self, g: &Global) -> Result<Model, Failure> {
        let mut m = Model::from_graph(self.graph, self.recipe.as_deref(), self.sha256, options(g)?)?;
        m.max_ram = g.max_ram;
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

/// Prints a line on standard output; a closed pipe ends the program quietly.
fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    if let Err(e) = writeln!(std::io::stdout(), "{text}") {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "ampoule: standard output cannot be written: {e}");
        std::process::exit(Code::SomeFailed as i32);
    }
}

fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    say(serde_json::to_string(value).map_err(|e| Failure::input(e.to_string()))?);
    Ok(())
}
