//! Small copies of the pictures of cases, for `qc.html`: a browser that shows a page of cases loads some megabytes, not
//! hundreds.
//!
//! A copy is named by the hash of its picture, as the case's record has it. So a copy is never that of an older picture, no
//! name of a case becomes one of a file, and what stands there already is not made again.

use crate::sha256_hex;
use ampoule_files::{stop, write_atomic};
use ampoule_imaging::photo::{Photo, area, write_jpeg};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder of copies within an output folder. Hidden, so that no search for images finds them.
pub(super) const FOLDER: &str = ".thumbnails";

/// Cases from which on a page has copies: of fewer, a browser loads the pictures themselves at once.
const FEWEST: usize = 20;

/// Most bytes of a copy. A picture that is not larger is its own.
const MOST: usize = 48 << 10;

/// Pixels of the longer side and quality, of which the first that keep within `MOST` are taken; the last always do, noise
/// included.
const TRIES: [(usize, u8); 4] = [(480, 80), (480, 50), (320, 50), (160, 40)];

/// Most bytes of a picture's file, and of the memory to decode it in. Pictures that the program writes are smaller.
const LARGEST: u64 = 64 << 20;

/// The copies of one page.
pub(super) struct Thumbnails<'a> {
    output: &'a Path,
    wanted: bool,
    used: BTreeSet<String>,
}

impl<'a> Thumbnails<'a> {
    /// Those of the page of `output`, which shows so many cases.
    pub fn new(output: &'a Path, cases: usize) -> Self {
        Thumbnails { output, wanted: cases >= FEWEST, used: BTreeSet::new() }
    }

    /// The copy of `picture` with a hash, made where there is none. `root` is the output folder that the case was written
    /// into, whose copy serves. `None` where the page shows the picture itself: cases are few,
    /// it is small, or no copy of it can be made.
    pub fn of(&mut self, picture: &Path, sha256: &str, root: &Path) -> Option<PathBuf> {
        let name = name(sha256).filter(|_| self.wanted)?;
        let there = root.join(FOLDER).join(&name);
        if root != self.output && is_folder(&root.join(FOLDER)) && is_copy(&there) {
            return Some(there);
        }
        let folder = self.output.join(FOLDER);
        let path = folder.join(&name);
        if !(is_folder(&folder) && is_copy(&path)) {
            // Who waits for an end does not wait for copies; the next page makes them.
            if stop::requested().is_some() {
                return None;
            }
            let copy = shrunk(picture, sha256)?;
            make_folder(&folder)?;
            write_atomic(&path, |out| out.write_all(&copy)).ok()?;
        }
        self.used.insert(name);
        Some(path)
    }

    /// Removes copies that no case has any more, and what killed processes left of writing some.
    pub fn finish(self) {
        let folder = self.output.join(FOLDER);
        if !is_folder(&folder) {
            return;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let file = file.to_string_lossy();
            let whole = file.trim_start_matches('.').get(..NAME).unwrap_or_default();
            let temporary = file.starts_with('.') && file.contains(".tmp-");
            if is_name(whole) && (temporary || file.len() == NAME && !self.used.contains(whole)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        // A folder that is left empty goes; one that is not stays.
        let _ = std::fs::remove_dir(&folder);
    }
}

/// Length of the names of copies.
const NAME: usize = 36;

/// The name of the copy of a picture; none for what is no hash, since records may be anything.
fn name(sha256: &str) -> Option<String> {
    let name = format!("{}.jpg", sha256.get(..32)?);
    (sha256.len() == 64 && is_name(&name)).then_some(name)
}

fn is_name(text: &str) -> bool {
    let digits = text.strip_suffix(".jpg").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a path is a folder, and no link to one.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_dir())
}

/// Whether a path is a file that may be a copy, and no link to one.
fn is_copy(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file() && (1..=MOST as u64).contains(&m.len()))
}

fn make_folder(path: &Path) -> Option<()> {
    if path.symlink_metadata().is_err() {
        std::fs::create_dir(path).ok()?;
    }
    is_folder(path).then_some(())
}

/// The bytes of a small copy. `None` where the picture is small, is not the one with this hash, or cannot be read.
fn shrunk(picture: &Path, sha256: &str) -> Option<Vec<u8>> {
    let file = ampoule_files::open_plain(picture).ok()?;
    let length = file.metadata().ok()?.len();
    if !(MOST as u64 + 1..=LARGEST).contains(&length) {
        return None;
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes).ok()?;
    if sha256_hex(&bytes) != sha256 {
        return None;
    }
    drop(bytes);
    jpeg(&Photo::read_within(picture, LARGEST).ok()?)
}

