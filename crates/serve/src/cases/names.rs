//! Names of files as clients give them, and as they are stored.

/// Longest name in bytes.
const LONGEST: usize = 120;

/// Names that Windows keeps for devices.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// The last part of a name that a client gave, as a file may be called on every system: no folder, no sign with a meaning,
/// not hidden.
pub(super) fn plain(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or("");
    let fine = |c: char| if c.is_alphanumeric() || "._-+() ".contains(c) { c } else { '_' };
    let mut name: String = last.chars().map(fine).collect();
    name = name.trim_matches([' ', '.']).to_owned();
    // The ending says what it is, so it stays.
    while name.len() > LONGEST {
        let at = name.char_indices().nth(1).map_or(name.len(), |c| c.0);
        name.drain(..at);
    }
    let stem = name.split('.').next().unwrap_or("").to_ascii_lowercase();
    let port = |s: &str| ["com", "lpt"].iter().any(|p| s.strip_prefix(p).is_some_and(|n| n.len() <= 1));
    if name.is_empty() || DEVICES.contains(&stem.as_str()) || port(&stem) {
        name.insert_str(0, "file");
    }
    name
}

/// The parts of a path in an archive; `None` where it leads out of it.
pub(super) fn parts(path: &str) -> Option<Vec<String>> {
    let rooted = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    let all: Vec<&str> = path.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").collect();
    let fine = !rooted && !all.is_empty() && !all.contains(&"..") && all.len() <= 32;
    fine.then(|| all.into_iter().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for (given, name) in [
            ("head.nii.gz", "head.nii.gz"),
            ("../../etc/passwd", "passwd"),
            ("C:\\data\\Kopf größer.nii", "Kopf größer.nii"),
            ("..", "file"),
            (".hidden", "hidden"),
            ("con.png", "filecon.png"),
            ("COM1", "fileCOM1"),
            ("a\0b\u{202e}c\n.png", "a_b_c_.png"),
            ("", "file"),
        ] {
            assert_eq!(plain(given), name, "{given:?}");
        }
        let long = format!("{}.nii.gz", "é".repeat(300));
        assert!(plain(&long).len() <= LONGEST && plain(&long).ends_with(".nii.gz"));
    }

    #[test]
    fn paths_that_lead_out_are_none() {
        assert_eq!(parts("a/./b//c.dcm"), Some(vec!["a".into(), "b".into(), "c.dcm".into()]));
        for bad in ["../a", "a/../../b", "/etc/passwd", "\\a", "c:/a", "c:a", "", "."] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
