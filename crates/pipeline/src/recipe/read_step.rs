//! From a `[[preprocess]]` section to a step, with everything that is wrong with it.

use super::input::Kind;
use super::options::{Divisor, Method, PadMode, Rule, SizeKey, Stain};
use super::schema::{Section, choices};
use super::step::Step;
use std::ops::RangeInclusive;

choices! {
    /// What is done, by name.
    Name {
        Orient = "orient",
        CropNonzero = "crop-nonzero",
        CentreCrop = "centre-crop",
        Resize = "resize",
        Resample = "resample",
        Stain = "stain",
        Reduce = "reduce",
        ZScore = "z-score",
        Clip = "clip",
        Threshold = "threshold",
        PercentileClip = "percentile-clip",
        Ct = "ct",
        PercentileRescale = "percentile-rescale",
        KeptRescale = "kept-rescale",
        MeanDeviation = "mean-deviation",
        MinMax = "min-max",
        Divide = "divide",
        Scale = "scale",
        Brainmage = "brainmage",
        Truncate = "truncate",
        HistogramMatch = "histogram-match",
        Pad = "pad",
    }
}

choices! {
    /// Kinds of stain normalisation.
    StainKind {
        Macenko = "macenko",
        Reinhard = "reinhard",
        Channels = "channels",
    }
}

impl Step {
    pub(super) fn read(s: Section, kind: Option<Kind>) -> Option<Step> {
        let name = s.needed("step", s.choice::<Name>("step"));
        let found = name.and_then(|n| step(&s, n, kind));
        let only = s.sizes("only", 1..=1024, 0..=65_535);
        let each = |f: &Step| !f.takes_bytes() && !f.moves() && !f.remembers();
        if only.is_some() && !found.as_ref().is_none_or(each) {
            s.wrong("only", "is for steps that change intensities, and not for those that have numbers for all channels or keep a range");
        }
        s.done();
        match (found, only) {
            (Some(step), Some(only)) => Some(Step::Only { only, step: Box::new(step) }),
            (found, _) => found,
        }
    }
}

/// How many sizes an image has; both numbers may be right where its kind is not known.
fn axes_of(kind: Option<Kind>) -> RangeInclusive<usize> {
    match kind {
        Some(Kind::Volume) => 3..=3,
        Some(Kind::Image) => 2..=2,
        None => 2..=3,
    }
}

