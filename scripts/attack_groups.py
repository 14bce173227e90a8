"""What `scripts/attack.py` tries, group by group."""

import collections
import gzip
import hashlib
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import warnings
import zipfile
import zlib

from attack_files import (DISCS, HERE, QUICK, attribute, discs, field, info, model, nifti, node, picture_case, png, RECIPE, segmenter, tensor,
                          tiff)

SECONDS, MIB = 60, 600
USUAL = (0, 1, 2, 3, 4, 5)
GROUPS = collections.OrderedDict()


class Attempt:
    """A command and what is allowed of it; `right` tells from the exit code what is wrong with what was written, and
    `each` by names of files what is wrong with the results of each."""

    def __init__(self, name, args, codes=(1, 2, 3, 5), words=(), seconds=SECONDS, mib=MIB, env=None, stdin=None, after=None, right=None, each=None,
                 most=8000, limits=None, before=None):
        self.name, self.args, self.codes, self.words = name, [str(a) for a in args], codes, words
        self.seconds, self.mib, self.env, self.stdin, self.after, self.right, self.each = seconds, mib, env or {}, stdin, after, right, each or {}
        self.most, self.limits, self.before = most, limits or {}, before


def group(f):
    GROUPS[f.__name__] = f
    return f


@group
def recipes(d):
    """`run` and `inspect` with recipes that ask for absurd work."""
    nifti(d / "a.nii")
    steps = {
        "resample to a millionth": '[[preprocess]]\nstep = "resample"\nspacing = [1e-6, 1e-6, 1e-6]',
        "resample to infinity": '[[preprocess]]\nstep = "resample"\nspacing = [inf, 1.0, 1.0]',
        "resample to nan": '[[preprocess]]\nstep = "resample"\nspacing = [nan, 1.0, 1.0]',
        "resample to zero": '[[preprocess]]\nstep = "resample"\nspacing = [0.0, 0.0, 0.0]',
        "negative spacing": '[[preprocess]]\nstep = "resample"\nspacing = [-1.0, 1.0, 1.0]',
        "resize to 2^31": '[[preprocess]]\nstep = "resize"\nsize = [2147483647, 2147483647, 2147483647]',
        "resize to 0": '[[preprocess]]\nstep = "resize"\nsize = [0, 0, 0]',
        "pad to 2^62": '[[preprocess]]\nstep = "pad"\nsize = [4611686018427387904, 1, 1]',
        "clip of nan": '[[preprocess]]\nstep = "clip"\nmin = nan\nmax = nan',
        "clip upside down": '[[preprocess]]\nstep = "clip"\nmin = 5.0\nmax = -5.0',
        "divide by zero": '[[preprocess]]\nstep = "divide"\nby = 0.0',
        "ten thousand steps": '[[preprocess]]\nstep = "z-score"\n' * 10000,
        "percentiles beyond": '[[preprocess]]\nstep = "percentile-rescale"\nlow = -5.0\nhigh = 500.0',
    }
    for name, text in steps.items():
        segmenter(d / f"{name}.onnx".replace(" ", "_"), text)
        yield Attempt(name, ["run", f"{name}.onnx".replace(" ", "_"), "a.nii", "-o", f"out {name}", "--max-ram", "256M"],
                      codes=USUAL, mib=256)
    windows = {
        "window of zero": "window = { size = [0, 0, 0], overlap = 0.5 }",
        "window of 2^40": "window = { size = [1099511627776, 8, 8], overlap = 0.5 }",
        "overlap of one": "window = { size = [8, 8, 8], overlap = 1.0 }",
        "overlap of 0.9999999": "window = { size = [8, 8, 8], overlap = 0.9999999 }",
        "overlap of nan": "window = { size = [8, 8, 8], overlap = nan }",
        "window of one voxel": "window = { size = [1, 1, 1], overlap = 0.0 }",
        "a thousand outputs": "outputs = [" + ", ".join(f'"scores{i}"' for i in range(1000)) + "]",
        "the same output twice": 'outputs = ["scores", "scores"]\nactivation = "softmax"',
    }
    for name, text in windows.items():
        path = f"{name}.onnx".replace(" ", "_")
        segmenter(d / path, network=text if "activation" in text else 'activation = "softmax"\n' + text)
        yield Attempt(name, ["run", path, "a.nii", "-o", f"out {name}", "--max-ram", "256M"], codes=USUAL, mib=256)
    deep = "x = " + "[" * 100_000 + "]" * 100_000
    texts = {
        "nested arrays": deep, "nested tables": "[" + ".".join(["a"] * 50_000) + "]", "empty": "", "only a BOM": "\ufeff",
        "a hundred thousand labels": RECIPE.format(more="", network="") + '[[label]]\nname = "x"\n' * 100_000,
        "label of ten MiB": RECIPE.format(more="", network="") + '[[label]]\nname = "' + "x" * (10 << 20) + '"\n',
        "escape in a label": RECIPE.format(more="", network="") + '[[label]]\nname = "\\u001b]0;owned\\u0007\\u001b[2J"\n',
        "label with a path": RECIPE.format(more="", network="") + '[[label]]\nname = "../../../escape"\n',
        "name with a path": RECIPE.replace('"m"', '"../../x"').format(more="", network=""),
    }
    for name, text in texts.items():
        path = f"{name}.onnx".replace(" ", "_")
        segmenter(d / path, recipe=text)
        yield Attempt(name, ["run", path, "a.nii", "-o", f"out {name}", "--save-probabilities"], codes=USUAL)
        yield Attempt(f"{name}, inspected", ["inspect", path], codes=USUAL)


