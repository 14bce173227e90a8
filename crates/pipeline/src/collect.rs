//! From what was typed to cases: files, folders, BIDS data sets and manifests.

use crate::case::{Case, stem};
use crate::datasets::{self, Participants};
use crate::grouping::bids_subject;
use crate::manifest::manifest;
use crate::recipe::{Kind, Recipe};
use crate::record::{RECORD_ENDING, Record};
use crate::series::{self, SeriesChoice};
use crate::{Error, Result};
use ampoule_dicom::Place;
use ampoule_imaging::formats::{Family, Format, has_ending_of};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Folders within folders that are searched.
const DEEPEST: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub struct Collected {
    /// Cases in the order of their names.
    pub cases: Vec<Case>,
    /// Images of a kind that is not read, and files that belong to no whole case, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Things a user should know.
    pub notes: Vec<String>,
}

/// A file that may be one of a case.
struct Candidate {
    path: PathBuf,
    /// Path within the output folder, with `/`, without the file's name.
    folder: String,
    bids: bool,
}

/// Finds the cases for a recipe. `output` is where results go; what lies there is no input.
pub fn collect(recipe: &Recipe, inputs: &[PathBuf], output: Option<&Path>) -> Result<Collected> {
    collect_series(recipe, inputs, output, &SeriesChoice::default())
}

/// The same, with only those DICOM series that are chosen, and with the channels that are.
pub fn collect_series(
    recipe: &Recipe,
    inputs: &[PathBuf],
    output: Option<&Path>,
    choice: &SeriesChoice,
) -> Result<Collected> {
    let mut out = Collected::default();
    let mut candidates = Vec::new();
    let mut instances = BTreeMap::new();
    let mut ignored: BTreeMap<String, usize> = BTreeMap::new();
    let folders = inputs.iter().filter(|p| p.is_dir()).count();
    let mut participants = Vec::new();
    for input in inputs {
        datasets::refuse_remote(input)?;
        if let Some(found) = datasets::of(recipe, input)? {
            let prefix = if folders > 1 && input.is_dir() { name_of(input) } else { String::new() };
            out.cases.extend(found.cases.into_iter().map(|c| Case { name: joined(&prefix, &c.name), ..c }));
            out.skipped.extend(found.skipped);
            out.notes.extend(found.notes);
            continue;
        }
        if input.is_dir() {
            let mut walk = Walk {
                recipe,
                output,
                seen: BTreeSet::new(),
                ignored: &mut ignored,
                instances: &mut instances,
                out: &mut out,
            };
            let bids = input.join("dataset_description.json").is_file();
            // Several folders keep their own names, so that equal files in them are different cases.
            let prefix = if folders > 1 { name_of(input) } else { String::new() };
            walk.folder(input, &prefix, bids, 0, &mut candidates)?;
            if bids {
                participants.push(Participants::read(input, &mut out.notes));
            }
        } else if is_table(input) {
            let found = manifest(recipe, input)?;
            out.cases.extend(found.cases);
            out.skipped.extend(found.skipped);
        } else if series::is_dicom(input) && (recipe.kind() == Kind::Volume || !ampoule_dicom::is_zip(input))
            || recipe.kind() == Kind::Volume && series::is_directory(input)
        {
            let found = series::instances(input)?;
            instances.extend(found.into_iter().map(|p| (within(&p, ""), p)).map(|(w, p)| (p, w)));
        } else {
            candidates.push(Candidate { path: input.clone(), folder: String::new(), bids: false });
        }
    }
    let absolute = |p: &Path| std::path::absolute(p).unwrap_or_else(|_| p.into());
    let (mut seen, given) = (BTreeSet::new(), candidates.len());
    candidates.retain(|c| seen.insert(absolute(&c.path)));
    if candidates.len() < given {
        out.notes
            .push(format!("{} files were given more than once and are run once", given - candidates.len()));
    }
    group(recipe, candidates, &mut out);
    let asked = choice.only.iter().chain(choice.channels.iter().map(|(_, series)| series)).next();
    if let (true, Some(asked)) = (instances.is_empty(), asked) {
        return Err(Error::NoSeries { asked: asked.clone(), there: Vec::new() });
    }
    if !instances.is_empty() {
        let found = match recipe.kind() {
            Kind::Volume => series::cases(instances, recipe, choice)?,
            Kind::Image => series::slides(instances),
        };
        out.cases.extend(found.cases);
        out.skipped.extend(found.skipped);
        out.notes.extend(found.notes);
    }
    // Scans of one subject belong together.
    for case in out.cases.iter_mut().filter(|c| c.bids && c.group.is_none()) {
        case.group = bids_subject(&case.name);
    }
    participants.iter().for_each(|p| p.tell(&mut out.cases, &mut out.notes));
    distinguish(&mut out.cases);
    if !ignored.is_empty() {
        let list: Vec<String> = ignored.iter().map(|(what, n)| format!("{n} {what}")).collect();
        out.notes.push(format!("files of other kinds were left alone: {}", list.join(", ")));
    }
    Ok(out)
}

