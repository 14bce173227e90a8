//! Damaged and odd images and models: each gets a sentence that names the file and what is wrong.

use super::*;

/// Runs one bad image and checks code, words, and that nothing is left.
#[track_caller]
fn bad(d: &Dir, name: &str, code: i32, words: &[&str]) {
    let o = ampoule(d, &["run", "tiny.onnx", name, "-o", "out"]);
    expect(&o, code, words);
    let left = d.results("out");
    assert!(left.is_empty(), "{left:?}");
}

/// The bytes of a small image, changed by `f`.
pub fn image_bytes(d: &Dir, f: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let path = d.path("bad.nii");
    write_head(&path);
    let mut b = std::fs::read(&path).unwrap();
    f(&mut b);
    std::fs::write(&path, b).unwrap();
    path
}

pub fn set_dims(b: &mut [u8], dims: [i16; 8]) {
    for (i, d) in dims.iter().enumerate() {
        b[40 + 2 * i..42 + 2 * i].copy_from_slice(&d.to_le_bytes());
    }
}

#[test]
fn bad_images_get_a_sentence() {
    let d = setup();
    std::fs::write(d.path("empty.nii"), b"").unwrap();
    bad(&d, "empty.nii", 3, &["empty.nii", "empty"]);
    std::fs::write(d.path("text.nii.gz"), b"not gzip, not nifti, long enough to read the size from").unwrap();
    bad(&d, "text.nii.gz", 3, &["not a NIfTI file"]);
    bad(&d, "missing.nii.gz", 3, &["missing.nii.gz"]);
    #[cfg(unix)]
    bad(&d, "/dev/zero", 3, &["not a plain file"]);
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "-m", "out/head_bet.nii.gz"]),
        3,
        &["place of another output"],
    );
    // A gzip stream cut short, and one with a wrong checksum.
    let good = std::fs::read(d.path("head.nii.gz")).unwrap();
    std::fs::write(d.path("cut.nii.gz"), &good[..good.len() / 2]).unwrap();
    bad(&d, "cut.nii.gz", 3, &["cut.nii.gz", "damaged"]);
    let mut wrong = good.clone();
    let n = wrong.len();
    wrong[n - 6] ^= 0xff;
    std::fs::write(d.path("crc.nii.gz"), wrong).unwrap();
    bad(&d, "crc.nii.gz", 3, &["damaged"]);
    // Headers that lie.
    image_bytes(&d, |b| set_dims(b, [3, 1700, 1700, 1600, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    image_bytes(&d, |b| set_dims(b, [3, 32767, 32767, 32767, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    image_bytes(&d, |b| set_dims(b, [4, 24, 28, 2, 10, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["4D with 10 frames", "--frame"]);
    image_bytes(&d, |b| set_dims(b, [2, 24, 28, 1, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["2D"]);
    for dims in [
        [0, 24, 28, 20, 1, 1, 1, 1],
        [-1, 24, 28, 20, 1, 1, 1, 1],
        [200, 24, 28, 20, 1, 1, 1, 1],
        [3, -24, 28, 20, 1, 1, 1, 1],
        [3, 0, 28, 20, 1, 1, 1, 1],
    ] {
        image_bytes(&d, |b| set_dims(b, dims));
        bad(&d, "bad.nii", 3, &["invalid NIfTI header", "dim["]);
    }
    image_bytes(&d, |b| b.truncate(200));
    bad(&d, "bad.nii", 3, &["truncated"]);
    image_bytes(&d, |b| b.truncate(5000));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    for offset in [f32::NAN, f32::INFINITY, -5.0, 352.5, 1e12] {
        image_bytes(&d, |b| b[108..112].copy_from_slice(&offset.to_le_bytes()));
        bad(&d, "bad.nii", 3, &["bad.nii"]);
    }
    for (code, words) in [(32i16, "complex"), (128, "colour"), (1536, "128-bit"), (7, "unknown data type")] {
        image_bytes(&d, |b| b[70..72].copy_from_slice(&code.to_le_bytes()));
        bad(&d, "bad.nii", 3, &[words]);
    }
    image_bytes(&d, |b| b[344..348].copy_from_slice(b"ni1\0"));
    bad(&d, "bad.nii", 3, &["its voxels are in bad.img"]);
    image_bytes(&d, |b| b[344..348].fill(0));
    bad(&d, "bad.nii", 3, &["ANALYZE"]);
    // Voxel sizes that no scan has.
    image_bytes(&d, |b| b[280..284].copy_from_slice(&1e9f32.to_le_bytes()));
    bad(&d, "bad.nii", 3, &["voxel size"]);
    // Values without meaning.
    image_bytes(&d, |b| b[352..].fill(0));
    bad(&d, "bad.nii", 3, &["all voxels have the value 0"]);
    image_bytes(&d, |b| b[352..].as_chunks_mut::<4>().0.iter_mut().for_each(|c| *c = f32::NAN.to_le_bytes()));
    bad(&d, "bad.nii", 3, &["not finite"]);
}

#[test]
fn odd_images_run_with_a_note() {
    let d = setup();
    image_bytes(&d, |b| b[352..356].copy_from_slice(&f32::NAN.to_le_bytes()));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o1"]), 0, &["1 of", "not finite"]);
    // Slope NaN and 0 mean no scaling.
    for (i, slope) in [f32::NAN, 0.0].into_iter().enumerate() {
        image_bytes(&d, |b| b[112..116].copy_from_slice(&slope.to_le_bytes()));
        let out = format!("s{i}");
        expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", &out]), 0, &[]);
        expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", &out]), 0, &[]);
        let mask = |n: &str| Nifti::read(&d.path(&format!("{out}/{n}")), None).unwrap().raw;
        assert_eq!(mask("bad_mask.nii"), mask("head_mask.nii.gz"));
    }
    // No form at all: assumed, and said.
    image_bytes(&d, |b| b[252..256].fill(0));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o2"]), 0, &["no orientation"]);
    // An empty mask is a result, with a note.
    model(&d.path("none.onnx"), -100.0);
    expect(&ampoule(&d, &["run", "none.onnx", "head.nii.gz", "-o", "o3"]), 0, &["the result is empty"]);
    // One frame of several.
    image_bytes(&d, |b| set_dims(b, [4, 24, 28, 10, 2, 1, 1, 1]));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o4", "--frame", "1"]), 0, &[]);
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o5", "--frame", "2"]), 3, &["there are 2"]);
}

#[test]
fn bad_models_get_a_sentence() {
    let d = setup();
    let good = std::fs::read(d.path("tiny.onnx")).unwrap();
    let run = |name: &str| ampoule(&d, &["run", name, "head.nii.gz", "-o", "out"]);
    std::fs::write(d.path("cut.onnx"), &good[..good.len() - 20]).unwrap();
    expect(&run("cut.onnx"), 3, &["cut.onnx", "truncated"]);
    std::fs::write(d.path("text.onnx"), b"hello").unwrap();
    expect(&run("text.onnx"), 3, &["not a readable ONNX"]);
    std::fs::write(d.path("zero.onnx"), b"").unwrap();
    expect(&run("zero.onnx"), 3, &["empty"]);
    expect(&run("no-such-model"), 2, &["no model named", "deepbet"]);
    expect(&run("deepbrain"), 3, &["models fetch deepbrain"]);
    // Unknown operators, all named at once.
    let graph = onnx::read_file(&d.path("tiny.onnx")).unwrap();
    let mut proto = decode(&onnx::to_bytes(&graph).unwrap());
    for (node, op) in proto.graph.as_mut().unwrap().node.iter_mut().zip(["Einsum", "NonZero"]) {
        node.op_type = op.into();
    }
    std::fs::write(d.path("odd.onnx"), encode(&proto)).unwrap();
    expect(&run("odd.onnx"), 3, &["2 unsupported operators", "Einsum", "NonZero"]);
    // External data outside the folder, through a link, and beyond the file.
    std::fs::write(d.path("weights.bin"), vec![0; 108]).unwrap();
    std::fs::create_dir(d.path("sub")).unwrap();
    let external = |location: &str, offset: &str| {
        let mut p = decode(&good);
        let t = &mut p.graph.as_mut().unwrap().initializer[0];
        t.raw_data = None;
        t.data_location = 1;
        let entry = |k: &str, v: &str| onnx::proto::StringStringEntryProto { key: k.into(), value: v.into() };
        t.external_data = vec![entry("location", location), entry("offset", offset)];
        std::fs::write(d.path("sub/ext.onnx"), encode(&p)).unwrap();
    };
    for location in ["../weights.bin", "/etc/passwd"] {
        external(location, "0");
        expect(&run("sub/ext.onnx"), 3, &["outside the model's folder"]);
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(d.path("weights.bin"), d.path("sub/link.bin")).unwrap();
        external("link.bin", "0");
        expect(&run("sub/ext.onnx"), 3, &["symbolic link"]);
    }
    std::fs::copy(d.path("weights.bin"), d.path("sub/w.bin")).unwrap();
    for offset in ["1", "-1", "99999999999999999999"] {
        external("w.bin", offset);
        expect(&run("sub/ext.onnx"), 3, &["w"]);
    }
    external("w.bin", "0");
    expect(&run("sub/ext.onnx"), 0, &[]);
    // A recipe that is wrong, and none.
    std::fs::write(d.path("r.toml"), RECIPE.replace("threshold", "treshold")).unwrap();
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "o9", "--recipe", "r.toml"]),
        3,
        &["treshold"],
    );
}

fn decode(bytes: &[u8]) -> onnx::proto::ModelProto {
    prost::Message::decode(bytes).unwrap()
}

fn encode(p: &onnx::proto::ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(p)
}
