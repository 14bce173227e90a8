"""Small DICOM series of every kind that is read, with the grid and the values that dcm2niix and pydicom make of them.

    python3 scripts/golden_dicom.py          # makes .venv-dicom with what it needs

Writes crates/dicom/tests/golden: a ZIP file a series, and golden.json with the affine (RAS) and the values of each, axes
turned to right, anterior, superior. Grids and values are dcm2niix's; values of packed pixels are also pydicom's, with the
decoders of OpenJPEG, CharLS and GDCM. Names of patients are made up.
"""

import io
import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "crates/dicom/tests/golden"
NEEDS = [
    "pydicom==3.0.2", "highdicom==0.28.2", "nibabel==5.4.2", "numpy==2.4.6", "dcm2niix==1.0.20260724", "pillow",
    "pylibjpeg==2.1.0", "pylibjpeg-openjpeg==2.6.0", "pyjpegls==1.5.1", "python-gdcm==3.2.6",
]


def own_environment():
    """Starts this script again in an environment that has what it needs."""
    folder = ROOT / ".venv-dicom"
    python = folder / "bin/python"
    if Path(sys.prefix) == folder.resolve() or "--here" in sys.argv:
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)


own_environment()

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

MR, CT, PET = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
EXPLICIT, IMPLICIT = pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian
SHAPE = (7, 12, 16)  # slices, rows, columns
AXES = {
    "axial": ([1, 0, 0], [0, 1, 0]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
}


def values(seed=1, low=0, high=3000, shape=SHAPE):
    """Smooth shapes with noise and a marked corner."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    base = np.exp(-3 * (x ** 2 + (y - 0.2) ** 2 + (z + 0.1) ** 2)) + 0.3 * (x > 0.3)
    base = base / base.max() * 0.8 + np.random.default_rng(seed).uniform(0, 0.1, shape)
    base[0, 0, 0] = 1
    return np.round(low + base / base.max() * (high - low)).astype(np.int64)


def uid(*parts):
    return generate_uid(entropy_srcs=["ampoule", *map(str, parts)])


def base(name, cls, number, description, k):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = cls
    meta.MediaStorageSOPInstanceUID = uid(name, k)
    meta.TransferSyntaxUID = EXPLICIT
    d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    d.SpecificCharacterSet = "ISO_IR 100"
    d.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    d.SOPClassUID, d.SOPInstanceUID = cls, meta.MediaStorageSOPInstanceUID
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = "20200102"
    d.StudyTime = d.SeriesTime = d.AcquisitionTime = d.ContentTime = "101112"
    d.AccessionNumber = "A7"
    d.Modality = {MR: "MR", CT: "CT", PET: "PT"}.get(cls, "OT")
    d.Manufacturer = "Made up"
    d.StudyDescription, d.SeriesDescription = "Head", description
    d.ReferringPhysicianName = "House^Gregory"
    d.PatientName, d.PatientID, d.PatientBirthDate, d.PatientSex = "Muster^Erika", "4711", "19700101", "F"
    d.StudyInstanceUID, d.SeriesInstanceUID = uid("study"), uid(name)
    d.StudyID, d.SeriesNumber, d.InstanceNumber = "1", number, k + 1
    d.FrameOfReferenceUID = uid("frame of reference")
    d.PatientPosition = "HFS"
    if cls == MR:
        d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "NONE", "", "3D"
        d.RepetitionTime, d.EchoTime, d.MagneticFieldStrength, d.FlipAngle = 2000, 3.5, 3, 9
    return d


def slices(name, array, cls=MR, number=1, description=None, axes="axial", spacing=(1.1, 0.9), gap=1.5,
           origin=(-20.5, -31.25, 12.0), bits=16, stored=12, signed=False, slopes=None, tilt=None):
    row, column = AXES[axes] if isinstance(axes, str) else axes
    row, column = np.array(row, float), np.array(column, float)
    normal = np.cross(row, column)
    out = []
    for k, plane in enumerate(array):
        d = base(name, cls, number, description or name, k)
        at = np.array(origin) + gap * k * normal + (0 if tilt is None else k * tilt * column)
        d.ImagePositionPatient = [f"{v:.9g}" for v in at]
        d.ImageOrientationPatient = [f"{v:.9g}" for v in (*row, *column)]
        d.PixelSpacing, d.SliceThickness = list(spacing), gap
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.Rows, d.Columns = plane.shape
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = bits, stored, stored - 1, int(signed)
        if slopes:
            d.RescaleSlope, d.RescaleIntercept = slopes(k)
            if cls == CT:
                d.RescaleType = "HU"
        kind = {8: np.uint8, 16: np.uint16}[bits]
        d.PixelData = (plane & ((1 << bits) - 1)).astype(kind).tobytes()
        d["PixelData"].VR = "OB" if bits == 8 else "OW"
        out.append(d)
    return out


def bytes_of(d, **options):
    out = io.BytesIO()
    if options:
        # Another encoding than the one it was made in.
        pydicom.dcmwrite(out, d, force_encoding=True, **options)
    else:
        d.save_as(out, enforce_file_format=True)
    return out.getvalue()


def enhanced(name, planes, cls="1.2.840.10008.5.1.4.1.1.4.1", number=9):
    """One file with all frames, in an order of its own."""
    order = np.random.default_rng(4).permutation(len(planes))
    first = planes[0]
    d = base(name, cls, number, name, 0)
    d.Modality = first.Modality
    d.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    for tag in ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
                "HighBit", "PixelRepresentation"):
        setattr(d, tag, getattr(first, tag))
    d.NumberOfFrames = len(planes)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    measures.SpacingBetweenSlices = first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for i, k in enumerate(order):
        frame, content, position, transform = Dataset(), Dataset(), Dataset(), Dataset()
        content.StackID, content.InStackPositionNumber = "1", int(k) + 1
        content.DimensionIndexValues = [1, int(k) + 1]
        position.ImagePositionPatient = planes[k].ImagePositionPatient
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 1, 0, "US"
        frame.FrameContentSequence = Sequence([content])
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([transform])
        frames.append(frame)
    d.PerFrameFunctionalGroupsSequence = Sequence(frames)
    d.PixelData = b"".join(planes[k].PixelData for k in order)
    d["PixelData"].VR = "OW"
    return d


def packed(planes, syntax, **options):
    for d in planes:
        d.compress(syntax, generate_instance_uid=False, **options)
    return planes


def jpeg_lossless(planes):
    import gdcm
    out = []
    for d in planes:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "a.dcm")
            source.write_bytes(bytes_of(d))
            reader = gdcm.ImageReader()
            reader.SetFileName(str(source))
            assert reader.Read()
            change = gdcm.ImageChangeTransferSyntax()
            change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
            change.SetInput(reader.GetImage())
            assert change.Change()
            writer = gdcm.ImageWriter()
            writer.SetFileName(str(Path(folder, "b.dcm")))
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            assert writer.Write()
            out.append(pydicom.dcmread(Path(folder, "b.dcm"), force=True))
            out[-1].PixelData
    return out


def jpeg_baseline(planes):
    for d in planes:
        out = io.BytesIO()
        Image.fromarray(d.pixel_array).save(out, "JPEG", quality=92)
        d.PixelData = encapsulate([out.getvalue()])
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
        d.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        d.LossyImageCompression = "01"
    return planes


def names(count):
    """Names whose order says nothing."""
    order = np.random.default_rng(8).permutation(count)
    return [f"IM{i:04d}" for i in order]


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in sorted(files.items()):
            z.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def converted(files):
    """Affine and values of the volumes that dcm2niix writes, in RAS; nothing where it writes none."""
    program = Path(sys.prefix, "bin/dcm2niix")
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, "out")
        source.mkdir(), out.mkdir()
        for name, data in files.items():
            (source / name.replace("/", "_")).write_bytes(data)
        subprocess.run([program, "-z", "n", "-b", "n", "-f", "%s_%e", "-o", out, source], capture_output=True)
        found = [nib.load(p) for p in sorted(out.glob("*.nii"))]
        stored = [(f.affine.copy(), f.shape) for f in found]
        turned = [nib.as_closest_canonical(f) for f in found]
        return [(t.affine, np.asarray(t.dataobj, np.float64), *s) for t, s in zip(turned, stored)]


def assembled(planes, frame=None):
    """Affine and values by pydicom and numpy, in RAS."""
    normal = np.cross(*np.array(planes[0].ImageOrientationPatient, float).reshape(2, 3))
    planes = sorted(planes, key=lambda d: np.dot(np.array(d.ImagePositionPatient, float), normal))
    row, column = np.array(planes[0].ImageOrientationPatient, float).reshape(2, 3)
    first, last = (np.array(planes[i].ImagePositionPatient, float) for i in (0, -1))
    dy, dx = map(float, planes[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3] = np.stack([row * dx, column * dy, (last - first) / (len(planes) - 1), first], 1)
    affine[:2] *= -1
    data = np.stack([p.pixel_array * float(getattr(p, "RescaleSlope", 1)) + float(getattr(p, "RescaleIntercept", 0))
                     for p in planes]).transpose(2, 1, 0)
    turned = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    return turned.affine, np.asarray(turned.dataobj)


def rotation(a, b, c):
    def about(i, t):
        m = np.eye(3)
        j, k = [x for x in range(3) if x != i]
        m[j, j] = m[k, k] = np.cos(t)
        m[j, k], m[k, j] = -np.sin(t), np.sin(t)
        return m
    return about(0, a) @ about(1, b) @ about(2, c)


def all_series():
    """(name, planes as pydicom has them, files) of every series that makes one volume."""
    plain = values()
    turn = rotation(0.3, -0.2, 0.15)
    yield "axial", slices("axial", plain)
    yield "sagittal", slices("sagittal", plain, axes="sagittal", number=2)
    yield "coronal", slices("coronal", plain, axes="coronal", number=3)
    yield "oblique", slices("oblique", plain, axes=(turn[:, 0], turn[:, 1]), number=4)
    yield "reversed", slices("reversed", plain, gap=-1.5, number=5)
    yield "negated", slices("negated", plain, axes=([1, 0, 0], [0, -1, 0]), number=6)
    yield "ct", slices("ct", values(2, -1000, 2000), cls=CT, stored=16, signed=True, slopes=lambda k: (1, -24), number=7)
    yield "signed12", slices("signed12", values(3, -2000, 2000), signed=True, number=8)
    yield "pet", slices("pet", values(5, 0, 30000), cls=PET, stored=16,
                        slopes=lambda k: (f"{0.01 + 0.003 * k:.6f}", 0), number=10)
    yield "u8", slices("u8", values(6, 0, 255), bits=8, stored=8, number=11)
    inverse = slices("mono1", plain, number=12)
    for d in inverse:
        d.PhotometricInterpretation = "MONOCHROME1"
    yield "mono1", inverse
    yield "rle", packed(slices("rle", plain, number=13), pydicom.uid.RLELossless)
    yield "rle8", packed(slices("rle8", values(6, 0, 255), bits=8, stored=8, number=14), pydicom.uid.RLELossless)
    yield "jpeg_lossless", jpeg_lossless(slices("jpeg_lossless", plain, stored=16, number=15))
    yield "jpeg_baseline", jpeg_baseline(slices("jpeg_baseline", values(6, 0, 255), bits=8, stored=8, number=16))
    yield "jpegls", packed(slices("jpegls", plain, number=17), pydicom.uid.JPEGLSLossless)
    yield "jpegls8", packed(slices("jpegls8", values(6, 0, 255), bits=8, stored=8, number=18), pydicom.uid.JPEGLSLossless)
    near = packed(slices("jpegls_near", plain, number=19), pydicom.uid.JPEGLSNearLossless, jls_error=3)
    yield "jpegls_near", near
    big = (3, 32, 40)  # OpenJPEG wants room for its levels
    yield "j2k", packed(slices("j2k", values(7, shape=big), number=20), pydicom.uid.JPEG2000Lossless)
    yield "j2k_signed", packed(slices("j2k_signed", values(2, -1000, 2000, big), cls=CT, stored=16, signed=True, number=21,
                                      slopes=lambda k: (1, 0)), pydicom.uid.JPEG2000Lossless)


def write(name, planes, golden, wanted=None, **options):
    files = dict(zip(names(len(planes)), (bytes_of(d, **options) for d in planes)))
    zipped(OUT / f"{name}.zip", files)
    affine, data = wanted if wanted is not None else assembled(planes)
    listed = [int(v) if v == int(v) else round(float(v), 5) for v in data.ravel(order="F")]
    entry = {"affine": affine[:3].tolist(), "shape": list(data.shape), "values": listed}
    found = converted(files)
    if len(found) == 1:
        (a, v, stored, shape), = found
        apart = np.abs(a - affine).max(), (np.abs(v - data).max() if v.shape == data.shape else v.shape)
        entry["dcm2niix"] = {"affine": stored[:3].tolist(), "shape": list(shape)}
        print(f"{name:16} dcm2niix: affine {apart[0]:.1e}, values {apart[1]}")
    else:
        print(f"{name:16} dcm2niix wrote {len(found)} volumes")
    golden[name] = entry


def mixtures():
    """Folders with more than one series: what becomes of them is said in the tests."""
    files = {}
    for k, d in enumerate(slices("first", values(11), number=3, description="T1 mprage sag")):
        files[f"DICOM/A/{k:03d}"] = bytes_of(d)
    for k, d in enumerate(slices("second", values(12), number=5, description="Muster T2", axes="coronal")):
        files[f"DICOM/B/{k:03d}"] = bytes_of(d)
    for k, d in enumerate(slices("scout", values(13)[:1], number=1, description="scout")):
        d.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        files[f"DICOM/A/scout{k}"] = bytes_of(d)
    pdf = base("pdf", "1.2.840.10008.5.1.4.1.1.104.1", 99, "report", 0)
    pdf.Modality, pdf.EncapsulatedDocument = "DOC", b"%PDF-1.4 not really\n"
    pdf.MIMETypeOfEncapsulatedDocument = "application/pdf"
    files["DICOM/report"] = bytes_of(pdf)
    files["README.txt"] = b"For the viewer, insert the disc.\n"
    zipped(OUT / "two.zip", files)
    echoes = {}
    for e, time in enumerate((4.5, 9)):
        for k, d in enumerate(slices("echoes", values(14 + e), number=6)):
            d.EchoTime, d.SOPInstanceUID = time, uid("echoes", e, k)
            d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
            echoes[f"{k}_{e}"] = bytes_of(d)
    zipped(OUT / "echoes.zip", echoes)
    tilt = {str(k): bytes_of(d) for k, d in enumerate(slices("tilt", values(16), cls=CT, number=7, tilt=0.35))}
    zipped(OUT / "tilt.zip", tilt)


def disc():
    """A disc with its directory, as pydicom writes it."""
    from pydicom.fileset import FileSet
    files = FileSet()
    for d in slices("disc", values(17), number=8):
        files.add(pydicom.dcmread(io.BytesIO(bytes_of(d))))
    with tempfile.TemporaryDirectory() as folder:
        files.write(folder)
        folder = Path(folder)
        written = [p for p in folder.rglob("*") if p.is_file()]
        zipped(OUT / "disc.zip", {str(p.relative_to(folder)): p.read_bytes() for p in written})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    golden = {}
    for name, planes in all_series():
        write(name, planes, golden)
    plain = slices("enhanced", values(), number=9, axes="sagittal")
    write("enhanced", [enhanced("enhanced", plain)], golden, assembled(plain))
    both = slices("implicit", values(2, -1000, 2000), cls=CT, stored=16, signed=True, slopes=lambda k: (1, -24))
    for d in both:
        d.file_meta.TransferSyntaxUID = IMPLICIT
    write("implicit", both, golden, implicit_vr=True, little_endian=True)
    deflated = slices("deflated", values(), number=22)
    for d in deflated:
        d.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    write("deflated", deflated, golden)
    big = slices("big_endian", values(), number=23)
    wanted = assembled(big)
    for d in big:
        d.PixelData = np.frombuffer(d.PixelData, "<u2").astype(">u2").tobytes()
        d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    write("big_endian", big, golden, wanted, implicit_vr=False, little_endian=False)
    mixtures()
    disc()
    (OUT / "golden.json").write_text(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    main()
