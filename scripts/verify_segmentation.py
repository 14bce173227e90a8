"""Whether a Segmentation object that `ampoule run --seg` wrote is what highdicom and pydicom read as the mask beside it.

    ampoule run MODEL FOLDER -o OUT --seg
    .venv-dicom/bin/python scripts/verify_segmentation.py FOLDER OUT/NAME_seg.dcm OUT/NAME_mask.nii.gz

The same for `run --seg=labelmap` and its NAME_labelmap.dcm, of which every value is compared.

FOLDER holds the series (scripts/golden_dicom.py makes the environment). The object must be read by highdicom, lie on the
mask's voxels to 1e-3 mm, reference instances of the series, and hold no element of the patient but those that file it.
"""

import sys
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom

PATIENT = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
IDENTIFYING = {"ReferringPhysicianName", "InstitutionName", "OperatorsName", "PatientAge", "PatientWeight",
               "OtherPatientIDs", "StationName", "PerformingPhysicianName"}


def main(folder, segmentation, mask):
    sources = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            try:
                d = pydicom.dcmread(path, stop_before_pixels=True)
                sources[d.SOPInstanceUID] = d
            except Exception:
                pass
    seg = hd.seg.segread(segmentation)
    referenced = {uid for _, _, uid in seg.get_source_image_uids()}
    assert referenced and referenced <= set(sources), "references of other instances"
    source = sources[next(iter(referenced))]
    for name in ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "FrameOfReferenceUID", *sorted(PATIENT)):
        assert str(seg.get(name, "")) == str(source.get(name, "")), name
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID and seg.Modality == "SEG"
    kept = {e.keyword for e in seg if e.keyword in IDENTIFYING and str(e.value)}
    assert not kept, kept

    image = nib.load(mask)
    labels = np.asarray(image.dataobj)
    to_lps = np.diag([-1, -1, 1, 1.0])
    volume = seg.get_volume(combine_segments=True, relabel=False)
    # Where the object's voxels lie among those of the mask.
    at = np.argwhere(volume.array > 0)
    way = np.linalg.inv(to_lps @ image.affine) @ volume.affine
    at = at @ way[:3, :3].T + way[:3, 3]
    near = np.abs(at - np.round(at)).max(initial=0) * np.abs(image.header.get_zooms()).max()
    assert near < 1e-3, f"voxels lie {near} mm beside those of the mask"
    have = np.zeros(labels.shape, int)
    have[tuple(np.round(at).astype(int).T)] = volume.array[volume.array > 0]
    plain = pydicom.dcmread(segmentation)
    labelmap = plain.SegmentationType == "LABELMAP"
    want = labels if labelmap else labels > 0
    have = have if labelmap else have > 0
    assert (have == want).all(), f"{(have != want).sum()} voxels differ"
    for d in (n for n in seg.segment_numbers if n > 0):
        s = seg.get_segment_description(d)
        print(f"segment {d}: {s.segment_label}, {s.segmented_property_category.meaning} / "
              f"{s.segmented_property_type.meaning} ({s.segmented_property_type.value}), {s.algorithm_type.value}, "
              f"{s.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName}")
    count = int((plain.pixel_array > 0).sum())
    print(f"{plain.SegmentationType}: {plain.NumberOfFrames} frames of {plain.Rows}x{plain.Columns}, pydicom finds {count} "
          f"voxels, the mask has {int((labels > 0).sum())}")
    assert count == int((labels > 0).sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
