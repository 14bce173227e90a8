"""Odd DICOM folders for `scripts/attack.py`: each series is read right or refused. What is right is computed from pydicom's
values: every voxel of a mask is looked up in the source image by its place in space."""

import copy
import shutil
import struct

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (CTImageStorage, DeflatedExplicitVRLittleEndian, EnhancedMRImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian,
                         ImplicitVRLittleEndian, MRImageStorage, PositronEmissionTomographyImageStorage, RLELossless, generate_uid)

from attack_files import segmenter
from attack_groups import Attempt

SIZE = (6, 5, 7)  # slices, rows, columns
RECIPE_BELOW = 50
PDF, DOSE, STRUCTURE = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.481.3"
ULTRASOUND, COLOUR = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.7"


def values(seed):
    """Numbers around 50, of which none is 50."""
    v = np.random.default_rng(seed).integers(0, 100, SIZE)
    return np.where(v == RECIPE_BELOW, 53, v)


def base(number, name, kind=CTImageStorage):
    ds = Dataset()
    ds.SOPClassUID = kind
    ds.PatientName, ds.PatientID, ds.StudyID = "Odd^Case", "1", "1"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", name])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    ds.SeriesNumber, ds.SeriesDescription = number, name
    ds.Modality = "MR" if "MR" in pydicom.uid.UID(kind).name else "CT"
    ds.StudyDate, ds.StudyTime = "20200101", "120000"
    return ds


def picture(ds, pixels):
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    ds["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"


def series(number, name, kind=CTImageStorage, seed=None, across=(1, 0, 0), down=(0, 1, 0), spacing=(1.5, 2.0), gap=3.0, pixels=None):
    """Slices as data sets, and what they show: place, direction, spacing and values of each."""
    v = values(seed if seed is not None else number) if pixels is None else pixels
    normal = np.cross(across, down)
    slices, frames = [], []
    for z in range(len(v)):
        ds = base(number, name, kind)
        ds.SOPInstanceUID = generate_uid(entropy_srcs=["image", name, str(z)])
        ds.InstanceNumber = z + 1
        place = np.array([-20.0, 30.0, 10.0]) + gap * z * normal
        ds.ImagePositionPatient = [round(float(x), 6) for x in place]
        ds.ImageOrientationPatient = [float(x) for x in (*across, *down)]
        ds.PixelSpacing = list(spacing)
        ds.SliceThickness = gap
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        picture(ds, v[z].astype(np.int16))
        slices.append(ds)
        frames.append((place, np.array(across, float), np.array(down, float), spacing, v[z].astype(float)))
    return slices, frames


def write(ds, path, syntax=ExplicitVRLittleEndian, preamble=True):
    ds = copy.deepcopy(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=preamble)


def same(found, frames):
    """Every voxel of a mask against the frame it lies in."""
    image = nibabel.load(found)
    labels = np.asarray(image.dataobj)
    wrong = 0
    if labels.size != sum(f[4].size for f in frames):
        return [f"the mask is {labels.shape}"]
    for at in np.ndindex(labels.shape):
        world = np.array([-1, -1, 1]) * (image.affine[:3, :3] @ at + image.affine[:3, 3])
        best = min(frames, key=lambda f: abs(np.dot(world - f[0], np.cross(f[1], f[2]))))
        step = world - best[0]
        column, row = np.dot(step, best[1]) / best[3][1], np.dot(step, best[2]) / best[3][0]
        far = abs(np.dot(step, np.cross(best[1], best[2])))
        r, c = round(row), round(column)
        inside = 0 <= r < best[4].shape[0] and 0 <= c < best[4].shape[1] and abs(row - r) + abs(column - c) + far < 0.02
        wrong += not inside or bool(labels[at]) != (best[4][r, c] < RECIPE_BELOW)
    return [f"{wrong} of {labels.size} voxels are wrong"] if wrong else []


class Hospital:
    """Series in folders of their own, run at once."""

    def __init__(self, d, name):
        self.place, self.out, self.each, self.n = d / name, d / f"out {name}", {}, 0

    def number(self):
        self.n += 1
        return self.n

    def add(self, name, slices, frames, read=True, may_fail=False, writer=write, names="IM{:03}", **how):
        for i, ds in enumerate(slices):
            writer(ds, self.place / name / names.format(i), **how)
        self.expect(name, frames, read, may_fail)

    def expect(self, name, frames, read=True, may_fail=False):
        def right():
            found = sorted(self.out.glob(f"{name}/**/*_mask.nii.gz")) if self.out.is_dir() else []
            if not read:
                return [f"it was not refused: {found[0].name}"] if found else []
            if not found:
                table = self.out / "failures.csv"
                lines = [x for x in (table.read_text(errors="replace").splitlines() if table.is_file() else []) if f"/{name}" in x]
                return [] if may_fail and lines else [f"it was refused: {lines}"]
            if len(found) > 1:
                return [f"{len(found)} masks"]
            return same(found[0], frames)

        self.each[name] = right

    def attempt(self):
        return Attempt(self.place.name, ["run", "m.onnx", self.place.name, "-o", self.out.name], codes=(0, 1), each=self.each, seconds=300, most=60_000)


def changed(change, which=None):
    """A way to write whose data set is changed first."""
    def writer(ds, path, **how):
        ds = copy.deepcopy(ds)
        if which is None or ds.InstanceNumber - 1 in which:
            change(ds)
        write(ds, path, **how)
    return writer


def setting(which=None, **keys):
    def change(ds):
        for key, value in keys.items():
            if value is None:
                if key in ds:
                    delattr(ds, key)
            else:
                setattr(ds, key, value)
    return changed(change, which)


def with_vr(keyword, vr, value):
    """An element with bytes that pydicom would not write."""
    data = value if isinstance(value, bytes) else value.encode()
    data += b" " * (len(data) % 2)

    def change(ds):
        tag = pydicom.datadict.tag_for_keyword(keyword)
        ds._dict[pydicom.tag.Tag(tag)] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(data), data, 0, False, True, True)
    return changed(change)


