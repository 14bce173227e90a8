//! What must hold between the sections of a recipe.

use super::schema::Section;
use super::{Decide, Kind, Network, Pool, Recipe, Role, Rule, SlideRule, Step, Task};
use std::collections::BTreeSet;

/// Parts of a recipe that could be read.
#[derive(Debug)]
pub(super) struct Parts {
    pub task: bool,
    pub input: bool,
    pub preprocess: bool,
    pub network: bool,
    pub label: bool,
    pub postprocess: bool,
}

/// Notes everything about `r` that does not fit together, as far as its parts could be read.
pub(super) fn check(r: &Recipe, parts: &Parts, top: &Section) {
    if parts.input {
        inputs(r, top);
    }
    if parts.network && parts.input {
        networks(r, top);
        if parts.task && parts.postprocess && parts.preprocess {
            super::boxes::check(r, top);
        }
    }
    if parts.label {
        labels(r, top);
        if parts.task {
            needed(r, top);
        }
    }
    names(r, parts, top);
    if parts.network && parts.preprocess && parts.input && !r.network.is_empty() {
        for (i, n) in r.network.iter().enumerate() {
            steps(r, &n.preprocess, &mut |_, m| top.wrong_item("network", i, m));
        }
        steps(r, &r.preprocess, &mut |k, m| top.wrong_item("preprocess", k, m));
        if parts.task {
            slide(r, top);
            tiles(r, top);
        }
    }
}

fn inputs(r: &Recipe, top: &Section) {
    if top.has("input") && r.input.is_empty() {
        top.wrong("input", "names no file");
    }
    let kind = r.kind();
    let (mut seen, mut suffixes) = (BTreeSet::new(), BTreeSet::new());
    for (i, input) in r.input.iter().enumerate() {
        if input.kind != kind {
            top.wrong_item("input", i, "all files of a case must be of one kind, volumes or images");
        }
        if i > 0 && input.kind == Kind::Image {
            top.wrong_item("input", i, "a case has one image; only volumes come as several files");
        }
        if let Some(twice) = input.suffix.iter().find(|s| !suffixes.insert(s.as_str())) {
            top.wrong_item("input", i, format_args!("the suffix `{twice}` occurs twice"));
        }
        if !seen.insert(input.name.to_lowercase()) {
            top.wrong_item("input", i, format_args!("the name `{}` occurs twice", input.name));
        }
        if ["case", "truth", "group", "file", ""].contains(&input.name.to_lowercase().trim()) {
            top.wrong_item("input", i, "its name is that of another column of manifests");
        }
    }
}

fn networks(r: &Recipe, top: &Section) {
    let Some((last, before)) = r.network.split_last() else {
        top.wrong_here("[[network]] is missing: at least one network");
        return;
    };
    if last.role() != Role::Result {
        let reason =
            "the last network gives the result and takes no `bounds`, `crop`, `cascade`, `average` or `join`";
        top.wrong_item("network", before.len(), reason);
    }
    for (i, n) in before.iter().enumerate() {
        if n.role() == Role::Result {
            let reason = "every network but the last must have `bounds`, `crop`, `cascade`, `average = true` or `join = true`";
            top.wrong_item("network", i, reason);
        }
        if n.outputs.is_empty() {
            top.wrong_item("network", i, "a recipe with several networks must name their `outputs`");
        }
    }
    if !before.is_empty() && last.outputs.is_empty() {
        top.wrong_item("network", before.len(), "a recipe with several networks must name their `outputs`");
    }
    for (i, n) in r.network.iter().enumerate() {
        role(r, i, n, top);
        if r.kind() == Kind::Image {
            let third = n.window.as_ref().is_some_and(|w| w.size.len() != 2);
            if third {
                top.wrong_item("network", i, "windows of images have two sizes");
            }
            if n.flips.iter().any(|f| f.0[2]) {
                top.wrong_item("network", i, "an image is not mirrored along z");
            }
        }
    }
}

/// What a network's scores become must be one thing, which its task and images have.
fn role(r: &Recipe, i: usize, n: &Network, top: &Section) {
    let named = [n.bounds.is_some(), n.crop.is_some(), n.cascade.is_some(), n.average, n.join];
    if named.iter().filter(|yes| **yes).count() > 1 {
        top.wrong_item(
            "network",
            i,
            "it has more than one of `bounds`, `crop`, `cascade`, `average` and `join`",
        );
    }
    if n.join && r.network.iter().any(|n| n.average || n.cascade.is_some()) {
        top.wrong_item("network", i, "`join` does not go together with `average` and `cascade`");
    }
    if r.network.iter().any(|n| n.join) && n.bounds.is_none() && n.labels.is_empty() {
        top.wrong_item("network", i, "part models must name their `labels`, in the order of their channels");
    }
    for (k, name) in n.labels.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if n.labels[..k].contains(name) {
            top.wrong_item("network", i, format_args!("its `labels` name `{name}` twice"));
        }
    }
    match n.role() {
        Role::Bounds(_) if r.kind() == Kind::Image => {
            top.wrong_item("network", i, "`bounds` are for volumes");
        }
        Role::Cascade(_) | Role::Average | Role::Join if r.is_image_level() || r.slide.is_some() => {
            let reason = "`cascade`, `average` and `join` are for segmentations that are no slides";
            top.wrong_item("network", i, reason);
        }
        Role::Average if r.decide.rule == Rule::Several => {
            top.wrong_item("network", i, "`average` and the rule `several` do not go together");
        }
        Role::Result | Role::Bounds(_) | Role::Crop | Role::Cascade(_) | Role::Average | Role::Join => {}
    }
}

