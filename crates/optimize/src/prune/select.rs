//! Which channels stay.

use super::structure::Structure;

/// How much to remove.
#[derive(Clone, Debug, PartialEq)]
pub enum Ratio {
    /// The same share of every group.
    Each(f64),
    /// This share of all channels, the least important ones of any group.
    Global(f64),
    /// A share for each group, in the order of [`Structure::groups`].
    Groups(Vec<f64>),
}

/// Most of a group that [`Ratio::Global`] takes: what is wholly starved cannot recover.
const MOST: f64 = 0.9;

/// Channel counts that kernels like: whole vectors, or at least half of one.
fn rounded(keep: f64, all: usize) -> usize {
    let step = if all >= 64 { 16 } else { 8 };
    // A little above a multiple is taken for it.
    let up = ((keep - 0.25) / step as f64).ceil().max(1.0) as usize * step;
    up.min(all)
}

/// For every class whether it stays. A ratio of 0 keeps all.
pub fn select(s: &Structure, importance: &[f64], ratio: &Ratio) -> Vec<bool> {
    let mut keep = vec![true; s.classes];
    let share = match ratio {
        Ratio::Each(r) => vec![*r; s.groups.len()],
        Ratio::Groups(list) => list.clone(),
        Ratio::Global(r) => {
            let mut all: Vec<f64> =
                s.groups.iter().flat_map(|g| g.classes.iter().map(|&c| importance[c])).collect();
            all.sort_by(f64::total_cmp);
            let cut = (all.len() as f64 * r) as usize;
            let threshold = all.get(cut).copied().unwrap_or(f64::INFINITY);
            let below = |g: &super::Group| {
                let n = g.classes.iter().filter(|&&c| importance[c] < threshold).count();
                (n as f64 / g.classes.len().max(1) as f64).min(MOST)
            };
            s.groups.iter().map(below).collect()
        }
    };
    for (group, r) in s.groups.iter().zip(share) {
        let n = group.channels();
        let stay = rounded(n as f64 * (1.0 - r.clamp(0.0, 1.0)), n);
        let mut order: Vec<(usize, usize)> =
            group.classes.iter().copied().zip(group.counts.iter().copied()).collect();
        order.sort_by(|(a, _), (b, _)| importance[*b].total_cmp(&importance[*a]).then(a.cmp(b)));
        let mut staying = 0;
        for (class, channels) in order {
            keep[class] = staying < stay;
            staying += channels;
        }
    }
    keep
}