def odd_dicom(d):
    """`run` on odd DICOM folders, against pydicom's values by place."""
    segmenter(d / "m.onnx", network='activation = "none"', bias=(0, 2 * 0.01 * RECIPE_BELOW))
    h = Hospital(d, "hospital")

    def plain(name, read=True, may_fail=False, writer=write, kind=CTImageStorage, frames=None, names="IM{:03}", pixels=None, how=None, **geometry):
        slices, shown = series(h.number(), name, kind, pixels=pixels, **geometry)
        h.add(name, slices, frames(shown) if frames else shown, read, may_fail, writer, names, **(how or {}))
        return slices

    scaled = lambda slope, inter: lambda shown: [(*f[:4], f[4] * slope + inter) for f in shown]
    plain("plain")
    for name, (across, down) in {"coronal": ((1, 0, 0), (0, 0, -1)), "sagittal": ((0, 1, 0), (0, 0, -1)), "flipped": ((-1, 0, 0), (0, 1, 0)), "upside": ((1, 0, 0), (0, -1, 0)),
                                 "turned": ((0, 1, 0), (1, 0, 0)), "oblique": ((0.8, 0.6, 0), (0, 0, -1)), "feet first": ((1, 0, 0), (0, 0, 1))}.items():
        plain(name, across=across, down=down)
    for name, syntax in {"implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}.items():
        plain(name, how=dict(syntax=syntax))
    plain("ima names", names="{:03}.IMA")
    plain("numbers all one", writer=setting(InstanceNumber=1))
    plain("no numbers", writer=setting(InstanceNumber=None))
    plain("no thickness", writer=setting(SliceThickness=None))
    plain("wrong thickness", writer=setting(SliceThickness=99, SpacingBetweenSlices=-1))
    plain("no rescale", writer=setting(RescaleSlope=None, RescaleIntercept=None))
    plain("rescaled", writer=setting(RescaleSlope=-2, RescaleIntercept=120), frames=scaled(-2, 120))
    plain("no slope", writer=setting(RescaleSlope=None, RescaleIntercept=7), may_fail=True, frames=scaled(1, 7))
    plain("slope zero", read=False, writer=setting(RescaleSlope=0))
    plain("one slope more", writer=setting(which=[2], RescaleSlope=2), frames=lambda s: [(*f[:4], f[4] * (2 if i == 2 else 1)) for i, f in enumerate(s)])
    plain("monochrome1", writer=setting(PhotometricInterpretation="MONOCHROME1"))
    plain("gone slice", read=False, writer=lambda ds, path, **how: None if ds.InstanceNumber == 3 else write(ds, path, **how))
    plain("spacing zero", read=False, writer=setting(PixelSpacing=[0, 0]))
    plain("spacing negative", read=False, writer=setting(PixelSpacing=[-1, 1]))
    plain("spacing one number", read=False, writer=with_vr("PixelSpacing", "DS", "1.5"))
    plain("no spacing", read=False, writer=setting(PixelSpacing=None))
    plain("no place", read=False, writer=setting(ImagePositionPatient=None))
    plain("one place less", read=False, writer=setting(which=[3], ImagePositionPatient=None))
    plain("no direction", read=False, writer=setting(ImageOrientationPatient=None))
    plain("direction of zero", read=False, writer=setting(ImageOrientationPatient=[0] * 6))
    plain("direction not square", read=False, may_fail=True, writer=setting(ImageOrientationPatient=[1, 0, 0, 0.7, 0.7, 0]))
    plain("direction a little long", may_fail=True, writer=setting(ImageOrientationPatient=[1.00002, 0, 0, 0, 0.99999, 0]))
    plain("same place", read=False, writer=setting(ImagePositionPatient=[0, 0, 0]))
    plain("places as text", writer=with_vr("PixelSpacing", "LO", "1.5\\2"), may_fail=True)
    plain("unknown spacing", writer=with_vr("PixelSpacing", "UN", b"1.5\\2 "), may_fail=True)
    plain("commas", read=False, writer=with_vr("PixelSpacing", "DS", "1,5\\2,0"))
    plain("long numbers", writer=with_vr("PixelSpacing", "DS", "1.50000000000000000000\\2.00000000000000000000"), may_fail=True)
    plain("spaced numbers", writer=with_vr("PixelSpacing", "DS", " 1.5 \\ 2.0 "))
    plain("exponents", writer=with_vr("PixelSpacing", "DS", "1.5E+00\\+2"))
    plain("nan", read=False, writer=with_vr("PixelSpacing", "DS", "nan\\nan"))
    plain("infinite", read=False, writer=with_vr("ImagePositionPatient", "DS", "inf\\0\\0"))
    plain("three rows", read=False, writer=setting(which=[1], Rows=3))
    plain("columns of zero", read=False, writer=setting(Columns=0))
    plain("pixels short", read=False, writer=changed(lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2]), [4]))
    plain("pixels long", may_fail=True, writer=changed(lambda ds: setattr(ds, "PixelData", ds.PixelData + bytes(2))))
    plain("no pixels", read=False, writer=setting(PixelData=None))
    plain("bits 12", writer=setting(BitsStored=12, HighBit=11, PixelRepresentation=0))
    plain("high bit odd", read=False, may_fail=True, writer=setting(BitsStored=12, HighBit=15, PixelRepresentation=0))
    plain("bits 17", read=False, writer=setting(BitsStored=17))
    plain("bits 0", read=False, writer=setting(BitsStored=0))
    plain("bits allocated 12", read=False, writer=setting(BitsAllocated=12, BitsStored=12, HighBit=11))
    plain("one frame", writer=setting(NumberOfFrames=1))
    plain("frames of zero", read=False, may_fail=True, writer=setting(NumberOfFrames=0))
    plain("frames of many", read=False, writer=setting(NumberOfFrames=1000))
    plain("samples 3", read=False, writer=setting(SamplesPerPixel=3))
    plain("rgb", read=False, writer=setting(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0))

    def junk(ds):
        noise = np.random.default_rng(1).integers(0, 16, SIZE[1:]).astype(np.uint16) << 12
        ds.PixelData = (np.frombuffer(ds.PixelData, np.uint16).reshape(SIZE[1:]) | noise).tobytes()
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    plain("overlay bits", writer=changed(junk))

    def signed(ds):
        v = np.frombuffer(ds.PixelData, np.int16) - 60
        ds.PixelData = (v.astype(np.uint16) & 0xfff).tobytes()
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.RescaleIntercept = 12, 11, 1, 60
    plain("signed 12", writer=changed(signed))

    def bytes8(ds):
        picture(ds, np.frombuffer(ds.PixelData, np.int16).reshape(SIZE[1:]).astype(np.uint8))
    plain("bytes", writer=changed(bytes8))

    def private(ds):
        block = ds.private_block(0x0029, "ODD VENDOR", create=True)
        block.add_new(1, "OB", b"\xff" * 1001 + b"\0")
        inner = Dataset()
        inner.PatientName = "x"
        block.add_new(2, "SQ", Sequence([inner, inner]))
        block.add_new(3, "UN", b"\xfe\xff\x00\xe0\xff\xff\xff\xff")
    plain("private", writer=changed(private))
    plain("private implicit", writer=changed(private), how=dict(syntax=ImplicitVRLittleEndian))

    def big(ds, path, **how):
        v = np.frombuffer(ds.PixelData, np.int16)
        ds = copy.deepcopy(ds)
        ds.PixelData = v.astype(">i2").tobytes()
        write(ds, path, syntax=ExplicitVRBigEndian)
    plain("big endian", writer=big)

    def packed(ds, path, **how):
        write(ds, path)
        whole = pydicom.dcmread(path)
        whole.compress(RLELossless, generate_instance_uid=False)
        whole.save_as(path)
    plain("rle", writer=packed)

    def mislabelled(ds, path, **how):
        packed(ds, path)
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"))
    plain("packed called plain", read=False, writer=mislabelled)

    def unpacked(ds, path, **how):
        write(ds, path)
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    plain("plain called packed", read=False, writer=unpacked)

    def jpeg_named(ds, path, **how):
        packed(ds, path)
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.4.50"[:20]))
    plain("packed called JPEG", read=False, writer=jpeg_named)

    def headless(ds, path, **how):
        write(ds, path)
        data = path.read_bytes()
        path.write_bytes(data[132:])
    plain("no preamble", writer=headless)

    def cut(ds, path, **how):
        write(ds, path)
        if ds.InstanceNumber == 6:
            path.write_bytes(path.read_bytes()[:-20])
    plain("cut file", read=False, writer=cut)
    slices = plain("copies")
    for i, ds in enumerate(slices[:3]):
        write(ds, h.place / "copies" / f"copy{i}")
    slices = plain("two images a place", read=False)
    for i, ds in enumerate(slices):
        other = copy.deepcopy(ds)
        other.SOPInstanceUID = generate_uid(entropy_srcs=["other", str(i)])
        other.PixelData = bytes(reversed(ds.PixelData))
        write(other, h.place / "two images a place" / f"other{i}")
    slices = plain("localizer inside", read=False, may_fail=True)
    other = copy.deepcopy(slices[0])
    other.SOPInstanceUID, other.ImageOrientationPatient = generate_uid(), [0, 1, 0, 0, 0, -1]
    write(other, h.place / "localizer inside" / "other")
    for name, text in {"japanese": "\u982d\u90e8", "german": "Sch\u00e4del"}.items():
        def named(ds, text=text):
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.SeriesDescription = text
        plain(name, writer=changed(named))
    plain("path", writer=setting(SeriesDescription="../../../escape"))
    plain("control", writer=setting(SeriesDescription="\x1b]0;owned\x07"))
    plain("patient", writer=setting(SeriesDescription="Odd Case 1"))
    plain("pet", kind=PositronEmissionTomographyImageStorage, writer=changed(lambda ds: (setattr(ds, "RescaleSlope", f"{0.5 + 0.1 * ds.InstanceNumber:.1f}"), setattr(ds, "Modality", "PT"))),
          frames=lambda s: [(*f[:4], f[4] * round(0.5 + 0.1 * (i + 1), 1)) for i, f in enumerate(s)])
    # Objects that are no volumes, among others.
    slices = plain("company")
    for name, kind in {"pdf": PDF, "dose": DOSE, "structure": STRUCTURE}.items():
        ds = base(99, name, kind)
        ds.SOPInstanceUID, ds.Modality = generate_uid(), {"pdf": "DOC", "dose": "RTDOSE", "structure": "RTSTRUCT"}[name]
        if name == "pdf":
            ds.EncapsulatedDocument = b"%PDF-1.4"
        if name == "dose":
            picture(ds, values(3).astype(np.uint16))
            ds.NumberOfFrames, ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = 6, [0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1]
            ds.GridFrameOffsetVector, ds.DoseGridScaling = [0, 1, 2, 3, 4, 5], 0.1
        write(ds, h.place / "company" / name)
    (h.place / "company" / "README.txt").write_text("words")
    (h.place / "company" / "empty.dcm").write_bytes(b"")
    h.each.pop("company")  # what lies beside it makes the exit code 1, and is named
    for name, kind in {"ultrasound": ULTRASOUND, "capture": COLOUR}.items():
        ds = base(h.number(), name, kind)
        ds.SOPInstanceUID, ds.Modality = generate_uid(), "US"
        picture(ds, np.random.default_rng(0).integers(0, 255, (4, 8, 24)).astype(np.uint8))
        ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.NumberOfFrames = 8, 3, "RGB", 0, 4
        write(ds, h.place / name / "x.dcm")
        h.expect(name, None, read=False)
    yield h.attempt()
    yield enhanced(d).attempt()


