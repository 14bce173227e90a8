//! Models of GaNDLF, BrainMaGe, SynthStrip and nnU-Net v1 give what their own code predicts (scripts/golden_gandlf_models.py,
//! scripts/golden_brainmage.py, scripts/golden_synthstrip.py, scripts/golden_nnunet1.py).

use ampoule_engine::Options;
use ampoule_imaging::Volume;
use ampoule_imaging::formats::read_volume;
use ampoule_imaging::photo::read_labels;
use ampoule_imaging::postprocess::{Select, Ties, keep_largest};
use ampoule_imaging::regions::Connectivity;
use ampoule_pipeline::{Batch, Model, OutputOptions, Progress, Recipe, collect, run_cases};
use ampoule_zoo::{Folders, locate};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest difference of a score.
const SCORE: f64 = 1e-3;
/// The largest share of voxels or pixels whose labels differ.
const LABELS: f64 = 1e-3;

struct Quiet;

impl Progress for Quiet {}

fn golden(kind: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind).join(name)
}

/// The model of a golden folder, which may be an archive, with what was noted.
fn model(from: &Path) -> (Model, Vec<String>) {
    let kinds = ["model", "model.zip"].map(|n| from.join(n));
    let path = kinds.into_iter().find(|p| p.exists()).unwrap();
    let opened = ampoule_zoo::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    of(opened, None, &path)
}

fn of(opened: ampoule_zoo::Opened, recipe: Option<&str>, path: &Path) -> (Model, Vec<String>) {
    let options = Options { isa: ampoule_testing::asked_tier(), ..Default::default() };
    let model = Model::from_graph(opened.graph, recipe, opened.sha256, options);
    (model.unwrap_or_else(|e| panic!("{}: {e}", path.display())), opened.notes)
}

/// Runs a golden case into a folder, and gives what was noted of the model.
fn run(from: &Path, out: &Path) -> Vec<String> {
    run_model(model(from), from, out)
}

