//! TotalSegmentator's tasks: which data sets they need, the voxel size, which part of the image their networks see, and how
//! labels are numbered. Facts of its version 2.18.

/// What names of models of TotalSegmentator begin with.
pub const PREFIX: &str = "totalsegmentator-";

/// Labels of all tasks, a task each line: its name, then labels from 1 on; after `|` those that are in no result.
const CLASSES: &str = include_str!("classes.txt");

/// A task of TotalSegmentator.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name, as `totalsegmentator-NAME` on the command line.
    pub name: &'static str,
    /// Numbers of nnU-Net's data sets, in the order in which labels are laid over one another.
    pub(super) data_sets: &'static [u32],
    /// How many labels each of several data sets gives, in the order of the task's.
    pub(super) parts: &'static [usize],
    /// What the folder of the only data set is called after its number.
    pub(super) folder: &'static str,
    /// Voxel size in mm along x, y and z to which images are resampled first; none where nnU-Net alone resamples.
    pub(super) spacing: Option<[f64; 3]>,
    /// What neighbouring windows have in common, as a share of a window.
    pub(super) overlap: f64,
    /// All folds are averaged, not the first alone.
    pub(super) all_folds: bool,
    /// Where the networks look.
    pub(super) crop: Where,
    /// What TotalSegmentator does and this program does not.
    pub(super) lacks: Lack,
    /// Which line of the list of labels is this task's.
    classes: &'static str,
}

/// Which part of an image the networks of a task see.
#[derive(Clone, Copy, Debug)]
pub(super) enum Where {
    /// All of it.
    Whole,
    /// The box around what a rough network finds.
    Found(Crop),
    /// All of it; the box around the labels that are wanted, where only some are.
    Wanted(&'static Rough),
}

/// What a task lacks here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lack {
    /// Nothing.
    Nothing,
    /// A note tells of it.
    Said(&'static str),
    /// Results would be others, so that the task is refused.
    Refused(&'static str),
}

/// A box around labels of a rough network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crop {
    pub by: &'static Rough,
    pub labels: &'static [&'static str],
    /// Millimetres on each side.
    pub margin: f64,
}

/// A network that finds where others look.
#[derive(Debug)]
pub(super) struct Rough {
    pub data_set: u32,
    /// Which line of the list of labels is its own.
    pub classes: &'static str,
    /// Voxel size in mm.
    pub spacing: f64,
    pub overlap: f64,
    /// Only the largest component of what it finds counts.
    pub largest: bool,
    /// Where it looks itself.
    pub before: Option<Crop>,
}

/// Margin of every box but one, whatever a task's own would be: TotalSegmentator sets it where rough labels are `total`'s.
pub(super) const MARGIN: f64 = 20.0;

const fn rough(data_set: u32, classes: &'static str, spacing: f64) -> Rough {
    Rough { data_set, classes, spacing, overlap: 0.2, largest: false, before: None }
}

static TOTAL_6: Rough = rough(298, "total", 6.0);
static TOTAL_3: Rough = rough(297, "total", 3.0);
static MR_3: Rough = rough(852, "total-mr", 3.0);
static BODY_6: Rough = Rough { overlap: 0.5, largest: true, ..rough(300, "body", 6.0) };
static FACE: Rough = Rough {
    overlap: 0.5,
    before: Some(Crop { by: &TOTAL_6, labels: &["skull"], margin: MARGIN }),
    ..rough(115, "craniofacial-structures", 0.5)
};

const LUNGS: &[&str] = &[
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
];
const NECK: &[&str] =
    &["clavicula_left", "clavicula_right", "vertebrae_C1", "vertebrae_C5", "vertebrae_T1", "vertebrae_T4"];
const TOTAL_PARTS: &[usize] = &[24, 26, 18, 23, 26];

/// A task of one data set that sees whole images.
const fn of(name: &'static str, data_set: &'static [u32], folder: &'static str, mm: [f64; 3]) -> Task {
    Task {
        name,
        data_sets: data_set,
        parts: &[],
        folder,
        spacing: Some(mm),
        overlap: 0.5,
        all_folds: false,
        crop: Where::Whole,
        lacks: Lack::Nothing,
        classes: name,
    }
}

/// The same at voxels with one size.
const fn at(name: &'static str, data_set: &'static [u32], folder: &'static str, mm: f64) -> Task {
    of(name, data_set, folder, [mm; 3])
}

