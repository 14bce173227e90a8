use ampoule_zoo::InputShape;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `import`.
#[derive(Args, Debug)]
pub struct ImportFolder {
    /// TorchScript or torch.export archive, or weights of a known architecture; or folder of nnU-Net, GaNDLF, BrainMaGe,
    /// MONAI or timm, or a zip archive of one.
    pub folder: String,
    /// Architecture of weights that do not tell it themselves: a name of torchvision or timm (resnet50, convnext_tiny,
    /// vit_base_patch16_224), DECODER-ENCODER of segmentation-models-pytorch (unet-resnet34), deepbet, hd-bet, deepbrain or synthstrip.
    #[arg(long, value_name = "NAME", conflicts_with = "input_shape")]
    pub arch: Option<String>,
    /// Sizes of an input, `1x3x224x224`, with `?` for those that stay free; once for each input. For TorchScript, whose
    /// files do not say them: what is not given stays free where the network allows it.
    #[arg(long, value_name = "SHAPE", value_parser = shape)]
    pub input_shape: Vec<Shape>,
    /// File to write.
    #[arg(long, short)]
    pub output: PathBuf,
}

/// Sizes of an input.
#[derive(Clone, Debug)]
pub struct Shape(pub InputShape);

/// Most axes and largest size that an input can have.
const LIMITS: (usize, usize) = (8, 1 << 24);

fn shape(text: &str) -> Result<Shape, String> {
    let axis = |t: &str| match t.trim() {
        "?" => Ok(None),
        t => match t.parse::<usize>() {
            Ok(n) if (1..=LIMITS.1).contains(&n) => Ok(Some(n)),
            _ => Err(format!("`{t}` is not a size; write sizes as in 1x3x224x224, and ? for a free one")),
        },
    };
    let sizes = text.split('x').map(axis).collect::<Result<InputShape, String>>()?;
    if sizes.len() > LIMITS.0 { Err(format!("more than {} axes", LIMITS.0)) } else { Ok(Shape(sizes)) }
}