fn run_model((mut model, notes): (Model, Vec<String>), from: &Path, out: &Path) -> Vec<String> {
    let found = collect(&model.recipe, &[from.join("case")], None).unwrap();
    let outputs = OutputOptions { probabilities: true, ..Default::default() };
    let batch = Batch { outputs, ..Default::default() };
    let done = run_cases(&mut model, &found.cases, found.skipped, out, &batch, &mut Quiet).unwrap();
    let failed: Vec<String> = done.failures().iter().map(|(p, e)| format!("{}: {e}", p.display())).collect();
    assert!(failed.is_empty() && done.counts()[0] > 0, "{}: {failed:?}", from.display());
    notes
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Files of a folder whose names fit, in order.
fn files(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let list = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    let mut all: Vec<PathBuf> = list.filter(|p| fits(&p.file_name().unwrap().to_string_lossy())).collect();
    all.sort();
    all
}

/// Values of a volume, or grey values of an image.
fn values(path: &Path) -> Volume<f32> {
    if path.extension().is_some_and(|e| e == "png") {
        let v = read_labels(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return Volume { dims: v.dims, data: v.data.iter().map(|v| *v as f32).collect() };
    }
    read_volume(path, None, 1 << 30).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_f32().0
}

fn labels_agree(from: &Path, out: &Path) {
    let (name, mine) = (from.display(), |n: &str| n.ends_with("_mask.nii.gz") || n.ends_with("_mask.png"));
    let ours = values(&files(out, mine)[0]);
    let theirs = values(&files(from, |n| n.starts_with("labels"))[0]);
    assert_eq!(ours.dims, theirs.dims, "{name}");
    let differ = ours.data.iter().zip(&theirs.data).filter(|(a, b)| a != b).count();
    let share = differ as f64 / ours.data.len() as f64;
    println!("{name}: {differ} of {} labels differ", ours.data.len());
    assert!(share <= LABELS, "{name}: {differ} labels differ, {share}");
    assert!(theirs.data.iter().any(|v| *v > 0.0), "{name} has labels to compare");
}

/// Scores at some places; those of images are written in steps of `step`.
fn scores_agree(from: &Path, out: &Path, step: f64) {
    let name = from.display();
    // Networks without a function at their end are written as what one half parts as it parts their own numbers.
    let bare = ["msdnet", "dynunet"].iter().any(|n| from.ends_with(n));
    let logistic = |v: f64| if bare { 1.0 / (1.0 + (0.5 - v).exp()) } else { v };
    let scores = json(&from.join("scores.json"));
    let maps: Vec<Volume<f32>> = files(out, |n| n.contains("_prob")).iter().map(|p| values(p)).collect();
    let (places, rows) = (scores["xyz"].as_array().unwrap(), scores["scores"].as_array().unwrap());
    assert!(!maps.is_empty() && rows.len() > 100, "{name}");
    for map in &maps {
        let worst = |k: usize| {
            let one = |(at, row): (&Value, &Value)| {
                let at = [0, 1, 2].map(|i| at[i].as_u64().unwrap() as usize);
                let own =
                    map.data[map.index(at[0], at[1], at[2])] as f64 * if step > 0.0 { step } else { 1.0 };
                (own - logistic(row[k].as_f64().unwrap())).abs()
            };
            places.iter().zip(rows).map(one).fold(0.0, f64::max)
        };
        let channels = rows[0].as_array().unwrap().len();
        let best = (0..channels).map(worst).fold(f64::INFINITY, f64::min);
        println!("{name}: scores differ by {best:.2e}");
        assert!(best <= 0.5 * step + SCORE, "{name}: a score differs by {best}");
    }
}

#[test]
fn networks_of_volumes_segment_as_gandlf_does() {
    let all = [
        "resunet",
        "unet",
        "crop",
        "light_unet",
        "unet_multilayer",
        "deep_resunet",
        "uinc",
        "fcn",
        "msdnet",
        "transunet",
        "dynunet",
    ];
    for name in all {
        let (from, d) = (golden("gandlf", name), tempfile::tempdir().unwrap());
        run(&from, d.path());
        labels_agree(&from, d.path());
        scores_agree(&from, d.path(), 0.0);
    }
}

#[test]
fn folders_of_nnunet_1_segment_as_it_does() {
    for name in ["v1_ct", "v1_mr", "v1_2d"] {
        let (from, d) = (golden("nnunet1", name), tempfile::tempdir().unwrap());
        run(&from, d.path());
        labels_agree(&from, d.path());
        scores_agree(&from, d.path(), 0.0);
    }
}

/// Copies files of a folder into a new one.
fn copied(from: &Path, to: &Path, names: &[&str]) {
    std::fs::create_dir_all(to).unwrap();
    for name in names {
        std::fs::write(to.join(name), std::fs::read(from.join(name)).unwrap()).unwrap();
    }
}

fn refused(path: &Path) -> String {
    match ampoule_zoo::open(path) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("{} is opened", path.display()),
    }
}

#[test]
fn folders_of_nnunet_1_that_are_not_whole_are_refused() {
    let from = golden("nnunet1", "v1_2d").join("model/2d/Task900_v1_2d/nnUNetTrainerV2__nnUNetPlansv2.1");
    let d = tempfile::tempdir().unwrap();
    let folder = d.path().join("nnUNetTrainerV2CascadeFullRes__nnUNetPlansv2.1");
    copied(&from, &folder, &["plans.pkl"]);
    assert!(refused(&folder).contains("there is no fold_"));
    std::fs::create_dir(folder.join("fold_0")).unwrap();
    assert!(refused(&folder).contains("model_final_checkpoint.model"));
    // Without the pickle beside the weights, the folder's name tells the trainer.
    copied(&from.join("fold_0"), &folder.join("fold_0"), &["model_final_checkpoint.model"]);
    let said = refused(&folder);
    assert!(said.contains("nnUNetTrainerV2CascadeFullRes") && said.contains("3d_fullres"), "{said}");
    std::fs::write(folder.join("plans.pkl"), b"cos\nsystem\n(S'true'\ntR.").unwrap();
    let said = refused(&folder);
    assert!(said.contains("plans.pkl"), "{said}");
}

#[test]
fn the_folder_of_hd_bet_2_is_one_of_nnunet() {
    // HD-BET 2 fetches a folder that is called by its release, with one network that saw all cases.
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(
        "../../cli/tests/golden/frameworks/two_d/model/Dataset915_two_d/nnUNetTrainer__nnUNetPlans__2d",
    );
    let d = tempfile::tempdir().unwrap();
    let folder = d.path().join("release_2.0.0");
    copied(&from, &folder, &["plans.json", "dataset.json"]);
    copied(&from.join("fold_0"), &folder.join("fold_all"), &["checkpoint_final.pth"]);
    let recipe = |path: &Path| {
        let opened = ampoule_zoo::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        opened.graph.meta(ampoule_pipeline::RECIPE_KEY).unwrap().to_owned()
    };
    let nnunet = recipe(&from).replace("fold_0", "fold_all");
    let parsed = |text: &str| Recipe::parse(text, "").unwrap();
    let mut usual = parsed(&nnunet);
    // HD-BET writes the brain too.
    usual.outputs.masked = "bet".into();
    assert_eq!(parsed(&recipe(&folder)), usual);
}

#[test]
fn networks_of_photos_segment_as_gandlf_does() {
    for name in ["deep_unet_photo", "unetr", "imagenet_unet"] {
        let (from, d) = (golden("gandlf", name), tempfile::tempdir().unwrap());
        run(&from, d.path());
        labels_agree(&from, d.path());
        scores_agree(&from, d.path(), 1.0 / 255.0);
    }
}

/// Some columns of a table.
fn columns(path: &Path, names: &[&str]) -> Vec<Vec<f64>> {
    let table = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = table.lines().map(|l| l.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |n: &&str| header.iter().position(|h| h == n).unwrap_or_else(|| panic!("{n}: {header:?}"));
    let at: Vec<usize> = names.iter().map(column).collect();
    lines.map(|row| at.iter().map(|i| row[*i].parse().unwrap()).collect()).collect()
}

/// The table that GaNDLF reads its results from is what GaNDLF itself wrote, whose subjects are numbered from 0 on.
fn tables_agree(name: &str, out: &Path, scores: &Value) {
    if name == "regression" {
        let text = std::fs::read_to_string(out.join("output_predictions.csv")).unwrap();
        assert!(text.starts_with("Epoch,SubjectID,PredictedValue\n0,case3,"), "{text}");
        let ours = columns(&out.join("output_predictions.csv"), &["PredictedValue"]);
        let theirs = scores["scores"].as_object().unwrap().values().map(|v| v[0].as_f64().unwrap());
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a[0] - b).abs() <= SCORE), "{ours:?}");
        return;
    }
    let ours = std::fs::read_to_string(out.join("final_preds_and_avg_probs.csv")).unwrap();
    let theirs = scores["table"].as_str().unwrap();
    assert_eq!(ours.lines().next(), theirs.lines().next(), "{name}");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{name}");
    let most = if name == "resnet50" { 10.0 * SCORE } else { SCORE };
    for (own, row) in ours.lines().zip(theirs.lines()).skip(1) {
        let [own, row] = [own, row].map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(own[1], row[1], "{name}: {own:?} and {row:?}");
        let worst = own[2..].iter().zip(&row[2..]);
        let worst = worst.map(|(a, b)| (a.parse::<f64>().unwrap() - b.parse::<f64>().unwrap()).abs());
        assert!(worst.fold(0.0, f64::max) <= most, "{name}: {own:?} and {row:?}");
    }
}

