//! Colours of labels.

use super::Legend;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The first colours, easy to distinguish for colour-blind people too (Okabe and Ito, 2008).
const FIRST: [[u8; 3]; 8] = [
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [86, 180, 233],
    [230, 159, 0],
    [0, 0, 0],
    [204, 121, 167],
];

/// Colours before they repeat.
const COUNT: usize = 512;

static COLOURS: LazyLock<Vec<[u8; 3]>> = LazyLock::new(far_apart);

/// The colour of the label at a place in a list, the first label 0 (the background has none). The first 512
/// differ; every one after the eighth is as far as can be from those before it.
pub fn palette(index: usize) -> [u8; 3] {
    COLOURS[index % COLOURS.len()]
}

/// Each further colour is the candidate whose nearest earlier colour is farthest.
fn far_apart() -> Vec<[u8; 3]> {
    const STEPS: usize = 12;
    let level = |i: usize| (i * 255 / (STEPS - 1)) as u8;
    let candidates: Vec<[u8; 3]> = (0..STEPS * STEPS * STEPS)
        .map(|i| [level(i / STEPS / STEPS), level(i / STEPS % STEPS), level(i % STEPS)])
        .filter(|&c| luminance(c) >= 75 && is_colourful(c))
        .collect();
    // Greys are kept for the image itself.
    let taken = [[0; 3], [128; 3], [255; 3]];
    let mut colours = FIRST.to_vec();
    let nearest = |c: &[u8; 3]| FIRST.iter().chain(&taken).map(|&f| distance(*c, f)).min().unwrap_or(0);
    let mut gaps: Vec<u32> = candidates.iter().map(nearest).collect();
    while colours.len() < COUNT {
        let Some(best) = (0..gaps.len()).rev().max_by_key(|&i| gaps[i]) else { break };
        colours.push(candidates[best]);
        for (gap, &c) in gaps.iter_mut().zip(&candidates) {
            *gap = (*gap).min(distance(c, candidates[best]));
        }
    }
    colours
}

fn is_colourful(c: [u8; 3]) -> bool {
    let (low, high) = c.iter().fold((255, 0), |(a, b), &v| (v.min(a), v.max(b)));
    high - low >= 60
}

/// Squared distance of two colours as they are seen, about ("redmean": RGB weighted by the mean red). Whole
/// numbers, so that the palette is the same on every machine.
fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    let d = |i: usize| (i32::from(a[i]) - i32::from(b[i])).pow(2);
    let red = (i32::from(a[0]) + i32::from(b[0])) / 2;
    ((((512 + red) * d(0)) >> 8) + 4 * d(1) + (((767 - red) * d(2)) >> 8)) as u32
}

/// Brightness, 0 to 255 (Rec. 601 weights).
pub(super) fn luminance(c: [u8; 3]) -> u8 {
    ((299 * u32::from(c[0]) + 587 * u32::from(c[1]) + 114 * u32::from(c[2])) / 1000) as u8
}

/// `over` at `alpha` (0 to 1) upon `under`.
pub(super) fn mixed(under: [u8; 3], over: [u8; 3], alpha: f32) -> [u8; 3] {
    [0, 1, 2].map(|i| (f32::from(under[i]) * (1.0 - alpha) + f32::from(over[i]) * alpha).round() as u8)
}

/// Name and colour of every label value, listed or not.
pub(super) struct Key {
    listed: BTreeMap<u16, (String, [u8; 3])>,
    on_dark: bool,
}

impl Key {
    /// `on_dark` inverts colours too dark to be seen on a scan. The first of several entries with one value
    /// counts.
    pub fn new(legend: &[Legend], on_dark: bool) -> Self {
        let mut listed = BTreeMap::new();
        for l in legend.iter().filter(|l| l.value != 0) {
            listed.entry(l.value).or_insert_with(|| (l.name.clone(), l.colour));
        }
        Key { listed, on_dark }
    }

    /// The colour of a value; values that are not listed get the palette's.
    pub fn colour(&self, value: u16) -> [u8; 3] {
        let colour = match self.listed.get(&value) {
            Some((_, colour)) => *colour,
            None => palette(usize::from(value).saturating_sub(1)),
        };
        if self.on_dark && luminance(colour) < 40 { colour.map(|v| 255 - v) } else { colour }
    }

    /// Colour and name of the values found, in order; values that are not listed are named by their number.
    pub fn entries(&self, found: impl Iterator<Item = u16>) -> Vec<([u8; 3], String)> {
        let name = |v: u16| match self.listed.get(&v) {
            Some((name, _)) if !name.trim().is_empty() => name.clone(),
            _ => format!("label {v}"),
        };
        found.map(|v| (self.colour(v), name(v))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_differ() {
        let all: std::collections::HashSet<_> = (0..COUNT).map(palette).collect();
        assert_eq!(all.len(), COUNT);
        assert_eq!(palette(0), FIRST[0]);
        let pairs = |n: usize| (0..n).flat_map(move |i| (0..i).map(move |j| (i, j)));
        let closest = |n: usize| pairs(n).map(|(i, j)| distance(palette(i), palette(j))).min().unwrap();
        assert!(closest(20) > 100 * 100, "{}", closest(20));
        assert!(closest(255) > 30 * 30, "{}", closest(255));
        palette(usize::MAX);
    }

    #[test]
    fn values_beyond_the_list_are_named_by_number() {
        let key = Key::new(&[Legend { value: 7, name: "liver".into(), colour: [0; 3] }], true);
        let entries = key.entries([7, 65535].into_iter());
        assert_eq!(entries[0], ([255; 3], "liver".to_owned()));
        assert_eq!(entries[1].1, "label 65535");
    }
}