def functional(v, order, change=None, number=1, name="x"):
    """An enhanced MR of frames in an order, with groups for each."""
    ds = base(number, name, EnhancedMRImageStorage)
    ds.SOPInstanceUID, ds.InstanceNumber, ds.NumberOfFrames = generate_uid(entropy_srcs=[name]), 1, len(v)
    shared = Dataset()
    direction, measures = Dataset(), Dataset()
    direction.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1.5, 2.0], 3
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([direction]), Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups, frames = [], []
    for z in order:
        group, place, content, scale = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-20, 30, 10 + 3 * z]
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", z + 1, [1, z + 1]
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, 0, "US"
        group.PlanePositionSequence, group.FrameContentSequence = Sequence([place]), Sequence([content])
        group.PixelValueTransformationSequence = Sequence([scale])
        groups.append(group)
        frames.append((np.array([-20.0, 30, 10 + 3 * z]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (1.5, 2.0), v[z].astype(float)))
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    picture(ds, v[list(order)].astype(np.uint16))
    if change:
        frames = change(ds, groups, frames) or frames
    return ds, frames


def enhanced(d):
    h = Hospital(d, "enhanced")
    v = values(77)
    order = [3, 0, 5, 1, 4, 2]

    def add(name, change=None, read=True, may_fail=False):
        ds, frames = functional(v, order, change, h.number(), name)
        write(ds, h.place / name / "x.dcm")
        h.expect(name, frames, read, may_fail)

    add("shuffled")

    def own_slopes(ds, groups, frames):
        for i, g in enumerate(groups):
            g.PixelValueTransformationSequence[0].RescaleSlope = 1 + i % 2
        return [(*f[:4], f[4] * (1 + i % 2)) for i, f in enumerate(frames)]
    add("own slopes", own_slopes)

    def own_directions(ds, groups, frames):
        for g in groups:
            g.PlaneOrientationSequence = copy.deepcopy(ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence)
        del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    add("own directions", own_directions)

    def lacking(ds, groups, frames):
        del groups[2].PlanePositionSequence
    add("no place in one", lacking, read=False)

    def fewer(ds, groups, frames):
        ds.PerFrameFunctionalGroupsSequence = Sequence(groups[:-1])
    add("fewer groups", fewer, read=False)

    def more(ds, groups, frames):
        ds.PerFrameFunctionalGroupsSequence = Sequence(groups + groups[:1])
    add("more groups", more, read=False)

    def none(ds, groups, frames):
        del ds.PerFrameFunctionalGroupsSequence
    add("no groups", none, read=False)

    def empty(ds, groups, frames):
        groups[1].PlanePositionSequence = Sequence([])
    add("an empty place", empty, read=False)

    def apart(ds, groups, frames):
        groups[1].PlanePositionSequence[0].ImagePositionPatient = [-20, 30, 11.2]
    add("uneven", apart, read=False)

    def tilted(ds, groups, frames):
        tilt = Dataset()
        tilt.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        groups[1].PlaneOrientationSequence = Sequence([tilt])
    add("one turned", tilted, read=False)

    def finer(ds, groups, frames):
        fine = Dataset()
        fine.PixelSpacing, fine.SliceThickness = [0.5, 0.5], 3
        groups[1].PixelMeasuresSequence = Sequence([fine])
    add("one finer", finer, read=False)

    def fewer_frames(ds, groups, frames):
        ds.NumberOfFrames = 5
    add("fewer frames", fewer_frames, read=False)

    def twice(ds, groups, frames):
        groups[1].PlanePositionSequence = groups[0].PlanePositionSequence
    add("a place twice", twice, read=False)
    return h


ALL = (odd_dicom,)