/// The labels that a task cannot do without.
fn needed(r: &Recipe, top: &Section) {
    let needed = match r.model.task {
        Task::Segmentation if r.label.iter().all(|l| l.value == 0) => "a label with a value above 0",
        Task::Classification if r.label.is_empty() => "[[label]] for each class",
        Task::Regression if r.label.is_empty() => "[[label]] for each number",
        Task::Segmentation | Task::Classification | Task::Regression => "",
    };
    if !needed.is_empty() {
        top.wrong_here(format_args!("a {} needs {needed}", super::Choice::name(r.model.task)));
    }
}

fn labels(r: &Recipe, top: &Section) {
    let (mut names, mut values, mut channels) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let all: BTreeSet<&str> = r.label.iter().map(|l| l.name.as_str()).collect();
    for (i, l) in r.label.iter().enumerate() {
        // Both are columns of the table.
        if all.contains(l.group.as_str()) {
            top.wrong_item("label", i, format_args!("the group `{}` is called as a label is", l.group));
        }
        if !names.insert(&l.name) {
            top.wrong_item("label", i, format_args!("the name `{}` occurs twice", l.name));
        }
        if !values.insert(l.value) {
            top.wrong_item("label", i, format_args!("the value {} occurs twice", l.value));
        }
        if !channels.insert(l.channel) {
            top.wrong_item("label", i, format_args!("the channel {} occurs twice", l.channel));
        }
        if l.auxiliary && (l.value == 0 || r.is_image_level()) {
            top.wrong_item(
                "label",
                i,
                "`auxiliary` is for labels of segmentations, and not for the background",
            );
        }
    }
    if r.label.iter().any(|l| l.auxiliary) && r.label.iter().all(|l| l.auxiliary || l.value == 0) {
        top.wrong_here("all labels are `auxiliary`, so that results would have none");
    }
    let named =
        r.decide.threshold != Decide::default().threshold || r.label.iter().any(|l| l.threshold.is_some());
    if r.decide.rule == Rule::Argmax && r.label.len() > 1 && named {
        top.wrong_here(
            "a threshold has no effect on argmax, which takes the highest of several labels; set `rule = \"threshold\"`, or name the foreground label only",
        );
    }
    if r.decide.rule == Rule::Several && r.label.len() > 1024 {
        top.wrong("decide", "`several` takes at most 1024 labels");
    }
}

/// What must be the names of labels, and what is for segmentation.
fn names(r: &Recipe, parts: &Parts, top: &Section) {
    let known: Vec<&str> = r.label.iter().map(|l| l.name.as_str()).collect();
    let all: BTreeSet<&str> = known.iter().copied().collect();
    let missing = |name: &String| {
        let text = || super::schema::unknown(name, &known);
        (parts.label && !all.contains(name.as_str())).then(|| format!("the label `{name}` {}", text()))
    };
    let segmentation = !parts.task || r.model.task == Task::Segmentation;
    for (i, p) in r.postprocess.iter().enumerate().filter(|_| parts.postprocess) {
        for m in p.labels.iter().chain(p.step.inside()).filter_map(missing) {
            top.wrong_item("postprocess", i, m);
        }
        if !segmentation {
            top.wrong_item("postprocess", i, "is for segmentation");
        }
    }
    for (i, n) in r.network.iter().enumerate().filter(|_| parts.network) {
        // Those of a network that finds a box are its own.
        let own = n.crop.is_none();
        for m in n.labels.iter().filter(|name| own && !name.is_empty()).filter_map(missing) {
            top.wrong_item("network", i, m);
        }
    }
    for m in r.outputs.heat.iter().filter_map(missing) {
        top.wrong("outputs", m);
    }
    let volumes = !parts.input || r.kind() == Kind::Volume;
    if !(r.outputs.masked.is_empty() || volumes && segmentation) {
        top.wrong("outputs", "`masked` is for segmentations of volumes");
    }
}

