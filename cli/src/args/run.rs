use ampoule_pipeline::Shard;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// Model file or fetched name.
    pub model: String,
    /// Volumes, photos, tiles or slides, as the model's recipe says; folders of them (searched recursively; BIDS
    /// data sets by their layout; DICOM files by their series), ZIP files of DICOM and DICOMDIR; or CSV manifests with a
    /// row a case.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// Folder for the results, made if it is missing; or, for a single case, the file of its labels, such as
    /// mask.nii.gz.
    #[arg(long, short)]
    pub output: PathBuf,
    /// File of the labels for a single case; everything else goes to --output.
    #[arg(long, short)]
    pub mask: Option<PathBuf>,
    /// Smaller ensemble and no test-time augmentation, as the recipe says: several times faster.
    #[arg(long)]
    pub fast: bool,
    /// Also write the scores of every label: `NAME_prob.nii.gz` (`.png`; `.tif` for slides), or `NAME_prob_LABEL` for each of several.
    #[arg(long)]
    pub save_probabilities: bool,
    /// Also write a heat map of each photo that is classified, `NAME_heat.png`: the score of each window where the recipe cuts the
    /// photo into windows (`[tiles]`), else how much less the score is where a part of the photo is hidden (about 120 runs of the network).
    #[arg(long)]
    pub heat: bool,
    /// Segment only these labels, by their names: part models that give none of them do not run, and what is not named is in
    /// no result.
    #[arg(long, value_name = "NAME", value_delimiter = ',', alias = "roi-subset")]
    pub labels: Vec<String>,
    /// Of DICOM input only these series: number, UID or a part of the description. Repeatable.
    #[arg(long, value_name = "SERIES")]
    pub series: Vec<String>,
    /// The DICOM series of a channel of the model (`[[input]]`), where it takes several: number, UID, or a part or pattern of
    /// the description. Repeatable.
    #[arg(long, value_name = "CHANNEL=SERIES", value_parser = parse_channel)]
    pub channel: Vec<(String, String)>,
    /// Also write the labels of DICOM series as DICOM Segmentation objects, which carry the patient's name, number, birth date
    /// and sex and the study's dates, as archives need them: `NAME_seg.dcm`, which all viewers take, or with --seg=labelmap
    /// `NAME_labelmap.dcm`, smaller where there are many labels.
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "binary", value_parser = ["binary", "labelmap"])]
    pub seg: Option<String>,
    /// Also write the picture to check a case by (`NAME_qc.png`) of DICOM series as a DICOM Secondary Capture, `NAME_qc.dcm`, which
    /// carries of the patient what --seg does.
    #[arg(long)]
    pub sc: bool,
    /// Also write the volumes of the labels of DICOM series as a DICOM structured report (TID 1500), `NAME_sr.dcm`, which carries
    /// of the patient what --seg does.
    #[arg(long)]
    pub sr: bool,
    /// Format of volumes that are written [default: as the input where it is NIfTI, else nii.gz].
    #[arg(long, value_name = "FORMAT", value_parser = ["nii.gz", "nii", "nrrd", "mha"])]
    pub format: Option<String>,
    /// Run only one of so many parts of the cases, by a hash of their names: 3/16 is the third of sixteen. Parts may run at
    /// the same time, into one folder or several (`ampoule merge`).
    #[arg(long, value_name = "PART/PARTS", conflicts_with_all = ["audit", "mask"])]
    pub shard: Option<Shard>,
    /// Frame of 4D images, counted from 0.
    #[arg(long, value_name = "N")]
    pub frame: Option<usize>,
    /// Classes printed for each photo, the likeliest first.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub top: usize,
    /// Another model of the same ensemble; scores are averaged. Repeatable.
    #[arg(long, value_name = "MODEL")]
    pub fold: Vec<String>,
    /// Microns a pixel of the slides' finest level, whatever the files say.
    #[arg(long, value_name = "MICRONS", value_parser = parse_mpp)]
    pub mpp: Option<f64>,
    /// Run the original beside the model on every so manieth case, after all cases are done, and keep a statement of
    /// non-inferiority in audit.jsonl of the output folder, which later runs carry on. Needs --original.
    #[arg(long, value_name = "N", requires = "original", conflicts_with = "fold", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub audit: Option<u32>,
    /// The model that --audit compares with: the one that the optimized model was made from.
    #[arg(long, value_name = "MODEL", requires = "audit")]
    pub original: Option<String>,
    /// Margin of the audit: mean distance from the original, 1 less Dice, or the share of photos of another class.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, requires = "audit", value_parser = parse_share)]
    pub audit_margin: f64,
    /// Write outlines of slides compressed, as .geojson.gz.
    #[arg(long)]
    pub gzip: bool,
    /// Keep the free texts and extensions of the input's header in what is written; they may name a patient.
    #[arg(long)]
    pub keep_header: bool,
    /// Write hashes of folders instead of folders into the tables; names of folders may be names of patients.
    #[arg(long)]
    pub redact_paths: bool,
}

pub(super) fn parse_mpp(text: &str) -> Result<f64, String> {
    let fine = |v: &f64| (0.02..=50.0).contains(v);
    text.parse().ok().filter(fine).ok_or_else(|| "microns a pixel, 0.02 to 50; for example 0.25".into())
}

pub(super) fn parse_channel(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').filter(|(name, series)| !name.is_empty() && !series.is_empty());
    let named = named.map(|(name, series)| (name.to_owned(), series.to_owned()));
    named.ok_or_else(|| "a channel and its series, such as flair=7 or \"t1=*MPRAGE*\"".into())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let fine = |v: &f64| *v > 0.0 && *v < 1.0;
    text.parse().ok().filter(fine).ok_or_else(|| "a share above 0 and below 1".into())
}