@group
def volumes(d):
    """`run`, `evaluate` and `inspect` on volumes whose headers lie."""
    segmenter(d / "m.onnx")
    nan, inf = float("nan"), float("inf")
    odd = {
        "nan affine": dict(a=(280, "<4f", (nan, 0, 0, 0))), "infinite affine": dict(a=(280, "<4f", (inf, 0, 0, 0))),
        "no volume": dict(a=(280, "<4f", (0, 0, 0, 0))), "huge spacing": dict(a=(280, "<4f", (1e30, 0, 0, 0))),
        "tiny spacing": dict(a=(280, "<4f", (1e-30, 0, 0, 0))), "nan slope": dict(a=(112, "<2f", (nan, nan))),
        "infinite slope": dict(a=(112, "<2f", (inf, 1))), "offset inside the header": dict(a=(108, "<f", (4,))),
        "negative offset": dict(a=(108, "<f", (-352,))), "nan offset": dict(a=(108, "<f", (nan,))),
        "offset beyond": dict(a=(108, "<f", (3e38,))), "negative dims": dict(a=(40, "<4h", (3, -8, 8, 8))),
        "eight dims": dict(a=(40, "<h", (8,))), "no dims": dict(a=(40, "<h", (0,))),
        "odd datatype": dict(a=(70, "<2h", (777, 8))), "swapped bitpix": dict(a=(70, "<2h", (16, 8))),
        "nan quaternion": dict(a=(252, "<2h", (1, 0)), b=(256, "<3f", (nan, nan, nan))),
        "no pixdim": dict(a=(76, "<8f", (0,) * 8), b=(252, "<2h", (0, 0))),
        "nan pixdim": dict(a=(76, "<8f", (nan,) * 8), b=(252, "<2h", (0, 0))),
        "codes of thousands": dict(a=(252, "<2h", (30000, 30000))),
    }
    for name, changes in odd.items():
        path = nifti(d / f"{name}.nii", **changes)
        yield Attempt(name, ["run", "m.onnx", path.name, "-o", f"out {name}"], codes=USUAL, mib=256)
    values = {"all nan": struct.pack("<f", nan) * 512, "all infinite": struct.pack("<f", inf) * 512,
              "largest": struct.pack("<f", 3.4e38) * 512, "denormal": struct.pack("<f", 1e-45) * 512,
              "one nan": struct.pack("<f", 1.0) * 511 + struct.pack("<f", nan), "constant": bytes(2048)}
    for name, data in values.items():
        nifti(d / f"{name}.nii", data=data)
        yield Attempt(name, ["run", "m.onnx", f"{name}.nii", "-o", f"out {name}"], codes=USUAL)
    for dims in ((32767, 1, 1), (1, 32767, 1), (1, 1, 32767), (1, 1, 1), (32767, 32767, 32767), (2, 2, 2, 1, 3), (8, 8, 8, 0)):
        nifti(d / f"dims {dims}.nii.gz", dims, 2)
        yield Attempt(f"sizes {dims}", ["run", "m.onnx", f"dims {dims}.nii.gz", "-o", f"out {dims}"], codes=USUAL, mib=400)
    for name, kind in (("complex", 32), ("RGB", 128), ("RGBA", 2304), ("int64", 1024)):
        nifti(d / f"{name}.nii", kind=kind)
        yield Attempt(name, ["run", "m.onnx", f"{name}.nii", "-o", f"out {name}"], codes=USUAL)
    many = b"".join(struct.pack("<f", i) for i in range(32 * 32 * 32))
    nifti(d / "many.nii", (32, 32, 32), data=many)
    yield Attempt("32768 labels, compared", ["evaluate", "many.nii", "many.nii"], codes=USUAL, seconds=90)
    nifti(d / "fraction.nii", data=struct.pack("<f", 0.5) * 512)
    yield Attempt("labels of fractions", ["evaluate", "fraction.nii", "fraction.nii"], codes=USUAL)
    nifti(d / "nan.nii", data=struct.pack("<f", nan) * 512)
    yield Attempt("labels of nan", ["evaluate", "nan.nii", "nan.nii"])
    nifti(d / "negative.nii", kind=4, data=struct.pack("<h", -3) * 512)
    yield Attempt("negative labels", ["evaluate", "negative.nii", "negative.nii"], codes=USUAL)
    two = gzip.compress((d / "one nan.nii").read_bytes())
    (d / "two.nii.gz").write_bytes(two + two)
    yield Attempt("two gzip members", ["run", "m.onnx", "two.nii.gz", "-o", "out two"], codes=USUAL)
    (d / "cut.nii.gz").write_bytes(two[:-5])
    yield Attempt("gzip without its checksum", ["run", "m.onnx", "cut.nii.gz", "-o", "out cut"])
    (d / "more.nii.gz").write_bytes(two + b"garbage at the end")
    yield Attempt("garbage behind gzip", ["run", "m.onnx", "more.nii.gz", "-o", "out more"], codes=USUAL)
    nested = two
    for _ in range(30):
        nested = gzip.compress(nested)
    (d / "nested.nii.gz").write_bytes(nested)
    yield Attempt("gzip in gzip", ["run", "m.onnx", "nested.nii.gz", "-o", "out nested"])
    for name, text in {
        "nrrd of 2^60": "NRRD0004\ntype: float\ndimension: 3\nsizes: 1048576 1048576 1048576\nencoding: raw\nendian: little\n\n",
        "nrrd of a device": "NRRD0004\ntype: float\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nendian: little\ndata file: /dev/zero\n\n",
        "nrrd of the parent": "NRRD0004\ntype: float\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nendian: little\ndata file: ../../../etc/passwd\n\n",
        "nrrd of many files": "NRRD0004\ntype: float\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nendian: little\ndata file: x%03d 1 1000000000 1\n\n",
    }.items():
        (d / f"{name}.nrrd").write_text(text)
        yield Attempt(name, ["run", "m.onnx", f"{name}.nrrd", "-o", f"out {name}"], mib=256)
    for name, text in {
        "mha of itself": "NDims = 3\nDimSize = 8 8 8\nElementType = MET_FLOAT\nElementDataFile = mha of itself.mhd\n",
        "mha of a device": "NDims = 3\nDimSize = 8 8 8\nElementType = MET_FLOAT\nElementDataFile = /dev/zero\n",
        "mha list": "NDims = 3\nDimSize = 8 8 8\nElementType = MET_FLOAT\nElementDataFile = LIST\n" + "/etc/passwd\n" * 8,
        "mha negative": "NDims = 3\nDimSize = -8 8 8\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n",
    }.items():
        (d / f"{name}.mhd").write_text(text)
        yield Attempt(name, ["run", "m.onnx", f"{name}.mhd", "-o", f"out {name}"], mib=256)