/// A small copy as a JPEG of at most `MOST` bytes.
fn jpeg(photo: &Photo) -> Option<Vec<u8>> {
    let side = photo.width.max(photo.height);
    TRIES.iter().find_map(|&(longest, quality)| {
        let factor = (side as f64 / longest as f64).max(1.0);
        let of = |n: usize| ((n as f64 / factor).round() as usize).max(1);
        let (width, height) = (of(photo.width), of(photo.height));
        let values = area(photo, [0.0, 0.0], factor, [width, height]);
        let rgb = values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        let small = Photo { width, height, rgb, notes: Vec::new(), mpp: None };
        let mut out = Vec::new();
        write_jpeg(&mut out, &small, quality).ok()?;
        (out.len() <= MOST).then_some(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_imaging::photo::write_rgb;

    /// Pixels that nothing predicts: the largest file of any picture of this size.
    fn noise(width: usize, height: usize) -> Photo {
        let mut state = 1u32;
        let rgb = (0..3 * width * height).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Photo { width, height, rgb: rgb.collect(), notes: Vec::new(), mpp: None }
    }

    /// A picture within a folder, and its hash.
    fn picture(folder: &Path, photo: &Photo) -> (PathBuf, String) {
        let path = folder.join("x_qc.png");
        write_atomic(&path, |out| write_rgb(out, photo)).unwrap();
        let hash = crate::sha256_file(&path).unwrap();
        (path, hash)
    }

    #[test]
    fn copies_are_small_whatever_the_picture() {
        for (width, height) in [(1920, 1080), (300, 1900), (1, 60_000), (200, 200)] {
            let bytes = jpeg(&noise(width, height)).unwrap();
            assert!(bytes.len() <= MOST, "{width} x {height}: {} bytes", bytes.len());
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.jpg");
            std::fs::write(&path, bytes).unwrap();
            let small = Photo::read(&path).unwrap();
            assert!(small.width.max(small.height) <= TRIES[0].0, "{} x {}", small.width, small.height);
        }
        // What is plain stays as large as copies are, in its own proportions and colours.
        let plain = Photo { rgb: [200, 40, 90].repeat(1920 * 960), ..noise(1920, 960) };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jpg");
        std::fs::write(&path, jpeg(&plain).unwrap()).unwrap();
        let small = Photo::read(&path).unwrap();
        assert_eq!((small.width, small.height), (480, 240));
        assert!(small.rgb.chunks(3).all(|p| p[0].abs_diff(200) < 6 && p[1].abs_diff(40) < 6));
    }

    #[test]
    fn a_copy_is_made_once_and_goes_with_its_case() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        let (path, hash) = picture(out, &noise(600, 400));
        let page = || {
            let mut page = Thumbnails::new(out, FEWEST);
            let copy = page.of(&path, &hash, out);
            page.finish();
            copy
        };
        let copy = page().unwrap();
        assert_eq!(copy, out.join(FOLDER).join(format!("{}.jpg", &hash[..32])));
        // What stands there is taken as it is, and what is nobody's goes. Files of others stay.
        std::fs::write(&copy, "as it was").unwrap();
        let orphan = out.join(FOLDER).join(format!("{}.jpg", "0".repeat(32)));
        let rest = out.join(FOLDER).join(format!(".{}.jpg.tmp-1-2", "1".repeat(32)));
        let foreign = out.join(FOLDER).join("notes.txt");
        for path in [&orphan, &rest, &foreign] {
            std::fs::write(path, "x").unwrap();
        }
        assert_eq!(page(), Some(copy.clone()));
        assert_eq!(std::fs::read(&copy).unwrap(), b"as it was");
        assert!(!orphan.exists() && !rest.exists() && foreign.exists());
        std::fs::remove_file(&foreign).unwrap();
        // Nor are there any where cases are few.
        assert!(page().is_some());
        let mut few = Thumbnails::new(out, FEWEST - 1);
        assert_eq!(few.of(&path, &hash, out), None);
        few.finish();
        assert!(!out.join(FOLDER).exists());
    }

    #[test]
    fn pictures_that_are_small_damaged_or_others_have_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        let (small, hash) = picture(out, &noise(100, 100));
        let mut page = Thumbnails::new(out, FEWEST);
        assert_eq!(page.of(&small, &hash, out), None);
        let (path, hash) = picture(out, &noise(300, 200));
        assert_eq!(page.of(&path, &"0".repeat(64), out), None, "another picture than the recorded one");
        for odd in ["", "../../x", &hash[..40], &hash.to_uppercase(), &"é".repeat(32)] {
            assert_eq!(page.of(&path, odd, out), None, "{odd}");
        }
        assert_eq!(page.of(&out.join("none.png"), &hash, out), None);
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let hash = crate::sha256_file(&path).unwrap();
        assert_eq!(page.of(&path, &hash, out), None, "no picture at all");
        assert!(!out.join(FOLDER).exists());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (out, other) = (dir.path().join("out"), dir.path().join("other"));
        for path in [&out, &other] {
            std::fs::create_dir(path).unwrap();
        }
        std::os::unix::fs::symlink(&other, out.join(FOLDER)).unwrap();
        let (path, hash) = picture(&out, &noise(300, 200));
        let mut page = Thumbnails::new(&out, FEWEST);
        assert_eq!(page.of(&path, &hash, &out), None);
        page.finish();
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
    }

    #[test]
    fn a_shards_copy_serves_the_page_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let shard = dir.path().join("s1");
        std::fs::create_dir(&shard).unwrap();
        let (path, hash) = picture(&shard, &noise(300, 200));
        let own = Thumbnails::new(&shard, FEWEST).of(&path, &hash, &shard).unwrap();
        let mut all = Thumbnails::new(dir.path(), FEWEST);
        assert_eq!(all.of(&path, &hash, &shard), Some(own));
        all.finish();
        assert!(!dir.path().join(FOLDER).exists());
    }
}
