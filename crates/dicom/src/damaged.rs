//! Which series a file that cannot be read belongs to, as far as its bytes tell.

use crate::place::{Opener, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Bytes of a file that are searched: elements before the pixels are few.
const HEAD: u64 = 1 << 18;
/// Longest UID.
const UID: usize = 64;
/// Series Instance UID (0020,000E), little-endian.
const TAG: [u8; 4] = [0x20, 0, 0x0e, 0];

/// Files that could not be read, by what they are missing in.
#[derive(Default)]
pub(crate) struct Damaged {
    series: BTreeMap<String, String>,
    /// Folders with files that do not say their series.
    folders: BTreeMap<PathBuf, String>,
}

impl Damaged {
    /// Notes a file that could not be read.
    pub fn add(&mut self, opener: &mut Opener, place: &Place) {
        let uids = named(opener, place);
        if uids.is_empty() {
            let folder = place.shown().parent().map(PathBuf::from).unwrap_or_default();
            self.folders.entry(folder).or_insert_with(|| place.name());
        }
        for uid in uids {
            self.series.entry(uid).or_insert_with(|| place.name());
        }
    }

    /// A file that may be missing in a series whose files lie in `folders`.
    pub fn of<'a>(&'a self, uid: &str, folders: &BTreeSet<PathBuf>) -> Option<&'a String> {
        self.series.get(uid).or_else(|| folders.iter().find_map(|f| self.folders.get(f)))
    }
}

/// All series that the beginning of a file names: its own, and those that it refers to.
fn named(opener: &mut Opener, place: &Place) -> BTreeSet<String> {
    let head = opener.open(place).and_then(|mut content| {
        let count = content.length.min(HEAD);
        content.range(0, count)
    });
    let Ok(head) = head else { return BTreeSet::new() };
    let found = (0..head.len().saturating_sub(8)).filter(|at| head[*at..].starts_with(&TAG));
    found.filter_map(|at| uid(&head[at + 4..])).collect()
}

/// The UID of an element whose tag stands before `rest`: with its type (explicit VR) or without.
fn uid(rest: &[u8]) -> Option<String> {
    let length = match rest.first_chunk::<4>()? {
        [b'U', b'I', low, high] => usize::from(u16::from_le_bytes([*low, *high])),
        implicit => usize::try_from(u32::from_le_bytes(*implicit)).ok()?,
    };
    let text = rest.get(4..4 + length).filter(|_| (1..=UID).contains(&length))?;
    let text = std::str::from_utf8(text).ok()?.trim_end_matches(['\0', ' ']);
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_read_in_both_forms() {
        assert_eq!(uid(b"UI\x06\x001.2.3\0more"), Some("1.2.3".into()));
        assert_eq!(uid(b"\x05\0\0\x001.2.3"), Some("1.2.3".into()));
        for not in [&b"UI\x06\x001.2"[..], b"UI\x02\x00ab", b"UI\0\0", b"\xff\xff\xff\xff1.2", b"UI"] {
            assert_eq!(uid(not), None, "{not:?}");
        }
    }
}
