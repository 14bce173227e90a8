//! Sentences about what is no model that can be opened: what it looks like, and how to make one of it.

use super::files::Files;
use crate::Result;
use std::path::Path;

/// What a file looks like; `None` where it may be a damaged ONNX file.
pub(super) fn file(path: &Path, head: &[u8; 4]) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let ends = |list: &[&str]| list.iter().any(|e| name.ends_with(e));
    Some(match head {
        [0x80, 2..=5, ..] => "it is a pickle, such as an older PyTorch checkpoint, which holds weights without the network; give the folder of nnU-Net, GaNDLF or MONAI that it came in, or name the architecture (`ampoule import --arch`), or export it with torch.onnx.export".into(),
        [0x89, b'H', b'D', b'F'] => "it is an HDF5 file, such as Keras weights; export the model to ONNX with tf2onnx".into(),
        _ if ends(&[".xml"]) => "it looks like OpenVINO's; export the network to ONNX from where it was trained".into(),
        _ if ends(&[".tflite"]) => "it is a TensorFlow Lite model; convert it to ONNX with tf2onnx --tflite".into(),
        _ if ends(&[".engine", ".plan"]) => "it looks like a TensorRT engine, which runs on one kind of GPU only; give the ONNX file that it was made of".into(),
        _ => return None,
    })
}

/// What a folder or archive looks like.
pub(super) fn folder(files: &Files) -> Result<String> {
    let names = files.names()?;
    let has = |n: &str| names.iter().any(|x| x == n);
    let ends = |e: &str| names.iter().find(|x| x.ends_with(e));
    Ok(if has("saved_model.pb") {
        "it is a TensorFlow SavedModel; export it to ONNX with `python -m tf2onnx.convert --saved-model`"
            .into()
    } else if has("model.pkl") {
        "it holds a pickled model, which is code; export it to ONNX from where it was trained".into()
    } else if names.iter().any(|n| n.ends_with("data.pkl") || n.ends_with("data/")) && names.len() <= 4 {
        "it is a PyTorch file, which holds weights without the network; give the folder of nnU-Net, GaNDLF or MONAI that it came in, or name the architecture (`ampoule import --arch`), or export it with torch.onnx.export".into()
    } else if let Some(onnx) = ends(".onnx") {
        format!("it holds {onnx}; give that file")
    } else if let Some(weights) = ends(".pth").or(ends(".pt")).or(ends(".tar")) {
        format!(
            "it holds the weights {weights}, but no configuration that tells the network (nnU-Net: plans.json and dataset.json with fold_…); export it to ONNX, or give the folder that the framework left"
        )
    } else {
        "it is no model that is known: ONNX files, and folders of nnU-Net, GaNDLF, BrainMaGe, WSInfer, timm and MONAI bundles, are".into()
    })
}