/// A task of one data set in a box; resampled by nnU-Net alone.
const fn own(name: &'static str, data_set: &'static [u32], folder: &'static str) -> Task {
    Task { spacing: None, ..at(name, data_set, folder, 0.0) }
}

/// A task of whole images, of which windows overlap less, and of which some labels can be had alone.
const fn total(
    name: &'static str,
    data_sets: &'static [u32],
    mm: f64,
    classes: &'static str,
    by: &'static Rough,
) -> Task {
    Task { classes, overlap: 0.2, crop: Where::Wanted(by), ..at(name, data_sets, "", mm) }
}

impl Task {
    const fn around(self, by: &'static Rough, labels: &'static [&'static str]) -> Task {
        Task { crop: Where::Found(Crop { by, labels, margin: MARGIN }), ..self }
    }

    const fn parts(self, parts: &'static [usize]) -> Task {
        Task { parts, ..self }
    }

    const fn as_task(self, classes: &'static str) -> Task {
        Task { classes, ..self }
    }

    const fn of_all_folds(self) -> Task {
        Task { all_folds: true, ..self }
    }

    const fn lacks(self, lacks: Lack) -> Task {
        Task { lacks, ..self }
    }
}

const HEART: Lack = Lack::Said(
    "TotalSegmentator removes labels farther than 10 mm from the heart, the aorta and the inferior vena cava of its rough network; here they stay",
);
const VERTEBRAE: Lack = Lack::Refused(
    "TotalSegmentator separates, numbers and grows the vertebrae that the network gives, which is not known here; the folder of the data set given as the model runs the network alone",
);

static TASKS: [Task; 59] = [
    total("total", &[291, 292, 293, 294, 295], 1.5, "total", &TOTAL_6).parts(TOTAL_PARTS),
    total("total-fast", &[297], 3.0, "total", &TOTAL_6),
    total("total-fastest", &[298], 6.0, "total", &TOTAL_6),
    total("total-v3", &[831, 832, 833, 834, 835], 1.5, "total-v3", &TOTAL_6).parts(TOTAL_PARTS),
    total("total-v3-fast", &[836], 3.0, "total-v3", &TOTAL_6),
    total("total-v3-fastest", &[837], 6.0, "total-v3", &TOTAL_6),
    total("total-mr", &[850, 851], 1.5, "total-mr", &MR_3).parts(&[29, 21]),
    total("total-mr-fast", &[852], 3.0, "total-mr", &MR_3),
    total("total-mr-fastest", &[853], 6.0, "total-mr", &MR_3),
    at("body", &[299], "body_1559subj", 1.5),
    at("body-fast", &[300], "body_6mm_1559subj", 6.0).as_task("body"),
    at("body-mr", &[597], "mri_body_139subj", 1.5),
    at("body-mr-fast", &[598], "mri_body_6mm_139subj", 6.0).as_task("body-mr"),
    of("lung-vessels", &[117], "lung_airways_arteries_veins_282subj", [0.703125, 0.703125, 1.0])
        .around(&TOTAL_3, LUNGS),
    own("lung-vessels-legacy", &[258], "lung_vessels_248subj").around(&TOTAL_6, LUNGS),
    own("cerebral-bleed", &[150], "icb_v0").around(&TOTAL_6, &["brain"]),
    own("hip-implant", &[260], "hip_implant_71subj")
        .around(&TOTAL_6, &["femur_left", "femur_right", "hip_left", "hip_right"]),
    at("vertebrae-mr", &[756], "mri_vertebrae_1076subj", 1.5),
    own("pleural-pericard-effusion", &[315], "thoraxCT").around(&TOTAL_6, LUNGS).of_all_folds(),
    own("liver-vessels", &[8], "HepaticVessel").around(&TOTAL_6, &["liver"]),
    of("head-glands-cavities", &[775], "head_glands_cavities_492subj", [0.75, 0.75, 1.0])
        .around(&TOTAL_6, &["skull"]),
    of("headneck-bones-vessels", &[776], "headneck_bones_vessels_492subj", [0.75, 0.75, 1.0])
        .around(&TOTAL_6, NECK),
    of("head-muscles", &[777], "head_muscles_492subj", [0.75, 0.75, 1.0]).around(&TOTAL_6, &["skull"]),
    of("headneck-muscles", &[778, 779], "", [0.75, 0.75, 1.0]).around(&TOTAL_6, NECK).parts(&[11, 12]),
    of(
        "oculomotor-muscles",
        &[351],
        "oculomotor_muscles_18subj",
        [0.47251562774181366, 0.47251562774181366, 0.8500002026557922],
    )
    .around(&TOTAL_6, &["skull"]),
    at("lung-nodules", &[913], "lung_nodules", 1.5).around(&TOTAL_6, LUNGS),
    at("kidney-cysts", &[789], "kidney_cyst_501subj", 1.5)
        .around(&TOTAL_6, &["kidney_left", "kidney_right", "liver", "spleen", "colon"]),
    at("breasts", &[527], "breasts_1559subj", 1.5),
    of("ventricle-parts", &[552], "ventricle_parts_38subj", [0.4384765625, 0.4345703125, 1.0])
        .around(&TOTAL_6, &["brain"]),
    of("liver-segments", &[570], "ct_liver_segments", [0.8046879768371582, 0.8046879768371582, 1.5])
        .around(&TOTAL_6, &["liver"]),
    of("liver-segments-mr", &[576], "mri_liver_segments_120subj", [1.1250001788139343, 1.1875, 3.0])
        .around(&MR_3, &["liver"]),
    of("liver-lesions", &[591], "ct_liver_lesions_842subj", [0.75, 0.75, 1.0]).around(&TOTAL_3, &["liver"]),
    of("liver-lesions-mr", &[589], "ct_mri_liver_lesions_750subj", [0.8603515625, 0.857421875, 1.0])
        .around(&MR_3, &["liver"]),
    at("craniofacial-structures", &[115], "mandible", 0.5).around(&TOTAL_6, &["skull"]),
    of("abdominal-muscles", &[952], "abdominal_muscles_167subj", [0.75, 0.75, 1.0])
        .around(&BODY_6, &["body_trunc"]),
    Task {
        crop: Where::Found(Crop { by: &FACE, labels: &["teeth_lower", "teeth_upper"], margin: 10.0 }),
        ..at("teeth", &[113], "ToothFairy3", 0.5)
    },
    at("trunk-cavities", &[343], "mediastinum_1786subj", 1.5),
    of("brain-aneurysm", &[615], "MAXIMUS", [0.390625, 0.390625, 0.5000016391277313]).of_all_folds(),
    at("vertebrae-body", &[305], "vertebrae_discs_1559subj", 1.5),
    at("vertebrae-pp", &[803], "TotalSegmentator_vertebrae_inner_1559subj", 1.5).lacks(VERTEBRAE),
    at("vertebrae-pp-refined", &[803], "TotalSegmentator_vertebrae_inner_1559subj", 1.5)
        .as_task("vertebrae-pp")
        .lacks(VERTEBRAE),
    own("heartchambers-highres", &[301], "heart_highres_1559subj").around(&TOTAL_3, &["heart"]).lacks(HEART),
    at("appendicular-bones", &[304], "appendicular_bones_ext_1559subj", 1.5),
    at("appendicular-bones-mr", &[855], "TotalSegMRI_appendicular_bones_1088subj", 1.5),
    at("tissue-types", &[481], "tissue_1559subj", 1.5),
    at("tissue-types-mr", &[925], "MRI_tissue_subset_903subj", 1.5),
    at("tissue-4-types", &[485], "tissue_4types_1559subj", 1.5),
    at("face", &[303], "face_1559subj", 1.5),
    at("face-mr", &[856], "TotalSegMRI_face_1088subj", 1.5),
    of("brain-structures", &[409], "neuro_550subj", [0.5, 0.5, 1.0]).around(&TOTAL_6, &["brain"]),
    at("thigh-shoulder-muscles", &[857], "TotalSegMRI_thigh_shoulder_1088subj", 1.5),
    at("thigh-shoulder-muscles-mr", &[857], "TotalSegMRI_thigh_shoulder_1088subj", 1.5),
    at("coronary-arteries", &[509], "coronary_arteries_cm_nativ_400subj_SKELETON", 0.7)
        .around(&TOTAL_6, &["heart"]),
    at("coronary-arteries-legacy", &[507], "coronary_arteries_cm_nativ_400subj", 0.7)
        .around(&TOTAL_6, &["heart"]),
    at("aortic-sinuses", &[920], "aortic_sinuses_cm_nativ_400subj", 0.7).around(&TOTAL_6, &["heart"]),
    at("renal-arteries", &[710], "renal_arteries_127subj", 1.5),
    at("aorta-annulus", &[713], "annulus_proper_48subj", 0.8).of_all_folds(),
    at("aortic-dissection", &[716], "aorta_true_false_lumen_171subj", 0.8).of_all_folds(),
    of("pulmonary-artery-landmarks", &[514], "annulus_pulmonary_70subj", [0.7802734375, 0.7802734375, 1.0])
        .of_all_folds(),
];

/// All tasks that are known by name.
pub fn tasks() -> &'static [Task] {
    &TASKS
}

