//! The techniques of `optimize`, in the order in which a network goes through them.

use crate::data::Data;
use crate::distill::Teacher;
use crate::finetune::TrainingOptions;
use crate::mixed_precision::Precision;
use crate::options::Options;
use crate::progress::Progress;
use crate::rounding::Rounding;
use crate::state::State;
use crate::{Result, equalization, finetune, graph, int8, mixed_precision, rounding, search, winograd_int8};

/// What a technique needs besides the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Calibration cases.
    pub calibration: bool,
    /// Validation cases, to be kept only within limits.
    pub validation: bool,
    /// Training cases, and gradients of the network.
    pub gradients: bool,
}

/// Everything that was asked for.
pub(crate) struct Asked<'a> {
    pub options: &'a Options,
    pub data: &'a Data,
    pub teacher: Option<&'a Teacher>,
    /// Whether layers are ranked by their sensitivity even where no choice needs it.
    pub sensitivity: bool,
}

/// A technique.
pub struct Technique {
    /// Its name.
    pub name: &'static str,
    /// What it does to the network.
    pub summary: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// Whether it is to be applied to the network as it is so far.
    wanted: fn(&Asked, &State) -> bool,
    apply: fn(&Asked, &mut State, &mut Progress) -> Result<()>,
}

impl Technique {
    /// Applies the technique if it is wanted.
    pub(crate) fn run(&self, asked: &Asked, state: &mut State, progress: &mut Progress) -> Result<()> {
        if !(self.wanted)(asked, state) {
            return Ok(());
        }
        (self.apply)(asked, state, progress)
    }
}

const NOTHING: Needs = Needs { calibration: false, validation: false, gradients: false };
const CALIBRATION: Needs = Needs { calibration: true, ..NOTHING };
const VALIDATION: Needs = Needs { validation: true, ..CALIBRATION };

/// All techniques.
pub static TECHNIQUES: &[Technique] = &[
    Technique {
        name: "training",
        summary: "prunes channels, fine-tunes, distils, and trains with quantizers",
        needs: Needs { gradients: true, ..CALIBRATION },
        wanted: |a, _| a.options.trains(a.data),
        apply: |a, s, p| {
            let o = a.options;
            let training = TrainingOptions {
                data: a.data,
                prune: &o.prune,
                finetune: &o.finetune,
                qat: &o.qat,
                distill: &o.distill,
                teacher: a.teacher,
            };
            finetune::apply(s, &training, o.precision.precision.quantizes(), p)
        },
    },
    Technique {
        name: "graph passes",
        summary: "folds constants and fuses operators",
        needs: NOTHING,
        wanted: |_, _| true,
        apply: |_, s, _| graph::apply(s),
    },
    Technique {
        name: "equalization",
        summary: "brings channels that share a scale to similar ranges",
        needs: CALIBRATION,
        wanted: |a, s| a.options.equalization.equalize && s.finished.is_empty(),
        apply: |_, s, p| equalization::apply(s, p),
    },
    Technique {
        name: "INT8",
        summary: "calibrates the network and plans its quantizers",
        needs: CALIBRATION,
        wanted: |_, s| s.finished.is_empty(),
        apply: |_, s, p| int8::apply(s, p),
    },
    Technique {
        name: "rounding",
        summary: "chooses quantized weights by the error of a layer's outputs",
        needs: CALIBRATION,
        wanted: |a, s| a.options.rounding.rounding != Rounding::Nearest && s.int8.is_some(),
        apply: |a, s, p| rounding::apply(s, a.options.rounding.rounding, p),
    },
    Technique {
        name: "bias correction",
        summary: "corrects biases for what rounding weights does to means",
        needs: CALIBRATION,
        wanted: |a, s| !a.options.int8.keep_bias && s.int8.is_some(),
        apply: |_, s, p| int8::correct_biases(s, p),
    },
    Technique {
        name: "accuracy control",
        summary: "lets layers fall back to FP32 until the limits are met",
        needs: CALIBRATION,
        wanted: |_, s| s.int8.is_some(),
        apply: |a, s, p| {
            let fastest = a.options.precision.precision == Precision::Auto;
            search::apply(s, fastest, a.sensitivity, p)
        },
    },
    Technique {
        name: "Winograd INT8",
        summary: "takes products of 3×3 layers in Winograd's transform domain",
        needs: VALIDATION,
        wanted: |a, s| {
            let auto = a.options.precision.precision == Precision::Auto;
            let met = |q: &crate::state::Quantized| q.met == Some(true) && !q.is_float();
            (auto || a.options.winograd.winograd) && s.int8.as_ref().is_some_and(met)
        },
        apply: |_, s, p| winograd_int8::apply(s, p),
    },
    Technique {
        name: "mixed precision",
        summary: "stores values between layers as bfloat16",
        needs: VALIDATION,
        wanted: |a, s| match a.options.precision.precision {
            Precision::Int8 | Precision::Fp32 => false,
            Precision::Bf16 => true,
            Precision::Auto => s.int8.as_ref().is_some_and(|q| q.met == Some(true)),
        },
        apply: |_, s, p| mixed_precision::apply(s, p),
    },
];
