"""Odd files of hospitals and laboratories for `scripts/attack.py`: valid or nearly so, each read right or refused.

What a result must be is computed by nibabel, SimpleITK, pydicom and Pillow; without them (scripts/oracles.sh) these groups are
skipped. A wrong result with exit code 0 is what they look for.
"""

import bz2
import gzip
import itertools
import shutil
import struct

import nibabel
import numpy as np
import SimpleITK

from attack_files import RECIPE, attribute, info, model, nifti, node, tensor
from attack_groups import Attempt

BELOW = 50
ANY = (0, 1, 2, 3, 5)


def looker(path, recipe=None, more=""):
    """A network that labels a voxel where its neighbour one to the right (x + 1 in the tensor) is below 50."""
    weights = np.zeros((2, 1, 1, 1, 3), np.float32)
    weights[:, 0, 0, 0, 2] = 0.01, -0.01
    text = RECIPE.format(more=more, network='activation = "none"') if recipe is None else recipe
    path.write_bytes(model(
        [node("Conv", ["image", "w", "b"], ["scores"], attribute("pads", [0, 0, 1, 0, 0, 1]))],
        [info("image", ["n", 1, "d", "h", "w"])], [info("scores", ["n", 2, "d", "h", "w"])],
        [tensor("w", [2, 1, 1, 1, 3], weights.tobytes()), tensor("b", [2], struct.pack("<2f", 0, 2 * 0.01 * BELOW))],
        [("ampoule.recipe", text)]))
    return path


def seen(values):
    """What `looker` must make of values whose axes are x, y, z."""
    return values[1:] < BELOW


def same(out, found, wanted, affine, margin=1e-3):
    """What is wrong with a mask that was written, given the labels (x, y, z, the last x left out) and affine of the input."""
    if not found.is_file():
        return [f"{found.name} is not there: {sorted(p.name for p in out.rglob('*'))[:8]}"]
    image = nibabel.load(found)
    labels = np.asarray(image.dataobj)
    wrong = []
    if labels.shape != (wanted.shape[0] + 1, *wanted.shape[1:]):
        return [f"the mask is {labels.shape}"]
    if not np.allclose(image.affine, affine, atol=margin * max(1, np.abs(affine).max() / 100)):
        wrong.append(f"the mask lies elsewhere: {image.affine.tolist()}, not {affine.tolist()}")
    off = (labels[:-1] > 0) != wanted
    if off.any():
        wrong.append(f"{off.sum()} of {off.size} voxels are wrong")
    return wrong


def numbers(dims, seed=1, low=0, high=100):
    """Values of which about half are below 50, none within 0.5 of it."""
    v = np.random.default_rng(seed).integers(low, high, dims)
    return np.where(v == BELOW, BELOW + 3, v)


class Folder:
    """Files that one run takes, each with the result that it must have, or without one: it may then be refused."""

    def __init__(self, d, name, network="m.onnx"):
        self.place, self.out, self.network, self.each = d / name, d / f"out {name}", network, {}
        self.name = name
        self.place.mkdir(parents=True, exist_ok=True)

    def add(self, path, wanted, affine, may_fail=False, must_fail=False, margin=1e-3):
        stem = path.name
        for ending in (".gz", ".nii", ".hdr", ".img", ".nrrd", ".mha", ".mhd", ".mgh", ".mgz"):
            stem = stem.removesuffix(ending)

        def right():
            found = [p for p in (self.out / f"{stem}_mask.nii", self.out / f"{stem}_mask.nii.gz") if p.is_file()]
            if must_fail:
                return ["it was not refused"] if found else []
            if not found:
                table = self.out / "failures.csv"
                told = table.is_file() and path.name in table.read_text()
                return [] if may_fail and told else ["it was refused: " + said(table, path.name)]
            return same(self.out, found[0], wanted, affine, margin)

        self.each[path.name] = right

    def attempt(self, *args):
        return Attempt(self.name, ["run", self.network, self.place.name, "-o", self.out.name, *args], codes=(0, 1), each=self.each, seconds=300, most=60_000)