/// The order of steps; `wrong` takes the number of a step and what is wrong with it.
fn steps(r: &Recipe, list: &[Step], wrong: &mut dyn FnMut(usize, &str)) {
    let mut floats = false;
    let mut kept = BTreeSet::new();
    // What runs with chosen labels only keeps nothing for others.
    for n in r.network.iter().filter(|n| !n.crop.as_ref().is_some_and(|c| c.subset)) {
        let before = r.preprocess.iter().chain(&n.preprocess);
        kept.extend(before.filter_map(|s| match s {
            Step::PercentileRescale { keep, .. } => Some(keep.clone()).filter(|keep| !keep.is_empty()),
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::CentreCrop { .. }
            | Step::Resize { .. }
            | Step::Resample { .. }
            | Step::Stain(_)
            | Step::Reduce { .. }
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::KeptRescale { .. }
            | Step::MeanDeviation { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::Brainmage { .. }
            | Step::Truncate { .. }
            | Step::HistogramMatch { .. }
            | Step::Only { .. }
            | Step::Pad { .. } => None,
        }));
    }
    for (i, s) in list.iter().enumerate() {
        let bytes = s.takes_bytes();
        if bytes && floats {
            wrong(i, "works on eight-bit images and must come before steps that change intensities");
        }
        if bytes && r.channels() != 3 {
            wrong(i, "needs an image with three colours");
        }
        match s {
            Step::Orient { .. } if i > 0 || !std::ptr::eq(list, &r.preprocess[..]) => {
                wrong(i, "`orient` must be the first step of all")
            }
            Step::KeptRescale { from } if !kept.contains(from) => {
                wrong(i, "names a range that no step keeps (`keep` of percentile-rescale)")
            }
            Step::MeanDeviation { mean, deviation, .. }
                if [mean.len(), deviation.len()] != [r.channels(); 2] =>
            {
                wrong(i, "`mean` and `deviation` must have one number for each channel")
            }
            Step::Resample { .. } if r.kind() == Kind::Image => wrong(i, "is for volumes"),
            Step::Only { only, .. } if only.iter().any(|c| *c >= r.channels()) => {
                wrong(i, "names a channel in `only` that is not there; they count from 0")
            }
            // These may stand anywhere.
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::CentreCrop { .. }
            | Step::Resize { .. }
            | Step::Resample { .. }
            | Step::Stain(_)
            | Step::Reduce { .. }
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::PercentileRescale { .. }
            | Step::KeptRescale { .. }
            | Step::MeanDeviation { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::Brainmage { .. }
            | Step::Truncate { .. }
            | Step::HistogramMatch { .. }
            | Step::Only { .. }
            | Step::Pad { .. } => {}
        }
        let stays = matches!(s, Step::CentreCrop { .. } | Step::Orient { .. }) || bytes;
        floats |= !stays;
    }
}

fn slide(r: &Recipe, top: &Section) {
    let Some(part) = &r.slide else { return };
    if r.kind() != Kind::Image {
        top.wrong("slide", "is for images; its [[input]] must be of kind \"image\"");
    }
    if r.input.len() > 1 {
        top.wrong("slide", "takes one [[input]]");
    }
    if r.is_image_level() {
        return;
    }
    if part.rule == SlideRule::Wsinfer {
        top.wrong("slide", "has the `rule` wsinfer, which is for classifiers");
    }
    let all = || r.preprocess.iter().chain(r.network.iter().flat_map(|n| &n.preprocess));
    let shrinks = |s: &Step| matches!(s, Step::Resize { .. } | Step::CentreCrop { .. });
    if all().any(shrinks) {
        top.wrong(
            "slide",
            "its windows go through the network as they are; use `mpp` instead of resize and centre-crop",
        );
    }
    let k: usize = all().map(|s| if let Step::Reduce { by } = s { *by } else { 1 }).product();
    if !part.window.is_multiple_of(k) {
        top.wrong("slide", format_args!("`window` must be a multiple of {k}, by which it is reduced"));
    }
}

fn tiles(r: &Recipe, top: &Section) {
    let Some(part) = &r.tiles else { return };
    if r.kind() != Kind::Image || r.input.len() > 1 {
        top.wrong("tiles", "is for images; it takes one [[input]] of kind \"image\"");
    }
    if !r.is_image_level() {
        top.wrong(
            "tiles",
            "is for classification and regression; a segmentation has `window` of its network",
        );
    }
    let pooled = part.decide == Pool::Highest;
    if pooled && r.model.task == Task::Regression {
        top.wrong("tiles", "`decide` of a regression must be \"mean\"");
    }
    if pooled
        && r.model.task == Task::Classification
        && r.decide.rule != Rule::Several
        && r.background().is_none()
    {
        let reason = "`decide = \"highest\"` looks for the windows with the least score of the label of value 0, and there is none";
        top.wrong("tiles", reason);
    }
}
