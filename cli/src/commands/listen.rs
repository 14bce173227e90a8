//! `ampoule listen`.

use super::{json, open, options, print, say, tier_name};
use crate::args::{Global, Listen};
use crate::exit::{Code, Failure, Outcome};
use crate::stop;
use ampoule_listen::{Config, Event, Given, Rule, Setup, Stop};
use ampoule_pipeline::Recipe;

pub fn run(g: &Global, a: &Listen) -> Outcome {
    let config = Config::read(&a.config)?;
    if a.check {
        for rule in &config.rules {
            let given = given(g, rule)?;
            let recipe = given.recipe.as_deref().ok_or(ampoule_pipeline::Error::NoRecipe)?;
            let name = Recipe::parse(recipe, &rule.model)?.model.name;
            say(format!("rule {}: {name}, to {}", rule.name, rule.send.join(", ")));
        }
        return Ok(Code::Done);
    }
    let setup = Setup {
        options: options(g)?,
        max_ram: g.memory_limit(),
        isa: tier_name(g)?,
        calibration: crate::calibration::in_force(),
    };
    let stop = Stop::default();
    let drain = stop.clone();
    stop::serving(stop::Service { drain: Box::new(move || drain.drain()), discard: Box::new(|| {}) });
    let as_json = g.json;
    let tell = move |event: &Event| match as_json {
        // A line that cannot be printed ends the program where it is printed.
        true => _ = json(event),
        false => tell(event),
    };
    let mut models = |rule: &Rule| given(g, rule).map_err(|e| e.about(format!("rule {}", rule.name)));
    ampoule_listen::listen(config, &setup, &mut models, &stop, Box::new(tell))?;
    Ok(Code::Done)
}

/// What is wrong is printed also where `--quiet` was typed.
fn tell(event: &Event) {
    match event {
        Event::Failed { .. } | Event::Trouble { .. } | Event::Unsent { .. } => print(event),
        _ => say(event),
    }
}

fn given(g: &Global, rule: &Rule) -> Result<Given, Failure> {
    let opened = open(g, &rule.model)?;
    Ok(Given { graph: opened.graph, recipe: opened.recipe, sha256: opened.sha256 })
}
