//! TotalSegmentator's tasks: which data sets they need, the voxel size, and how labels are numbered.

/// What names of models of TotalSegmentator begin with.
pub const PREFIX: &str = "totalsegmentator-";

/// A task of TotalSegmentator.
pub struct Task {
    /// Its name, as `totalsegmentator-NAME` on the command line.
    pub name: &'static str,
    /// Numbers of nnU-Net's data sets, in the order in which labels are laid over one another.
    pub(super) data_sets: &'static [u32],
    /// Voxel size in mm to which images are resampled first.
    pub(super) spacing: f64,
    /// What neighbouring windows have in common, as a share of a window.
    pub(super) overlap: f64,
    /// Names of the labels, a line each, from 1 on; empty where those of the only data set count.
    labels: &'static str,
}

const TOTAL: &str = include_str!("total.txt");
const TOTAL_MR: &str = include_str!("total_mr.txt");

/// A task whose labels are numbered by the program, of which windows overlap less.
const fn total(name: &'static str, data_sets: &'static [u32], spacing: f64, labels: &'static str) -> Task {
    Task { name, data_sets, spacing, overlap: 0.2, labels }
}

const fn of(name: &'static str, data_sets: &'static [u32], spacing: f64) -> Task {
    Task { name, data_sets, spacing, overlap: 0.5, labels: "" }
}

static TASKS: [Task; 8] = [
    total("total", &[291, 292, 293, 294, 295], 1.5, TOTAL),
    total("total-fast", &[297], 3.0, TOTAL),
    total("total-fastest", &[298], 6.0, TOTAL),
    total("total-mr", &[850, 851], 1.5, TOTAL_MR),
    total("total-mr-fast", &[852], 3.0, TOTAL_MR),
    total("total-mr-fastest", &[853], 6.0, TOTAL_MR),
    of("body", &[299], 1.5),
    of("body-fast", &[300], 6.0),
];

/// All tasks that are known by name.
pub fn tasks() -> &'static [Task] {
    &TASKS
}

/// The task of a model's name.
pub fn task(model: &str) -> Option<&'static Task> {
    let name = model.strip_prefix(PREFIX)?;
    TASKS.iter().find(|t| t.name == name)
}

impl Task {
    /// Names of its labels from 1 on, where the task numbers them.
    pub(super) fn labels(&self) -> Option<impl Iterator<Item = &'static str> + use<>> {
        (!self.labels.is_empty()).then(|| self.labels.lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_as_many_as_the_package_has() {
        let count = |name| task(name).unwrap().labels().map(Iterator::count);
        assert_eq!(count("totalsegmentator-total"), Some(117));
        assert_eq!(count("totalsegmentator-total-mr"), Some(50));
        assert_eq!(count("totalsegmentator-body"), None);
        assert!(task("total").is_none() && task("totalsegmentator-teeth").is_none());
    }
}
