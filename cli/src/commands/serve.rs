//! `ampoule serve`.

use super::{json, open, options, say, tier_name};
use crate::args::{Global, Serve};
use crate::exit::{Code, Failure, Outcome};
use crate::{browser, environment, stop};
use ampoule_serve::{Config, Given, Limits, Started, Stop, Token};
use std::time::Duration;

pub fn run(g: &Global, a: &Serve) -> Outcome {
    if g.recipe.is_some() && a.models.len() > 1 {
        return Err(Failure::usage("--recipe is for one model; the others would get it too"));
    }
    let token = match (&a.token, environment::token()) {
        (Some(file), _) => Some(Token::of_file(file)?),
        (None, Some(text)) => Some(Token::new(&text, "AMPOULE_TOKEN")?),
        (None, None) => None,
    };
    let limits = Limits {
        body: a.max_body,
        upload: a.max_upload,
        patience: Duration::from_secs(a.patience.into()),
        stay: Duration::from_secs(60 * u64::from(a.stay)),
        ..Limits::default()
    };
    let config = Config {
        host: a.host,
        port: a.port,
        grpc_port: (!a.no_grpc).then_some(a.grpc_port),
        token,
        instances: a.instances as usize,
        queue: a.queue as usize,
        keep: a.keep.clone(),
        max_ram: g.max_ram,
        options: options(g)?,
        isa: tier_name(g)?,
        calibration: crate::calibration::in_force(),
        limits,
    };
    let models = a.models.iter().map(|m| given(g, m)).collect::<Result<Vec<_>, _>>()?;
    let stop = Stop::default();
    stop::serving(service(&stop));
    let mut failed = None;
    let mut started = |at: &Started| {
        failed = tell(g, a, at).err();
        if a.open && !browser::open(&at.page) {
            say("no browser could be opened; open the page's address by hand");
        }
    };
    ampoule_serve::serve(config, models, &stop, &mut started)?;
    failed.map_or(Ok(Code::Done), Err)
}

/// How a signal ends what `stop` belongs to.
pub fn service(stop: &Stop) -> stop::Service {
    let (drain, discard) = (stop.clone(), stop.clone());
    stop::Service { drain: Box::new(move || drain.drain()), discard: Box::new(move || discard.discard()) }
}

/// A model of the command line: MODEL, or NAME=MODEL.
fn given(g: &Global, typed: &str) -> Result<Given, Failure> {
    let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', ':']);
    let (name, model) = match typed.split_once('=') {
        Some((name, model)) if plain(name) && !std::path::Path::new(typed).exists() => {
            (name.to_owned(), model)
        }
        _ => (name_of(typed), typed),
    };
    let opened = open(g, model)?;
    Ok(Given { name, graph: opened.graph, recipe: opened.recipe, sha256: opened.sha256 })
}

/// The name of a model in addresses: its file's, with other signs than those of names replaced.
fn name_of(model: &str) -> String {
    let path = std::path::absolute(model).unwrap_or_else(|_| model.into());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let sign = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    stem.trim_start_matches('.').chars().map(sign).collect()
}

fn tell(g: &Global, a: &Serve, at: &Started) -> Result<(), Failure> {
    if g.json {
        let grpc = at.grpc.map(|a| a.to_string());
        return json(
            &serde_json::json!({ "address": at.address.to_string(), "grpc": grpc, "page": at.page }),
        );
    }
    say(format!("page      {}", at.page));
    say(format!("HTTP      http://{}/v2, /cases, /metrics", at.address));
    if let Some(grpc) = at.grpc {
        say(format!("gRPC      {grpc}"));
    }
    match &a.keep {
        Some(keep) => say(format!("results   stay in {}", keep.display())),
        None => say(format!("results   are removed after {} minutes, or when this ends", a.stay)),
    }
    say("Ctrl+C ends it when what runs is finished; a second one at once.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_after_their_files() {
        assert_eq!(["a/b c.onnx", "deepbet", "x.y.onnx"].map(name_of), ["b-c", "deepbet", "x.y"]);
    }
}
