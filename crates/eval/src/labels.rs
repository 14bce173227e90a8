//! Labels of label maps that are compared: one mask, or label by label.

use ampoule_imaging::Volume;
use std::collections::BTreeSet;

/// How two sets of label maps are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Both are masks: anything above 0 is foreground, whatever its value.
    Mask,
    /// Each of these labels by itself.
    Each(Vec<u16>),
}

/// Most labels that are compared one by one, several times what atlases have. Each takes a walk over the whole grid.
const MOST: usize = 1024;

/// Value of foreground in masks that are pictures.
pub(crate) const WHITE: u16 = 255;

/// Labels above 0 that occur.
pub(crate) fn values<T: Copy + Into<u16>>(v: &Volume<T>) -> BTreeSet<u16> {
    let mut seen = vec![false; 1 << 16];
    v.data.iter().for_each(|&x| seen[x.into() as usize] = true);
    (1..=u16::MAX).filter(|&x| seen[x as usize]).collect()
}

impl Compared {
    /// From all labels above 0 of the predictions and of the reference. Two single labels are masks where they are equal or one
    /// is white (255); others are two classes. A single label where the other side has several is one of them; a mask of another
    /// value cannot be compared with label maps.
    pub fn of(predicted: &BTreeSet<u16>, reference: &BTreeSet<u16>) -> Result<Compared, String> {
        let one = |s: &BTreeSet<u16>| s.first().copied().unwrap_or(WHITE);
        let same = one(predicted) == one(reference) || [one(predicted), one(reference)].contains(&WHITE);
        match (predicted.len(), reference.len()) {
            (0..=1, 0..=1) if same => Ok(Compared::Mask),
            (1, 2..) if !predicted.is_subset(reference) => {
                Err(one_and_several("prediction", predicted, "ground truth", reference))
            }
            (2.., 1) if !reference.is_subset(predicted) => {
                Err(one_and_several("ground truth", reference, "prediction", predicted))
            }
            _ => {
                let labels: Vec<u16> = predicted.union(reference).copied().collect();
                match labels.len() {
                    0..=MOST => Ok(Compared::Each(labels)),
                    n => Err(format!(
                        "there are {n} labels, and at most {MOST} are compared: these may be images instead of label maps, or objects of one class that are numbered, which --instances compares"
                    )),
                }
            }
        }
    }

    /// What a reader should know of the values: that the only labels of both sides differ. White (255) is a mask's usual value and
    /// says nothing.
    pub fn notes(predicted: &BTreeSet<u16>, reference: &BTreeSet<u16>) -> Vec<String> {
        let one = |s: &BTreeSet<u16>| s.first().copied().filter(|_| s.len() == 1);
        match (one(predicted), one(reference)) {
            (Some(p), Some(t)) if p != t && ![p, t].contains(&WHITE) => vec![format!(
                "the predictions' only label is {p}, the ground truth's is {t}: they were compared as two classes; if they mean the same, give one of them the other's value"
            )],
            _ => Vec::new(),
        }
    }

    /// The labels, `None` for a mask's only one.
    pub fn labels(&self) -> Vec<Option<u16>> {
        match self {
            Compared::Mask => vec![None],
            Compared::Each(labels) => labels.iter().copied().map(Some).collect(),
        }
    }
}

/// Stored values as labels: whole numbers from 0, which scaling may have moved a little, or probabilities from 0 to 1,
/// of which those above 0.5 are label 1.
pub(crate) fn whole(stored: &Volume<f32>) -> std::result::Result<Volume<u16>, String> {
    const ROUNDING: f32 = 1e-3;
    let label = |v: f32| (v - v.round()).abs() <= ROUNDING && (0.0..=65_535.0).contains(&v.round());
    match stored.data.iter().find(|v| !label(**v)) {
        None => Ok(stored.map(|v| v.round() as u16)),
        Some(_) if stored.data.iter().all(|v| (-ROUNDING..=1.0 + ROUNDING).contains(v)) => {
            Ok(stored.map(|v| (v > 0.5) as u16))
        }
        Some(v) => Err(format!(
            "it holds {v}, which is neither a label nor a probability; give a mask or a label map"
        )),
    }
}

/// Where a label lies (anything above 0 for `None`): 1 there, 0 elsewhere.
pub(crate) fn mask_of<T: Copy + Into<u16>>(v: &Volume<T>, label: Option<u16>) -> Volume<u8> {
    let hit = |x: T| label.map_or(x.into() > 0, |l| x.into() == l) as u8;
    Volume { dims: v.dims, data: v.data.iter().map(|&x| hit(x)).collect() }
}

fn one_and_several(mask: &str, one: &BTreeSet<u16>, maps: &str, several: &BTreeSet<u16>) -> String {
    let list = |s: &BTreeSet<u16>| s.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "the {mask} is a mask with the single label {}, the {maps} has the labels {}; merge those into one mask, or give label maps on both sides",
        list(one),
        list(several)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_compared_with_masks_and_labels_with_labels() {
        let of =
            |p: &[u16], t: &[u16]| Compared::of(&p.iter().copied().collect(), &t.iter().copied().collect());
        assert_eq!(of(&[255], &[1]), Ok(Compared::Mask));
        assert_eq!(of(&[], &[7]), Ok(Compared::Mask));
        assert_eq!(of(&[3], &[3]), Ok(Compared::Mask));
        // Another class is not the same mask.
        assert_eq!(of(&[2], &[1]), Ok(Compared::Each(vec![1, 2])));
        assert_eq!(of(&[1, 2], &[2, 4]), Ok(Compared::Each(vec![1, 2, 4])));
        // Nothing predicted is a result for each label.
        assert_eq!(of(&[], &[1, 2]), Ok(Compared::Each(vec![1, 2])));
        // Nor are labels that were not predicted, or that should not have been.
        assert_eq!(of(&[1], &[1, 2]), Ok(Compared::Each(vec![1, 2])));
        assert_eq!(of(&[1, 2], &[2]), Ok(Compared::Each(vec![1, 2])));
        let many: Vec<u16> = (1..=1025).collect();
        assert!(of(&many[1..], &many[1..]).is_ok());
        assert!(of(&many, &many[1..]).unwrap_err().contains("1025 labels"));
        for (p, t, words) in [
            (&[255][..], &[1, 2, 4][..], "the prediction is a mask with the single label 255"),
            (&[1, 2], &[255], "the ground truth is a mask with the single label 255"),
        ] {
            let e = of(p, t).unwrap_err();
            assert!(e.contains(words), "{e}");
        }
        let v = Volume { dims: [2, 2, 1], data: vec![0u8, 255, 3, 3] };
        assert_eq!(values(&v).into_iter().collect::<Vec<_>>(), [3, 255]);
        assert_eq!(mask_of(&v, Some(3)).data, [0, 0, 1, 1]);
        assert_eq!(mask_of(&v, None).data, [0, 1, 1, 1]);
    }

    #[test]
    fn masks_of_other_values_are_noted() {
        let of = |p: &[u16], t: &[u16]| {
            Compared::notes(&p.iter().copied().collect(), &t.iter().copied().collect())
        };
        let notes = of(&[2], &[1]);
        assert!(notes.len() == 1 && notes[0].contains("is 2") && notes[0].contains("is 1"), "{notes:?}");
        for (p, t) in [(&[1][..], &[1][..]), (&[1], &[255]), (&[255], &[2]), (&[], &[1]), (&[1], &[1, 2])] {
            assert!(of(p, t).is_empty(), "{p:?} {t:?}");
        }
    }
}
