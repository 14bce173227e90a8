//! Models.

use super::harness::{Dir, refused};
use ampoule_onnx::proto::*;
use prost::Message;

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: format!("make {output}"),
        op_type: op.into(),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn ints(name: &str, list: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: list.to_vec(), r#type: 7, ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: 2, ..Default::default() }
}

fn graph_attribute(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto { name: name.into(), g: Some(g), r#type: 5, ..Default::default() }
}

fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| Dimension { value: Some(DimensionValue::Value(*d)), denotation: String::new() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = TensorType { elem_type: 1, shape: Some(shape) };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: String::new() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), doc_string: String::new() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: values.to_vec(),
        ..Default::default()
    }
}

fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn graph(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> GraphProto {
    GraphProto {
        name: "g".into(),
        node: nodes,
        initializer: constants,
        input: vec![info("x", &[1, 1, 8, 8])],
        output: vec![info("y", &[1, 1, 8, 8])],
        ..Default::default()
    }
}

fn save(d: &Dir, name: &str, graph: GraphProto, functions: Vec<FunctionProto>) {
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    let model = ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![opset("", 17), opset("f", 1)],
        functions,
        ..Default::default()
    };
    d.write(name, model.encode_to_vec());
}

/// What is refused when a model is read.
#[track_caller]
fn unreadable(graph: GraphProto, functions: Vec<FunctionProto>, words: &[&str]) {
    let d = Dir::new();
    save(&d, "m.onnx", graph, functions);
    refused(&d, &["inspect", "m.onnx"], 3, &[&["m.onnx"][..], words].concat());
}

/// A function `f::name` whose body calls others, the last of which gives its result.
fn function(name: &str, calls: &[&str]) -> FunctionProto {
    let mut nodes = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let (from, to) = (if i == 0 { "a".into() } else { format!("v{i}") }, format!("v{}", i + 1));
        let to = if i + 1 == calls.len() { "b".to_owned() } else { to };
        let domain = if *call == "Relu" { "" } else { "f" };
        nodes.push(NodeProto { domain: domain.into(), ..node(call, &[&from], &to) });
    }
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    FunctionProto {
        name: name.into(),
        domain: "f".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: nodes,
        opset_import: vec![opset("", 17), opset("f", 1)],
        ..Default::default()
    }
}

fn call(name: &str) -> GraphProto {
    graph(vec![NodeProto { domain: "f".into(), ..node(name, &["x"], "y") }], vec![])
}

#[test]
fn functions_that_double_are_bounded() {
    // Each calls the next twice: 2^30 nodes of 31 functions.
    let names: Vec<String> = (0..31).map(|i| format!("F{i}")).collect();
    let mut all: Vec<FunctionProto> = names.windows(2).map(|w| function(&w[0], &[&w[1], &w[1]])).collect();
    all.push(function("F30", &["Relu"]));
    unreadable(call("F0"), all, &["number of nodes"]);
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let d = Dir::new();
    save(&d, "m.onnx", call("Again"), vec![function("Again", &["Again"])]);
    // `inspect` describes what cannot be run; the bounds on time and memory are the point.
    refused(&d, &["inspect", "m.onnx"], 0, &["Again"]);
}

#[test]
fn large_bodies_are_not_copied_without_end() {
    let mut f = function("Heavy", &["Relu"]);
    f.node.push(NodeProto {
        attribute: vec![AttributeProto {
            name: "value_floats".into(),
            floats: vec![1.5; 1 << 18],
            r#type: 6,
            ..Default::default()
        }],
        ..node("Constant", &[], "k")
    });
    let calls = (0..2000).map(|i| {
        let (from, to) = (if i == 0 { "x".into() } else { format!("h{i}") }, format!("h{}", i + 1));
        let to = if i == 1999 { "y".to_owned() } else { to };
        NodeProto { domain: "f".into(), ..node("Heavy", &[&from], &to) }
    });
    unreadable(graph(calls.collect(), vec![]), vec![f], &["bytes of copied nodes"]);
}

#[test]
fn loops_that_turn_too_often_are_refused() {
    let bool_info = |name: &str| ValueInfoProto { name: name.into(), ..Default::default() };
    let body = GraphProto {
        name: "body".into(),
        node: vec![node("Identity", &["c"], "d"), node("Relu", &["v"], "w")],
        input: vec![bool_info("i"), bool_info("c"), bool_info("v")],
        output: vec![bool_info("d"), bool_info("w")],
        ..Default::default()
    };
    for turns in [100_000_000, i64::MAX] {
        let mut turn = node("Loop", &["m", "", "x"], "y");
        turn.attribute.push(graph_attribute("body", body.clone()));
        let d = Dir::new();
        let mut m = longs("m", &[turns]);
        m.dims.clear();
        save(&d, "m.onnx", graph(vec![turn], vec![m]), vec![]);
        refused(&d, &["inspect", "m.onnx"], 0, &["Loop"]);
    }
}