#[test]
fn classifiers_score_as_gandlf_does() {
    let softmax = |row: &[f64]| {
        let all: Vec<f64> = row.iter().map(|v| v.exp()).collect();
        let sum: f64 = all.iter().sum();
        all.iter().map(|v| v / sum).collect::<Vec<f64>>()
    };
    for name in ["vgg11", "densenet121", "resnet18", "resnet50", "efficientnetb0", "regression"] {
        let (from, d) = (golden("gandlf", name), tempfile::tempdir().unwrap());
        run(&from, d.path());
        let names: &[&str] = if name == "regression" { &["value"] } else { &["prob_0", "prob_1", "prob_2"] };
        let ours = columns(&d.path().join("cases.csv"), names);
        let scores = json(&from.join("scores.json"));
        tables_agree(name, d.path(), &scores);
        let row = |v: &Value| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<f64>>();
        let theirs: Vec<Vec<f64>> = scores["scores"].as_object().unwrap().values().map(row).collect();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (a, b) in ours.iter().zip(&theirs) {
            // Of a network without a function at its end GaNDLF writes the softmax.
            let b = if name == "resnet18" { softmax(b) } else { b.clone() };
            let worst = a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            println!("{name}: scores differ by {worst:.2e}");
            // Its photos are resized, where SimpleITK's last bits decide which whole number is cut off to the one below.
            let most = if name == "resnet50" { 10.0 * SCORE } else { SCORE };
            assert!(worst <= most, "{name}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn a_table_that_gandlf_wrote_itself_is_not_added_to() {
    let (from, d) = (golden("gandlf", "regression"), tempfile::tempdir().unwrap());
    let table = d.path().join("output_predictions.csv");
    let own = "Epoch,SubjectID,PredictedValue\n0,case3,1.5\n";
    std::fs::write(&table, own).unwrap();
    let (mut model, _) = model(&from);
    let found = collect(&model.recipe, &[from.join("case")], None).unwrap();
    let done = run_cases(&mut model, &found.cases, Vec::new(), d.path(), &Batch::default(), &mut Quiet);
    let Err(said) = done else { panic!("it is not refused") };
    let said = said.to_string();
    assert!(said.contains("output_predictions.csv") && said.contains("another output folder"), "{said}");
    assert_eq!(std::fs::read_to_string(&table).unwrap(), own);
}

#[test]
fn tiles_are_segmented_as_gandlf_does_where_all_its_windows_lie() {
    let (from, d) = (golden("gandlf", "histology"), tempfile::tempdir().unwrap());
    run(&from, d.path());
    scores_agree(&from, d.path(), 1.0 / 255.0);
}

#[test]
fn windows_of_slides_are_classified_as_gandlf_does_up_to_the_borders() {
    let (from, d) = (golden("gandlf", "histology_classes"), tempfile::tempdir().unwrap());
    let notes = run(&from, d.path());
    assert!(notes.iter().any(|n| n.contains("finest level")), "{notes:?}");
    let ours = columns(&d.path().join("case3.csv"), &["minx", "miny", "prob_0", "prob_1", "prob_2"]);
    let names = ["x_coords", "y_coords", "probability_0", "probability_1", "probability_2"];
    let theirs = columns(&from.join("output_predictions.csv"), &names);
    let mut both = 0;
    for row in &theirs {
        let Some(own) = ours.iter().find(|o| o[..2] == row[..2]) else { continue };
        both += 1;
        let worst = own.iter().zip(row).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= SCORE, "{own:?} and {row:?}");
    }
    println!("{both} windows are those of both, of {} and {}", ours.len(), theirs.len());
    // The same windows as GaNDLF's own table has them.
    let head = |path: &Path| std::fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned();
    let table = d.path().join("case3_output_predictions.csv");
    assert_eq!(head(&table), head(&from.join("output_predictions.csv")));
    let same: Vec<Vec<f64>> = ours.iter().map(|row| [&row[..2], &row[2..]].concat()).collect();
    assert_eq!(columns(&table, &names), same);
    assert!(both >= 20, "{both} windows are those of both, of {} and {}", ours.len(), theirs.len());
    // GaNDLF leaves out the lower border.
    let last = |rows: &[Vec<f64>]| rows.iter().map(|r| r[1]).fold(0.0, f64::max);
    assert!(last(&ours) == 256.0 && last(&theirs) < 256.0, "{} and {}", last(&ours), last(&theirs));
}

#[test]
fn brains_are_found_as_brainmage_does() {
    for name in ["any", "four"] {
        let (from, d) = (golden("brainmage", name), tempfile::tempdir().unwrap());
        run(&from, d.path());
        labels_agree(&from, d.path());
    }
}

#[test]
fn brains_are_found_as_synthstrip_does() {
    let weights = golden("synthstrip", "synthstrip.1.pt");
    for name in ["thick", "uneven"] {
        let (from, d) = (golden("synthstrip", name), tempfile::tempdir().unwrap());
        run_model(of(ampoule_zoo::open(&weights).unwrap(), None, &weights), &from, d.path());
        labels_agree(&from, d.path());
        scores_agree(&from, d.path(), 0.0);
    }
}

/// A part model of TotalSegmentator with the names of the task `body`; its extremities are a ball below 50 ml.
#[test]
fn the_body_is_one_piece_without_crumbs() {
    let golden =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../cli/tests/golden/frameworks/totalsegmentator");
    let d = tempfile::tempdir().unwrap();
    let part = &files(&golden.join("model"), |n| n.starts_with("Dataset850"))[0];
    let part = &files(part, |n| n.ends_with("3d_fullres"))[0];
    let to = d.path().join("weights/Dataset299_body").join(part.file_name().unwrap());
    copied(part, &to, &["plans.json", "dataset.json"]);
    copied(&part.join("fold_0"), &to.join("fold_0"), &["checkpoint_final.pth"]);
    let text = std::fs::read_to_string(to.join("dataset.json")).unwrap();
    let named =
        text.replace("\"spleen\"", "\"body_trunc\"").replace("\"kidney_right\"", "\"body_extremities\"");
    std::fs::write(to.join("dataset.json"), named).unwrap();
    let folders = Folders { models: None, weights: Some(d.path().join("weights")) };
    let open = || locate("totalsegmentator-body", &folders).unwrap().open(&[]).unwrap();
    let text = open().graph.meta(ampoule_pipeline::RECIPE_KEY).unwrap().to_owned();
    let mut bare = Recipe::parse(&text, "recipe").unwrap();
    assert_eq!(bare.postprocess.len(), 3, "{text}");
    bare.postprocess.clear();
    let (kept, all) = (d.path().join("kept"), d.path().join("all"));
    run_model(of(open(), None, &to), &golden, &kept);
    run_model(of(open(), Some(&bare.to_text()), &to), &golden, &all);
    let mask = |out: &Path| values(&files(out, |n| n.ends_with("_mask.nii.gz"))[0]);
    let (kept, all) = (mask(&kept), mask(&all));
    assert!(all.data.contains(&1.0) && all.data.contains(&2.0));
    let mut trunk = Volume { dims: all.dims, data: all.data.iter().map(|v| u16::from(*v == 1.0)).collect() };
    keep_largest(&mut trunk, Select::Label(1), Connectivity::Faces, Ties::First);
    assert!(kept.data.iter().zip(&trunk.data).all(|(k, t)| *k == f32::from(*t)));
}

#[test]
fn what_gandlf_means_and_is_not_known_is_refused_by_name() {
    let d = tempfile::tempdir().unwrap();
    for e in std::fs::read_dir(golden("gandlf", "resunet").join("model")).unwrap().flatten() {
        std::fs::write(d.path().join(e.file_name()), std::fs::read(e.path()).unwrap()).unwrap();
    }
    let config = d.path().join("config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        match ampoule_zoo::open(d.path()) {
            Err(e) => e.to_string(),
            Ok(_) => panic!("{to} is opened"),
        }
    };
    let said = with("normalize_nonZero", "normalize_by_val");
    assert!(said.contains("data_preprocessing.normalize_by_val") && said.contains("not known"), "{said}");
    let said = with("architecture: resunet", "architecture: sdnet");
    assert!(said.contains("random numbers"), "{said}");
    let said = with("patch_size:\n- 32\n- 32\n- 32", "patch_size: 50m");
    assert!(said.contains("microns"), "{said}");
    let said = with("patch_size:\n- 32\n- 32\n- 32", "patch_size:\n- 100m\n- 100m");
    assert!(said.contains("`100m`") && said.contains("microns"), "{said}");
    // GaNDLF 0.1.5, which made the model, knows this key by another name.
    let said = with("normalize_nonZero", "normalize_positive");
    assert!(said.contains("normalize_positive") && said.contains("refused by GaNDLF 0.1.3"), "{said}");
    let said = with("patch_overlap: 16", "patch_overlap: 15");
    assert!(said.contains("must be even"), "{said}");
    let said = with("grid_aggregator_overlap: average", "grid_aggregator_overlap: hann");
    assert!(said.contains("hann") && said.contains("crop"), "{said}");
    let said = with("architecture: resunet", "architecture: unetr");
    assert!(said.contains("transformer.embed.patch_embed"), "{said}");
}