fn name_of(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a file is a manifest.
fn is_table(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["csv", "tsv"].contains(&ending.as_str())
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

struct Walk<'a> {
    recipe: &'a Recipe,
    output: Option<&'a Path>,
    /// Folders that were searched, so that links cannot lead in circles.
    seen: BTreeSet<PathBuf>,
    ignored: &'a mut BTreeMap<String, usize>,
    /// Instances of DICOM series, each with its folder within the output folder.
    instances: &'a mut BTreeMap<Place, String>,
    out: &'a mut Collected,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        path: &Path,
        within: &str,
        bids: bool,
        depth: usize,
        into: &mut Vec<Candidate>,
    ) -> Result<()> {
        let real = path.canonicalize().map_err(Error::io(path))?;
        if depth > DEEPEST || !self.seen.insert(real.clone()) {
            return Ok(());
        }
        let listed = std::fs::read_dir(path).and_then(|l| l.map(|e| e.map(|e| e.path())).collect());
        let mut entries: Vec<PathBuf> = match listed {
            Ok(entries) => entries,
            // One folder that may not be looked into keeps no others back.
            Err(e) if depth > 0 => {
                self.out.skipped.push((path.into(), format!("the folder cannot be read ({e})")));
                return Ok(());
            }
            Err(e) => return Err(Error::Io { path: path.into(), source: e }),
        };
        entries.sort();
        let made = made_here(&entries);
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            if entry.is_dir() {
                let results = self
                    .output
                    .is_some_and(|o| o.canonicalize().is_ok_and(|o| Some(o) == entry.canonicalize().ok()));
                let other =
                    bids && depth == 0 && ["derivatives", "sourcedata", "code"].contains(&name.as_str());
                if !results && !other {
                    self.folder(&entry, &joined(within, &name), bids, depth + 1, into)?;
                }
                continue;
            }
            if !made.contains(&name) {
                self.file(entry, &name, within, bids, into);
            }
        }
        Ok(())
    }

    /// Adds the instances of a file of DICOM, or of a ZIP file that holds such.
    fn instance(&mut self, path: PathBuf, name: &str, folder: &str) {
        let packed = ampoule_dicom::is_zip(&path);
        let folder = if packed { joined(folder, &stem(Path::new(name))) } else { folder.to_owned() };
        match series::instances(&path) {
            Ok(found) => {
                let found = found.into_iter().map(|p| (within(&p, &folder), p));
                self.instances.extend(found.map(|(w, p)| (p, w)));
            }
            Err(e) => self.out.skipped.push((path, e.to_string())),
        }
    }

    fn file(&mut self, path: PathBuf, name: &str, within: &str, bids: bool, into: &mut Vec<Candidate>) {
        let volumes = self.recipe.kind() == Kind::Volume;
        if volumes && series::is_directory(&path) {
            // It lists files that lie here too.
            return;
        }
        let ending = |e: &str| name.to_ascii_lowercase().ends_with(e);
        let format = match Format::of(&path) {
            Ok(Some(Format::Dicom)) => return self.instance(path, name, within),
            Ok(None)
                if volumes
                    && (Format::Dicom.endings().iter().any(|e| ending(e))
                        || ending(".zip") && ampoule_dicom::is_zip(&path)) =>
            {
                return self.instance(path, name, within);
            }
            Ok(Some(format)) => format,
            // What cannot be read fails as a case; what is no image is none of ours.
            Err(_) if ending_is_ours(self.recipe.kind(), name) => {
                into.push(Candidate { path, folder: within.into(), bids });
                return;
            }
            Ok(None) if ending_is_ours(self.recipe.kind(), name) => {
                into.push(Candidate { path, folder: within.into(), bids });
                return;
            }
            Ok(None) | Err(_) => return,
        };
        // The voxels of a pair are those of its header's case.
        let path = match ampoule_imaging::formats::header_beside(&path) {
            Some(header) if into.iter().any(|c| c.path == header) => return,
            Some(header) => header,
            None => path,
        };
        let wanted = match format.family() {
            Family::Volume => self.recipe.kind() == Kind::Volume,
            Family::Image | Family::Slide => self.recipe.kind() == Kind::Image,
        };
        if !wanted {
            *self.ignored.entry(format.name().into()).or_insert(0) += 1;
            return;
        }
        match format.support() {
            Ok(()) => into.push(Candidate { path, folder: within.into(), bids }),
            Err(reason) => self.out.skipped.push((path, reason.to_string())),
        }
    }
}

