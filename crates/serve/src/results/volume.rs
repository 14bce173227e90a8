//! Volumes and their labels, as NIfTI that is not packed.

use super::fault::failed;
use crate::refusal::Refusal;
use ampoule_imaging::Nifti;
use ampoule_pipeline::{Allowance, Case, Error, Made, read_image};

/// The image of a case, without the texts of its header.
pub(super) fn image(case: &Case, made: &Made) -> Result<Vec<u8>, Refusal> {
    let settings = made.record.as_ref().map_or("", |r| r.settings.as_str());
    let read = read_image(case, frame(settings), Allowance::of_process()).map_err(failed)?;
    written(&read.without_identity())
}

/// The frame that a run was told to take: `frame=Some(3)` in its settings.
fn frame(settings: &str) -> Option<usize> {
    let text = settings.split(' ').find_map(|s| s.strip_prefix("frame=Some("))?;
    text.strip_suffix(')')?.parse().ok()
}

/// The labels of a case.
pub(super) fn labels(made: &Made) -> Result<Vec<u8>, Refusal> {
    let path = made.output("labels").ok_or_else(|| Refusal::unknown("the case has no labels"))?;
    let allowed = Allowance::of_process();
    let read = Nifti::read_within(&path, None, allowed.room);
    written(&read.map_err(|source| failed(Error::image(&path, source, allowed)))?)
}

fn written(image: &Nifti) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(image.raw.len() + 1024);
    image.write_to(&mut out).map_err(|e| Refusal::fault(e.to_string()))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_of_a_run_is_known() {
        assert_eq!(frame("fast=false frame=Some(3) mpp=None precision=fp32 keep-header=false"), Some(3));
        assert_eq!(frame("fast=false frame=None mpp=None"), None);
    }
}
