use super::*;

const SHIPPED: [&str; 9] = [
    include_str!("../../../../recipes/deepbet.toml"),
    include_str!("../../../../recipes/deepbrain.toml"),
    include_str!("../../../../recipes/dfu.toml"),
    include_str!("../../../../recipes/discs.toml"),
    include_str!("../../../../recipes/gandlf-histology.toml"),
    include_str!("../../../../recipes/glas.toml"),
    include_str!("../../../../recipes/hd-bet.toml"),
    include_str!("../../../../recipes/shell.toml"),
    include_str!("../../../../recipes/sklesion.toml"),
];

/// All keys that there are.
const FULL: &str = r#"
version = 2
[model]
name = "full"
task = "segmentation"
intended-use = "tests"
[[input]]
name = "T1"
suffix = ["_0000", "_t1"]
grid = "same"
[[input]]
name = "T2"
suffix = "_0001"
frame = 1
grid = "resample"
[[preprocess]]
step = "orient"
to = "LPS"
[[preprocess]]
step = "crop-nonzero"
margin = 2
[[preprocess]]
step = "resample"
spacing = [1.0, 0.5, 3.0]
method = "cubic"
separate = 3.0
across = "nearest"
back = "linear"
[[preprocess]]
step = "z-score"
over = "mask"
least-deviation = 1e-8
outside = "keep"
channels = "each"
[[preprocess]]
step = "clip"
low = -3.0
high = 3.0
[[preprocess]]
step = "ct"
low = -900.0
high = 1200.0
mean = 80.0
deviation = 200.0
[[preprocess]]
step = "histogram-match"
landmarks = [0, 8, 15, 20, 25, 33, 42, 50, 60, 64, 70, 84, 100]
over = "above-mean"
[[preprocess]]
step = "divide"
by = "maximum"
[[preprocess]]
step = "brainmage"
[[preprocess]]
step = "pad"
multiple = 32
size = [64, 64, 32]
mode = "edge"
side = "both"
[[network]]
outputs = ["logits"]
activation = "sigmoid"
combine = "logits"
flips = ["x", "yz"]
window = { size = [64, 64, 32], overlap = 0.25, blend = "average", style = "nnunet", border = "reflect" }
constants = { age = [0.3] }
[decide]
rule = "regions"
threshold = 0.4
at-least = true
[[label]]
name = "whole"
value = 1
channel = 0
colour = [255, 0, 10]
group = "tumour"
threshold = 0.9
volume-ml = [1.0, 300.0]
[[label]]
name = "core"
value = 3
channel = 1
share = [0.0, 0.5]
[[postprocess]]
step = "remove-small"
voxels = 20
labels = ["core"]
[[postprocess]]
step = "fill-holes"
slices = "z"
together = true
[[postprocess]]
step = "map"
from = [3]
to = [2]
[[postprocess]]
step = "keep-inside"
label = "whole"
labels = ["core"]
[outputs]
masked = "cut"
heat = ["core"]
"#;

/// What one network cannot have beside what the other has.
const OTHER: &str = r#"
version = 2
[model]
name = "other"
task = "segmentation"
[[input]]
name = "T1"
[[preprocess]]
step = "threshold"
low = 20
high = 300
[[preprocess]]
step = "percentile-clip"
low = 0.02
high = 0.98
channels = "together"
[[preprocess]]
step = "resize"
size = [64, 64, 32]
rule = "simpleitk"
back = "cubic"
[[network]]
window = { size = [64, 64, 32], overlap-voxels = 16, blend = "crop" }
[[label]]
name = "background"
[[label]]
name = "one"
"#;

#[test]
fn recipes_survive_a_round_trip() {
    for text in SHIPPED.iter().chain([&FULL, &OTHER]) {
        let r = Recipe::parse(text, "r.toml").unwrap_or_else(|e| panic!("{e}"));
        let again = Recipe::parse(&r.to_text(), "again").unwrap_or_else(|e| panic!("{e}\n{}", r.to_text()));
        assert_eq!(r, again);
    }
}

