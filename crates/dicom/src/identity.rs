//! What an object is and where it belongs, read of its header with every length checked.

use crate::Error;
use crate::codec;
use crate::header::parse;
use crate::place::{Opener, Place};
use crate::values::text;
use crate::walk::walk;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

const WANTED: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
];

/// What an object is and where it belongs. All UIDs have the form of UIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Storage class.
    pub class: String,
    /// The object.
    pub instance: String,
    /// Its study.
    pub study: String,
    /// Its series.
    pub series: String,
}

/// Reads what a file is; its header may take `most` bytes. Walks through the whole file up to the pixels, so that one that is
/// cut short or whose lengths lie is an error.
pub fn identity(place: &Place, most: u64) -> Result<Identity, Error> {
    let walked = walk(Opener::new(most).open(place)?, WANTED, most)?;
    let o = parse(&walked.header, &walked.syntax)?;
    let of = |tag: Tag| {
        let value = text(&o, tag).filter(|t| is_uid(t));
        value.ok_or_else(|| Error::damaged(format!("{tag} is no UID")))
    };
    Ok(Identity {
        class: of(tags::SOP_CLASS_UID)?,
        instance: of(tags::SOP_INSTANCE_UID)?,
        study: of(tags::STUDY_INSTANCE_UID)?,
        series: of(tags::SERIES_INSTANCE_UID)?,
    })
}

/// Whether a text has the form of a UID: numbers with dots between them, of at most 64 characters.
pub fn is_uid(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 64 && text.split('.').all(number)
}

/// UIDs of the transfer syntaxes that are read.
pub fn transfer_syntaxes() -> impl Iterator<Item = &'static str> {
    codec::syntaxes()
}

/// Whether `text` is as `pattern` says, whatever the letters' case: `*` stands for any signs, `?` for one.
pub fn fits(pattern: &str, text: &str) -> bool {
    let [p, t] = [pattern, text].map(|s| s.to_lowercase().chars().collect::<Vec<char>>());
    let (mut i, mut j) = (0, 0);
    // Where the last `*` stands, and up to where in the text it reaches.
    let mut star: Option<(usize, usize)> = None;
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == t[j] => (i, j) = (i + 1, j + 1),
            Some(_) | None => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    (i, j) = (at + 1, reached + 1);
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_numbers_and_dots() {
        for (text, is) in [
            ("1.2.840.10008.1.1", true),
            ("2.25.1", true),
            ("", false),
            ("1..2", false),
            ("1.2.", false),
            ("../../etc", false),
            ("1.2/3", false),
            ("1.2\0", false),
        ] {
            assert_eq!(is_uid(text), is, "{text}");
        }
        assert!(is_uid(&"1".repeat(64)) && !is_uid(&"1".repeat(65)));
    }

    #[test]
    fn patterns_are_of_the_whole_text() {
        for (pattern, text, is) in [
            ("*t1*", "Ax T1 MPRAGE", true),
            ("t1", "T1", true),
            ("t1", "Ax T1", false),
            ("*t1", "t1 t1 x t1", true),
            ("t?", "T2", true),
            ("t?", "T", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
        ] {
            assert_eq!(fits(pattern, text), is, "{pattern} {text}");
        }
        // No backtracking without end.
        assert!(!fits(&"*a".repeat(200), &"a".repeat(199)));
    }
}