def said(table, name):
    lines = table.read_text().splitlines() if table.is_file() else []
    return next((x for x in lines if name in x), "without a word")


def odd_volumes(d):
    """`run` on odd volumes, against nibabel and SimpleITK."""
    looker(d / "m.onnx")
    looker(d / "ras.onnx", more='[[preprocess]]\nstep = "orient"\nto = "RAS"')
    for make in (number_types, orientations, forms, axes, other_formats):
        yield from make(d)


def saved(place, name, data, affine=None, ending="nii", change=None):
    image = nibabel.Nifti1Image(data, np.diag([2, 2, 3, 1.0]) if affine is None else affine)
    if change:
        change(image)
    path = place / f"{name}.{ending}".replace(" ", "_")
    nibabel.save(image, path)
    return path


PLAIN = np.diag([2, 2, 3, 1.0])
OBLIQUE = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([1, 2, 3]), [5, 6, 7])
V = numbers((7, 6, 5)).astype(np.float32)


def number_types(d):
    """Every number type in both byte orders, with and without a slope."""
    f = Folder(d, "types")
    kinds = {"i1": 256, "u1": 2, "i2": 4, "u2": 512, "i4": 8, "u4": 768, "i8": 1024, "u8": 1280, "f4": 16, "f8": 64}
    for order, (kind, code) in itertools.product("<>", kinds.items()):
        for slope, inter in ((0, 0), (1, 0), (-2, 120), (0.5, -3), (float("nan"), 0), (0, 7)):
            v = numbers((7, 6, 5), code)
            h = bytearray(nifti(d / "x.nii", (7, 6, 5), code, b"").read_bytes())
            struct.pack_into("<h", h, 72, np.dtype(kind).itemsize * 8)
            struct.pack_into("<2f", h, 112, slope, inter)
            if order == ">":
                h = bytearray(swapped(h))
            path = f.place / f"{kind}{'b' if order == '>' else 'l'}_{slope}_{inter}.nii"
            path.write_bytes(bytes(h) + v.astype(order + kind).tobytes(order="F"))
            image = nibabel.load(path)
            values = np.asarray(image.get_fdata())
            assert np.abs(values - BELOW).min() > 1e-6 or slope not in (0, 1)
            f.add(path, seen(values), image.affine)
    yield f.attempt()


def orientations(d):
    """Every orientation, turned to RAS for the network."""
    f = Folder(d, "orientations", "ras.onnx")
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.zeros((4, 4))
            for axis in range(3):
                affine[order[axis], axis] = signs[axis] * (1.5, 2, 3)[axis]
            affine[:, 3] = 10, -20, 30, 1
            path = saved(f.place, "o" + "".join(map(str, order)) + "".join("p" if s > 0 else "n" for s in signs), V, affine)
            stored = nibabel.io_orientation(affine)
            canonical = nibabel.apply_orientation(V, stored)
            # At the right edge the neighbour is padding, 0.
            wanted = np.ones(canonical.shape, bool)
            wanted[:-1] = seen(canonical)
            back = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), stored)
            f.add(path, nibabel.apply_orientation(wanted, back)[:-1], affine)
    yield f.attempt()


def forms(d):
    """sform and qform that disagree, units."""
    f = Folder(d, "forms")
    other = np.diag([3.0, 2, 1, 1])
    for name, (s, scode, q, qcode) in {"both_other": (OBLIQUE, 2, other, 1), "q_only": (OBLIQUE, 0, other, 1), "s_only": (OBLIQUE, 1, other, 0),
                                       "neither": (OBLIQUE, 0, other, 0), "talairach": (OBLIQUE, 3, OBLIQUE, 3)}.items():
        def change(image, s=s, scode=scode, q=q, qcode=qcode):
            image.set_sform(s, scode)
            image.set_qform(q, qcode)
        path = saved(f.place, name, V, OBLIQUE, change=change)
        f.add(path, seen(V), nibabel.load(path).affine)
    for factor, unit in ((1, 0), (0.001, 1), (1000, 3)):
        def change(image, unit=unit):
            image.header["xyzt_units"] = unit
        path = saved(f.place, f"unit{unit}", V, np.diag([2 * factor, 2 * factor, 3 * factor, 1]), change=change)
        f.add(path, seen(V), nibabel.load(path).affine, margin=1e-6 * factor)
    yield f.attempt()


