//! A photo that is larger than the patches that a classifier was trained on: window by window, each as a patch of its
//! own.

use super::heat::HeatMap;
use super::{Settings, Workspace, whole_image};
use crate::decide::Decider;
use crate::prepare::{Content, Image};
use crate::recipe::{Pool, Recipe, Rule, Tiles};
use crate::{Model, Result};
use ampoule_imaging::window::{Tiling, positions};

/// Parts of a window's side that a map tells apart.
const CELLS: usize = 8;

/// Where windows begin across and down a photo of `dims`, once it is shrunk. A side that is shorter than a window has one, which the photo is mirrored to fill.
pub(crate) fn starts(tiles: &Tiles, dims: [usize; 3]) -> [Vec<usize>; 2] {
    let tiling = Tiling::Monai { overlap: tiles.overlap };
    tiles.cut_size(dims).map(|n| positions(tiling, n.max(tiles.window), tiles.window, 1))
}

/// The scores of a photo, and the map of one of its labels where that is asked for.
pub(super) fn numbers(
    model: &mut Model,
    image: &Image<'_>,
    tiles: &Tiles,
    settings: Settings,
    ws: &mut Workspace,
) -> Result<Content<(Vec<f32>, Option<HeatMap>)>> {
    let [across, down] = starts(tiles, image.dims());
    let shrunk = image.shrunk(tiles.cut_size(image.dims()));
    let image = shrunk.as_ref().unwrap_or(image);
    let dims = image.dims();
    let mut all: Vec<Vec<f32>> = Vec::with_capacity(across.len() * down.len());
    for &y in &down {
        for &x in &across {
            model.go_on()?;
            model.note(all.len(), across.len() * down.len());
            let part = image.mirrored_part([x, y], [tiles.window; 2]);
            match whole_image(model, part, settings.fast, ws)? {
                Ok(seen) => all.push(seen.numbers),
                Err(reason) => return Ok(Err(reason)),
            }
        }
    }
    let recipe = model.recipe.clone();
    let numbers = pooled(&recipe, tiles, &all);
    let map = settings.heat.then(|| {
        let label = shown(&recipe, &numbers);
        let decider = Decider::new(&recipe);
        let has = |scores: &&Vec<f32>| match recipe.decide.rule {
            Rule::Several => decider.several(scores).contains(&label),
            Rule::Argmax | Rule::Threshold | Rule::Regions => decider.choose(scores) == Some(label),
        };
        let of = all.iter().filter(has).count();
        let what = format!("{:.3}, {of} of {} windows", numbers[label], all.len());
        let (values, size) = map(&all, label, tiles, dims, [&across, &down]);
        HeatMap { label, values, size, top: 1.0, what }
    });
    Ok(Ok((numbers, map)))
}

/// The scores of a photo whose windows have the scores `all`.
fn pooled(recipe: &Recipe, tiles: &Tiles, all: &[Vec<f32>]) -> Vec<f32> {
    let n = all.first().map_or(0, Vec::len);
    let mean = |list: &[usize], k: usize| {
        let sum: f64 = list.iter().map(|i| f64::from(all[*i][k])).sum();
        (sum / list.len().max(1) as f64) as f32
    };
    let every: Vec<usize> = (0..all.len()).collect();
    // The windows with the most of a score, the first of equals first.
    let top = |score: &dyn Fn(usize) -> f32| {
        let mut list = every.clone();
        list.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        list.truncate(tiles.top);
        list
    };
    let background = recipe.label.iter().position(|l| l.value == 0);
    match (tiles.decide, recipe.decide.rule, background) {
        (Pool::Highest, Rule::Several, _) => (0..n).map(|k| mean(&top(&|i| all[i][k]), k)).collect(),
        (Pool::Highest, Rule::Argmax | Rule::Threshold | Rule::Regions, Some(none)) => {
            let list = top(&|i| -all[i][none]);
            (0..n).map(|k| mean(&list, k)).collect()
        }
        (Pool::Highest, Rule::Argmax | Rule::Threshold | Rule::Regions, None) | (Pool::Mean, ..) => {
            (0..n).map(|k| mean(&every, k)).collect()
        }
    }
}

/// The label that a map is of: that with the highest score, the background left out where there are others.
fn shown(recipe: &Recipe, numbers: &[f32]) -> usize {
    let drawn = |k: &usize| recipe.label[*k].value != 0 || recipe.label.len() == 1;
    let all = (0..numbers.len()).filter(drawn);
    all.reduce(|best, k| if numbers[k] > numbers[best] { k } else { best }).unwrap_or(0)
}

