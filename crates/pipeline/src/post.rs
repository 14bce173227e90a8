//! What happens to labels after they are decided.

use crate::recipe::{Neighbours, Post, PostStep, Recipe, Ties};
use ampoule_imaging::Volume;
use ampoule_imaging::postprocess::{self as imaging, Holes, Operation, Others, Select, Structure};
use ampoule_imaging::regions::Connectivity;

/// Does the steps of the recipe to `labels`, whose voxels have `spacing` mm, that come when labels lie on the image's grid: all,
/// or those after `return`.
pub(crate) fn postprocess(recipe: &Recipe, labels: &mut Volume<u16>, spacing: [f64; 3], flat: bool) {
    steps(recipe, &recipe.postprocess[returned(recipe)..], labels, spacing, flat);
    if !recipe.dropped.is_empty() {
        let dropped: Vec<u16> = recipe.dropped.iter().map(|l| l.value).collect();
        labels.data.iter_mut().filter(|l| dropped.contains(l)).for_each(|l| *l = 0);
    }
}

/// Does the steps that come before labels return to the image's grid.
pub(crate) fn before_return(recipe: &Recipe, labels: &mut Volume<u16>, spacing: [f64; 3]) {
    steps(recipe, &recipe.postprocess[..returned(recipe)], labels, spacing, false);
}

/// How many steps come before labels return.
fn returned(recipe: &Recipe) -> usize {
    recipe.postprocess.iter().position(|p| p.step == PostStep::Return {}).unwrap_or(0)
}

fn steps(recipe: &Recipe, list: &[Post], labels: &mut Volume<u16>, spacing: [f64; 3], flat: bool) {
    for post in list {
        let values = values(recipe, post);
        // Together, the labels are one set; else each is one. A table of labels is applied once: what a label becomes is
        // not mapped again.
        let one = post.together || matches!(post.step, PostStep::Map { .. });
        let sets: Vec<Vec<u16>> =
            if one { vec![values] } else { values.into_iter().map(|v| vec![v]).collect() };
        for set in &sets {
            apply(recipe, post, labels, set, spacing, flat);
        }
    }
}

fn values(recipe: &Recipe, post: &Post) -> Vec<u16> {
    let named = |n: &String| recipe.computed().find(|l| &l.name == n).map(|l| l.value);
    match post.labels.is_empty() {
        true => recipe.computed().map(|l| l.value).filter(|v| *v != 0).collect(),
        false => post.labels.iter().filter_map(named).collect(),
    }
}

fn connectivity(n: Neighbours) -> Connectivity {
    match n {
        Neighbours::Faces => Connectivity::Faces,
        Neighbours::Full => Connectivity::Full,
    }
}

fn apply(recipe: &Recipe, post: &Post, labels: &mut Volume<u16>, set: &[u16], spacing: [f64; 3], flat: bool) {
    let Some(&first) = set.first() else { return };
    let select = Select::of(set);
    let axes = [true, true, !flat];
    let mut morph = |operation, by| {
        let structure = Structure { full: false, axes };
        imaging::morphology_of(labels, select, first, operation, structure, by, false);
    };
    match &post.step {
        PostStep::Largest { neighbours, ties } => {
            let ties = match ties {
                Ties::First => imaging::Ties::First,
                Ties::All => imaging::Ties::All,
            };
            imaging::keep_largest(labels, select, connectivity(*neighbours), ties);
        }
        PostStep::RemoveSmall { neighbours, voxels, mm } => {
            let size = if flat { [spacing[0], spacing[1], 1.0] } else { spacing };
            let least = voxels.map_or_else(|| mm.map_or(0, |m| imaging::voxels_of(m, size)), |n| n as u64);
            imaging::remove_small(labels, select, connectivity(*neighbours), least);
        }
        PostStep::FillHoles { slices } => {
            let holes = match slices {
                None if flat => Holes::Slices(2),
                None => Holes::Volume,
                Some(axis) => Holes::Slices(axis.index()),
            };
            imaging::fill_holes(labels, select, first, holes);
        }
        PostStep::Dilate { by } => morph(Operation::Dilate, *by),
        PostStep::Erode { by } => morph(Operation::Erode, *by),
        PostStep::Open { by } => morph(Operation::Open, *by),
        PostStep::Close { by } => morph(Operation::Close, *by),
        PostStep::Map { from, to } => {
            let pairs: Vec<(u16, u16)> = from.iter().zip(to).map(|(a, b)| (*a as u16, *b as u16)).collect();
            imaging::map(labels, &pairs, Others::Keep);
        }
        // Where labels lie is no concern of theirs.
        PostStep::Return {} => {}
        PostStep::KeepInside { label } => {
            if let Some(l) = recipe.computed().find(|l| &l.name == label) {
                let mut mask = Select::Label(l.value).mask(labels);
                imaging::fill_holes(&mut mask, Select::Label(1), 1, Holes::Volume);
                // The label itself counts as lying within its own outline.
                imaging::remove_outside(labels, select, &mask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_applied_once() {
        let text = "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n[[input]]\nname = \"a\"\n[[network]]\n[[label]]\nname = \"b\"\n[[label]]\nname = \"c\"\n[[label]]\nname = \"d\"\n[[postprocess]]\nstep = \"map\"\nfrom = [1, 2]\nto = [2, 1]\n";
        let recipe = Recipe::parse(text, "").unwrap();
        let mut v = Volume { dims: [4, 1, 1], data: vec![0, 1, 2, 1] };
        postprocess(&recipe, &mut v, [1.0; 3], false);
        assert_eq!(v.data, [0, 2, 1, 2]);
    }
}
