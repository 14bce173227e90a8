//! Files of weights alone, whose architecture a name tells: the checkpoint's own `arch`, as training scripts of timm and
//! torchvision write it, or the file's.

use super::{Opened, synthstrip};
use crate::architectures::vision;
use crate::torch::budget;
use crate::{Error, Result, Weights};
use ampoule_torch::Plain;
use std::path::Path;

/// Ends of files' names that say which of several trainings it is, and nothing of the network.
const ENDS: [&str; 8] =
    ["_best", "_final", "_last", "_latest", "_weights", "_checkpoint", "_model", "_rwightman"];

/// The architecture that a file's name begins with: `resnet50-0676ba61.pth`, `unet-resnet34_best.pt`.
fn of_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let name = name.split('.').next()?;
    // Decoders have a dash in their names, and torchvision puts a hash behind one.
    let dashes = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    let mut ends: Vec<usize> = dashes.collect();
    ends.reverse();
    ends.into_iter().find_map(|end| {
        let mut name = &name[..end];
        while let Some(rest) = ENDS.iter().find_map(|e| name.strip_suffix(e)) {
            name = rest;
        }
        (name == synthstrip::NAME || vision::knows(name)).then(|| name.to_owned())
    })
}

/// The network of a file of weights; `None` where nothing tells which.
pub(super) fn open(path: &Path) -> Result<Option<Opened>> {
    let about = |e: ampoule_torch::Error| Error::from(e).about(path);
    let read = ampoule_torch::read(path, budget()).map_err(about)?;
    let stated = read.values.get("arch").and_then(Plain::text).filter(|n| vision::knows(n));
    let (name, whose) = match (stated, of_file(path)) {
        (Some(name), _) => (name.to_owned(), "the checkpoint's `arch`"),
        (None, Some(name)) => (name, "the file's name"),
        (None, None) => return Ok(None),
    };
    let weights = Weights::of(read.state(false).map_err(about)?.tensors);
    let mut notes = vec![format!("{}: opened as {name}, by {whose}", path.display())];
    let about = |e: Error| e.about(path);
    let mut graph = if name == synthstrip::NAME {
        notes.push(synthstrip::NOTE.into());
        synthstrip::build(weights).map_err(about)?
    } else {
        let Some(graph) = vision::build(&name, weights).map_err(about)? else { return Ok(None) };
        graph
    };
    graph.set_meta("ampoule.source", name);
    Ok(Some(Opened { graph, sha256: ampoule_pipeline::sha256_file(path)?, notes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_as_the_packages_call_them() {
        let of = |n: &str| of_file(Path::new(n));
        assert_eq!(of("a/resnet50-0676ba61.pth").as_deref(), Some("resnet50"));
        assert_eq!(of("efficientnet_b0_rwightman-7f5810bc.pth").as_deref(), Some("efficientnet_b0"));
        assert_eq!(of("unet-resnet34_best.pt").as_deref(), Some("unet-resnet34"));
        assert_eq!(of("unet-efficientnet-b0.safetensors").as_deref(), Some("unet-efficientnet-b0"));
        assert_eq!(of("synthstrip.1.pt").as_deref(), Some("synthstrip"));
        assert_eq!(of("synthstrip.nocsf.1.pt").as_deref(), Some("synthstrip"));
        assert_eq!(of("model_best.pth.tar"), None);
        assert_eq!(of("resnetblur50.pth"), None);
    }
}