/// The mean score of the windows that lie over the middle of each cell.
fn map(
    all: &[Vec<f32>],
    label: usize,
    tiles: &Tiles,
    dims: [usize; 3],
    starts: [&[usize]; 2],
) -> (Vec<f32>, [usize; 2]) {
    let cell = (tiles.window / CELLS).max(1);
    let size = [0, 1].map(|i| dims[i].div_ceil(cell));
    // Windows over the middle of each row or column of cells.
    let over = |axis: usize| -> Vec<Vec<usize>> {
        let middle = |i: usize| (i as f64 + 0.5) * dims[axis] as f64 / size[axis] as f64;
        let holds = |i: usize, s: usize| (s as f64..(s + tiles.window) as f64).contains(&middle(i));
        let list = |i| (0..starts[axis].len()).filter(|k| holds(i, starts[axis][*k])).collect();
        (0..size[axis]).map(list).collect()
    };
    let (columns, rows) = (over(0), over(1));
    let mut values = Vec::with_capacity(size[0] * size[1]);
    for row in &rows {
        for column in &columns {
            let of = row.iter().flat_map(|y| column.iter().map(move |x| y * starts[0].len() + x));
            let (sum, n) = of.fold((0f64, 0), |(sum, n), i| (sum + f64::from(all[i][label]), n + 1));
            values.push(if n > 0 { (sum / f64::from(n)) as f32 } else { f32::NAN });
        }
    }
    (values, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(more: &str) -> Recipe {
        let text = format!(
            "version = 2\n[model]\nname = \"x\"\ntask = \"classification\"\n[[input]]\nname = \"a\"\nkind = \"image\"\n[[network]]\n[[label]]\nname = \"none\"\n[[label]]\nname = \"a\"\n[[label]]\nname = \"b\"\n{more}"
        );
        Recipe::parse(&text, "").unwrap()
    }

    fn scores(list: &[[f32; 3]]) -> Vec<Vec<f32>> {
        list.iter().map(|s| s.to_vec()).collect()
    }

    #[test]
    fn the_windows_that_show_the_most_decide() {
        let all = scores(&[[0.9, 0.1, 0.0], [0.25, 0.25, 0.5], [0.75, 0.0, 0.25], [0.5, 0.5, 0.0]]);
        let of = |more: &str| {
            let r = recipe(&format!("[tiles]\nwindow = 8\n{more}"));
            pooled(&r, r.tiles.as_ref().unwrap(), &all)
        };
        assert_eq!(of(""), [0.25, 0.25, 0.5]);
        assert_eq!(of("top = 2"), [0.375, 0.375, 0.25]);
        assert_eq!(of("top = 9"), of("decide = \"mean\""));
        assert_eq!(of("[decide]\nrule = \"several\""), [0.9, 0.5, 0.5]);
        assert_eq!(shown(&recipe(""), &[0.9, 0.1, 0.2]), 2);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (text, want) in [
            ("[tiles]\nwindow = 8\ndecide = \"mean\"\ntop = 2", "`top`"),
            ("[tiles]\noverlap = 0.2", "`window` is missing"),
            ("[tiles]\nwindow = 8\noverlap = 1.0", "overlap"),
        ] {
            let text = format!(
                "version = 2\n[model]\nname = \"x\"\ntask = \"classification\"\n[[input]]\nname = \"a\"\nkind = \"image\"\n[[network]]\n[[label]]\nname = \"a\"\n{text}\n"
            );
            let e = Recipe::parse(&text, "").unwrap_err().to_string();
            assert!(e.contains(want), "{want}: {e}");
        }
    }

    #[test]
    fn maps_average_the_windows_over_a_place() {
        let r = recipe("[tiles]\nwindow = 8");
        let tiles = r.tiles.as_ref().unwrap();
        let [across, down] = starts(tiles, [16, 6, 1]);
        assert_eq!((&across[..], &down[..]), (&[0, 4, 8][..], &[0][..]));
        let all = scores(&[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.0]]);
        let (values, size) = map(&all, 1, tiles, [16, 6, 1], [&across, &down]);
        assert_eq!(size, [16, 6]);
        assert_eq!(values[..16], [[0.0; 4], [0.5; 4], [0.75; 4], [0.5; 4]].concat());
    }

    #[test]
    fn larger_photos_are_shrunk_first() {
        let r = recipe("[tiles]\nlongest = 64\nwindow = 32");
        let tiles = r.tiles.as_ref().unwrap();
        assert_eq!(tiles.cut_size([640, 320, 1]), [64, 32]);
        assert_eq!(tiles.cut_size([60, 50, 1]), [60, 50]);
        assert_eq!(starts(tiles, [640, 320, 1]), [vec![0, 16, 32], vec![0]]);
        assert!(tiles.cuts([33, 8, 1]) && !tiles.cuts([32, 32, 1]));
    }
}
