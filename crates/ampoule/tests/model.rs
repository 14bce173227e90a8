//! The library from outside.

use ampoule::{
    Batch, CaseResult, Error, Images, Kind, Model, Nifti, Outcome, Photo, Summary, Tensor, TensorView,
};
use ampoule_graph::Dim;
use ampoule_graph::build::Builder;
use ampoule_graph::op::Unary;
use std::path::{Path, PathBuf};

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn discs() -> Model {
    let recipe = own("recipes/discs.toml");
    Model::builder().threads(1).recipe_file(recipe).unwrap().open(own("assets/quick/discs.onnx")).unwrap()
}

/// Two inputs of different shapes, given in either order; the outputs are functions of one each.
fn two_inputs(path: &Path) {
    let mut b = Builder::new("two");
    let (x, y) = ([1, 2, 2, 3].map(Dim::Known), [1, 1, 4, 2].map(Dim::Known));
    let first = b.input("first", &x);
    let second = b.input("second", &y);
    let negative = b.unary(first, Unary::Neg);
    let root = b.unary(second, Unary::Sqrt);
    b.output(negative, "negative", &x);
    b.output(root, "root", &y);
    ampoule_onnx::write_file(&b.finish(), path).unwrap();
}

#[test]
fn tensors_keep_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.onnx");
    two_inputs(&path);
    let mut model = Model::open(&path).unwrap();
    let names = |list: &[ampoule::TensorInfo]| list.iter().map(|i| i.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(model.inputs()), ["first", "second"]);
    assert_eq!(names(model.outputs()), ["negative", "root"]);
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let first = Tensor::new(&[1, 2, 2, 3], values.clone()).unwrap();
    let second = Tensor::new(&[1, 1, 4, 2], values[..8].iter().map(|v| v * v).collect()).unwrap();
    for inputs in [[("first", &first), ("second", &second)], [("second", &second), ("first", &first)]] {
        let outputs = model.run(&inputs.map(|(n, t)| (n, t.clone()))).unwrap();
        // Channels come first, as in the file, whatever the engine's own layout.
        assert_eq!(outputs["negative"].shape(), [1, 2, 2, 3]);
        assert_eq!(outputs["negative"].values(), values.iter().map(|v| -v).collect::<Vec<_>>());
        assert_eq!(outputs["root"].values(), &values[..8]);
    }
}

#[test]
fn wrong_inputs_are_named() {
    let mut model = discs();
    let image = || Tensor::filled(&[1, 3, 16, 16], 0.5);
    let mut message = |inputs: &[(&str, Tensor)]| {
        let e = model.run(inputs).unwrap_err();
        assert_eq!(e.kind(), Kind::Usage, "{e}");
        e.to_string()
    };
    let e = message(&[("picture", image())]);
    assert!(e.contains("`picture`") && e.contains("image"), "{e}");
    let e = message(&[]);
    assert!(e.contains("`image`") && e.contains("0 times"), "{e}");
    let e = message(&[("image", image()), ("image", image())]);
    assert!(e.contains("2 times"), "{e}");
    let e = message(&[("image", Tensor::filled(&[1, 1, 16, 16], 0.5))]);
    assert!(e.contains("[1, 3, h, w]") && e.contains("[1, 1, 16, 16]"), "{e}");
    assert!(model.run(&[("image", image())]).is_ok());
}

