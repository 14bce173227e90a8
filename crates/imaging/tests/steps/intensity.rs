//! Intensities. Results near 1 agree within 2e-6, those near 100 in proportion: what float32 leaves, as the
//! frameworks compute in float32 and this crate in float64.

use crate::golden::{Case, Topic};
use ampoule_imaging::Volume;
use ampoule_imaging::normalise::histogram::*;
use ampoule_imaging::normalise::range::*;
use ampoule_imaging::normalise::{Flat, Outside, Over, ZScore, quantiles};

const TOLERANCE: f32 = 2e-6;

fn image(topic: &Topic, case: &Case) -> Volume<f32> {
    if case.has("image") { case.array("image") } else { topic.array("image", "image") }
}

fn mask(topic: &Topic) -> Vec<u8> {
    topic.array("image", "mask").data.iter().map(|&v| v as u8).collect()
}

/// Runs `f` on the image of every case of a kind.
fn each(topic: &Topic, kind: &str, tolerance: f32, f: impl Fn(&Case, &mut [f32])) {
    for case in topic.cases(kind) {
        let mut v = image(topic, &case);
        f(&case, &mut v.data);
        case.check("want", &v, tolerance);
    }
}

#[test]
fn z_scores() {
    let t = Topic::read("intensity");
    let m = mask(&t);
    let numpy = ZScore { ddof: 1, flat: Flat::Refuse, outside: Outside::Same };
    let rules = [
        ("nnunet", ZScore::NNUNET, Over::All),
        ("monai", ZScore::MONAI, Over::All),
        ("monai nonzero", ZScore::MONAI, Over::NonZero),
        ("torchio", ZScore::TORCHIO, Over::All),
        ("torchio mean", ZScore::TORCHIO, Over::AboveMean),
        ("torchio mask", ZScore::TORCHIO, Over::Mask(&m)),
        ("gandlf positive", ZScore::TORCHIO, Over::Positive),
        ("gandlf nonzero", ZScore::TORCHIO, Over::NonZero),
        ("numpy", numpy, Over::All),
    ];
    for (kind, rule, over) in rules {
        each(&t, kind, TOLERANCE, |_, v| {
            rule.apply(v, over).unwrap();
        });
    }
    each(&t, "nnunet masked", TOLERANCE, |_, v| {
        ZScore::NNUNET.apply(v, Over::Mask(&m)).unwrap();
    });
    each(&t, "gandlf nonzero masked", TOLERANCE, |_, v| {
        ZScore::GANDLF_MASKED.apply(v, Over::NonZero).unwrap();
    });
    for case in t.cases("monai pooled") {
        let (mut a, mut b) = (image(&t, &case), case.array("second"));
        ZScore::MONAI.apply_together(&mut [&mut a.data, &mut b.data], Over::NonZero).unwrap();
        case.check("want", &a, TOLERANCE);
        case.check("want_second", &b, TOLERANCE);
    }
}

#[test]
fn percentiles() {
    let t = Topic::read("intensity");
    let v = t.array("image", "image").data;
    for case in t.cases("percentile") {
        let over = if case.text("over") == "all" { Over::All } else { Over::NonZero };
        let got = quantiles(&v, over, &[case.number("q") / 100.0]).unwrap()[0];
        assert!((got - case.number("value")).abs() < 5e-5, "{got} {}", case.fields);
    }
}

#[test]
fn fixed_ranges() {
    let t = Topic::read("intensity");
    each(&t, "gandlf threshold", 0.0, |c, v| threshold(v, c.number("low"), c.number("high")));
    each(&t, "gandlf clip", 0.0, |c, v| clip(v, c.number("low"), c.number("high")));
    each(&t, "ct", TOLERANCE, |c, v| {
        let n = |key| c.number(key);
        ct(v, &Ct { low: n("low"), high: n("high"), mean: n("mean"), deviation: n("deviation") });
    });
    each(&t, "rgb", 0.0, |_, v| divide(v, 255.0));
    each(&t, "monai range", TOLERANCE, |c, v| scale_range(v, c.pair("a"), c.ends("b"), c.flag("clip")));
}

#[test]
fn brainmages_percentiles() {
    each(&Topic::read("intensity"), "brainmage", TOLERANCE, |_, v| brainmage(v).unwrap());
}

#[test]
fn histograms() {
    let t = Topic::read("histogram");
    let reference = |c: &Case| {
        let r = if c.has("reference") { c.array("reference") } else { t.array("image", "reference") };
        r.data
    };
    each(&t, "skimage", TOLERANCE, |c, v| match_histograms(v, &reference(c)).unwrap());
    // Up to 100.
    each(&t, "torchio", 2e-5, |c, v| {
        let over = if c.text("over") == "all" { Over::All } else { Over::NonZero };
        let landmarks = std::array::from_fn(|i| c.fields["landmarks"][i].as_f64().unwrap());
        standardise(v, over, &landmarks).unwrap();
    });
}
