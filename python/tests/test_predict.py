"""Model.predict against the command line's files, and images of other libraries against files."""

import csv

import nibabel
import numpy as np
import pytest
from conftest import QUICK, ROOT

import ampoule_ai as ampoule


def test_a_tile_equals_the_command_line(tmp_path, program, discs):
    from PIL import Image

    tile = QUICK / "test/test01.png"
    program("run", QUICK / "discs.onnx", tile, "-o", tmp_path, "--recipe", "discs")
    found = discs.predict(tile)
    assert found.labels.dtype == np.uint16 and found.affine is None
    np.testing.assert_array_equal(found.labels, np.asarray(Image.open(tmp_path / "test01_mask.png")))
    assert [m.voxels for m in found.measured] == [int((found.labels == 1).sum())]
    assert found.seconds["total"] > 0 and found.peak_memory_bytes > 1 << 20
    np.testing.assert_array_equal(np.asarray(found.to_pil()), found.labels)


def test_a_scan_equals_the_command_line(tmp_path, program, bright, scan):
    program("run", bright, scan, "-o", tmp_path, "--save-probabilities")
    found = ampoule.Model.open(bright).predict(scan, probabilities=True)
    mask = nibabel.load(tmp_path / "scan_mask.nii.gz")
    np.testing.assert_array_equal(found.labels, np.asarray(mask.dataobj))
    np.testing.assert_allclose(found.affine, mask.affine, atol=1e-6)
    scores = nibabel.load(tmp_path / "scan_prob.nii.gz")
    np.testing.assert_array_equal(found.probabilities["bright"], np.asarray(scores.dataobj))
    assert 0 < found.labels.sum() < found.labels.size
    with open(tmp_path / "cases.csv", newline="") as table:
        [row] = csv.DictReader(table)
    assert found.volumes == {"bright": float(row["ml_bright"])}
    assert len(found.warnings) == int(row["warnings"])
    np.testing.assert_array_equal(np.asarray(found.to_nibabel().dataobj), found.labels)


@pytest.mark.timeout(900)
def test_the_built_in_head_equals_the_command_line(tmp_path, program):
    head = ROOT / "assets/colin27.nii.gz"
    program("run", "deepbet", head, "-o", tmp_path, "--precision", "bf16")
    found = ampoule.Model.open("deepbet", precision="bf16").predict(head)
    mask = np.asarray(nibabel.load(tmp_path / "colin27_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(found.labels, mask)
    assert 500 < found.volumes["brain"] < 2200


def same(found, want):
    np.testing.assert_array_equal(found.labels, want.labels)
    np.testing.assert_allclose(found.affine, want.affine, atol=1e-5)
    assert found.volumes == pytest.approx(want.volumes, rel=1e-5)


def test_images_of_nibabel(tmp_path, bright, scan):
    model = ampoule.Model.open(bright)
    want = model.predict(scan)
    image = nibabel.load(scan)
    same(model.predict(image), want)
    np.testing.assert_array_equal(model.predict(image).affine, want.affine)
    # In memory alone, as other kinds of files, with axes of one frame, and with the other order of bytes.
    values = image.get_fdata()
    same(model.predict(nibabel.Nifti1Image(values, image.affine)), want)
    same(model.predict(nibabel.Nifti1Image(values[..., None], image.affine)), want)
    same(model.predict(nibabel.Nifti2Image(values, image.affine)), want)
    same(model.predict(nibabel.MGHImage(values.astype(np.float32), image.affine)), want)
    other = nibabel.Nifti1Image(values, image.affine, nibabel.Nifti1Header(endianness=">"))
    same(model.predict(other), want)
    nibabel.save(nibabel.Nifti1Image(values, image.affine), tmp_path / "again.nii")
    same(model.predict(nibabel.load(tmp_path / "again.nii")), want)
    # Only the turn of the axes is told by quaternions.
    turned = nibabel.Nifti1Image(values, None)
    turned.set_qform(image.affine, code=1)
    nibabel.save(turned, tmp_path / "turned.nii")
    same(model.predict(nibabel.load(tmp_path / "turned.nii")), model.predict(tmp_path / "turned.nii"))


def test_images_of_simpleitk(bright, scan):
    import SimpleITK

    model = ampoule.Model.open(bright)
    want = model.predict(scan)
    image = SimpleITK.ReadImage(str(scan))
    found = model.predict(image)
    same(found, want)
    back = found.to_sitk()
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back), want.labels.transpose(2, 1, 0))


def test_arrays_with_an_affine(bright, scan):
    model = ampoule.Model.open(bright)
    want = model.predict(scan)
    image = nibabel.load(scan)
    values = image.get_fdata()
    same(model.predict(values, affine=image.affine), want)
    same(model.predict(np.asfortranarray(values.astype(np.float32)), affine=image.affine[:3]), want)
    with pytest.raises(ampoule.UsageError, match="affine="):
        model.predict(values)
    with pytest.raises(ampoule.UsageError, match="three axes"):
        model.predict(np.stack([values, values], -1), affine=image.affine)
    with pytest.raises(ampoule.UsageError, match="4 by 4"):
        model.predict(values, affine=np.eye(3))
    with pytest.raises(ampoule.UsageError, match="affine is for arrays"):
        model.predict(image, affine=image.affine)
    with pytest.raises(ampoule.BadInput, match="complex"):
        model.predict(values.astype(complex), affine=image.affine)
    with pytest.raises(ampoule.BadInput, match="not finite"):
        model.predict(np.full(values.shape, np.nan), affine=image.affine)
    with pytest.raises(ampoule.AmpouleError):
        model.predict(values[..., :0], affine=image.affine)