fn problems(text: &str) -> Vec<Problem> {
    match Recipe::parse(text, "r.toml") {
        Err(Error::Recipe { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_errors_are_ten_lines() {
    let text = "version = 2\n[model]\nname = 5\ntask = \"segmentatoin\"\ncolour = 1\n[[input]]\nname = \"a\"\nkind = \"volume\"\nsufix = \"_0000\"\n\
                [[preprocess]]\nstep = \"zscore\"\n[[preprocess]]\nstep = \"clip\"\nlow = 3\nhigh = 1\n[[network]]\noutputs = [1]\n\
                flips = [\"q\"]\nwindow = { size = [0, 1, 2], overlapp = 0.5 }\n[[label]]\nname = \"b\"\nvalue = -1\n";
    let list = problems(text);
    let has = |line: usize, words: &str| {
        assert!(
            list.iter().any(|p| p.line == line && p.message.contains(words)),
            "{line} {words}: {list:#?}"
        );
    };
    has(3, "must be a text");
    has(4, "`segmentation`");
    has(5, "`colour` is not known");
    has(9, "did you mean `suffix`");
    has(11, "`z-score`");
    has(15, "above `low`");
    has(17, "a list of texts");
    has(18, "axes are x, y and z");
    has(19, "3 whole numbers");
    has(19, "did you mean `overlap`");
    has(22, "0 to 65535");
    assert_eq!(list.len(), 11, "{list:#?}");
    let said = Recipe::parse(text, "r.toml").unwrap_err().to_string();
    assert!(said.contains("r.toml:4: "), "{said}");
}

#[test]
fn no_error_has_others_that_are_none() {
    for (from, to, line) in [
        ("kind = \"image\"", "kind = \"pictures\"", 7),
        ("value = 2", "valeu = 1", 18),
        ("task = \"classification\"", "task = \"sorting\"", 4),
        ("[[input]]\nname = \"photo\"\nkind = \"image\"\ncolours = \"rgb\"\n", "", 1),
    ] {
        let text = "version = 2\n[model]\nname = \"x\"\ntask = \"classification\"\n[[input]]\nname = \"photo\"\nkind = \"image\"\ncolours = \"rgb\"\n[[preprocess]]\nstep = \"resize\"\nsize = [64, 64]\nmethod = \"bilinear\"\n[[network]]\n[[label]]\nname = \"a\"\nvalue = 1\n[[label]]\nname = \"b\"\nvalue = 2\n[decide]\nrule = \"several\"\n";
        let line = line + usize::from(from.starts_with("value"));
        let list = problems(&text.replacen(from, to, 1));
        assert_eq!(list.iter().map(|p| p.line).collect::<Vec<_>>(), [line], "{list:#?}");
    }
}

#[test]
fn sections_that_are_sound_are_compared_beside_errors() {
    let text = FULL
        .replacen("[[preprocess]]", "[[preprocess]]\nstepp = 1", 1)
        .replacen("heat = [\"core\"]", "heat = [\"cor\"]", 1)
        .replacen("value = 3", "value = 1", 1);
    let list = problems(&text);
    for words in ["`stepp`", "did you mean `core`", "the value 1 occurs twice"] {
        assert!(list.iter().any(|p| p.message.contains(words)), "{words}: {list:#?}");
    }
    assert_eq!(list.len(), 3, "{list:#?}");
}

#[test]
fn windows_overlap_by_a_share_or_by_voxels() {
    for (from, to, words) in [
        ("overlap-voxels = 16", "overlap-voxels = 16, overlap = 0.25", "only one of them"),
        ("overlap-voxels = 16", "overlap-voxels = 32", "below every size"),
        ("rule = \"simpleitk\"", "rule = \"monai\"", "nnunet or simpleitk"),
        ("rule = \"simpleitk\"", "rule = \"simpleitk\"\nmethod = \"cubic\"", "the method linear"),
    ] {
        let list = problems(&OTHER.replacen(from, to, 1));
        assert!(list.iter().any(|p| p.message.contains(words)), "{words}: {list:#?}");
    }
}

#[test]
fn what_does_not_fit_together_is_reported() {
    for (from, to, words) in [
        ("version = 2", "version = 1", "an earlier program"),
        ("version = 2", "version = 3", "reads 2"),
        ("labels = [\"core\"]", "labels = [\"cor\"]", "did you mean `core`"),
        ("value = 3", "value = 1", "occurs twice"),
        ("step = \"clip\"", "step = \"orient\"", "first step"),
        ("name = \"T2\"", "name = \"t1\"", "occurs twice"),
        ("name = \"core\"", "name = \"core\"\ngroup = \"whole\"", "called as a label"),
        ("rule = \"regions\"", "rule = \"several\"", "for classification"),
        ("[outputs]", "[slide]\nlevel = 0\nwindow = 64\n[outputs]", "for images"),
        ("heat = [\"core\"]", "heat = [\"cores\"]", "did you mean"),
        ("rule = \"regions\"", "rule = \"argmax\"", "no effect on argmax"),
        ("voxels = 20", "voxels = 20\nmm = 3.0", "either"),
        ("step = \"brainmage\"", "step = \"kept-rescale\"\nfrom = \"x\"", "no step keeps"),
        ("combine = \"logits\"", "bounds = { threshold = 0.5 }", "no `bounds`"),
        ("size = [64, 64, 32]\nmode", "size = [64, 64]\nmode", "3 whole numbers"),
        ("task = \"segmentation\"", "", "`task` is missing"),
        ("version = 2", "version = 2\n[[", "expected"),
    ] {
        let text = FULL.replacen(from, to, 1);
        assert_ne!(text, FULL, "{from}");
        let list = problems(&text);
        assert!(list.iter().any(|p| p.message.contains(words)), "{words}: {list:#?}");
    }
}
