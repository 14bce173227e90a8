//! A recipe to begin with, from what a model says of its inputs and outputs.

use ampoule_graph::{DType, Dim, Graph, ValueId};
use std::fmt::Write;

/// A recipe for `graph` whose lines marked FILL IN must be looked at. It parses as it is.
pub fn skeleton(graph: &Graph, name: &str) -> String {
    let image = graph.inputs.iter().copied().max_by_key(|i| shape(graph, *i).len());
    let input = image.map(|i| shape(graph, i)).unwrap_or_default();
    let spatial = input.len().saturating_sub(2);
    let last = input.last().and_then(known).is_some_and(|n| n <= 4);
    let second = input.get(1).and_then(known);
    let nhwc = last && second.is_none_or(|n| n > 4) && spatial > 0;
    let channels = if nhwc { input.last().and_then(known) } else { second };
    let output = graph.outputs.last().copied();
    let out = output.map(|o| shape(graph, o)).unwrap_or_default();
    let whole = out.iter().skip(2).all(|d| known(d) == Some(1));
    let volume = spatial == 3 || !matches!(channels, None | Some(1 | 3));
    let mut t = String::from("version = 2\n\n");
    let task = if whole { "classification" } else { "segmentation" };
    let plain: String =
        name.chars().map(|c| if c.is_control() || c == '"' || c == '\\' { '-' } else { c }).collect();
    let _ = write!(
        t,
        "[model]\nname = \"{plain}\"\ntask = \"{task}\"  # FILL IN: segmentation, classification or regression\n\
         description = \"\"  # FILL IN: what it finds in what kind of image\n"
    );
    inputs(&mut t, volume, channels.unwrap_or(if volume { 1 } else { 3 }));
    preprocess(&mut t, volume, channels.unwrap_or(3));
    network(&mut t, graph, &input, nhwc, whole);
    let integer =
        output.and_then(|o| graph.value(o).dtype).is_some_and(|d| d != DType::F32 && d != DType::F16);
    let classes = if nhwc { out.last().and_then(known) } else { out.get(1).and_then(known) };
    labels(&mut t, if integer { 2 } else { classes.unwrap_or(2) }, whole);
    t
}

fn shape(graph: &Graph, id: ValueId) -> Vec<Dim> {
    graph.value(id).shape.clone().unwrap_or_default()
}

fn known(d: &Dim) -> Option<usize> {
    match d {
        Dim::Known(n) => Some(*n),
        _ => None,
    }
}

fn inputs(t: &mut String, volume: bool, channels: usize) {
    let files = if volume { channels.clamp(1, 64) } else { 1 };
    for i in 0..files {
        let name = if volume && files > 1 { format!("channel{i}") } else { "image".into() };
        let _ = write!(t, "\n[[input]]\nname = \"{name}\"");
        if files > 1 {
            let _ = write!(
                t,
                "  # FILL IN: what this channel shows\nsuffix = \"_{i:04}\"  # FILL IN: how its file ends"
            );
        }
        if !volume {
            let colours = if channels == 1 { "grey" } else { "rgb" };
            let _ = write!(t, "\nkind = \"image\"\ncolours = \"{colours}\"  # FILL IN: grey, rgb or bgr");
        }
        t.push('\n');
    }
}

fn preprocess(t: &mut String, volume: bool, channels: usize) {
    if volume {
        t.push_str(
            "\n# FILL IN: the steps that the network was trained with, in their order (docs/recipes.md)\n\
             [[preprocess]]\nstep = \"orient\"\nto = \"RAS\"\n\
             \n[[preprocess]]\nstep = \"resample\"\nspacing = 1.0  # FILL IN: voxel size in training, mm\n\
             \n[[preprocess]]\nstep = \"z-score\"\n",
        );
        return;
    }
    let list = |v: f64| vec![v.to_string(); channels.clamp(1, 4)].join(", ");
    let _ = write!(
        t,
        "\n# FILL IN: the steps that the network was trained with, in their order (docs/recipes.md)\n\
         [[preprocess]]\nstep = \"mean-deviation\"\nmean = [{}]\ndeviation = [{}]\n",
        list(0.5),
        list(0.5)
    );
}

fn network(t: &mut String, graph: &Graph, input: &[Dim], nhwc: bool, whole: bool) {
    let names: Vec<String> = graph.outputs.iter().map(|o| format!("{:?}", graph.value(*o).name)).collect();
    let one = names.last().cloned().unwrap_or_default();
    let _ = write!(t, "\n[[network]]\noutputs = [{one}]");
    if names.len() > 1 {
        let _ = write!(t, "  # FILL IN: of {}", names.join(", "));
    }
    t.push_str("\nactivation = \"none\"  # FILL IN: softmax or sigmoid where the network ends before it\n");
    if nhwc {
        t.push_str("layout = \"nhwc\"\n");
    }
    let spatial = if nhwc { input.get(1..input.len().max(1) - 1) } else { input.get(2..) };
    let sizes: Option<Vec<usize>> = spatial.and_then(|s| s.iter().map(known).collect());
    if let (Some(mut s), false) = (sizes.filter(|s| !s.is_empty()), whole) {
        // Tensors have the slowest axis first.
        s.reverse();
        let _ = writeln!(t, "window = {{ size = {s:?}, overlap = 0.5 }}");
    }
}

fn labels(t: &mut String, classes: usize, whole: bool) {
    let single = classes == 1;
    for i in 0..if single { 2 } else { classes } {
        let name = match i {
            0 if !whole => "background".to_owned(),
            i => format!("class{i}"),
        };
        let _ = write!(
            t,
            "\n[[label]]\nname = \"{name}\"{}\n",
            if i == 0 { "  # FILL IN: names of the classes" } else { "" }
        );
    }
}