/// The folder of an instance within the output folder: the entries of a ZIP file lie in folders of their own.
fn within(place: &Place, folder: &str) -> String {
    match place.entry.as_ref().and_then(|e| e.name.rsplit_once('/')) {
        Some((inner, _)) => joined(folder, inner),
        None => folder.to_owned(),
    }
}

/// Whether a name ends as images of a kind do, whose content says otherwise: such a file is damaged, and an error says so.
fn ending_is_ours(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Volume => has_ending_of(name, &[Family::Volume]),
        Kind::Image => has_ending_of(name, &[Family::Image, Family::Slide]),
    }
}

/// Names of files in a folder that an earlier run wrote, by its records.
fn made_here(entries: &[PathBuf]) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(RECORD_ENDING)
            && let Some(record) = Record::read(path)
        {
            made.extend(record.outputs.into_iter().map(|w| w.file));
        }
    }
    made
}

/// The end of a name by which a file is that of an input.
fn suffix_of(recipe: &Recipe, input: usize, bids: bool) -> Vec<&str> {
    let i = &recipe.input[input];
    let given: Vec<&str> = i.suffix.iter().map(String::as_str).collect();
    // In a BIDS data set a channel named as a modality is that modality.
    match given.is_empty() && bids && BIDS_SUFFIXES.contains(&i.name.as_str()) {
        true => vec![i.name.as_str()],
        false => given,
    }
}

const BIDS_SUFFIXES: [&str; 9] = ["T1w", "T2w", "FLAIR", "PDw", "T2starw", "T1map", "T2map", "bold", "dwi"];

/// Puts files together into cases.
fn group(recipe: &Recipe, candidates: Vec<Candidate>, out: &mut Collected) {
    let n = recipe.input.len();
    if n > 1 && all_in_order(recipe, &candidates) {
        let files: Vec<PathBuf> = candidates.into_iter().map(|c| c.path).collect();
        out.notes.push("the files were taken as the channels of one case, in the order given".into());
        out.cases.push(Case { name: stem(&files[0]), files, ..Case::default() });
        return;
    }
    // Files of one case lie in one folder; equal names in others are other cases.
    type Key = (String, PathBuf, String);
    let mut found: BTreeMap<Key, (Vec<Option<PathBuf>>, bool)> = BTreeMap::new();
    let mut others = 0;
    for c in candidates {
        let own = stem(&c.path);
        let hit = (0..n).find_map(|i| {
            let list = suffix_of(recipe, i, c.bids);
            list.iter()
                .find_map(|s| own.strip_suffix(s))
                .map(|base| (i, base.trim_end_matches(['_', '-']).to_owned()))
        });
        match hit {
            Some((i, base)) => {
                let name = if base.is_empty() { own.clone() } else { base };
                let parent = c.path.parent().unwrap_or(Path::new("")).to_owned();
                let entry = found.entry((c.folder, parent, name)).or_insert_with(|| (vec![None; n], c.bids));
                match &entry.0[i] {
                    None => entry.0[i] = Some(c.path),
                    Some(first) => {
                        let first = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let what = &recipe.input[i].name;
                        let reason = format!("{first} is `{what}` of the same case; only one of them can be");
                        out.skipped.push((c.path, reason));
                    }
                }
            }
            None if n == 1
                && (recipe.input[0].suffix.is_empty() || c.folder.is_empty())
                && suffix_of(recipe, 0, c.bids).is_empty() =>
            {
                out.cases.push(Case {
                    name: joined(&c.folder, &own),
                    files: vec![c.path],
                    bids: c.bids,
                    ..Case::default()
                });
            }
            None if n == 1 && c.folder.is_empty() && !c.bids => {
                out.cases.push(Case { name: own, files: vec![c.path], ..Case::default() });
            }
            None if n == 1 => others += 1,
            None => out
                .skipped
                .push((c.path, format!("its name ends as none of the channels do ({})", endings(recipe)))),
        }
    }
    if others > 0 {
        out.notes
            .push(format!("{others} files were left alone whose names do not end in {}", endings(recipe)));
    }
    for ((folder, _, name), (files, bids)) in found {
        match complete(recipe, files, bids) {
            Ok(files) => {
                out.cases.push(Case { name: joined(&folder, &name), files, bids, ..Case::default() })
            }
            Err((path, reason)) => out.skipped.push((path, reason)),
        }
    }
}

