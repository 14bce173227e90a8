//! Which series a set of files holds.

use crate::Error;
use crate::damaged::Damaged;
use crate::header::{self, Opened};
use crate::place::{Opener, Place};
use crate::series::{Series, Shape, assembled, slices};
use crate::stack::Slice;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Series with slices, by number, then by the names of their files.
    pub series: Vec<Series>,
    /// Objects that hold no slices.
    pub others: Vec<Other>,
    /// Files that cannot be read.
    pub failed: Vec<(PathBuf, Error)>,
    /// Entries of ZIP files that are no DICOM files.
    pub foreign: usize,
}

/// Objects of one kind that hold no slices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// What they are, with article.
    pub what: String,
    /// One of their files.
    pub file: PathBuf,
    /// How many there are.
    pub count: usize,
}

/// A series while its files are read.
struct Gathering {
    series: Series,
    /// UIDs of instances, with the place in the list of each.
    seen: BTreeMap<String, usize>,
    slices: Vec<Slice>,
    wrong: Option<Error>,
    copies: usize,
}

/// Reads the headers of all files, of which each may take `most` bytes of memory, and puts slices in order.
pub fn scan(places: &[Place], most: u64) -> Scan {
    let mut places: Vec<Place> = places.to_vec();
    places.sort();
    places.dedup();
    let mut opener = Opener::new(most);
    let mut scan = Scan::default();
    let mut others: BTreeMap<String, Other> = BTreeMap::new();
    let mut all: BTreeMap<[String; 2], Gathering> = BTreeMap::new();
    let mut damaged = Damaged::default();
    for place in places {
        let opened = match header::open(&mut opener, &place, most) {
            Ok(opened) => opened,
            Err(Error::NotDicom(_)) if place.entry.is_some() => {
                scan.foreign += 1;
                continue;
            }
            Err(Error::NotVolume { what }) => {
                note(&mut others, what, &place);
                continue;
            }
            Err(e) => {
                damaged.add(&mut opener, &place);
                scan.failed.push((place.shown(), e));
                continue;
            }
        };
        gather(&mut all, &mut opener, opened, place);
    }
    scan.others = others.into_values().collect();
    scan.series = all.into_values().map(|g| finished(g, &damaged)).collect();
    scan.series.sort_by(|a, b| (a.number, &a.places).cmp(&(b.number, &b.places)));
    scan
}

fn note(others: &mut BTreeMap<String, Other>, what: String, place: &Place) {
    let entry = others.entry(what.clone());
    entry.or_insert_with(|| Other { what, file: place.shown(), count: 0 }).count += 1;
}

/// Adds an image to its series.
fn gather(all: &mut BTreeMap<[String; 2], Gathering>, opener: &mut Opener, o: Opened, place: Place) {
    let h = &o.header;
    // Without a UID, images of one folder are taken for a series.
    let uid = match h.series_uid.as_str() {
        "" => place.shown().parent().map(|p| p.display().to_string()).unwrap_or_default(),
        uid => uid.to_owned(),
    };
    let series = all.entry([h.study_uid.clone(), uid]).or_insert_with(|| Gathering {
        series: Series {
            uid: h.series_uid.clone(),
            study: h.study_uid.clone(),
            number: h.series_number,
            description: h.description.clone(),
            modality: h.modality.clone(),
            body_part: h.body_part.clone(),
            station: h.station.clone(),
            places: Vec::new(),
            shape: Err(Error::OneSlice),
            notes: Vec::new(),
        },
        seen: BTreeMap::new(),
        slices: Vec::new(),
        wrong: None,
        copies: 0,
    });
    if !h.sop_uid.is_empty() {
        if let Some(&first) = series.seen.get(&h.sop_uid) {
            let other = &series.series.places[first];
            match same_content(opener, other, &place) {
                Ok(true) => series.copies += 1,
                Ok(false) => {
                    let error = Error::Duplicate { first: other.name(), second: place.name() };
                    series.wrong.get_or_insert(error);
                }
                Err(e) => _ = series.wrong.get_or_insert(e),
            }
            return;
        }
        series.seen.insert(h.sop_uid.clone(), series.series.places.len());
    }
    match slices(h, &o.pixels, series.series.places.len()) {
        Ok(slices) => series.slices.extend(slices),
        Err(e) => _ = series.wrong.get_or_insert(named(e, &place)),
    }
    series.series.places.push(place);
}

/// The error with the name of its file, where it has none.
fn named(e: Error, place: &Place) -> Error {
    match e {
        Error::Damaged(why) => Error::Damaged(format!("{}: {why}", place.name())),
        Error::Unsupported(why) => Error::Unsupported(format!("{}: {why}", place.name())),
        e => e,
    }
}

/// Whether two files have the same bytes.
fn same_content(opener: &mut Opener, a: &Place, b: &Place) -> Result<bool, Error> {
    let mut first = opener.open(a)?;
    let mut second = opener.open(b)?;
    if first.length != second.length {
        return Ok(false);
    }
    const BLOCK: u64 = 1 << 20;
    let mut at = 0;
    while at < first.length {
        let count = BLOCK.min(first.length - at);
        if first.range(at, count)? != second.range(at, count)? {
            return Ok(false);
        }
        at += count;
    }
    Ok(true)
}

fn finished(g: Gathering, damaged: &Damaged) -> Series {
    let Gathering { mut series, slices, wrong, copies, .. } = g;
    if copies > 0 {
        series.notes.push(format!("{copies} files are copies of others and were left out"));
    }
    // A damaged file may be a slice of its series, or of any of its folder where it does not say which; a stack without its
    // ends looks whole.
    let shown = series.places.iter().map(Place::shown);
    let folders: BTreeSet<PathBuf> = shown.filter_map(|p| p.parent().map(PathBuf::from)).collect();
    series.shape = match (wrong, damaged.of(&series.uid, &folders)) {
        (Some(e), _) => Err(e),
        (None, Some(name)) => Err(Error::Unsupported(format!(
            "{name} cannot be read, so slices of the series may be missing; send the series again, or remove that file"
        ))),
        (None, None) => assembled(slices, &series.places).map(|s| Shape::of(&s)),
    };
    series
}
