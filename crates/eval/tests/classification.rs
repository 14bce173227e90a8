//! Classification metrics against scikit-learn (scripts/golden_classification.py), and tables that make
//! no sense.

use ampoule_eval::classification;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn metrics_are_scikit_learns() {
    let text = std::fs::read_to_string(golden("classification.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, want) in all.as_object().unwrap() {
        let file = |kind: &str| golden(&format!("{name}_{kind}.csv"));
        let found = classification(&file("predictions"), &file("truth")).unwrap();
        assert!(found.unpaired.is_empty());
        let t = &found.total;
        let near = |what: &str, got: f64, want: &serde_json::Value| {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < 1e-9, "{name} {what}: {got}, {want}");
        };
        near("accuracy", t.accuracy, &want["accuracy"]);
        near("balanced accuracy", t.balanced_accuracy, &want["balanced_accuracy"]);
        near("macro F1", t.macro_f1, &want["macro_f1"]);
        near("AUROC", t.auroc.unwrap(), &want["auroc"]);
        near("PR-AUC", t.pr_auc.unwrap(), &want["pr_auc"]);
        near("Brier", t.brier, &want["brier"]);
        near("calibration", t.calibration_error, &want["calibration_error"]);
        assert_eq!(serde_json::to_value(&t.confusion).unwrap(), want["confusion"], "{name}");
        for (c, m) in t.classes.iter().enumerate() {
            near("sensitivity", m.sensitivity.unwrap(), &want["sensitivity"][c]);
            near("precision", m.precision.unwrap(), &want["precision"][c]);
            near("F1", m.f1, &want["f1"][c]);
            near("AUROC", m.auroc.unwrap(), &want["class_auroc"][c]);
            near("PR-AUC", m.pr_auc.unwrap(), &want["class_pr_auc"][c]);
        }
        for (v, [low, high]) in
            [(t.accuracy, t.accuracy_ci95.unwrap()), (t.auroc.unwrap(), t.auroc_ci95.unwrap())]
        {
            assert!(low < v && v < high && high - low < 0.4, "{name}: {v} in {low}..{high}");
        }
        // Groups of three photos.
        assert_eq!(t.groups, t.n.div_ceil(3));
    }
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let d = tempfile::tempdir().unwrap();
    let p = |text: &str| {
        std::fs::write(d.path().join("p.csv"), text).unwrap();
        d.path().join("p.csv")
    };
    let t = |text: &str| {
        std::fs::write(d.path().join("t.csv"), text).unwrap();
        d.path().join("t.csv")
    };
    let good = "file,class,a,b\nx.png,a,0.9,0.1\ny.png,b,0.2,0.8\n";
    for (predictions, truth, words) in [
        ("file,a,b\nx.png,1,0\n", "file,label\nx.png,a\n", "no column `class`"),
        ("file,class,a,b\nx.png,c,1,0\n", "file,label\nx.png,a\n", "none of the classes"),
        ("file,class,a,b\nx.png,a,7,0\n", "file,label\nx.png,a\n", "not a probability"),
        (good, "file,label\nx.png,c\n", "none of a, b"),
        (good, "file,label\nz.png,a\n", "names must be equal"),
        (good, "name,label\nx.png,a\n", "no column `file`"),
        ("", "file,label\n", "no header"),
    ] {
        let e = classification(&p(predictions), &t(truth)).unwrap_err().to_string();
        assert!(e.contains(words), "`{words}` is not in: {e}");
    }
    // Numbers are labels too; what has no partner is named.
    let found = classification(&p(good), &t("file,label\nx.png,0\nz.png,1\n")).unwrap();
    assert_eq!(found.total.n, 1);
    assert_eq!(found.unpaired, ["y.png (no ground truth)", "z.png (no prediction)"]);
    assert_eq!(found.total.auroc, None);
}

#[test]
fn photos_are_paired_by_their_folders() {
    let d = tempfile::tempdir().unwrap();
    let [p, t] = ["p.csv", "t.csv"].map(|n| d.path().join(n));
    let run = |predictions: &str, truth: &str| {
        std::fs::write(&p, format!("file,class,a,b\n{predictions}")).unwrap();
        std::fs::write(&t, format!("file,label\n{truth}")).unwrap();
        classification(&p, &t).map_err(|e| e.to_string())
    };
    let both = "/w/one/x.png,a,0.9,0.1\n/w/two/x.png,b,0.2,0.8\n";
    let found = run(both, "two/x.png,b\none/x.png,a\n").unwrap();
    assert_eq!((found.total.n, found.total.accuracy), (2, 1.0));
    // The photo of another folder is another photo.
    let found = run(both, "two/x.png,b\nthree/x.png,b\n").unwrap();
    assert_eq!(found.unpaired, ["/w/one/x.png (no ground truth)", "three/x.png (no prediction)"]);
    for (predictions, truth, words) in [
        (both, "x.png,a\n", "`x.png` matches `/w/one/x.png` and `/w/two/x.png` equally well"),
        ("x.png,a,0.9,0.1\n", "one/x.png,a\ntwo/x.png,b\n", "`x.png` matches `one/x.png` and `two/x.png`"),
        (both, "one/x.png,a\none/x.png,a\n", "t.csv: `one/x.png` occurs in more than one row"),
        (both, "three/x.png,a\n", "none of its files is in"),
    ] {
        let e = run(predictions, truth).unwrap_err();
        assert!(e.contains(words), "`{words}` is not in: {e}");
    }
}