#[test]
fn one_piece_of_external_data_is_read_once() {
    let d = Dir::new();
    d.write("data.bin", vec![0u8; 16 << 20]);
    let entry = |k: &str, v: &str| StringStringEntryProto { key: k.into(), value: v.into() };
    let tensor = |i: usize| TensorProto {
        name: format!("w{i}"),
        dims: vec![4 << 20],
        data_type: 1,
        data_location: 1,
        external_data: vec![entry("location", "data.bin"), entry("offset", "0")],
        ..Default::default()
    };
    let constants: Vec<TensorProto> = (0..200).map(tensor).collect();
    save(&d, "m.onnx", graph(vec![node("Relu", &["x"], "y")], constants), vec![]);
    let ended = refused(&d, &["inspect", "m.onnx"], 0, &[]);
    assert!(ended.peak_mib < 200, "{} MiB", ended.peak_mib);
}

#[test]
fn what_grows_beyond_memory_is_refused_before_it_does() {
    let d = Dir::new();
    let grown = |sizes: &[i64]| {
        let mut g = graph(vec![node("Expand", &["x", "s"], "y")], vec![longs("s", sizes)]);
        g.output = vec![info("y", sizes)];
        g
    };
    save(&d, "large.onnx", grown(&[1 << 12, 1 << 12, 8, 8]), vec![]);
    refused(&d, &["inspect", "large.onnx", "--max-ram", "256M"], 5, &["the limit is 256 MiB"]);
    save(&d, "absurd.onnx", grown(&[1 << 20, 1 << 20, 8, 8]), vec![]);
    refused(&d, &["inspect", "absurd.onnx"], 3, &["absurd.onnx"]);
}

#[test]
fn wide_and_long_graphs_take_seconds() {
    let d = Dir::new();
    let mut nodes: Vec<NodeProto> = (0..20_000).map(|i| node("Relu", &["x"], &format!("r{i}"))).collect();
    let all: Vec<String> = (0..20_000).map(|i| format!("r{i}")).collect();
    nodes.push(node("Sum", &all.iter().map(String::as_str).collect::<Vec<_>>(), "y"));
    save(&d, "wide.onnx", graph(nodes, vec![]), vec![]);
    let ended = refused(&d, &["inspect", "wide.onnx"], 0, &[]);
    assert!(ended.seconds < 40.0, "{} s", ended.seconds);
}

#[test]
fn graphs_that_contradict_themselves_get_a_sentence() {
    let reshape = |sizes: &[i64]| graph(vec![node("Reshape", &["x", "s"], "y")], vec![longs("s", sizes)]);
    unreadable(reshape(&[-1, -1, 8]), vec![], &["two axes"]);
    unreadable(reshape(&[1, 1, 8, 9]), vec![], &["cannot take the shape"]);
    unreadable(reshape(&[-7, 8]), vec![], &["size"]);
    let conv = |attributes: Vec<AttributeProto>, dims: &[i64]| {
        let n: i64 = dims.iter().product();
        let weights = floats("w", dims, &vec![0.5; n as usize]);
        let conv = NodeProto { attribute: attributes, ..node("Conv", &["x", "w"], "y") };
        graph(vec![conv], vec![weights])
    };
    unreadable(conv(vec![ints("strides", &[0, 1])], &[1, 1, 3, 3]), vec![], &["make y"]);
    unreadable(conv(vec![ints("dilations", &[1 << 30, 1])], &[1, 1, 3, 3]), vec![], &["kernel"]);
    unreadable(conv(vec![int("group", 3)], &[1, 1, 3, 3]), vec![], &["make y"]);
    unreadable(conv(vec![ints("pads", &[i64::MAX, 0, 0, 0])], &[1, 1, 3, 3]), vec![], &["make y"]);
    unreadable(conv(vec![], &[1, 1, 9, 9]), vec![], &["kernel"]);
    let resize = NodeProto { ..node("Resize", &["x", "", "", "s"], "y") };
    unreadable(graph(vec![resize], vec![longs("s", &[1, 1, 0, 8])]), vec![], &["make y"]);
    // A cycle, a value that nothing makes, a name twice.
    let cycle = vec![node("Add", &["x", "b"], "a"), node("Relu", &["a"], "b"), node("Relu", &["b"], "y")];
    unreadable(graph(cycle, vec![]), vec![], &["m.onnx"]);
    unreadable(graph(vec![node("Relu", &["nothing"], "y")], vec![]), vec![], &["nothing"]);
    let twice = vec![node("Relu", &["x"], "y"), node("Neg", &["x"], "y")];
    unreadable(graph(twice, vec![]), vec![], &["y"]);
}

