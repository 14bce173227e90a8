"""Whether what `ampoule run --sc --sr` wrote beside a DICOM series is what highdicom and pydicom read: the picture, and the volumes.

    ampoule run MODEL FOLDER -o OUT --sc --sr
    .venv-dicom/bin/python scripts/verify_derived.py FOLDER OUT NAME

NAME is that of the case (OUT/NAME_qc.dcm, OUT/NAME_sr.dcm). The picture must be NAME_qc.png to the last pixel, the volumes those of
OUT/cases.csv; both belong to the study of the series, refer to its instances, and hold no element of the patient but those that file
them. Needs the environment of scripts/golden_dicom.py, with Pillow.
"""

import csv
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from PIL import Image

FILED = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID", "PatientBirthDate", "PatientSex")
IDENTIFYING = {"ReferringPhysicianName", "InstitutionName", "OperatorsName", "PatientAge", "PatientWeight",
               "OtherPatientIDs", "StationName", "PerformingPhysicianName"}


def main(folder, out, name):
    sources = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            try:
                d = pydicom.dcmread(path, stop_before_pixels=True)
                sources[d.SOPInstanceUID] = d
            except Exception:
                pass
    out = Path(out)
    capture, report = (pydicom.dcmread(out / f"{name}_{kind}.dcm") for kind in ("qc", "sr"))
    instances = {i.ReferencedSOPInstanceUID for i in capture.SourceImageSequence}
    assert instances and instances <= set(sources), "references of other instances"
    source = sources[next(iter(instances))]
    for d in (capture, report):
        for tag in FILED:
            assert str(d.get(tag, "")) == str(source.get(tag, "")), tag
        assert d.SeriesInstanceUID != source.SeriesInstanceUID
        kept = {e.keyword for e in d if e.keyword in IDENTIFYING and str(e.value)}
        assert not kept, kept
    picture = np.asarray(Image.open(out / f"{name}_qc.png").convert("RGB"))
    assert np.array_equal(capture.pixel_array, picture), "the picture has other pixels"
    print(f"secondary capture: {capture.Columns}x{capture.Rows}, the pixels of {name}_qc.png")

    document = hd.sr.srread(out / f"{name}_sr.dcm")
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert {i.ReferencedSOPInstanceUID for i in evidence.ReferencedSOPSequence} == instances
    [row] = [r for r in csv.DictReader(open(out / "cases.csv")) if r["case"].rsplit("/", 1)[-1] == name]
    groups = document.content.get_image_measurement_groups()
    assert groups, "no measurement groups"
    for group in groups:
        [volume] = group.get_measurements()
        label = group.tracking_identifier
        assert volume.name.value == "118565006" and volume.unit.value == "mL", (volume.name, volume.unit)
        assert abs(float(volume.value) - float(row[f"ml_{label}"])) < 1e-3, (label, volume.value, row)
        print(f"structured report: {label} {volume.value} mL, cases.csv {row[f'ml_{label}']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
