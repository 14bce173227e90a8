//! What the class that trained a network means for it: most of nnU-Net's change the training alone.

/// Names of nnU-Net's own trainers after `nnUNetTrainer`, without a number of epochs and what is said of mirroring, whose
/// network is that of the plans. Which axes may be mirrored stands in the checkpoint.
const TRAINING_ALONE: [&str; 33] = [
    "",
    "Adam",
    "Adam1en3",
    "Adam3en4",
    "Adan",
    "Adan1en1",
    "Adan1en3",
    "Adan3en4",
    "AdanCosAnneal",
    "Benchmark",
    "CELoss",
    "CosAnneal",
    "DA5",
    "DA5Segord0",
    "DA5ord0",
    "DiceCELoss_noSmooth",
    "DiceLoss",
    "DiceTopK10Loss",
    "NoDA",
    "NoDeepSupervision",
    "SkeletonRecall",
    "Topk10Loss",
    "Topk10LossLS01",
    "VanillaAdam",
    "VanillaAdam1en3",
    "VanillaAdam3en4",
    "_DA5",
    "_DASegOrd0",
    "_MOSAIC_1k_QuarterLR",
    "_noDummy2DDA",
    "_probabilisticOversampling",
    "_probabilisticOversampling_010",
    "_probabilisticOversampling_033",
];
/// The same, which are called otherwise.
const OTHERS: [&str; 2] = ["nnUNetTrainer_warmup", "nnUNet_Trainer_BS8"];

/// What a trainer makes of the plans' network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trainer {
    /// The network of the plans.
    Planned,
    /// The same with batch normalisation.
    BatchNorm,
    /// A transformer, whatever the plans say.
    Primus,
    /// None of nnU-Net's own: it may change the network, what it sees, or how it predicts.
    Unknown,
}

impl Trainer {
    /// By the name that the checkpoint has.
    pub fn of(name: &str) -> Trainer {
        if name.contains("Primus") {
            return Trainer::Primus;
        }
        if name == "nnUNetTrainerBN" {
            return Trainer::BatchNorm;
        }
        let pretrained =
            ["PretrainedTrainer", "DynamicPretrainedTrainer"].iter().any(|p| name.starts_with(p));
        let own = name.strip_prefix("nnUNetTrainer").map(plain);
        let known = own.is_some_and(|own| TRAINING_ALONE.contains(&own));
        if known || pretrained || OTHERS.contains(&name) { Trainer::Planned } else { Trainer::Unknown }
    }
}

/// A name's end without a number of epochs, and without which axes are mirrored.
fn plain(name: &str) -> &str {
    let mut rest = name.strip_suffix("_noDataLoading").unwrap_or(name);
    loop {
        let shorter =
            ["_NoMirroring", "NoMirroring", "_onlyMirror01"].iter().find_map(|e| rest.strip_suffix(e));
        let shorter = shorter.or_else(|| rest.strip_prefix("_onlyMirror01")).or_else(|| without_epochs(rest));
        match shorter {
            Some(left) => rest = left,
            None => return rest,
        }
    }
}

/// A name without a last part such as `_250epochs`.
fn without_epochs(name: &str) -> Option<&str> {
    let (before, last) = name.rsplit_once('_')?;
    let number = ["epochs", "epoch", "ep"].iter().find_map(|e| last.strip_suffix(e))?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainers_that_change_the_training_alone_are_known() {
        for name in [
            "nnUNetTrainer",
            "nnUNetTrainerNoMirroring",
            "nnUNetTrainer_DASegOrd0_NoMirroring",
            "nnUNetTrainer_4000epochs_NoMirroring",
            "nnUNetTrainer_1epoch",
            "nnUNetTrainer_onlyMirror01",
            "nnUNetTrainer_onlyMirror01_1500ep",
            "nnUNetTrainer_onlyMirror01_DASegOrd0",
            "nnUNetTrainer_onlyMirror01_DA5",
            "nnUNetTrainerDA5_10epochs",
            "nnUNetTrainerCELoss_5epochs",
            "nnUNetTrainerBenchmark_5epochs_noDataLoading",
            "nnUNetTrainer_warmup",
            "PretrainedTrainer_150ep_nomirroring",
        ] {
            assert_eq!(Trainer::of(name), Trainer::Planned, "{name}");
        }
        assert_eq!(Trainer::of("nnUNetTrainerBN"), Trainer::BatchNorm);
        for name in ["nnUNet_PrimusV2S_Trainer", "PretrainedTrainer_Primus_150ep", "_Primus_S_96_BS1"] {
            assert_eq!(Trainer::of(name), Trainer::Primus, "{name}");
        }
        for name in
            ["nnUNetTrainerUMambaBot", "nnUNetTrainerBN_250epochs", "nnUNetTrainer_epochs", "MyTrainer", ""]
        {
            assert_eq!(Trainer::of(name), Trainer::Unknown, "{name}");
        }
    }
}
