//! Results folders of nnU-Net v2: `Dataset…/TRAINER__PLANS__CONFIGURATION` with `plans.json`, `dataset.json` and a
//! folder for each fold; and those of version 1 ([`v1`]).

mod configuration;
mod labels;
mod plans;
mod postprocess;
mod recipe;
mod target;
mod trainer;
mod v1;

use super::Found;
use crate::Result;
use crate::architectures::checked;
use ampoule_graph::Graph;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{Kind, Step};
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use configuration::{Configuration, load};
use target::Member;
pub(super) use target::{Target, find};

/// Configurations in a chain: a cascade has two.
const STAGES: usize = 4;

/// The model of one or several configurations.
pub(super) fn open(target: Target) -> Result<Found> {
    let mut notes = target.notes;
    let mut b = Builder::new("nnunet");
    let several = target.members.len() > 1;
    let mut chains = Vec::new();
    for (k, member) in target.members.iter().enumerate() {
        let prefix = if several { format!("model{}_", k + 1) } else { String::new() };
        chains.push(chain(member, &prefix, &mut b, &mut notes)?);
    }
    let (first, decides) = (&target.members[0], &chains[chains.len() - 1][0]);
    if let Some(other) = chains.iter().flatten().find(|c| c.recipe.label != decides.recipe.label) {
        let reason =
            format!("{} and {} have different labels, and cannot be joined", other.name, decides.name);
        return Err(first.files.wrong("", reason));
    }
    let post = match (&target.ensemble, several) {
        (Some(folder), _) => postprocess::of_folder(folder, "", &decides.labels, &mut notes)?,
        (None, true) => Vec::new(),
        (None, false) => {
            let folder = format!("crossval_results_folds_{}/", decides.folds);
            postprocess::of_folder(&first.files, &folder, &decides.labels, &mut notes)?
        }
    };
    let source: Vec<String> = chains.iter().flatten().map(|c| format!("{}, {}", c.name, c.trainer)).collect();
    let Some(mut recipe) = joined(chains) else {
        return Err(first.files.wrong("", "it has no configuration"));
    };
    if told_to_turn(&recipe) {
        recipe.preprocess.insert(0, Step::Orient { to: "RAS".into() });
        notes
            .push("TotalSegmentator turns images to RAS before nnU-Net sees them; so does the recipe".into());
    }
    if is_hd_bet(&first.files.name()) {
        recipe.outputs.masked = MASKED.into();
        notes.push(format!(
            "HD-BET 2: the brain is written too (NAME_{MASKED}; HD-BET calls its mask so); images should be stored along the axes of MNI152, as it asks"
        ));
    }
    if !target::is_of_version_1(&first.files) {
        recipe.postprocess = post;
    }
    let mut graph: Graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    let version = if target::is_of_version_1(&first.files) { 1 } else { 2 };
    graph.set_meta("ampoule.source", format!("nnU-Net v{version}, {}", source.join("; ")));
    Ok(Found { graph, notes })
}

/// The recipe of a part model, whose networks are added to a graph with names that begin with `prefix`.
pub(super) fn part(
    target: &Target,
    prefix: &str,
    b: &mut Builder,
    notes: &mut Vec<String>,
) -> Result<Recipe> {
    let [member] = &target.members[..] else {
        return Err(target.members[0]
            .files
            .wrong("", "it is an ensemble, and a part model is one configuration"));
    };
    let mut stages = chain(member, &format!("{prefix}_"), b, notes)?;
    match (stages.pop(), stages.is_empty()) {
        (Some(only), true) => Ok(only.recipe),
        _ => Err(member.files.wrong("", "it is a cascade, and a part model is one configuration")),
    }
}

/// A configuration, and before it those whose labels it sees.
fn chain(
    member: &Member,
    prefix: &str,
    b: &mut Builder,
    notes: &mut Vec<String>,
) -> Result<Vec<Configuration>> {
    if target::is_of_version_1(&member.files) {
        return Ok(vec![v1::load(member, b, prefix, notes)?]);
    }
    let mut chain = vec![load(member, b, prefix, notes)?];
    while let Some((before, _)) = &chain[0].before {
        if chain.len() == STAGES {
            return Err(before.files.wrong("", "its previous stages lead round in a circle"));
        }
        let stage = load(before, b, &format!("{prefix}before{}_", chain.len()), notes)?;
        chain.insert(0, stage);
    }
    Ok(chain)
}

/// One recipe of those of each chain: networks follow one another, and every one has its own steps.
fn joined(chains: Vec<Vec<Configuration>>) -> Option<Recipe> {
    let members = chains.len();
    let mut out: Option<Recipe> = None;
    for (m, chain) in chains.into_iter().enumerate() {
        let stages = chain.len();
        for (k, Configuration { mut recipe, before, .. }) in chain.into_iter().enumerate() {
            if members == 1 && stages == 1 {
                return Some(recipe);
            }
            if let (Some((_, how)), Some(stage)) = (before, out.as_mut().and_then(|r| r.network.last_mut())) {
                stage.cascade = Some(how);
            }
            let turned = recipe.preprocess.iter().take_while(|s| matches!(s, Step::Orient { .. })).count();
            let own = recipe.preprocess.split_off(turned);
            for network in &mut recipe.network {
                network.preprocess = own.clone();
                network.average = k + 1 == stages && m + 1 < members;
            }
            match &mut out {
                Some(all) => all.network.extend(recipe.network),
                None => out = Some(recipe),
            }
        }
    }
    out
}

/// What is added to the name of an image without what is not brain.
const MASKED: &str = "bet";

/// Whether a folder is called as HD-BET 2 calls the one that it fetches: by its release.
fn is_hd_bet(name: &str) -> bool {
    name.starts_with("release_2.")
}

/// Whether the program around the network turns images to their closest canonical axes first, which plans do not tell.
fn told_to_turn(recipe: &Recipe) -> bool {
    let turned = matches!(recipe.preprocess.first(), Some(Step::Orient { .. }));
    recipe.model.name.to_lowercase().contains("totalsegmentator") && recipe.kind() == Kind::Volume && !turned
}