def axes(d):
    """Numbers of axes, odd types, pairs, extensions, values that are not finite, files cut short."""
    f = Folder(d, "axes")
    v = V
    f.add(saved(f.place, "t1", v[..., None]), seen(v), PLAIN)
    four = numbers((7, 6, 5, 4), 9).astype(np.int16)
    f.add(saved(f.place, "t4", four), None, None, must_fail=True)
    f.add(saved(f.place, "vec", numbers((7, 6, 5, 1, 3)).astype(np.float32)), None, None, must_fail=True)
    f.add(saved(f.place, "five", v[..., None, None]), seen(v), PLAIN, may_fail=True)
    f.add(saved(f.place, "flat", v[:, :, :1]), seen(v[:, :, :1]), PLAIN, may_fail=True)
    for kind in (np.complex64, np.complex128):
        f.add(saved(f.place, np.dtype(kind).name, v.astype(kind)), None, None, must_fail=True)
    h = bytearray(nifti(d / "x.nii", (7, 6, 5), 1536, b"").read_bytes())
    struct.pack_into("<h", h, 72, 128)
    (f.place / "float128.nii").write_bytes(bytes(h) + v.astype(np.longdouble).tobytes(order="F"))
    f.add(f.place / "float128.nii", seen(v), np.eye(4), may_fail=True)
    nibabel.save(nibabel.Nifti1Pair(v, OBLIQUE), f.place / "pair.img")
    f.add(f.place / "pair.hdr", seen(v), OBLIQUE)
    shutil.copyfile(f.place / "pair.hdr", f.place / "alone.hdr")
    f.add(f.place / "alone.hdr", None, None, must_fail=True)
    shutil.copyfile(f.place / "pair.img", f.place / "voxels.img")
    f.add(f.place / "voxels.img", None, None, must_fail=True)
    shutil.copyfile(f.place / "pair.hdr", f.place / "packed.hdr")
    (f.place / "packed.img.gz").write_bytes(gzip.compress((f.place / "pair.img").read_bytes()))
    f.add(f.place / "packed.hdr", seen(v), OBLIQUE, may_fail=True)

    def extended(image):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 1000))
    f.add(saved(f.place, "ext", v, OBLIQUE, "nii.gz", extended), seen(v), OBLIQUE)
    nibabel.save(nibabel.Nifti2Image(v, OBLIQUE), f.place / "two.nii")
    f.add(f.place / "two.nii", seen(v), OBLIQUE)
    holes = v.copy()
    holes[2, 3, 1], holes[3, 3, 1] = np.nan, -np.inf
    f.add(saved(f.place, "holes", holes), seen(np.nan_to_num(holes, nan=0, posinf=0, neginf=0)), PLAIN)
    whole = saved(d, "whole", v, ending="nii.gz").read_bytes()
    for percent in (10, 50, 90, 99):
        (f.place / f"cut{percent}.nii.gz").write_bytes(whole[:len(whole) * percent // 100])
        f.add(f.place / f"cut{percent}.nii.gz", None, None, must_fail=True)
    for name, dims in {"zero": (7, 0, 5), "negative": (7, -6, 5)}.items():
        f.add(nifti(f.place / f"{name}.nii", (7, 6, 5), a=(42, "<3h", dims)), None, None, must_fail=True)
    yield f.attempt()
    path = saved(d, "frames", four)
    for frame in range(5):
        out = d / f"out frame {frame}"
        right = lambda code, out=out, frame=frame: same(out, out / "frames_mask.nii", seen(four[..., frame]), PLAIN) if frame < 4 else []
        yield Attempt(f"frame {frame}", ["run", "m.onnx", path.name, "-o", out.name, "--frame", frame], codes=(0,) if frame < 4 else (1, 2, 3), right=right)


def swapped(h):
    """A NIfTI-1 header in the other byte order."""
    return nibabel.Nifti1Header(bytes(h[:348]), "<", check=False).as_byteswapped(">").binaryblock + bytes(h[348:352])


def other_formats(d):
    """NRRD, MetaImage and MGH."""
    f, v = Folder(d, "formats"), V
    lps = np.diag([-1.0, -1, 1])
    spacing = np.linalg.norm(OBLIQUE[:3, :3], axis=0)
    kinds = ("uint8", "int16", "uint16", "int32", "float32", "float64", "int64", "uint64", "int8")
    for kind, ending, packed in itertools.product(kinds, ("nrrd", "mha", "mhd"), (False, True)):
        image = SimpleITK.GetImageFromArray(v.T.astype(kind))
        image.SetDirection((lps @ OBLIQUE[:3, :3] / spacing).ravel().tolist())
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((lps @ OBLIQUE[:3, 3]).tolist())
        path = f.place / f"{ending}_{kind}_{int(packed)}.{ending}"
        SimpleITK.WriteImage(image, str(path), packed)
        f.add(path, seen(v), OBLIQUE)
    for ending in ("nrrd", "mha"):
        for name, image in {"vector": SimpleITK.GetImageFromArray(np.stack([v.T] * 3, -1), isVector=True),
                            "four": SimpleITK.GetImageFromArray(np.stack([v.T, v.T + 1]))}.items():
            path = f.place / f"{name}{ending}.{ending}"
            SimpleITK.WriteImage(image, str(path))
            f.add(path, None, None, must_fail=True)
    body = v.astype(">i2").tobytes(order="F")
    head = ("NRRD0004\ntype: short\ndimension: 3\nspace: {space}\nsizes: 7 6 5\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"
            "space origin: (5,6,7)\nencoding: raw\nendian: big\n\n")
    affine = np.array([[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    for space, signs in {"right-anterior-superior": (1, 1, 1), "left-anterior-superior": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1),
                         "RAS": (1, 1, 1), "LPS": (-1, -1, 1)}.items():
        path = f.place / f"space_{space}.nrrd"
        path.write_bytes(head.format(space=space).encode() + body)
        f.add(path, seen(v), np.diag([*signs, 1.0]) @ affine)
    ras = head.format(space="RAS")
    for name, text, data in (("ascii", ras.replace("raw", "ascii").replace("endian: big\n", ""), " ".join(str(int(x)) for x in v.ravel(order="F")).encode()),
                             ("skip", ras.replace("\n\n", "\nbyte skip: 4\n\n"), b"\1\2\3\4" + body), ("skip_all", ras.replace("\n\n", "\nbyte skip: -1\n\n"), b"\1\2\3\4" + body),
                             ("lines", ras.replace("\n\n", "\nline skip: 1\n\n"), b"words\n" + body), ("hex", ras.replace("raw", "hex"), body.hex().encode()),
                             ("bzip2", ras.replace("raw", "bz2"), bz2.compress(body)), ("gzip", ras.replace("raw", "gz"), gzip.compress(body)),
                             ("crlf", ras.replace("\n", "\r\n"), body)):
        (f.place / f"{name}.nrrd").write_bytes(text.encode() + data)
        f.add(f.place / f"{name}.nrrd", seen(v), affine, may_fail=True)
    for name, text in {"msb": "BinaryDataByteOrderMSB = True", "element": "ElementByteOrderMSB = True"}.items():
        path = f.place / f"{name}.mha"
        path.write_bytes(f"ObjectType = Image\nNDims = 3\nBinaryData = True\n{text}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 5 6 7\nElementSpacing = 1 2 3\nDimSize = 7 6 5\n"
                         "ElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode() + body)
        f.add(path, seen(v), np.diag([-1, -1, 1, 1.0]) @ affine)
    for kind in (np.uint8, np.int16, np.int32, np.float32):
        for ending in ("mgh", "mgz"):
            path = f.place / f"{ending}_{np.dtype(kind).name}.{ending}"
            nibabel.save(nibabel.MGHImage(v.astype(kind), OBLIQUE), path)
            f.add(path, seen(v), OBLIQUE)
    yield f.attempt()


ALL = (odd_volumes,)
