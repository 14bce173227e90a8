//! The labels that a process left in a file, read back.

use crate::cell::Labelled;
use crate::{Error, Result};
use ampoule_eval::Prediction;
use ampoule_imaging::Volume;
use ampoule_imaging::geometry::Affine;

/// Reads the labels of a case that a process left.
pub(crate) fn read(l: &Labelled) -> Result<Prediction> {
    let fail = |reason: String| Error::File { path: l.labels.clone(), reason };
    let data = std::fs::read(&l.labels).map_err(|e| fail(e.to_string()))?;
    if data.len() != 2 * l.dims.iter().product::<usize>() {
        return Err(fail("it has not the size that was noted; delete the study's folder".into()));
    }
    let data = data.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
    let labels = Volume { dims: l.dims, data };
    let (values, scores) = (l.values.clone(), l.scores.clone());
    let affine = l.affine.map(Affine);
    Ok(Prediction { labels, spacing: l.spacing, affine, classes: l.classes, values, scores })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_pipeline::Case;

    #[test]
    fn labels_are_read_back_and_files_that_were_cut_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let labels = dir.path().join("0.u16");
        std::fs::write(&labels, [1u16, 0, 2, 513].map(u16::to_le_bytes).concat()).unwrap();
        let l = Labelled {
            case: Case::of_file("0.png".as_ref()),
            dims: [2, 2, 1],
            spacing: [1.0; 3],
            affine: None,
            classes: 3,
            values: vec![1, 2],
            scores: Vec::new(),
            labels: labels.clone(),
            error: None,
        };
        let p = read(&l).unwrap();
        assert_eq!((p.labels.data, p.labels.dims, p.values), (vec![1, 0, 2, 513], [2, 2, 1], vec![1, 2]));
        std::fs::write(&labels, [0u8; 7]).unwrap();
        assert!(read(&l).unwrap_err().to_string().contains("delete the study's folder"));
    }
}