def test_pictures_of_pillow(tmp_path, discs):
    from PIL import Image

    tile = QUICK / "test/test01.png"
    want = discs.predict(tile).labels
    image = Image.open(tile)
    np.testing.assert_array_equal(discs.predict(image).labels, want)
    np.testing.assert_array_equal(discs.predict(np.asarray(image.convert("RGB"))).labels, want)
    # Grey, sixteen bits, transparent, and turned by its EXIF data: as their files.
    grey = image.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 251 + 37)
    exif = image.getexif()
    exif[0x0112] = 6
    kinds = {"grey": grey, "deep": deep, "clear": image.convert("RGBA"), "palette": image.convert("P")}
    for name, kind in kinds.items():
        kind.save(tmp_path / f"{name}.png")
        found = discs.predict(Image.open(tmp_path / f"{name}.png")).labels
        np.testing.assert_array_equal(found, discs.predict(tmp_path / f"{name}.png").labels, name)
    image.save(tmp_path / "turned.png", exif=exif)
    turned = discs.predict(tmp_path / "turned.png").labels
    np.testing.assert_array_equal(discs.predict(Image.open(tmp_path / "turned.png")).labels, turned)
    for wrong in (Image.new("F", (20, 20)), np.zeros((4, 4, 2), np.uint8), np.zeros((8, 8), float)):
        with pytest.raises(ampoule.UsageError):
            discs.predict(wrong)


def series(folder, values, uid):
    """Writes a CT series, a file a slice, in an order of names that is not that of space."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, frame = generate_uid(), generate_uid()
    for k in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.Modality, ds.PatientName, ds.PatientID = "CT", "Nobody", "0"
        ds.InstanceNumber, ds.SeriesNumber = k + 1, 1
        ds.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.8], 2.5
        ds.Rows, ds.Columns = values.shape[1], values.shape[0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1000
        ds.PixelData = np.ascontiguousarray(values[:, :, k].T).tobytes()
        ds.save_as(folder / f"{(k * 7) % values.shape[2]:03}.dcm", enforce_file_format=True)
    return [pydicom.dcmread(f) for f in sorted(folder.iterdir())]


def test_series_of_pydicom(tmp_path, bright):
    from pydicom.uid import generate_uid

    values = np.random.default_rng(3).integers(0, 300, (16, 20, 12)).astype(np.int16)
    values[4:10, 6:14, 3:8] += 900
    datasets = series(tmp_path, values, generate_uid())
    model = ampoule.Model.open(bright)
    want = model.predict(tmp_path)
    assert want.labels.shape == (16, 20, 12) and want.labels.any()
    same(model.predict(datasets), want)
    same(model.predict(datasets[::-1]), want)
    with pytest.raises(ampoule.BadInput):
        model.predict(datasets[:4] + datasets[5:])
    with pytest.raises(ampoule.UsageError, match="mixed"):
        model.predict([datasets[0], "file.dcm"])


def test_a_case_of_several_images(tmp_path, scan):
    from conftest import VOLUME_RECIPE, network
    from onnx import TensorProto, helper

    recipe = VOLUME_RECIPE.replace('name = "T1w"', 'name = "T1w"\n[[input]]\nname = "T2w"')
    path = network(
        tmp_path / "pair.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 2, "d", "h", "w"])],
        [("y", TensorProto.FLOAT, ["n", 1, "d", "h", "w"])],
        {"w": np.array([1.0, -0.5], np.float32).reshape(1, 2, 1, 1, 1)},
        recipe,
    )
    model = ampoule.Model.open(path)
    image = nibabel.load(scan)
    other = nibabel.Nifti1Image(np.sqrt(np.abs(image.get_fdata())), image.affine)
    nibabel.save(other, tmp_path / "t2.nii")
    want = model.predict([scan, tmp_path / "t2.nii"])
    same(model.predict([image, other]), want)
    same(model.predict({"T2w": other, "T1w": image}), want)
    with pytest.raises(ampoule.UsageError, match="T1w, T2w"):
        model.predict({"FLAIR": image})
    with pytest.raises(ampoule.AmpouleError, match="2 volumes"):
        model.predict([image])
    moved = nibabel.Nifti1Image(other.get_fdata(), other.affine @ np.diag([1, 1, 1.5, 1]))
    with pytest.raises(ampoule.BadInput, match="another grid"):
        model.predict([image, moved])


def test_wrong_kinds_are_refused(bright, discs, scan):
    from PIL import Image

    model = ampoule.Model.open(bright)
    for what in (Image.new("RGB", (9, 9)), 7, None, object(), {}):
        with pytest.raises(ampoule.AmpouleError):
            model.predict(what)
    with pytest.raises(ampoule.AmpouleError, match="image"):
        discs.predict(nibabel.load(scan))
    with pytest.raises(ampoule.BadInput, match="none.nii"):
        model.predict("none.nii")