/// The task of a model's name, which may have TotalSegmentator's underscores.
pub fn task(model: &str) -> Option<&'static Task> {
    let name = model.strip_prefix(PREFIX)?.replace('_', "-").to_ascii_lowercase();
    TASKS.iter().find(|t| t.name == name)
}

/// The task of the only data set whose folder is called so; those that are refused by name are none.
pub(super) fn of_folder(folder: &str) -> Option<&'static Task> {
    let (number, rest) = folder.strip_prefix("Dataset")?.split_once('_')?;
    let number: u32 = number.parse().ok()?;
    let refused = |t: &Task| matches!(t.lacks, Lack::Refused(_));
    TASKS.iter().find(|t| t.data_sets == [number] && t.folder == rest && !refused(t))
}

/// Labels of a task or of a rough network.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// Those of results, from 1 on, and then those that are in none.
    pub names: Vec<&'static str>,
    /// How many are in results.
    pub shown: usize,
}

/// The labels of a line of the list; none where it has no such line.
pub(super) fn classes(of: &str) -> Classes {
    let line = CLASSES.lines().find_map(|l| l.strip_prefix(of)?.strip_prefix(": ")).unwrap_or_default();
    let (shown, hidden) = line.split_once(" | ").unwrap_or((line, ""));
    let mut names: Vec<&str> = shown.split_whitespace().collect();
    let shown = names.len();
    names.extend(hidden.split_whitespace());
    Classes { names, shown }
}