fn endings(recipe: &Recipe) -> String {
    let list: Vec<&str> = recipe.input.iter().flat_map(|i| i.suffix.iter().map(String::as_str)).collect();
    if list.is_empty() { "a channel's suffix".into() } else { list.join(", ") }
}

/// Whether files given one by one are the channels of one case: as many as there are, where names tell nothing.
fn all_in_order(recipe: &Recipe, candidates: &[Candidate]) -> bool {
    candidates.len() == recipe.input.len()
        && candidates.iter().all(|c| c.folder.is_empty() && !c.bids)
        && recipe.input.iter().all(|i| i.suffix.is_empty())
}

/// All channels of a case; those that were not named are looked for in the folder of one that was.
fn complete(
    recipe: &Recipe,
    files: Vec<Option<PathBuf>>,
    bids: bool,
) -> std::result::Result<Vec<PathBuf>, (PathBuf, String)> {
    let Some((k, known)) = files.iter().enumerate().find_map(|(i, f)| f.clone().map(|f| (i, f))) else {
        return Err((PathBuf::new(), "it has no file".into()));
    };
    let name = known.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = stem(&known);
    let ending = name[own.len()..].to_owned();
    let base = suffix_of(recipe, k, bids).iter().find_map(|s| own.strip_suffix(s)).unwrap_or(&own).to_owned();
    let mut out = Vec::new();
    for (i, f) in files.into_iter().enumerate() {
        let same_folder = || {
            suffix_of(recipe, i, bids)
                .iter()
                .map(|s| known.with_file_name(format!("{base}{s}{ending}")))
                .find(|p| p.is_file())
        };
        match f.or_else(same_folder) {
            Some(path) => out.push(path),
            None => {
                let input = &recipe.input[i];
                let reason = format!(
                    "its channel `{}` is missing: no file {base}{}{ending} lies next to it",
                    input.name,
                    suffix_of(recipe, i, bids).first().copied().unwrap_or("…")
                );
                return Err((known, reason));
            }
        }
    }
    Ok(out)
}

/// Gives cases of equal names different ones: by their endings, else by the folders that they lie in, else by numbers.
fn distinguish(cases: &mut [Case]) {
    for way in [by_ending as fn(&Case) -> String, by_folder, Case::clone_name] {
        let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, c) in cases.iter().enumerate() {
            seen.entry(c.name.to_lowercase()).or_default().push(i);
        }
        for list in seen.values().filter(|l| l.len() > 1) {
            let names: Vec<String> = list.iter().map(|i| way(&cases[*i])).collect();
            let different: BTreeSet<String> = names.iter().map(|n| n.to_lowercase()).collect();
            if different.len() == names.len() {
                list.iter().zip(names).for_each(|(i, n)| cases[*i].name = n);
            }
        }
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for c in cases {
        let n = seen.entry(c.name.to_lowercase()).or_insert(0);
        *n += 1;
        if *n > 1 {
            c.name = format!("{}-{n}", c.name);
        }
    }
}

impl Case {
    fn clone_name(&self) -> String {
        self.name.clone()
    }
}

fn by_ending(c: &Case) -> String {
    let name = c.main().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ending = name[stem(c.main()).len()..].replace('.', "_");
    format!("{}{ending}", c.name)
}

fn by_folder(c: &Case) -> String {
    let absolute = std::path::absolute(c.main()).unwrap_or_else(|_| c.main().into());
    let parent = absolute.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
    match parent {
        Some(p) if c.folder().is_empty() => format!("{p}/{}", c.name),
        _ => c.name.clone(),
    }
}
