//! `ampoule view`.

use super::serve::service;
use super::{json, say};
use crate::args::{Global, View};
use crate::exit::{Code, Failure, Outcome};
use crate::{browser, stop};
use ampoule_serve::{Started, Stop};

pub fn run(g: &Global, a: &View) -> Outcome {
    if let Some(missing) = a.folders.iter().find(|f| !f.is_dir()) {
        return Err(Failure::usage(format!("{}: there is no such folder", missing.display())));
    }
    let stop = Stop::default();
    stop::serving(service(&stop));
    let mut failed = None;
    let mut started = |at: &Started| {
        match g.json {
            true => failed = json(&serde_json::json!({ "page": at.page })).err(),
            false => say(format!("page      {}\nCtrl+C ends it.", at.page)),
        }
        if !a.no_open && !browser::open(&at.page) {
            say("no browser could be opened; open the address by hand");
        }
    };
    ampoule_serve::view(&a.folders, a.port, &stop, &mut started)?;
    failed.map_or(Ok(Code::Done), Err)
}