impl Task {
    /// Its labels.
    pub(super) fn classes(&self) -> Classes {
        classes(self.classes)
    }

    /// Whether it is TotalSegmentator's `body`, of which small pieces go.
    pub(super) fn is_body(&self) -> bool {
        self.classes == "body"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_as_many_as_the_package_has() {
        let count = |name| task(name).unwrap().classes().shown;
        assert_eq!(count("totalsegmentator-total"), 117);
        assert_eq!(count("totalsegmentator-total_v3_fast"), 117);
        assert_eq!(count("totalsegmentator-total-mr"), 50);
        assert_eq!(count("totalsegmentator-body-fast"), 2);
        assert_eq!(count("totalsegmentator-teeth"), 77);
        let cysts = task("totalsegmentator-kidney_cysts").unwrap().classes();
        assert_eq!((cysts.shown, cysts.names.len(), cysts.names[3]), (2, 4, "kidney_right"));
        assert!(task("total").is_none() && task("totalsegmentator-tooth").is_none());
    }

    #[test]
    fn every_task_has_labels_and_finds_what_it_looks_for() {
        for t in tasks() {
            let names = t.classes().names;
            assert!(!names.is_empty(), "{}", t.name);
            assert!(t.parts.is_empty() || t.parts.iter().sum::<usize>() == names.len(), "{}", t.name);
            assert_eq!(t.data_sets.len().max(1), t.parts.len().max(1), "{}", t.name);
            assert_eq!(tasks().iter().filter(|o| o.name == t.name).count(), 1, "{}", t.name);
            let mut next = match t.crop {
                Where::Found(crop) => Some(crop),
                Where::Whole | Where::Wanted(_) => None,
            };
            while let Some(crop) = next {
                let known = classes(crop.by.classes).names;
                assert!(crop.labels.iter().all(|l| known.contains(l)), "{}", t.name);
                next = crop.by.before;
            }
        }
    }

    #[test]
    fn folders_are_known_by_their_whole_name() {
        assert_eq!(of_folder("Dataset150_icb_v0").map(|t| t.name), Some("cerebral-bleed"));
        assert_eq!(of_folder("Dataset008_HepaticVessel").map(|t| t.name), Some("liver-vessels"));
        assert!(of_folder("Dataset150_icb").is_none() && of_folder("Dataset803_x").is_none());
        assert!(of_folder("Dataset291_TotalSegmentator_part1_organs_1559subj").is_none());
    }
}