#[test]
fn runs_of_other_shapes_and_the_same_again_agree() {
    let mut model = discs();
    let input = |n: usize| {
        let values = (0..3 * n * n).map(|i| (i % 31) as f32 / 31.0).collect();
        Tensor::new(&[1, 3, n, n], values).unwrap()
    };
    let first = model.run(&[("image", input(16))]).unwrap();
    assert_eq!(model.run(&[("image", input(24))]).unwrap()["prob"].shape(), [1, 2, 24, 24]);
    assert_eq!(model.run(&[("image", input(16))]).unwrap(), first);
    assert_eq!(model.run(&[("image", input(16))]).unwrap(), first);
    let bytes = std::fs::read(own("assets/quick/discs.onnx")).unwrap();
    let mut other = Model::builder().threads(2).features("scalar").open_bytes(bytes).unwrap();
    let near = other.run(&[("image", input(16))]).unwrap();
    for (a, b) in first["prob"].values().iter().zip(near["prob"].values()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn a_tile_becomes_a_label_map() {
    let tile = own("assets/quick/test/test01.png");
    let mut model = discs();
    assert_eq!(model.labels().iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["ground", "disc"]);
    let found = model.predict(&tile).unwrap();
    let labels = found.labels.unwrap();
    let discs = labels.data.iter().filter(|v| **v == 1).count();
    assert!(discs > 0 && discs < labels.data.len());
    assert_eq!(found.measured.iter().map(|m| m.voxels).collect::<Vec<_>>(), [discs as u64]);
    assert!(found.probabilities.is_empty() && found.affine.is_none() && found.classes.is_empty());
    // Scores lie on the same grid, and are above a half where the label is.
    let recipe = own("recipes/discs.toml");
    let builder = Model::builder().probabilities(true).recipe_file(recipe).unwrap();
    let scored = builder.open(own("assets/quick/discs.onnx")).unwrap().predict(&tile).unwrap();
    let [(label, scores)] = &scored.probabilities[..] else { panic!("{:?}", scored.probabilities.len()) };
    assert_eq!((label.name.as_str(), scores.dims), ("disc", labels.dims));
    assert!(scores.data.iter().zip(&labels.data).all(|(p, l)| (*p > 0.5) == (*l == 1)));
}

#[test]
fn errors_have_kinds() {
    let model = own("assets/quick/discs.onnx");
    let kind = |e: Error| e.kind();
    assert_eq!(kind(Model::open("no such file.onnx").unwrap_err()), Kind::Input);
    assert_eq!(kind(Model::builder().features("abacus").open(&model).unwrap_err()), Kind::Usage);
    assert_eq!(kind(Model::open(&model).unwrap().only(&["nothing"]).unwrap_err()), Kind::Usage);
    // No recipe, and a recipe that is none.
    let tile = own("assets/quick/test/test01.png");
    assert_eq!(kind(Model::open(&model).unwrap().predict(&tile).unwrap_err()), Kind::Input);
    assert_eq!(kind(Model::builder().recipe("version = 3").open(&model).unwrap_err()), Kind::Input);
    // Two files for one input.
    assert_eq!(kind(discs().predict_files(&[&tile, &tile]).unwrap_err()), Kind::Usage);
    assert_eq!(kind(discs().predict_files(&[]).unwrap_err()), Kind::Usage);
    let mut small = Model::builder().memory_limit(1 << 20).open(&model).unwrap();
    let e = small.run(&[("image", Tensor::filled(&[1, 3, 512, 512], 0.0))]).unwrap_err();
    assert_eq!(e.kind(), Kind::Memory, "{e}");
}

#[test]
fn values_that_lie_elsewhere_are_taken_as_tensors_are() {
    let mut model = discs();
    let image = Tensor::filled(&[1, 3, 16, 24], 0.25);
    let shape = [1, 3, 16, 24];
    let view = TensorView::new(&shape, image.values()).unwrap();
    let found = model.run_views(&[("image", view)]).unwrap();
    assert_eq!(found, model.run(&[("image", image.clone())]).unwrap());
    assert_eq!(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["prob"]);
    assert_eq!(TensorView::new(&shape, &image.values()[1..]).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn images_in_memory_give_the_labels_of_their_files() {
    let tile = own("assets/quick/test/test02.png");
    let mut model = discs();
    let want = model.predict(&tile).unwrap();
    let found = model.predict_images(Images::Photo(Photo::read(&tile).unwrap())).unwrap();
    assert_eq!((found.labels, found.measured), (want.labels, want.measured));
    // What the recipe does not take is said.
    let cube = ampoule::Volume::filled([4, 4, 4], 1.0f32);
    let affine = ampoule::Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
    let volume = Images::Volumes(vec![Nifti::from_f32(&cube, affine)]);
    let e = model.predict_images(volume).unwrap_err();
    assert!(e.kind() == Kind::Input && e.to_string().contains("a volume is given"), "{e}");
}

#[test]
fn models_are_opened_by_name() {
    let model = Model::open("deepbet").unwrap();
    assert_eq!(model.recipe().unwrap().model.name, "deepbet");
    assert_eq!(model.notes().len(), 1);
    assert_eq!(Model::open("deepbed").unwrap_err().kind(), Kind::Input);
    let named = Model::builder().recipe_file("discs").unwrap().open(own("assets/quick/discs.onnx")).unwrap();
    assert_eq!(named.recipe(), discs().recipe());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("with.onnx");
    named.write_onnx(&path).unwrap();
    assert_eq!(Model::open(&path).unwrap().recipe(), named.recipe());
}

#[test]
fn cases_run_one_by_one_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let mut model = discs();
    let found = model.collect(&[own("assets/quick/test")], Some(&output)).unwrap();
    assert_eq!((found.cases.len(), found.skipped.len()), (16, 0));
    let mut runner = model.into_runner(found.cases, &output, Batch::default()).unwrap();
    let mut results = Vec::new();
    for (i, kept) in [(7, false), (3, false), (7, true)] {
        let outcome = runner.run(i).unwrap().unwrap();
        assert_eq!(matches!(outcome, Outcome::Kept(_)), kept, "{outcome:?}");
        assert!(
            kept || matches!(&outcome, Outcome::Done(r) if r.case == format!("test{i:02}")),
            "{outcome:?}"
        );
        results.push(CaseResult { case: runner.cases()[i].clone(), outcome });
    }
    assert!(runner.run(16).unwrap().is_none());
    assert!(!output.join("cases.csv").exists());
    runner.write_tables(&Summary { results, ..Summary::default() }).unwrap();
    let table = std::fs::read_to_string(output.join("cases.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
}
