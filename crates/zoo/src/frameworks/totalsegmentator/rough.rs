//! The rough networks that find which part of an image the networks of a task see.

use super::super::files::Files;
use super::super::nnunet;
use super::parts::{alone, names, without_turns};
use super::tasks::{self, Crop, MARGIN, Rough};
use super::{data_set, folder_of, resampled};
use crate::Result;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{self, Empty, Network};

/// The networks that find a box: that of `crop`, and before it those by which it is found itself.
pub(super) fn networks(
    task: &str,
    crop: &Crop,
    files: &Files,
    b: &mut Builder,
    notes: &mut Vec<String>,
) -> Result<Vec<Network>> {
    let mut list = match &crop.by.before {
        Some(before) => networks(task, before, files, b, notes)?,
        None => Vec::new(),
    };
    let found = recipe::Crop {
        labels: crop.labels.iter().map(|l| (*l).to_owned()).collect(),
        margin_mm: crop.margin,
        ..box_of(crop.by)
    };
    list.push(network(task, crop.by, found, files, b, notes)?);
    Ok(list)
}

/// The network that finds the labels that a user wants, where the folder has it; else what to tell one who wants some only.
pub(super) fn of_wanted(
    task: &str,
    by: &Rough,
    files: &Files,
    b: &mut Builder,
    notes: &mut Vec<String>,
) -> Result<std::result::Result<Network, String>> {
    if folder_of(files, by.data_set)?.is_none() {
        return Ok(Err(format!(
            "TotalSegmentator's rough network finds the part of the image that holds some labels of the task {task}, and the folder of weights has no Dataset{:03}_…; TotalSegmentator's totalseg_download_weights brings it, and without labels the task runs on the whole image",
            by.data_set
        )));
    }
    let wanted = recipe::Crop { subset: true, margin_mm: MARGIN, ..box_of(by) };
    Ok(Ok(network(task, by, wanted, files, b, notes)?))
}

/// What all boxes have in common: values become whole numbers, and what has none of the labels is background.
fn box_of(by: &Rough) -> recipe::Crop {
    recipe::Crop { largest: by.largest, empty: Empty::Background, truncate: true, ..recipe::Crop::default() }
}

fn network(
    task: &str,
    by: &Rough,
    crop: recipe::Crop,
    files: &Files,
    b: &mut Builder,
    notes: &mut Vec<String>,
) -> Result<Network> {
    let target = data_set(task, files, by.data_set)?;
    let mut part = nnunet::part(&target, &format!("rough{}", by.data_set), b, notes)?;
    let classes = tasks::classes(by.classes);
    let names = names(by.classes, &part, &classes.names, &classes, files)?;
    if let Some(missing) = crop.labels.iter().find(|l| !names.contains(l)) {
        let reason = format!(
            "the data set {} does not give the label {missing}, around which the task {task} looks",
            by.data_set
        );
        return Err(files.wrong("", reason));
    }
    let Some(mut network) = part.network.pop() else {
        return Err(files.wrong("", format!("the data set {} has no network", by.data_set)));
    };
    alone(&mut network, by.overlap, false);
    network.preprocess =
        resampled([by.spacing; 3]).into_iter().chain(without_turns(&part.preprocess)).collect();
    network.labels = names;
    network.crop = Some(crop);
    Ok(network)
}
