#!/usr/bin/env python3
"""Makes small slides of the structures that scanners of Hamamatsu, Leica and Philips write, and DICOM whole slides, and what
OpenSlide reads in them.

Writes into crates/imaging/tests/golden/scanners, and DICOM into crates/dicom/tests/golden/slides: the files, `golden.json` with levels and pixel sizes, and PNGs with the
pixels that OpenSlide reads. The structures are those of OpenSlide's pages on the formats. Leica's levels are those of the
area that was scanned (OpenSlide puts it on a canvas as large as the glass; its pixels are read from there). Needs the
environment of scripts/oracles.sh:

    .venv/bin/python scripts/golden_scanners.py
"""

import io
import json
import pathlib
import struct

import imagecodecs
import numpy as np
import openslide
import pydicom
import tifffile
from golden_slides import half, picture
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

OUT = pathlib.Path("crates/imaging/tests/golden/scanners")
DICOM = pathlib.Path("crates/dicom/tests/golden/slides")
TILE = 128


def restarting(image, interval, subsampling):
    """A JPEG with restart markers, and where its runs begin."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=85, subsampling=subsampling, restart_marker_blocks=interval)
    data = out.getvalue()
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2:scan + 4], "big")
    marks = [i + 2 for i in range(start, len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
    return data, [start, *marks]


def ndpi(path, images):
    """Classic TIFF whose directories refer to the next one by eight bytes, behind which stand the upper halves of values.
    `images`: picture, power of the objective, focus, blocks between restart markers (0: none), chroma (as Pillow's `subsampling`)."""
    out = bytearray(b"II*\0" + bytes(8))
    link = 4
    for image, power, focus, interval, chroma in images:
        if interval:
            data, starts = restarting(image, interval, chroma)
        else:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=85, subsampling=chroma)
            data, starts = buffer.getvalue(), []
        strip = len(out)
        out += data + bytes(len(data) % 2)
        h, w = image.shape[:2]
        size = struct.pack("<II", int(20_000 * power / 20), 1) if power > 0 else struct.pack("<II", 1000, 1)
        tags = [
            (256, 4, struct.pack("<I", w)), (257, 4, struct.pack("<I", h)), (258, 3, struct.pack("<3H", 8, 8, 8)),
            (259, 3, struct.pack("<H", 7)), (262, 3, struct.pack("<H", 6)), (271, 2, b"Hamamatsu\0"), (272, 2, b"C9600-12\0"),
            (273, 4, struct.pack("<I", strip)), (277, 3, struct.pack("<H", 3)), (278, 4, struct.pack("<I", h)),
            (279, 4, struct.pack("<I", len(data))), (282, 5, size), (283, 5, size), (296, 3, struct.pack("<H", 3)),
            (65420, 4, struct.pack("<I", 1)), (65421, 11, struct.pack("<f", power)), (65422, 9, struct.pack("<i", 0)),
            (65423, 9, struct.pack("<i", 0)), (65424, 9, struct.pack("<i", focus)),
        ]
        if starts:
            tags.append((65426, 4, struct.pack(f"<{len(starts)}I", *starts)))
        width = {2: 1, 3: 2, 4: 4, 5: 8, 9: 4, 11: 4}
        entries = b""
        for tag, kind, value in tags:
            place = value.ljust(4, b"\0")
            if len(value) > 4:
                place = struct.pack("<I", len(out))
                out += value + bytes(len(value) % 2)
            entries += struct.pack("<HHI", tag, kind, len(value) // width[kind]) + place
        out[link:link + 8] = struct.pack("<Q", len(out))
        out += struct.pack("<H", len(tags)) + entries
        link = len(out)
        out += bytes(8) + bytes(4 * len(tags))
    path.write_bytes(out)


def scn(path, image):
    """BigTIFF: the glass first, then the levels of one area of it, half a micron a pixel."""
    levels = [image, half(image), half(half(image))]
    dimensions = "".join(
        f'<dimension sizeX="{a.shape[1]}" sizeY="{a.shape[0]}" r="{i}" ifd="{i + 1}" />' for i, a in enumerate(levels)
    )
    h, w = image.shape[:2]
    text = f"""<?xml version="1.0" encoding="utf-8"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">
 <collection name="c" uuid="urn:uuid:2" sizeX="400000" sizeY="300000" barcode="">
  <image name="glass" uuid="urn:uuid:3"><pixels sizeX="80" sizeY="60"><dimension sizeX="80" sizeY="60" r="0" ifd="0" /></pixels>
   <view sizeX="400000" sizeY="300000" offsetX="0" offsetY="0" spacingZ="0" />
   <scanSettings><objectiveSettings><objective>1</objective></objectiveSettings><illuminationSettings><numericalAperture>0.1</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
   <creationDate>2026-01-01T00:00:00.00Z</creationDate><device model="Leica SCN400" version="1" /></image>
  <image name="area" uuid="urn:uuid:4"><pixels sizeX="{w}" sizeY="{h}">{dimensions}</pixels>
   <view sizeX="{500 * w}" sizeY="{500 * h}" offsetX="50000" offsetY="25000" spacingZ="0" />
   <scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
   <creationDate>2026-01-01T00:00:00.00Z</creationDate><device model="Leica SCN400" version="1" /></image>
 </collection>
</scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as t:
        options = dict(photometric="rgb", compression="deflate", predictor=True, metadata=None, tile=(TILE, TILE))
        t.write(picture(80, 60), description=text, **options)
        for i, level in enumerate(levels):
            t.write(level, resolution=(20_000 / 2**i, 20_000 / 2**i), resolutionunit="CENTIMETER", **options)


PHILIPS = 64


def philips(path):
    """Levels that are filled up to whole tiles with white; a tile of level 0 is missing."""
    image = picture(3 * PHILIPS, 2 * PHILIPS)
    levels = [image, half(image), half(half(image))]
    part = "".join(
        f"""<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">&quot;{0.00025 * 2**i}&quot; &quot;{0.00025 * 2**i}&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_COLUMNS" Group="0x301D" Element="0x1002" PMSVR="IUInt32">{-(-a.shape[1] // PHILIPS) * PHILIPS}</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x301D" Element="0x1003" PMSVR="IUInt16">{i}</Attribute></DataObject>"""
        for i, a in enumerate(levels)
    )
    text = f"""<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">PHILIPS</Attribute>
<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array><DataObject ObjectType="DPScannedImage">
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01" PMSVR="IDataObjectArray"><Array>{part}</Array></Attribute>
<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>
</DataObject></Array></Attribute></DataObject>"""
    with tifffile.TiffWriter(path) as t:
        for i, level in enumerate(levels):
            pad = [(0, -level.shape[0] % PHILIPS), (0, -level.shape[1] % PHILIPS), (0, 0)]
            t.write(np.pad(level, pad, constant_values=255), photometric="rgb", compression="deflate", metadata=None,
                    tile=(PHILIPS, PHILIPS), software="Philips DP v1.0", subfiletype=int(i > 0), description=text if i == 0 else None)
    # The last tile of level 0 is one that was not scanned.
    with tifffile.TiffFile(path, mode="r+b") as t:
        for tag in ("TileOffsets", "TileByteCounts"):
            values = list(t.pages[0].tags[tag].value)
            t.pages[0].tags[tag].overwrite([*values[:-1], 0])


PLAIN, JPEG, JPEG2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


def tiles_of(image, side):
    padded = np.pad(image, [(0, -image.shape[0] % side), (0, -image.shape[1] % side), (0, 0)], mode="edge")
    for y in range(0, padded.shape[0], side):
        for x in range(0, padded.shape[1], side):
            yield x, y, np.ascontiguousarray(padded[y:y + side, x:x + side])


def dicom(path, image, number, kind, syntax, mpp, sparse=False):
    """One level, or a picture of the label; a sparse one leaves its second tile out and has the others in reverse."""
    root = "1.2.826.0.1.3680043.8.498.27"
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = syntax
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"{root}.{path.parent.name.__len__()}.{number}"
    d.StudyInstanceUID, d.SeriesInstanceUID = f"{root}.1", f"{root}.{path.parent.name.__len__()}.100"
    d.FrameOfReferenceUID = f"{root}.3"
    d.PatientName, d.PatientID, d.PatientBirthDate, d.PatientSex = "Muster^Erika", "4711", "", ""
    d.StudyDate, d.StudyTime, d.AccessionNumber, d.StudyID, d.ReferringPhysicianName = "20260101", "120000", "", "", ""
    d.Modality, d.SeriesNumber, d.InstanceNumber, d.SeriesDescription = "SM", 3, number, "HE section"
    d.Manufacturer, d.ManufacturerModelName, d.DeviceSerialNumber, d.SoftwareVersions = "x", "x", "0", "1"
    d.ContentDate, d.ContentTime, d.AcquisitionDateTime = "20260101", "120000", "20260101120000"
    d.ImageType = ["DERIVED" if kind != "VOLUME" or number > 1 else "ORIGINAL", "PRIMARY", kind, "RESAMPLED" if number > 1 else "NONE"]
    d.ContainerIdentifier, d.IssuerOfTheContainerIdentifierSequence, d.SpecimenDescriptionSequence = "1", [], []
    d.AcquisitionContextSequence = []
    d.SamplesPerPixel, d.PlanarConfiguration, d.PixelRepresentation = 3, 0, 0
    d.BitsAllocated, d.BitsStored, d.HighBit = 8, 8, 7
    d.PhotometricInterpretation = {PLAIN: "RGB", JPEG: "YBR_FULL_422", JPEG2000: "YBR_RCT"}[syntax]
    # Tiles that are not packed are smaller, so that files are.
    side = TILE if syntax != PLAIN else TILE // 2
    d.Rows = d.Columns = side
    h, w = image.shape[:2]
    d.TotalPixelMatrixColumns, d.TotalPixelMatrixRows, d.TotalPixelMatrixFocalPlanes, d.NumberOfOpticalPaths = w, h, 1, 1
    d.ImagedVolumeWidth, d.ImagedVolumeHeight, d.ImagedVolumeDepth = w * mpp / 1000, h * mpp / 1000, 0.001
    d.BurnedInAnnotation, d.LossyImageCompression, d.VolumetricProperties, d.SpecimenLabelInImage = "NO", "01" if syntax == JPEG else "00", "VOLUME", "NO"
    d.FocusMethod, d.ExtendedDepthOfField = "AUTO", "NO"
    d.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 10, 20
    d.TotalPixelMatrixOriginSequence = [origin]
    organization = Dataset()
    organization.DimensionOrganizationUID = f"{root}.4"
    d.DimensionOrganizationSequence = [organization]
    d.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    optical, illumination, colour = Dataset(), Dataset(), Dataset()
    illumination.CodeValue, illumination.CodingSchemeDesignator, illumination.CodeMeaning = "111744", "DCM", "Brightfield illumination"
    colour.CodeValue, colour.CodingSchemeDesignator, colour.CodeMeaning = "414298005", "SCT", "Full Spectrum"
    optical.OpticalPathIdentifier, optical.IlluminationTypeCodeSequence, optical.IlluminationColorCodeSequence = "1", [illumination], [colour]
    optical.ObjectiveLensPower = 20
    d.OpticalPathSequence = [optical]
    shared, measures, kinds = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000, mpp / 1000], 0.001
    kinds.FrameType = d.ImageType
    shared.PixelMeasuresSequence, shared.WholeSlideMicroscopyImageFrameTypeSequence = [measures], [kinds]
    d.SharedFunctionalGroupsSequence = [shared]
    tiles = list(tiles_of(image, side))
    if sparse:
        tiles = [tiles[0], *tiles[2:]][::-1]
        each = []
        for x, y, _ in tiles:
            item, content, place = Dataset(), Dataset(), Dataset()
            content.DimensionIndexValues = [x // TILE + 1, y // TILE + 1]
            place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
            place.XOffsetInSlideCoordinateSystem, place.YOffsetInSlideCoordinateSystem = 10 - y * mpp / 1000, 20 - x * mpp / 1000
            place.ZOffsetInSlideCoordinateSystem = 0
            item.FrameContentSequence, item.PlanePositionSlideSequence = [content], [place]
            each.append(item)
        d.PerFrameFunctionalGroupsSequence = each
    d.NumberOfFrames = len(tiles)
    if syntax == PLAIN:
        d.PixelData = b"".join(t.tobytes() for _, _, t in tiles)
        d["PixelData"].VR = "OB"
    else:
        d.PixelData = encapsulate([packed(t, syntax) for _, _, t in tiles])
        d["PixelData"].VR = "OB"
        d["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, d, enforce_file_format=True)


def packed(tile, syntax):
    if syntax == JPEG:
        out = io.BytesIO()
        Image.fromarray(tile).save(out, "JPEG", quality=85, subsampling=1)
        return out.getvalue()
    return imagecodecs.jpeg2k_encode(tile, codecformat="j2k", level=0, mct=True)


def dicom_slides(image):
    """Full and sparse pyramids; each has a picture of the label, which is no level."""
    golden = {}
    for name, syntax, sparse in [("full_jpeg", JPEG, False), ("full_j2k", JPEG2000, False), ("sparse", JPEG, True), ("plain", PLAIN, False)]:
        folder = DICOM / name
        for i, level in enumerate([image, half(image)] if syntax != PLAIN else [half(half(image))]):
            dicom(folder / f"{i}.dcm", level, i + 1, "VOLUME", syntax, 0.5 * 2**i, sparse)
        dicom(folder / "label.dcm", picture(60, 40), 9, "LABEL", JPEG, 10)
        slide = openslide.OpenSlide(folder / "0.dcm")
        levels = [list(d) for d in slide.level_dimensions]
        golden[name] = {"levels": levels, "mpp": float(slide.properties["openslide.mpp-x"]), "pictures": []}
        for i, size in enumerate(levels[:1] if name != "full_jpeg" else levels):
            region = Image.new("RGB", size, (255, 255, 255))
            read = slide.read_region((0, 0), i, size)
            region.paste(read, mask=read.getchannel("A"))
            png = f"{name}_{i}.png"
            region.save(DICOM / png)
            golden[name]["pictures"].append([i, png])
        print(name, golden[name])
    (DICOM / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    image = picture()
    dicom_slides(image)
    small = half(image)
    glass = picture(90, 40)
    # Runs of half a row, of whole blocks.
    wide = picture(320, 208)
    ndpi(OUT / "runs.ndpi", [(wide, 20, 0, 20, 0), (half(wide), 10, 0, 10, 0), (glass, -1, 0, 0, 0)])
    whole = picture(304, 208)
    ndpi(OUT / "chroma.ndpi", [(whole, 20, 0, 19, 1), (half(whole), 10, 0, 0, 0), (whole, 20, 2000, 0, 0), (glass, -1, 0, 0, 0), (glass, -2, 0, 0, 0)])
    # Scanners write whole runs; OpenSlide does not read others, Pillow does.
    ndpi(OUT / "odd.ndpi", [(small, 20, 0, 19, 0)])
    scn(OUT / "area.scn", image)
    philips(OUT / "philips.tif")
    kinds = {".ndpi": "Hamamatsu NDPI", ".scn": "Leica SCN", ".tif": "Philips TIFF"}
    golden = {}
    for path in sorted(p for p in OUT.iterdir() if p.suffix in kinds):
        if path.stem == "odd":
            Image.open(io.BytesIO(restarting(small, 19, 0)[0])).save(OUT / "odd_0.png")
            golden[path.name] = {"kind": kinds[".ndpi"], "levels": [[150, 105]], "mpp": 0.5, "pictures": [[0, "odd_0.png"]]}
            continue
        slide = openslide.OpenSlide(path)
        x, y = (int(slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        levels = [list(d) for d in slide.level_dimensions]
        if path.suffix == ".ndpi":
            # OpenSlide makes more of them, smaller ones.
            levels = levels[:2]
        if path.suffix == ".scn":
            levels = [[n // 2**i for n in (image.shape[1], image.shape[0])] for i in range(len(levels))]
        mpp = slide.properties.get("openslide.mpp-x")
        golden[path.name] = {"kind": kinds[path.suffix], "levels": levels, "mpp": float(mpp) if mpp else None,
                             "vendor": slide.properties["openslide.vendor"], "pictures": []}
        for i, size in [(0, levels[0]), (len(levels) - 1, levels[-1])]:
            region = Image.new("RGB", size, (255, 255, 255))
            read = slide.read_region((x, y), i, size)
            region.paste(read, mask=read.getchannel("A"))
            # OpenSlide leaves out what it cannot decode without a word.
            assert np.asarray(region).std() > 5, path
            png = f"{path.stem}_{i}.png"
            region.save(OUT / png)
            golden[path.name]["pictures"].append([i, png])
        print(path.name, golden[path.name])
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
