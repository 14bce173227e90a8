//! Codes of what segments are. A label is found by the words of its name; one that is not known has a code of this program,
//! made of its name.

/// A code of a scheme with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code<'a> {
    pub scheme: &'static str,
    pub value: &'a str,
    pub meaning: &'a str,
}

const fn dcm(value: &'static str, meaning: &'static str) -> Code<'static> {
    Code { scheme: "DCM", value, meaning }
}

const fn snomed(value: &'static str, meaning: &'static str) -> Code<'static> {
    Code { scheme: "SCT", value, meaning }
}

pub(crate) const DERIVED: Code = dcm("113076", "Segmentation");
pub(crate) const SOURCE: Code = dcm("121322", "Source image for image processing operation");
pub(crate) const BACKGROUND: Code = dcm("125040", "Background");
pub(crate) const INTELLIGENCE: Code = dcm("123110", "Artificial Intelligence");

const ANATOMY: Code = snomed("123037004", "Anatomical Structure");
const ALTERED: Code = snomed("49755003", "Morphologically Altered Structure");

/// Words of labels' names, with category and type.
const KNOWN: &[(&str, Code, Code)] = &[
    ("brain", ANATOMY, snomed("12738006", "Brain")),
    ("liver", ANATOMY, snomed("10200004", "Liver")),
    ("lung", ANATOMY, snomed("39607008", "Lung")),
    ("kidney", ANATOMY, snomed("64033007", "Kidney")),
    ("spleen", ANATOMY, snomed("78961009", "Spleen")),
    ("pancreas", ANATOMY, snomed("15776009", "Pancreas")),
    ("heart", ANATOMY, snomed("80891009", "Heart")),
    ("prostate", ANATOMY, snomed("41216001", "Prostate")),
    ("hippocampus", ANATOMY, snomed("5366008", "Hippocampus")),
    ("skull", ANATOMY, snomed("89546000", "Skull")),
    ("bone", ANATOMY, snomed("272673000", "Bone")),
    ("tumor", ALTERED, snomed("108369006", "Neoplasm")),
    ("tumour", ALTERED, snomed("108369006", "Neoplasm")),
    ("edema", ALTERED, snomed("79654002", "Edema")),
    ("oedema", ALTERED, snomed("79654002", "Edema")),
    ("necrosis", ALTERED, snomed("6574001", "Necrosis")),
    ("lesion", ALTERED, snomed("52988006", "Lesion")),
];

/// Category and type of a label.
pub(crate) fn of(name: &str) -> [Code<'_>; 2] {
    let lower = name.to_lowercase();
    let mut names = lower.split(|c: char| !c.is_alphabetic());
    let own = Code { scheme: "99AMPOULE", value: short(name, 16), meaning: short(name, 64) };
    // A name of several words may mean a part or a neighbour of what one of them means.
    match (names.next(), names.find(|n| !n.is_empty())) {
        (Some(word), None) => match KNOWN.iter().find(|k| k.0 == word) {
            Some((_, category, kind)) => [category.clone(), kind.clone()],
            None => [ANATOMY, own],
        },
        _ => [ANATOMY, own],
    }
}

/// The beginning of a name, of so many characters.
fn short(name: &str, most: usize) -> &str {
    match name.char_indices().nth(most) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_looked_up() {
        assert_eq!(of("Brain")[1].value, "12738006");
        assert_eq!(of("tumour"), [ALTERED, snomed("108369006", "Neoplasm")]);
        let [category, kind] = of("brain stem of a very long name");
        assert_eq!((category, kind.scheme, kind.value), (ANATOMY, "99AMPOULE", "brain stem of a "));
    }
}