fn step(s: &Section, name: Name, kind: Option<Kind>) -> Option<Step> {
    let n = axes_of(kind);
    Some(match name {
        Name::Orient => {
            let to = s.text("to").unwrap_or_else(|| "RAS".into());
            if ampoule_imaging::geometry::Orientation::parse(&to).is_none() {
                s.wrong("to", format_args!("is `{to}`; it must be three letters such as RAS or LPS"));
            }
            if kind == Some(Kind::Image) {
                s.wrong_here("`orient` is for volumes");
            }
            Step::Orient { to }
        }
        Name::CropNonzero => Step::CropNonzero { margin: s.size("margin", 0..=1024).unwrap_or(0) },
        Name::CentreCrop => Step::CentreCrop {
            size: s.needed("size", s.sizes("size", n, 1..=16_384))?,
            rule: s.choice("rule").unwrap_or_default(),
        },
        Name::Resize => resize(s, n, kind)?,
        Name::Resample => resample(s)?,
        Name::Stain => Step::Stain(stain(s)?),
        Name::Reduce => Step::Reduce { by: s.needed("by", s.size("by", 1..=64))? },
        Name::ZScore => Step::ZScore {
            over: s.choice("over").unwrap_or_default(),
            channels: s.choice("channels").unwrap_or_default(),
            outside: s.choice("outside").unwrap_or_default(),
            ddof: s.size("ddof", 0..=1).unwrap_or(0),
            least_deviation: s.number_where("least-deviation", "above 0", |v| v > 0.0),
            scale: s.number("scale").unwrap_or(1.0),
            shift: s.number("shift").unwrap_or(0.0),
        },
        Name::Clip => {
            let [low, high] = limits(s)?;
            Step::Clip { low, high }
        }
        Name::Ct => {
            let limits = limits(s);
            let mean = s.needed("mean", s.number("mean"));
            let deviation = s.needed("deviation", s.number_where("deviation", "above 0", |v| v > 0.0));
            let [low, high] = limits?;
            Step::Ct { low, high, mean: mean?, deviation: deviation? }
        }
        Name::Threshold => {
            let [low, high] = limits(s)?;
            Step::Threshold { low, high }
        }
        Name::PercentileClip => {
            let [low, high] = shares(s)?;
            let (over, channels) = (s.choice("over"), s.choice("channels"));
            let (over, channels) = (over.unwrap_or_default(), channels.unwrap_or_default());
            Step::PercentileClip { low, high, over, channels }
        }
        Name::PercentileRescale => {
            let [low, high] = shares(s)?;
            Step::PercentileRescale {
                low,
                high,
                over: s.choice("over").unwrap_or_default(),
                channels: s.choice("channels").unwrap_or_default(),
                clip: s.flag("clip").unwrap_or(true),
                to: s.range("to").unwrap_or([0.0, 1.0]),
                keep: s.text("keep").unwrap_or_default(),
            }
        }
        Name::KeptRescale => Step::KeptRescale { from: s.needed("from", s.text("from"))? },
        Name::MeanDeviation => {
            let mean = s.needed("mean", s.numbers("mean"));
            let deviation = s.needed("deviation", s.numbers("deviation"));
            if deviation.iter().flatten().any(|v| *v <= 0.0) {
                s.wrong("deviation", "must be above 0");
            }
            let maximum = s.number_where("maximum", "above 0", |v| v > 0.0).unwrap_or(255.0);
            Step::MeanDeviation { mean: mean?, deviation: deviation?, maximum }
        }
        Name::MinMax => Step::MinMax { channels: s.choice("channels").unwrap_or_default() },
        Name::Divide => Step::Divide { by: divisor(s)? },
        Name::Scale => Step::Scale { by: s.number("by").unwrap_or(1.0), add: s.number("add").unwrap_or(0.0) },
        Name::Brainmage => Step::Brainmage {},
        Name::Truncate => Step::Truncate {},
        Name::HistogramMatch => histogram(s)?,
        Name::Pad => {
            let size = s.value("size").map(|v| match v.as_integer() {
                Some(_) => s.size("size", 1..=16_384).map(|v| vec![v]),
                None => s.sizes("size", 1..=*n.end(), 1..=16_384),
            });
            if size
                .as_ref()
                .is_some_and(|l| l.as_ref().is_some_and(|l| l.len() != 1 && !n.contains(&l.len())))
            {
                s.wrong(
                    "size",
                    format_args!("must be one number, or {} whole numbers from 1 to 16384", n.end()),
                );
            }
            Step::Pad {
                multiple: s.size("multiple", 1..=4096).unwrap_or(1),
                size: size.flatten().unwrap_or_default(),
                mode: s.choice("mode").unwrap_or(PadMode::Constant),
                value: s.number("value").unwrap_or(0.0),
                side: s.choice("side").unwrap_or_default(),
            }
        }
    })
}

fn limits(s: &Section) -> Option<[f64; 2]> {
    let (low, high) = (s.needed("low", s.number("low")), s.needed("high", s.number("high")));
    let (low, high) = (low?, high?);
    if low >= high {
        s.wrong("high", "must be above `low`");
    }
    Some([low, high])
}

/// Two quantiles.
fn shares(s: &Section) -> Option<[f64; 2]> {
    let share = |key| s.needed(key, s.number_where(key, "0 to 1", |v| (0.0..=1.0).contains(&v)));
    let (low, high) = (share("low"), share("high"));
    if low.zip(high).is_some_and(|(a, b)| a >= b) {
        s.wrong("high", "must be above `low`");
    }
    Some([low?, high?])
}

fn resize(s: &Section, n: RangeInclusive<usize>, kind: Option<Kind>) -> Option<Step> {
    let size = s.sizes("size", n, 1..=16_384);
    let shorter = s.size("shorter", 1..=16_384);
    if s.has("size") == s.has("shorter") {
        s.wrong_here("`resize` takes either `size` or `shorter`");
    }
    if kind == Some(Kind::Volume) && shorter.is_some() {
        s.wrong("shorter", "is for images; a volume takes `size`");
    }
    let usual = if kind == Some(Kind::Volume) { Method::Linear } else { Method::Bilinear };
    let method = s.choice("method").unwrap_or(usual);
    if kind == Some(Kind::Volume) && method.filter().is_some() {
        s.wrong("method", format_args!("is for images; a volume takes {VOLUME_METHODS}, or area"));
    }
    let rule = s.choice("rule").unwrap_or_default();
    if !matches!(rule, Rule::Nnunet | Rule::Simpleitk) {
        s.wrong("rule", "is nnunet or simpleitk here");
    }
    if rule == Rule::Simpleitk && (method != Method::Linear || shorter.is_some()) {
        s.wrong("rule", "of simpleitk goes with `size` and the method linear");
    }
    let back = s.choice("back").unwrap_or(method.usual_back());
    Some(Step::Resize { size: SizeKey { size: size.unwrap_or_default(), shorter }, method, rule, back })
}