#[test]
fn tensors_that_lie_about_their_size_are_refused() {
    let with = |t: TensorProto| graph(vec![node("Add", &["x", "w"], "y")], vec![t]);
    let mut huge = floats("w", &[1 << 40, 1 << 40], &[1.0]);
    unreadable(with(huge.clone()), vec![], &["`w`"]);
    huge.dims = vec![-4];
    unreadable(with(huge.clone()), vec![], &["`w`", "negative"]);
    huge.dims = vec![1 << 33];
    unreadable(with(huge.clone()), vec![], &["`w`"]);
    huge.dims = vec![2];
    unreadable(with(huge), vec![], &["`w`"]);
    let mut both = floats("w", &[1], &[1.0]);
    both.raw_data = Some(vec![0u8; 4].into());
    unreadable(with(both), vec![], &["`w`"]);
}

#[test]
fn a_data_file_may_be_a_link_into_the_cache_that_it_came_from() {
    use std::os::unix::fs::symlink;
    let d = Dir::new();
    for folder in ["hub/blobs", "hub/snapshots/main", "plain", "secret"] {
        std::fs::create_dir_all(d.path(folder)).unwrap();
    }
    let entry = |k: &str, v: &str| StringStringEntryProto { key: k.into(), value: v.into() };
    let tensor = TensorProto {
        name: "w".into(),
        dims: vec![1],
        data_type: 1,
        data_location: 1,
        external_data: vec![entry("location", "m.data")],
        ..Default::default()
    };
    let g = graph(vec![node("Mul", &["x", "w"], "y")], vec![tensor]);
    save(&d, "hub/blobs/0a1b", g.clone(), vec![]);
    d.write("hub/blobs/2c3d", 1.5f32.to_le_bytes());
    symlink("../../blobs/0a1b", d.path("hub/snapshots/main/m.onnx")).unwrap();
    symlink("../../blobs/2c3d", d.path("hub/snapshots/main/m.data")).unwrap();
    refused(&d, &["inspect", "hub/snapshots/main/m.onnx"], 0, &[]);
    // One link only, in a plain folder, beside which there is no such cache.
    save(&d, "plain/m.onnx", g, vec![]);
    d.write("secret/key", 1.5f32.to_le_bytes());
    symlink("../secret/key", d.path("plain/m.data")).unwrap();
    refused(&d, &["inspect", "plain/m.onnx"], 3, &["m.data", "symbolic link"]);
}

#[test]
fn the_longest_steps_of_a_slice_are_no_more_than_its_axis() {
    let d = Dir::new();
    let lists = [("a", i64::MIN), ("b", i64::MAX), ("c", 2), ("e", i64::MIN)];
    let constants = lists.map(|(name, v)| longs(name, &[v])).into();
    let slice = |inputs: &[&str]| graph(vec![node("Slice", inputs, "y")], vec![]);
    let backwards = GraphProto { initializer: constants, ..slice(&["x", "a", "b", "c", "e"]) };
    save(&d, "m.onnx", backwards, vec![]);
    // Nothing is left of the axis; whatever is said of that, the program does not fail.
    let ended =
        super::harness::wait(super::harness::start(&d, &["inspect", "m.onnx", "--profile"]), "inspect");
    assert!(matches!(ended.code, Some(0 | 3)) && !ended.text.contains("panicked"), "{}", ended.text);
}

#[test]
fn names_in_models_do_not_reach_the_terminal_as_commands() {
    let d = Dir::new();
    save(&d, "m.onnx", graph(vec![node("Frob\u{1b}[2J\u{7}", &["x"], "y")], vec![]), vec![]);
    let ended = super::harness::wait(super::harness::start(&d, &["inspect", "m.onnx"]), "inspect");
    assert!(ended.text.contains("Frob") && !ended.text.contains('\u{1b}'), "{:?}", ended.text);
}

#[test]
fn messages_about_endless_lists_end() {
    let d = Dir::new();
    let order: Vec<i64> = (0..100_000).collect();
    let n = NodeProto { attribute: vec![ints("perm", &order)], ..node("Transpose", &["x"], "y") };
    save(&d, "m.onnx", graph(vec![n], vec![]), vec![]);
    let ended = refused(&d, &["inspect", "m.onnx"], 3, &["characters more"]);
    assert!(ended.text.len() < 8000, "{} bytes", ended.text.len());
}
