"""Files for `scripts/attack.py`, made byte by byte."""

import gzip
import pathlib
import shutil
import struct
import zlib

HERE = pathlib.Path(__file__).resolve().parent.parent
QUICK = HERE / "assets" / "quick"
DISCS = str(HERE / "recipes" / "discs.toml")


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 127
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def field(number, value):
    """A protobuf field: bytes, text or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, raw, kind=1):
    return b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + field(9, raw)


def info(name, dims, kind=1):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def attribute(name, value):
    if isinstance(value, list):
        return field(5, field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7))
    if isinstance(value, float):
        return field(5, field(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, 1))
    return field(5, field(1, name) + field(3, value) + field(20, 2))


def node(op, inputs, outputs, *attributes):
    return b"".join([*(field(1, i) for i in inputs), *(field(2, o) for o in outputs), field(4, op), *attributes])


def model(nodes, inputs, outputs, constants=(), meta=(), opset=17):
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g") + b"".join(field(5, c) for c in constants)
    graph += b"".join(field(11, i) for i in inputs) + b"".join(field(12, o) for o in outputs)
    entries = b"".join(field(14, field(1, k) + field(2, v)) for k, v in meta)
    return field(1, 8) + field(7, graph) + field(8, field(2, opset)) + entries


RECIPE = """version = 2
[model]
name = "m"
task = "segmentation"
[[input]]
name = "image"
kind = "volume"
{more}
[[network]]
{network}
[[label]]
name = "ground"
[[label]]
name = "thing"
"""


def segmenter(path, more="", network='activation = "softmax"', axes=3, recipe=None, bias=(0, 1)):
    """A convolution of one pixel from one channel to two, with a recipe inside."""
    dims = ["n", 1, *"dhw"[3 - axes:]]
    weights = struct.pack("<2f", 0.01, -0.01)
    text = RECIPE.format(more=more, network=network) if recipe is None else recipe
    path.write_bytes(model(
        [node("Conv", ["image", "w", "b"], ["scores"])], [info("image", dims)], [info("scores", ["n", 2, *dims[2:]])],
        [tensor("w", [2, 1] + [1] * axes, weights), tensor("b", [2], struct.pack("<2f", *bias))], [("ampoule.recipe", text)]))
    return path


def nifti(path, dims=(8, 8, 8), kind=16, data=None, **changes):
    """A NIfTI-1 file; `changes` are (offset, format, values) by any names."""
    h = bytearray(352)
    struct.pack_into("<i", h, 0, 348)
    struct.pack_into("<8h", h, 40, len(dims), *dims, *[1] * (7 - len(dims)))
    bits = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 128: 24, 32: 64, 1024: 64, 2304: 32}.get(kind, 8)
    struct.pack_into("<2h", h, 70, kind, bits)
    struct.pack_into("<8f", h, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", h, 108, 352)
    struct.pack_into("<2f", h, 112, 1, 0)
    h[123] = 2
    struct.pack_into("<2h", h, 252, 0, 1)
    for row, at in enumerate((280, 296, 312)):
        v = [0.0] * 4
        v[row] = 1.0
        struct.pack_into("<4f", h, at, *v)
    h[344:348] = b"n+1\0"
    for at, form, values in changes.values():
        struct.pack_into(form, h, at, *values)
    size = bits // 8
    for d in dims:
        size *= d
    body = bytes(h) + (data if data is not None else bytes(i * 37 % 64 for i in range(size)) if size < 1 << 24 else b"")
    path.write_bytes(gzip.compress(body, 1) if path.suffix == ".gz" else body)
    return path


def png(path, side=(8, 8), depth=8, colour=2, body=None, chunks=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    w, h = side
    planes = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = b"".join(b"\0" + bytes((x * 7 + y) % 256 for x in range(w * planes * depth // 8)) for y in range(h))
    data = zlib.compress(rows) if body is None else body
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def tiff(path, entries, data=b"", big=False):
    """A TIFF of one directory; entries are (tag, type, values)."""
    size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 16: 8}
    form = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
    out = bytearray(b"II*\0" + struct.pack("<I", 8))
    out += struct.pack("<H", len(entries))
    extra, at = bytearray(), 8 + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = b"".join(struct.pack("<" + form[kind], v) for v in values)
        if len(packed) <= 4:
            place = packed.ljust(4, b"\0")
        else:
            place = struct.pack("<I", at + len(extra))
            extra += packed
        out += struct.pack("<HHI", tag, kind, len(packed) // size[kind]) + place
    path.write_bytes(bytes(out) + struct.pack("<I", 0) + bytes(extra) + data)
    return path


def picture_case(d, name="in/a.png"):
    p = d / name
    p.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sorted((QUICK / "test").glob("*.png"))[0], p)
    return p


def discs(d):
    shutil.copyfile(QUICK / "discs.onnx", d / "m.onnx")
    return ["m.onnx", "--recipe", DISCS]