const VOLUME_METHODS: &str = "nearest-exact, linear, linear-antialiased or cubic";

fn resample(s: &Section) -> Option<Step> {
    let spacing = s.value("spacing").and_then(|v| match super::schema::number(v) {
        Some(one) => Some([one; 3]),
        None => s.numbers("spacing").and_then(|l| l.try_into().ok()),
    });
    let fits = |v: &f64| *v == 0.0 || (0.01..=100.0).contains(v);
    let spacing = s.needed("spacing", spacing);
    if s.has("spacing") && !spacing.as_ref().is_some_and(|l: &[f64; 3]| l.iter().all(fits)) {
        s.wrong("spacing", "must be a voxel size of 0.01 to 100 mm, or three of them (0 keeps an axis)");
    }
    let method = s.choice("method").unwrap_or(Method::Linear);
    if method.filter().is_some() {
        s.wrong("method", format_args!("is for eight-bit images; here it is {VOLUME_METHODS}"));
    }
    if method == Method::Area {
        s.wrong("method", format_args!("of area goes with `resize`; here it is {VOLUME_METHODS}"));
    }
    let rule = s.choice("rule").unwrap_or_default();
    if rule != Rule::Nnunet && method == Method::LinearAntialiased {
        s.wrong("rule", "other than nnunet goes with the methods nearest-exact, linear and cubic");
    }
    let separate = s.number_where("separate", "above 1", |v| v > 1.0);
    let across = s.choice("across").unwrap_or_default();
    let back = s.choice("back").unwrap_or(method.usual_back());
    if rule != Rule::Nnunet && separate.is_some() {
        s.wrong("separate", "is nnU-Net's and goes with its rule");
    }
    Some(Step::Resample { spacing: spacing?, method, rule, separate, across, back })
}

fn stain(s: &Section) -> Option<Stain> {
    let three = |key| s.numbers(key).and_then(|l| <[f64; 3]>::try_from(l).ok());
    let list = |key, found: Option<[f64; 3]>| {
        if s.has(key) && found.is_none() {
            s.wrong(key, "must be three numbers");
        }
        found
    };
    match s.needed("kind", s.choice::<StainKind>("kind"))? {
        StainKind::Macenko => {
            let [haematoxylin, eosin] = ["haematoxylin", "eosin"].map(|k| list(k, three(k)));
            let strongest = s.numbers("strongest").and_then(|l| <[f64; 2]>::try_from(l).ok());
            if s.has("strongest") && !strongest.is_some_and(|l| l.iter().all(|v| *v > 0.0)) {
                s.wrong("strongest", "must be two numbers above 0");
            }
            Some(Stain::Macenko { haematoxylin, eosin, strongest })
        }
        StainKind::Reinhard => {
            let mean = s.needed("mean", list("mean", three("mean")));
            let deviation = s.needed("deviation", list("deviation", three("deviation")));
            if deviation.iter().flatten().any(|v| *v <= 0.0) {
                s.wrong("deviation", "must be above 0");
            }
            Some(Stain::Reinhard { mean: mean?, deviation: deviation? })
        }
        StainKind::Channels => Some(Stain::Channels),
    }
}

fn divisor(s: &Section) -> Option<Divisor> {
    let value = s.needed("by", s.value("by"))?;
    if value.as_str() == Some("maximum") {
        return Some(Divisor::Maximum);
    }
    match super::schema::number(value).filter(|v| *v > 0.0) {
        Some(v) => Some(Divisor::Number(v)),
        None => {
            s.wrong("by", "must be a number above 0, or \"maximum\"");
            None
        }
    }
}

fn histogram(s: &Section) -> Option<Step> {
    let landmarks = s.numbers("landmarks").unwrap_or_default();
    let reference = s.numbers("reference").unwrap_or_default();
    let over = s.choice("over").unwrap_or_default();
    if s.has("landmarks") == s.has("reference") {
        s.wrong_here("`histogram-match` takes either `landmarks` or `reference`");
    }
    let rising = landmarks.windows(2).all(|w| w[0] <= w[1]);
    if s.has("landmarks") && (landmarks.len() != 13 || !rising) {
        s.wrong("landmarks", "must be torchio's 13 numbers, ascending");
    }
    if s.has("reference") && reference.len() < 2 {
        s.wrong("reference", "must be at least two values of the reference image");
    }
    Some(Step::HistogramMatch { landmarks, reference, over })
}