@group
def photos(d):
    """`run` on pictures."""
    args = discs(d)
    picture_case(d)
    body = zlib.compress(bytes(64 << 20), 9)
    png(d / "p/bomb.png", (4096, 4096), body=body)
    png(d / "p/one row.png", (65535, 1))
    png(d / "p/one column.png", (1, 65535))
    png(d / "p/one pixel.png", (1, 1))
    png(d / "p/palette without colours.png", (8, 8), 8, 3)
    png(d / "p/grey 1.png", (8, 8), 1, 0)
    png(d / "p/grey with alpha.png", (8, 8), 8, 4)
    text = b"Comment\0" + zlib.compress(bytes(100 << 20), 9)
    chunk = struct.pack(">I", len(text) + 1) + b"zTXt" + text[:8] + b"\0" + text[8:]
    png(d / "p/text bomb.png", chunks=chunk + struct.pack(">I", zlib.crc32(chunk[4:])))
    icc = b"icc\0\0" + zlib.compress(bytes(100 << 20), 9)
    chunk = struct.pack(">I", len(icc)) + b"iCCP" + icc
    png(d / "p/profile bomb.png", chunks=chunk + struct.pack(">I", zlib.crc32(chunk[4:])))
    png(d / "p/empty data.png", body=b"")
    png(d / "p/wrong filter.png", body=zlib.compress((b"\x09" + bytes(24)) * 8))
    (d / "p/not.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (d / "p/nothing.png").write_bytes(b"")
    (d / "p/jpeg called.png").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (d / "p/exif.jpg").write_bytes(b"\xff\xd8\xff\xe1\xff\xffExif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 65536)
    (d / "p/segments.jpg").write_bytes(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000)
    (d / "p/restart.jpg").write_bytes(b"\xff\xd8" + b"\xff\xd0" * 500_000)
    (d / "p/gif.gif").write_bytes(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\xf0\0\0" + bytes(6) + b"\x2c" + bytes(4) + struct.pack("<HH", 65535, 65535) + b"\0\x02\x02\x4c\x01\0;")
    (d / "p/bmp.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 2147483647, -2147483648, 1, 24, 0, 0, 0, 0, 0, 0))
    (d / "p/webp.webp").write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\x7f\x2f" + b"\xff" * 40)
    strip = [(256, 4, [30000]), (257, 4, [30000]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (273, 4, [8]), (277, 3, [1]), (278, 4, [30000]), (279, 4, [900_000_000])]
    tiff(d / "p/strip.tif", strip)
    tiff(d / "p/no compression.tif", [(256, 4, [8]), (257, 4, [8]), (258, 3, [8]), (259, 3, [65535]), (262, 3, [1]), (273, 4, [8]), (279, 4, [64])])
    tiff(d / "p/depth.tif", [(256, 4, [8]), (257, 4, [8]), (258, 3, [65535]), (259, 3, [1]), (262, 3, [1]), (273, 4, [8]), (279, 4, [64])])
    tiff(d / "p/samples.tif", [(256, 4, [8]), (257, 4, [8]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (273, 4, [8]), (277, 3, [65535]), (279, 4, [64])])
    tiff(d / "p/tiles of one.tif", [(256, 4, [60000]), (257, 4, [60000]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (277, 3, [1]), (322, 4, [1]), (323, 4, [1]), (324, 4, [8]), (325, 4, [1])])
    tiff(d / "p/tiles of none.tif", [(256, 4, [600]), (257, 4, [600]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (277, 3, [1]), (322, 4, [0]), (323, 4, [0]), (324, 4, [8]), (325, 4, [1])])
    tiff(d / "p/rows of none.tif", [(256, 4, [8]), (257, 4, [8]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (273, 4, [8]), (278, 4, [0]), (279, 4, [64])])
    for p in sorted((d / "p").iterdir()):
        yield Attempt(p.name, ["run", *args, f"p/{p.name}", "-o", f"out {p.name}", "--max-ram", "256M"], codes=USUAL, mib=256)
    yield Attempt("all at once", ["run", *args, "p", "-o", "out all", "--max-ram", "256M"], codes=(1,), mib=256)
    slide = Attempt
    text = (HERE / "recipes" / "discs.toml").read_text()
    for name, more in {"mpp 1e-9": "mpp = 1e-9\nwindow = 256\n", "window 1": "mpp = 0.5\nwindow = 1\n", "mpp nan": "mpp = nan\nwindow = 256\n",
                       "window 2^31": "mpp = 0.5\nwindow = 2147483648\n", "overlap 1": "mpp = 0.5\nwindow = 64\noverlap = 1.0\n"}.items():
        (d / f"{name}.toml").write_text(text + "\n[slide]\n" + more)
        yield slide(f"slide with {name}", ["run", "m.onnx", "p/tiles of one.tif", "--recipe", f"{name}.toml", "-o", f"out s {name}", "--max-ram", "256M"], codes=USUAL, mib=256)


@group
def models(d):
    """`inspect`, `run`, `optimize` and `compare` on models."""
    def one(name, nodes, outputs=("y",), constants=(), dims=("n", 4, "h", "w"), **more):
        (d / name).write_bytes(model(nodes, [info("x", dims)], [info(o, ["a", "b", "c", "d"]) for o in outputs], constants, **more))

    longs = lambda name, v: tensor(name, [len(v)], struct.pack(f"<{len(v)}q", *v), 7)
    w = tensor("w", [4, 4, 3, 3], struct.pack("<144f", *([0.1] * 144)))
    one("cycle.onnx", [node("Add", ["x", "z"], ["y"]), node("Relu", ["y"], ["z"])])
    one("self.onnx", [node("Add", ["x", "y"], ["y"])])
    one("pads.onnx", [node("Conv", ["x", "w"], ["y"], attribute("pads", [2**31, 2**31, 2**31, 2**31]))], constants=[w])
    one("negative pads.onnx", [node("Conv", ["x", "w"], ["y"], attribute("pads", [-2**62, -2**62, -2**62, -2**62]))], constants=[w])
    one("strides.onnx", [node("Conv", ["x", "w"], ["y"], attribute("strides", [0, 0]))], constants=[w])
    one("dilations.onnx", [node("Conv", ["x", "w"], ["y"], attribute("dilations", [2**62, 2**62]))], constants=[w])
    one("group.onnx", [node("Conv", ["x", "w"], ["y"], attribute("group", 0))], constants=[w])
    one("group of -1.onnx", [node("Conv", ["x", "w"], ["y"], attribute("group", -1))], constants=[w])
    one("kernel.onnx", [node("MaxPool", ["x"], ["y"], attribute("kernel_shape", [2**40, 2**40]))])
    one("no kernel.onnx", [node("MaxPool", ["x"], ["y"], attribute("kernel_shape", [0, 0]))])
    one("transposed.onnx", [node("ConvTranspose", ["x", "w"], ["y"], attribute("strides", [2**30, 2**30]))], constants=[w])
    one("expand.onnx", [node("Expand", ["x", "s"], ["y"])], constants=[longs("s", [2**40, 4, 2**20, 2**20])])
    one("tile.onnx", [node("Tile", ["x", "s"], ["y"])], constants=[longs("s", [2**20, 2**20, 2**20, 2**20])])
    one("reshape.onnx", [node("Reshape", ["x", "s"], ["y"])], constants=[longs("s", [-1, -1])])
    one("reshape of min.onnx", [node("Reshape", ["x", "s"], ["y"])], constants=[longs("s", [-(2**63), 2])])
    one("resize.onnx", [node("Resize", ["x", "", "f"], ["y"])], constants=[tensor("f", [4], struct.pack("<4f", 1, 1, 1e20, 1e20))])
    one("resize by nan.onnx", [node("Resize", ["x", "", "f"], ["y"])], constants=[tensor("f", [4], struct.pack("<4f", 1, 1, float("nan"), -1))])
    one("slice.onnx", [node("Slice", ["x", "a", "b", "c", "e"], ["y"])], constants=[longs("a", [-(2**63)]), longs("b", [2**63 - 1]), longs("c", [2]), longs("e", [-(2**63)])])
    one("axes.onnx", [node("ReduceMean", ["x"], ["y"], attribute("axes", [2**40, -(2**40)]))])
    one("same axes.onnx", [node("ReduceMean", ["x"], ["y"], attribute("axes", [2, 2, 2, 2]))])
    one("permutation.onnx", [node("Transpose", ["x"], ["y"], attribute("perm", [0, 0, 0, 0]))])
    one("long permutation.onnx", [node("Transpose", ["x"], ["y"], attribute("perm", list(range(100000))))])
    one("gather.onnx", [node("Gather", ["x", "i"], ["y"])], constants=[longs("i", [2**62, -(2**62)])])
    one("one hot.onnx", [node("OneHot", ["i", "n", "v"], ["y"])], constants=[longs("i", list(range(1000))), longs("n", [2**40]), tensor("v", [2], struct.pack("<2f", 0, 1))])
    one("range.onnx", [node("Range", ["a", "b", "c"], ["y"])], constants=[longs("a", [0]), longs("b", [2**62]), longs("c", [1])])
    one("constant of shape.onnx", [node("ConstantOfShape", ["s"], ["y"])], constants=[longs("s", [2**20, 2**20])])
    one("split.onnx", [node("Split", ["x", "s"], ["y", "z"], attribute("axis", 1))], constants=[longs("s", [2**62, 2**62])])
    one("depth to space.onnx", [node("DepthToSpace", ["x"], ["y"], attribute("blocksize", 2**31))])
    one("epsilon.onnx", [node("InstanceNormalization", ["x", "s", "s"], ["y"], attribute("epsilon", float("nan")))], constants=[tensor("s", [4], bytes(16))])
    one("doubling.onnx", [node("Concat", [f"v{i}" if i else "x"] * 2, [f"v{i + 1}" if i < 59 else "y"], attribute("axis", 2)) for i in range(60)])
    one("constants that double.onnx", [node("Concat", [f"v{i}"] * 2, [f"v{i + 1}" if i < 39 else "y"], attribute("axis", 0)) for i in range(40)], constants=[tensor("v0", [1024], bytes(4096))])
    one("names.onnx", [node("Relu", ["x"], ["y" * 1_000_000])], outputs=("y" * 1_000_000,))
    one("escape.onnx", [node("Frobnicate\x1b[2J\x07", ["x"], ["y"])])
    one("opset.onnx", [node("Relu", ["x"], ["y"])], opset=2**62)
    one("no dims.onnx", [node("Relu", ["x"], ["y"])], dims=())
    one("dims of zero.onnx", [node("Relu", ["x"], ["y"])], dims=(0, 0, 0, 0))
    one("dims of 2^62.onnx", [node("Relu", ["x"], ["y"])], dims=(1, 2**62, 2**62, 1))
    one("negative dims.onnx", [node("Relu", ["x"], ["y"])], dims=(1, -4, 8, 8))
    one("sixty dims.onnx", [node("Relu", ["x"], ["y"])], dims=[2] * 60)
    one("thousand dims.onnx", [node("Relu", ["x"], ["y"])], dims=[1] * 1000)
    one("einsum.onnx", [node("Einsum", ["x", "x"], ["y"], field(5, field(1, "equation") + field(4, "abcd,efgh->abcdefgh") + field(20, 3)))], dims=(64, 64, 64, 64))
    one("nans.onnx", [node("Conv", ["x", "w"], ["y"])], constants=[tensor("w", [4, 4, 3, 3], struct.pack("<f", float("nan")) * 144)])
    for p in sorted(d.glob("*.onnx")):
        yield Attempt(p.name, ["inspect", p.name, "--profile", "--max-ram", "256M"], codes=USUAL, mib=256)
    for name in ("nans.onnx", "pads.onnx", "doubling.onnx"):
        yield Attempt(f"{name}, compared", ["compare", name, name, "--max-ram", "256M"], codes=USUAL, mib=256)
        yield Attempt(f"{name}, optimized", ["optimize", name, "-o", f"o {name}", "--precision", "fp32", "--max-ram", "256M"], codes=USUAL, mib=256)
    for size in ("0", "1000000", "18446744073709551615", "-1", "64x", "x64", "1x1x1x1x1x1", "nan"):
        one("free.onnx", [node("Relu", ["x"], ["y"])])
        yield Attempt(f"size {size}", ["inspect", "free.onnx", f"--size={size}", "--profile", "--max-ram", "256M"], codes=USUAL, mib=256)


@group
def archives(d):
    """`import` and `models import` on archives and checkpoints."""
    def z(name, entries, method=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(d / name, "w", method) as f:
            for n, data in entries:
                f.writestr(n, data)

    z("slip.zip", [("../../../escaped.txt", "x"), ("/abs.txt", "x"), ("..\\..\\w.txt", "x"), ("C:\\x", "x")])
    z("links.zip", [("a", "x")])
    with zipfile.ZipFile(d / "links.zip", "w") as f:
        i = zipfile.ZipInfo("link")
        i.external_attr = 0o120777 << 16
        f.writestr(i, "/etc/passwd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        z("twice.zip", [("a/data.pkl", b"\x80\x02}."), ("a/data.pkl", b"\x80\x02].")])
    z("zeros.zip", [(f"d/{i}", bytes(8 << 20)) for i in range(40)])
    z("many.zip", [(f"d/{i}", b"") for i in range(65000)], zipfile.ZIP_STORED)
    z("deep.zip", [("/".join(["d"] * 5000), b"x")])
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as f:
        f.writestr("z", bytes(32 << 20))
    z("nested.zip", [("nested.zip", inner.getvalue())])
    data = bytearray((d / "twice.zip").read_bytes())
    struct.pack_into("<I", data, len(data) - 6, 0xfffffff0)
    (d / "directory beyond.zip").write_bytes(data)
    (d / "empty.zip").write_bytes(b"PK\5\6" + bytes(18))

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch owned",))

    z("evil.pt", [("a/data.pkl", pickle.dumps(Evil(), 2)), ("a/version", "3")])
    (d / "evil bare.pt").write_bytes(pickle.dumps(Evil(), 2))
    for name, code in {"memo.pt": b"\x80\x02" + b"".join(b"(r" + struct.pack("<I", 0xffffffff - i) for i in range(10)) + b".", "tuple.pt": b"\x80\x02" + b")\x85" * 200_000 + b".",
                       "dup.pt": b"\x80\x02]" + b"2a" * 100_000 + b".", "long.pt": b"\x80\x02\x8b" + struct.pack("<i", 0x7fffffff) + b"1.",
                       "stop.pt": b"\x80\x02.", "frames.pt": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
                       "doubling lists.pt": b"\x80\x02](" + b"q\x00" + b"".join(b"(h" + bytes([i]) + b"h" + bytes([i]) + b"tq" + bytes([i + 1]) for i in range(40)) + b"e."}.items():
        z(name, [("a/data.pkl", code), ("a/version", "3")])
    for name, head in {"length.safetensors": struct.pack("<Q", 2**63), "short.safetensors": struct.pack("<Q", 8) + b"{}",
                       "overlap.safetensors": None, "negative.safetensors": None, "huge.safetensors": None, "deep.safetensors": None}.items():
        if head is None:
            text = {"overlap": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}},
                    "negative": {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [8, 0]}},
                    "huge": {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**63]}}}.get(name.split(".")[0])
            text = json.dumps(text).encode() if text else b'{"a":' * 100_000
            head = struct.pack("<Q", len(text)) + text + bytes(16)
        (d / name).write_bytes(head)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }"
    npy = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    z("shape.npz", [("a.npy", npy)])
    z("object.npz", [("a.npy", npy.replace(b"'<f4'", b"'|O' ") + pickle.dumps(Evil(), 2))])
    (d / "hdf.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096)
    (d / "hdf zeros.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4096))
    before = sorted(p.name for p in d.parent.iterdir())

    def outside():
        bad = [p for p in (d / "owned", d.parent / "escaped.txt", pathlib.Path("/escaped.txt"), pathlib.Path("/abs.txt")) if p.exists()]
        return [f"{p} was made" for p in bad] + ([] if sorted(p.name for p in d.parent.iterdir()) == before else ["files beside the folder changed"])

    for p in sorted(p for p in d.iterdir() if p.is_file()):
        yield Attempt(f"import {p.name}", ["import", p.name, "-o", f"o {p.name}.onnx", "--max-ram", "256M"], mib=256, after=outside)
        yield Attempt(f"models import {p.name}", ["models", "import", p.name, "--arch", "deepbet", "-o", f"o2 {p.name}.onnx", "--max-ram", "256M"], mib=256, after=outside)
        yield Attempt(f"run {p.name}", ["run", p.name, str(HERE / "assets" / "colin27.nii.gz"), "-o", f"o3 {p.name}", "--max-ram", "256M"], mib=256, after=outside)


@group
def folders_of_frameworks(d):
    """`import`, `inspect` and `run` on folders that say they are of a framework."""
    def folder(name, files):
        for n, text in files.items():
            p = d / name / n
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(text if isinstance(text, bytes) else text.encode())

    deep = '{"a":' * 50_000
    plans = {"configurations": {"3d_fullres": {"patch_size": [2**40] * 3, "spacing": [1, 1, 1], "network_arch_class_name": "UNet"}}}
    dataset = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    for name, files in {
        "nn deep": {"plans.json": deep, "dataset.json": deep, "fold_0/checkpoint_final.pth": b"x"},
        "nn empty": {"plans.json": "{}", "dataset.json": "{}", "fold_0/checkpoint_final.pth": b""},
        "nn huge": {"plans.json": json.dumps(plans), "dataset.json": json.dumps(dataset), "fold_0/checkpoint_final.pth": b"PK\5\6" + bytes(18)},
        "nn labels": {"plans.json": json.dumps(plans), "dataset.json": json.dumps(dict(dataset, labels={f"l{i}": i for i in range(70000)})), "fold_0/checkpoint_final.pth": b""},
        "nn names": {"plans.json": json.dumps(plans), "dataset.json": json.dumps(dict(dataset, labels={"../../x": 1, "\x1b[2J": 2})), "fold_0/checkpoint_final.pth": b""},
        "gandlf bomb": {"config.yaml": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: &e [*d,*d]\nf: &f [*e,*e]\ng: &g [*f,*f]\n" * 3, "unet_best.pth.tar": b""},
        "gandlf alias": {"config.yaml": "a: &a\n  b: *a\n", "unet_best.pth.tar": b""},
        "gandlf tags": {"config.yaml": "!!python/object/apply:os.system ['touch owned']\n", "unet_best.pth.tar": b""},
        "monai code": {"configs/inference.json": json.dumps({"network_def": {"_target_": "os.system", "command": "touch owned"}, "network": "$__import__('os').system('touch owned')"}), "models/model.pt": b""},
        "monai loop": {"configs/inference.json": json.dumps({"a": "@b", "b": "@a", "network_def": "@a", "network": "@network"}), "models/model.pt": b""},
        "monai deep": {"configs/inference.json": deep, "models/model.pt": b""},
    }.items():
        folder(name, files)
    (d / "loop").mkdir()
    os.symlink("..", d / "loop" / "loop")
    after = lambda: [f"{p} was made" for p in (d / "owned",) if p.exists()]
    for p in sorted(p for p in d.iterdir() if p.is_dir()):
        yield Attempt(f"import {p.name}", ["import", p.name, "-o", f"{p.name}.onnx", "--max-ram", "256M"], mib=256, after=after)
        yield Attempt(f"inspect {p.name}", ["inspect", p.name, "--max-ram", "256M"], mib=256, after=after)


@group
def tables(d):
    """`evaluate`, `run` and `plan` on tables and manifests."""
    args = discs(d)
    picture_case(d)
    rows = {
        "columns": "file,label\n" + "," * 200_000 + "\n", "quotes": 'file,label\n"' + "x" * 5_000_000, "nul": "file,label\na\0b,1\n",
        "lines": "file,label\n" + "\n" * 2_000_000, "same": "file,label\n" + "a.png,disc\n" * 50_000, "header": "file,file,label,label\na,b,c,d\n",
        "formula": 'file,label\n=cmd|\'/c calc\'!A1,1\n@SUM(1),2\n', "nan": "file,label,p_a,p_b\na,a,nan,inf\n", "numbers": "file,label,p_a,p_b\na,a,1e400,-1e400\n",
        "utf-16 half": "\ufeff", "one cell": "x",
    }
    for name, text in rows.items():
        (d / f"{name}.csv").write_text(text)
        yield Attempt(f"evaluate {name}", ["evaluate", f"{name}.csv", f"{name}.csv", "--max-ram", "256M"], codes=USUAL, mib=256)
        yield Attempt(f"run {name}", ["run", *args, f"{name}.csv", "-o", f"out {name}", "--max-ram", "256M"], codes=USUAL, mib=256)
        yield Attempt(f"plan {name}", ["plan", *args, f"{name}.csv", "--max-ram", "256M"], codes=USUAL, mib=256)
    paths = {"absolute": "/etc/passwd", "parent": "../../../../etc/passwd", "device": "/dev/zero", "self": "self.csv", "folder": "in", "empty": "",
             "url": "http://127.0.0.1:1/x.png", "nul": "a\0.png", "long": "x" * 5000, "proc": "/proc/self/mem"}
    for name, path in paths.items():
        (d / f"{name}.csv").write_text(f"name,tile\ncase,{path}\n")
        yield Attempt(f"a case that is {name}", ["run", *args, f"{name}.csv", "-o", f"out p {name}"], seconds=20)
    for name in ("..", "a/b", "../../x", "=1+1", "\x1b[2J", "con", "a" * 300, ".hidden", "-o", " "):
        (d / "named.csv").write_text(f'name,tile\n"{name}",in/a.png\n')
        yield Attempt(f"a case called {name[:8]!r}", ["run", *args, "named.csv", "-o", f"out named/{hashlib.md5(name.encode()).hexdigest()}"], codes=USUAL)


@group
def results(d):
    """`report`, `merge`, `view`, `run` and `evaluate` on folders of results that others made."""
    args = discs(d)
    picture_case(d)
    deep = "[" * 200_000
    texts = {"deep": deep, "empty": "", "null": "null", "list": "[]", "number": "1e999", "nan": "NaN", "cut": '{"version":1,"study":', "text": '"' + "x" * (20 << 20) + '"'}
    for name, text in texts.items():
        f = d / f"r {name}"
        f.mkdir()
        (f / "results.json").write_text(text)
        (f / "cases.csv").write_text(text[:100_000])
        (f / "runs.json").write_text(text)
        (f / "a_ampoule.json").write_text(text)
        yield Attempt(f"report {name}", ["report", f"r {name}", "-o", f"{name}.html", "--max-ram", "256M"], mib=256)
        yield Attempt(f"merge {name}", ["merge", f"r {name}", "-o", f"m {name}", "--max-ram", "256M"], codes=USUAL, mib=256)
        yield Attempt(f"run into {name}", ["run", *args, "in", "-o", f"r {name}", "--max-ram", "256M"], codes=USUAL, mib=256)
    yield Attempt("report of nothing", ["report", ".", "-o", "n.html"])
    yield Attempt("report of the root", ["report", "/", "-o", "n.html"])
    yield Attempt("report over a folder", ["report", "r null", "-o", "in"])
    yield Attempt("merge of nothing", ["merge", "in", "-o", "m nothing"])
    yield Attempt("merge of what is not there", ["merge", "nowhere", "-o", "m nowhere"])
    yield Attempt("merge of the same twice", ["merge", "in", "in", "-o", "m twice"])
    yield Attempt("view of nothing", ["view", "in", "--no-open"], seconds=20)
    yield Attempt("view of what is not there", ["view", "nowhere", "--no-open"], seconds=20)
    (d / "locked").mkdir()
    (d / "locked" / "a_ampoule.json.ampoule-lock").write_text("x" * 1_000_000)
    yield Attempt("run beside a strange lock", ["run", *args, "in", "-o", "locked"], codes=USUAL)
    for i, name in enumerate(("cases.csv", "runs.json", "failures.csv", "a_mask.png", "a_ampoule.json", "qc.html")):
        f = d / f"l{i}"
        f.mkdir()
        os.symlink("/etc/passwd", f / name)
        yield Attempt(f"a link called {name}", ["run", *args, "in", "-o", f"l{i}", "--overwrite"], codes=USUAL)
        (d / f"f{i}" / name).mkdir(parents=True)
        yield Attempt(f"a folder called {name}", ["run", *args, "in", "-o", f"f{i}", "--overwrite"], codes=USUAL)


@group
def studies(d):
    """`study`, `listen` and `optimize` with files that ask for too much."""
    begin = f'version = 1\nname = "x"\n'
    profile = '[[profile]]\nname = "p"\nthreads = 1\n'
    variant = '[[variant]]\nname = "original"\nkind = "original"\n'
    work = f'[[workload]]\nname = "w"\nmodel = "{QUICK}/discs.onnx"\nrecipe = "{DISCS}"\ntest = "{QUICK}/test"\ntruth = "{QUICK}/truth"\n'
    for name, text in {
        "no work": begin, "empty": "", "deep": "a = " + "[" * 50_000, "rounds": begin + "rounds = 18446744073709551615\n" + profile + variant,
        "rounds of -1": begin + "rounds = -1\n" + profile + variant + work, "seconds": begin + "seconds = nan\n" + profile + variant + work,
        "seconds of infinity": begin + "seconds = inf\n" + profile + variant + work, "threads": begin + '[[profile]]\nname = "p"\nthreads = 1000000000\n' + variant + work,
        "no threads": begin + '[[profile]]\nname = "p"\nthreads = 0\n' + variant + work, "names": begin + '[[profile]]\nname = "../../p"\nthreads = 1\n' + variant.replace('"original"\nkind', '"../../v"\nkind') + work.replace('"w"', '"../../w"'),
        "the same twice": begin + profile * 2 + variant * 2 + work * 2, "thousand variants": begin + profile + variant * 1000 + work,
        "python": begin + profile + '[[variant]]\nname = "p"\nkind = "pytorch"\npython = "/bin/false"\n' + variant + work,
        "device": begin + profile + variant + work.replace(f"{QUICK}/discs.onnx", "/dev/zero"),
        "margin": begin + profile + variant + work + "margins = { dice = nan }\n",
    }.items():
        (d / f"{name}.toml").write_text(text)
        yield Attempt(f"study {name}", ["study", f"{name}.toml", "-o", f"out {name}"], codes=USUAL, seconds=90)
        yield Attempt(f"listen {name}", ["listen", f"{name}.toml", "--check"], seconds=20)
    (d / "port.toml").write_text('[node]\ntitle = "' + "X" * 1000 + '"\nport = 99999999\n')
    yield Attempt("listen on a strange port", ["listen", "port.toml", "--check"], seconds=20)
    base = ["optimize", QUICK / "discs.onnx", "--recipe", DISCS, "--calibrate", QUICK / "calibrate"]
    for name, more in {
        "drop nan": ["--max-drop", "dice=nan"], "drop of -1": ["--max-drop", "dice=-1"], "drop of infinity": ["--max-drop", "dice=inf"],
        "strange metric": ["--max-drop", "beauty=1"], "no such folder": ["--validate", "nowhere"], "validation that calibrates": ["--validate", QUICK / "calibrate", "--truth", QUICK / "truth", "--max-drop", "dice=0.1"],
        "groups without end": ["--groups", "{" * 1000],
    }.items():
        yield Attempt(f"optimize {name}", [*base, *more, "-o", f"o {name}.onnx"], codes=(1, 2, 3, 4), seconds=120)
    shutil.copyfile(QUICK / "discs.onnx", d / "own.onnx")
    own = hashlib.sha256((d / "own.onnx").read_bytes()).hexdigest()
    kept = lambda: [] if hashlib.sha256((d / "own.onnx").read_bytes()).hexdigest() == own else ["the model was overwritten"]
    yield Attempt("optimize onto the model", ["optimize", "own.onnx", "--recipe", DISCS, "--calibrate", QUICK / "calibrate", "-o", "own.onnx"], after=kept)
    yield Attempt("optimize into a folder", [*base, "-o", d])
    yield Attempt("optimize into what is not there", [*base, "-o", "no/such/folder/x.onnx"], codes=USUAL, seconds=120)


@group
def clumsy(d):
    """Commands as people mistype them."""
    args = discs(d)
    image = picture_case(d)
    own = hashlib.sha256(image.read_bytes()).hexdigest()
    kept = lambda: [] if hashlib.sha256(image.read_bytes()).hexdigest() == own else ["the input was overwritten"]
    nifti(d / "volume.nii")
    (d / "empty").mkdir()
    (d / "words.txt").write_text("these are words\n")
    (d / "in" / "notes.txt").write_text("notes\n")
    locked = d / "locked"
    locked.mkdir()
    for name, command in {
        "nothing": [], "no inputs": ["run", "m.onnx", "-o", "o"], "no output": ["run", *args, "in"], "swapped": ["run", "in/a.png", "m.onnx", "-o", "o1"],
        "a model for an input": ["run", *args, "m.onnx", "-o", "o2"], "a folder for a model": ["run", "in", "in", "-o", "o3"], "a text for a model": ["run", "words.txt", "in", "-o", "o4"],
        "a text for an input": ["run", *args, "words.txt", "-o", "o5"], "an empty folder": ["run", *args, "empty", "-o", "o6"], "a volume for a photo": ["run", *args, "volume.nii", "-o", "o7"],
        "a model for a recipe": ["run", "m.onnx", "in", "--recipe", "m.onnx", "-o", "o8"], "no such recipe": ["run", "m.onnx", "in", "--recipe", "nowhere.toml", "-o", "o9"], "no recipe": ["run", "m.onnx", "in", "-o", "o10"],
        "no such model": ["run", "nowhere.onnx", "in", "-o", "o11"], "no such name": ["run", "deepbett", "in", "-o", "o12"], "no such input": ["run", *args, "nowhere", "-o", "o13"],
        "output is the input": ["run", *args, "in/a.png", "-o", "in/a.png"], "output is a file": ["run", *args, "in", "-o", "words.txt"], "mask over the input": ["run", *args, "in/a.png", "-m", "in/a.png", "-o", "o15"],
        "shard 0": ["run", *args, "in", "-o", "o16", "--shard", "0/4"], "shard 5 of 4": ["run", *args, "in", "-o", "o17", "--shard", "5/4"], "shard of none": ["run", *args, "in", "-o", "o18", "--shard", "1/0"],
        "shard huge": ["run", *args, "in", "-o", "o19", "--shard", "1/99999999999999999999"], "ram of nothing": ["run", *args, "in", "-o", "o20", "--max-ram", "0"], "ram of a word": ["run", *args, "in", "-o", "o21", "--max-ram", "lots"],
        "negative ram": ["run", *args, "in", "-o", "o22", "--max-ram=-1G"], "ram beyond": ["run", *args, "in", "-o", "o23", "--max-ram", "99999999999999999999G"], "threads of -1": ["run", *args, "in", "-o", "o24", "--threads=-1"],
        "labels that are not": ["run", *args, "in", "-o", "o25", "--labels", "moon"], "fold of a word": ["run", *args, "in", "-o", "o26", "--fold", "words.txt"], "frame of a photo": ["run", *args, "in/a.png", "-o", "o27", "--frame", "3"],
        "audit without original": ["run", *args, "in", "-o", "o28", "--audit", "0"], "channel nonsense": ["run", *args, "in", "-o", "o29", "--channel", "=="], "mpp of 0": ["run", *args, "in", "-o", "o30", "--mpp", "0"],
        "evaluate a photo": ["evaluate", "in/a.png", "volume.nii"], "evaluate words": ["evaluate", "words.txt", "words.txt"], "evaluate nothing": ["evaluate", "empty", "empty"],
        "compare with an image": ["compare", "m.onnx", "in/a.png"], "bench an image": ["bench", "in/a.png"], "serve an image": ["serve", "in/a.png", "--port", "0", "--no-grpc"], "serve on a strange host": ["serve", "m.onnx", "--host", "999.1.1.1"],
        "serve to all without a token": ["serve", "m.onnx", "--host", "0.0.0.0", "--port", "0"], "report of a model": ["report", "m.onnx", "-o", "x.html"], "merge a file": ["merge", "m.onnx", "-o", "m1"],
        "plan of nothing": ["plan", *args, "empty"], "plan of words": ["plan", *args, "words.txt"], "import an image": ["import", "in/a.png", "-o", "x.onnx"], "import nothing": ["import", "empty", "-o", "x.onnx"],
        "generate for an image": ["generate", "recipe", "in/a.png"], "models import of words": ["models", "import", "words.txt", "--arch", "deepbet", "-o", "x.onnx"], "unknown architecture": ["models", "import", "words.txt", "--arch", "moon", "-o", "x.onnx"],
        "isa of a word": ["inspect", "m.onnx", "--isa", "moon"], "inspect words": ["inspect", "words.txt"], "inspect a folder": ["inspect", "in"],
    }.items():
        yield Attempt(name, command, seconds=30, after=kept)
    odd = d / "odd"
    odd.mkdir()
    for name in (b"caf\xe9.png", b"new\nline.png", b"\x1b]0;x\x07.png", b"-o.png", b" .png", b"a" * 250 + b".png", "ü\u202egnp.png".encode(), b"%s%n.png", b"$(touch owned).png", b"';--.png"):
        shutil.copyfile(image, os.path.join(os.fsencode(odd), name))
    yield Attempt("names", ["run", *args, "odd", "-o", "o names"], codes=(0, 1), after=kept)
    yield Attempt("evaluate odd names", ["evaluate", "o names", "o names"], codes=USUAL)
    yield Attempt("plan of odd names", ["plan", *args, "odd"], codes=(0, 1))
    yield Attempt("output inside the input", ["run", *args, "in", "-o", "in/out"], codes=(0, 1, 2, 3), after=kept)
    yield Attempt("output inside the input, again", ["run", *args, "in", "-o", "in/out"], codes=(0, 1, 2, 3), after=kept)
    yield Attempt("output is the input's folder", ["run", *args, "in/a.png", "-o", "in"], codes=(0, 1, 2, 3), after=kept)
    yield Attempt("home that is not there", ["run", *args, "in/a.png", "-o", "o home"], codes=(0, 1), env={"HOME": "/nowhere", "XDG_CACHE_HOME": "/nowhere", "TMPDIR": "/nowhere"})
    yield Attempt("words on standard input", ["run", *args, "-", "-o", "o stdin"], stdin=b"x" * 1000)
    yield Attempt("strange environment", ["inspect", "m.onnx"], codes=(0, 2), env={"AMPOULE_ISA": "moon", "AMPOULE_MODELS": "/dev/null", "LANG": "\udcff"})


@group
def service(d):
    """`serve`: raw bytes at its port; it must answer a plain question after each."""
    args = discs(d)
    yield ("serve", ["serve", "m.onnx", "--recipe", DISCS, "--port", "0", "--no-grpc", "--max-ram", "400M", "--patience", "2"], {
        "nothing": b"", "garbage": os.urandom(4096), "no host": b"GET / HTTP/1.1\r\n\r\n", "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "long line": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "many headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(50_000)) + b"\r\n",
        "smuggled": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", "negative length": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        "length of 2^64": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 18446744073709551616\r\n\r\n", "chunk of 2^64": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "parent": b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "encoded parent": b"GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "nul": b"GET /a%00b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "absolute": b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "trace": b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: secret\r\n\r\n",
        "deep json": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, "shape of 2^60": None, "negative shape": None, "nan data": None, "names": None, "binary beyond": None, "empty inputs": None, "sixteen million inputs": None,
        "http/2 frames": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x04\xff\xff\xff\xff\xff" * 1000, "settings flood": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 20_000,
        "resets": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"".join(b"\0\0\1\1\4" + struct.pack(">I", 2 * i + 1) + b"\x82" + b"\0\0\4\3\0" + struct.pack(">I", 2 * i + 1) + b"\0\0\0\x08" for i in range(20_000)),
        "upload without boundary": b"POST /cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc", "upload of parts": b"POST /cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 340000\r\n\r\n" + b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x\"\r\n\r\n\r\n" * 5000,
        "websocket": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n", "range": b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=" + b"0-1," * 5000 + b"\r\n\r\n",
    })


BODIES = {
    "shape of 2^60": {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1152921504606846976, 3], "data": [1]}]},
    "negative shape": {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8], "data": [1]}]},
    "nan data": {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 1, 1], "data": ["nan", None, {}]}]},
    "names": {"inputs": [{"name": "\x1b[2J<script>", "datatype": "<b>", "shape": [1], "data": [1]}]},
    "binary beyond": {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 8, 8], "parameters": {"binary_data_size": 2**63}}]},
    "empty inputs": {"inputs": []},
    "sixteen million inputs": {"inputs": [{"name": "image"}] * 200_000},
}
