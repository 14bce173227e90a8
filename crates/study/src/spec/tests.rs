//! Tests of reading studies.

use super::*;

const SMALL: &str = r#"
    version = 1
    name = "small"
    [[profile]]
    name = "one"
    threads = 1
    [[variant]]
    name = "original"
    kind = "original"
    [[variant]]
    name = "int8"
    kind = "int8"
    [[workload]]
    name = "discs"
    model = "m.onnx"
    calibrate = "cal"
    test = "test"
    margins = { dice = 0.01 }
"#;

#[test]
fn a_study_is_read() {
    let mut s = Spec::parse(SMALL).unwrap();
    assert_eq!((s.rounds, s.baseline().name.as_str(), s.of(&s.workloads[0]).count()), (5, "original", 2));
    s.locate(Path::new("studies"));
    assert_eq!(s.workloads[0].model, "studies/m.onnx");
    assert_eq!(s.workloads[0].test, Path::new("studies/test"));
}

#[test]
fn a_rehearsal_is_short_and_keeps_what_is_made() {
    let more = "[[variant]]\nname = \"qat\"\nkind = \"optimized\"\noptimize = { qat = true, epochs = 0, qat-epochs = 9 }\n\
                [[variant]]\nname = \"winograd\"\nkind = \"optimized\"\ncontrolled = true\noptimize = { winograd = true }\n";
    let w = "calibrate = \"cal\"\nfinetune = \"cal\"\nvalidate = \"val\"";
    let text =
        SMALL.replace("calibrate = \"cal\"", w).replace("    [[workload]]", &format!("{more}[[workload]]"));
    let mut s = Spec::parse(&text).unwrap();
    s.rehearse(3);
    let data = s.variants[2].data(&s.workloads[0], s.cases);
    assert_eq!((s.cases, s.rounds, data.at_most), (Some(3), 1, Some(3)));
    let qat = s.variants[2].options();
    assert_eq!((qat.finetune.epochs, qat.finetune.steps, qat.qat.qat_epochs), (0, Some(1), 1));
    // An option that does nothing is refused, so none is added to what is not trained.
    for v in &s.variants[2..] {
        v.options().check(&v.data(&s.workloads[0], s.cases)).unwrap();
    }
    assert!(s.title.contains("nothing is measured"));
}

#[test]
fn what_is_wrong_is_said() {
    for (from, to, says) in [
        ("threads = 1", "threds = 1", "did you mean `threads`"),
        ("kind = \"int8\"", "kind = \"int9\"", "did you mean `int8`"),
        (
            "version = 1",
            "version = 1\nrounds = \"x\"",
            "`rounds`: a whole number of 0 or more is expected, the text \"x\" was found",
        ),
        (
            "threads = 1",
            "threads = true",
            "`threads`: a whole number of 0 or more is expected, true was found",
        ),
        ("test = \"test\"", "test = 3", "`test`: a text in quotes is expected, 3 was found"),
        (
            "kind = \"int8\"",
            "kind = \"optimized\"\noptimize = { epochs = \"x\" }",
            "`epochs`: a whole number of 0 or more is expected, the text \"x\" was found",
        ),
        ("{ dice = 0.01 }", "{ dise = 0.01 }", "did you mean `dice`"),
        ("{ dice = 0.01 }", "{ auroc = 0.01 }", "needs `truth`"),
        ("{ dice = 0.01 }", "{ dice = -1.0 }", "0 or more"),
        ("name = \"int8\"", "name = \"original\"", "twice"),
        ("name = \"int8\"", "name = \"../x\"", "letters"),
        ("calibrate = \"cal\"", "", "need `calibrate`"),
        ("threads = 1", "threads = 0", "1 to 1024"),
        ("version = 1", "version = 2", "version 1"),
        ("kind = \"int8\"", "kind = \"optimized\"", "needs `optimize`"),
        ("kind = \"int8\"", "kind = \"optimized\"\noptimize = { prune = 1.0 }", "below 1"),
        ("kind = \"int8\"", "kind = \"optimized\"\noptimize = { qat = true }", "--qat needs --finetune"),
        ("kind = \"int8\"", "kind = \"optimized\"\noptimize = { winograd = true }", "needs --validate"),
        ("kind = \"int8\"", "kind = \"int8\"\noptimize = { prune = 0.5 }", "use kind `optimized`"),
        ("kind = \"int8\"", "kind = \"fp32\"\noptimize = { prune = 0.5 }", "`optimize` is for kinds"),
        ("kind = \"int8\"", "kind = \"optimized\"\nfinetune = true\noptimize = {}", "set `finetune`"),
        ("kind = \"int8\"", "kind = \"optimized\"\ncontrolled = true\noptimize = {}", "need `validate`"),
        (
            "kind = \"int8\"",
            "kind = \"optimized\"\noptimize = { studnet = \"unet-8\" }",
            "did you mean `student`",
        ),
        ("version = 1", "version = 1\nbaseline = \"origina\"", "did you mean `original`"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let error = Spec::parse(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn every_option_of_optimize_can_be_studied() {
    let options = "preset = \"all\", calibration-method = \"kl\", rounding = \"adaptive\", equalize = true, winograd = true, \
                   keep-bias = true, precision = \"auto\"";
    let text = SMALL
        .replace("kind = \"int8\"", &format!("kind = \"optimized\"\noptimize = {{ {options} }}"))
        .replace("test = \"test\"", "test = \"test\"\nvalidate = \"val\"");
    let s = Spec::parse(&text).unwrap();
    let (o, w) = (s.variants[1].options(), &s.workloads[0]);
    assert!(o.winograd.winograd && o.equalization.equalize && o.int8.keep_bias);
    assert_eq!(o.precision.precision, ampoule_optimize::Precision::Auto);
    assert!(s.variants[1].data(w, None).finetune.is_none() && s.variants[1].data(w, None).validate.is_some());
    // What is written to results.json is read again.
    let again: Spec = serde_json::from_str(&serde_json::to_string(&s).unwrap()).unwrap();
    assert_eq!(again.variants[1].options(), o);
}

#[test]
fn variables_are_put_in() {
    let value = |n: &str| (n == "A").then(|| "x".to_owned());
    assert_eq!(expand("${A}/y ${A}", value).unwrap(), "x/y x");
    assert!(expand("${B}", value).unwrap_err().to_string().contains("B is not set"));
    assert!(expand("${A", value).is_err());
}
