//! The table of image formats: what each is called, what it is an image of, how its files are named and
//! begin, and whether it can be read.
//!
//! One row is one format. How volumes are recognised and read is listed in [`super::VOLUMES`], photos are
//! read by [`crate::photo`], slides by [`crate::slide`].

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Three dimensions, with a place in the world.
    Volume,
    /// A photo or a tile.
    Image,
    /// A whole slide, in several resolutions.
    Slide,
}

/// What is known of a format.
struct Row {
    name: &'static str,
    family: Family,
    endings: &'static [&'static str],
    marks: &'static [&'static [u8]],
    /// What to do where it cannot be read; empty where it can.
    advice: &'static str,
}

/// Declares [`Format`] with one row of the table for each of its values.
macro_rules! formats {
    ($($(#[$doc:meta])* $format:ident {
        name: $name:expr,
        family: $family:ident,
        endings: $endings:expr,
        marks: $marks:expr,
        advice: $advice:expr $(,)?
    })+) => {
        /// A format of image files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Format { $($(#[$doc])* $format,)+ }

        impl Format {
            /// All formats.
            pub const ALL: &[Format] = &[$(Format::$format,)+];

            fn row(self) -> Row {
                match self {
                    $(Format::$format => Row {
                        name: $name,
                        family: Family::$family,
                        endings: &$endings,
                        marks: &$marks,
                        advice: $advice,
                    },)+
                }
            }
        }
    };
}

formats! {
    /// One file, plain or gzipped, version 1 or 2.
    Nifti {
        name: "NIfTI",
        family: Volume,
        endings: [".nii", ".nii.gz"],
        marks: [],
        advice: "",
    }
    /// A NIfTI header with its voxels in another file (`.hdr`, `.img`).
    NiftiPair {
        name: "NIfTI pair (.hdr and .img)",
        family: Volume,
        endings: [".hdr"],
        marks: [],
        advice: "",
    }
    Analyze {
        name: "ANALYZE 7.5",
        family: Volume,
        endings: [],
        marks: [],
        advice: "ANALYZE 7.5 images do not state their orientation and are not read; convert them to NIfTI",
    }
    /// FreeSurfer's volume, plain or gzipped (`.mgz`).
    Mgh {
        name: "FreeSurfer MGH/MGZ",
        family: Volume,
        endings: [".mgh", ".mgz", ".mgh.gz"],
        marks: [],
        advice: "",
    }
    Nrrd {
        name: "NRRD",
        family: Volume,
        endings: [".nrrd", ".nrrd.gz"],
        marks: [],
        advice: "",
    }
    MetaImage {
        name: "MetaImage",
        family: Volume,
        endings: [".mha", ".mhd"],
        marks: [],
        advice: "",
    }
    Minc {
        name: "MINC",
        family: Volume,
        endings: [".mnc"],
        marks: [],
        advice: "MINC volumes are not read; convert them to NIfTI with mnc2nii",
    }
    Dicom {
        name: "DICOM",
        family: Volume,
        endings: [".dcm", ".dicom", ".ima"],
        marks: [],
        advice: "",
    }
    Jpeg {
        name: "JPEG",
        family: Image,
        endings: [".jpg", ".jpeg"],
        marks: [&[0xff, 0xd8, 0xff]],
        advice: "",
    }
    Png {
        name: "PNG",
        family: Image,
        endings: [".png"],
        marks: [b"\x89PNG\r\n\x1a\n"],
        advice: "",
    }
    Tiff {
        name: "TIFF",
        family: Image,
        endings: [".tif", ".tiff"],
        marks: [],
        advice: "",
    }
    Webp {
        name: "WebP",
        family: Image,
        endings: [".webp"],
        marks: [],
        advice: "",
    }
    Bmp {
        name: "BMP",
        family: Image,
        endings: [".bmp"],
        marks: [],
        advice: "",
    }
    Gif {
        name: "GIF",
        family: Image,
        endings: [".gif"],
        marks: [b"GIF87a", b"GIF89a"],
        advice: "",
    }
    /// Photos of phones: HEVC still pictures.
    Heic {
        name: "HEIC",
        family: Image,
        endings: [".heic", ".heif"],
        marks: [],
        advice: "",
    }
    Avif {
        name: "AVIF",
        family: Image,
        endings: [".avif"],
        marks: [],
        advice: "photos of this kind (AVIF) are not read; export them as JPEG or PNG",
    }
    Jpeg2000 {
        name: "JPEG 2000",
        family: Image,
        endings: [".jp2", ".j2k"],
        marks: [&[0xff, 0x4f, 0xff, 0x51], b"\0\0\0\x0cjP  \r\n\x87\n"],
        advice: "single JPEG 2000 files are not read; convert them to PNG or TIFF",
    }
    JpegXl {
        name: "JPEG XL",
        family: Image,
        endings: [".jxl"],
        marks: [b"\0\0\0\x0cJXL \r\n\x87\n", &[0xff, 0x0a]],
        advice: "photos of this kind (JPEG XL) are not read; export them as JPEG or PNG",
    }
    Pnm {
        name: "PNM",
        family: Image,
        endings: [".pbm", ".pgm", ".ppm", ".pnm"],
        marks: [],
        advice: "images of this kind (PBM, PGM, PPM) are not read; convert them to PNG",
    }
    Photoshop {
        name: "Photoshop",
        family: Image,
        endings: [".psd"],
        marks: [b"8BPS"],
        advice: "Photoshop files are not read; export them as PNG or TIFF",
    }
    CameraRaw {
        name: "camera raw",
        family: Image,
        endings: [],
        marks: [b"II*\0\x10\0\0\0CR", b"IIU\0", b"FUJIFILMCCD-RAW"],
        advice: "unprocessed camera files (raw) are not read; develop them to JPEG, PNG or TIFF",
    }
    Svs {
        name: "Aperio SVS",
        family: Slide,
        endings: [".svs"],
        marks: [],
        advice: "",
    }
    OmeTiff {
        name: "OME-TIFF",
        family: Slide,
        endings: [".ome.tif", ".ome.tiff"],
        marks: [],
        advice: "",
    }
    /// A pyramid of a tiled image, written by no scanner that is known here.
    PyramidTiff {
        name: "pyramidal TIFF",
        family: Slide,
        endings: [],
        marks: [],
        advice: "",
    }
    Ndpi {
        name: "Hamamatsu NDPI",
        family: Slide,
        endings: [".ndpi"],
        marks: [],
        advice: "",
    }
    Scn {
        name: "Leica SCN",
        family: Slide,
        endings: [".scn"],
        marks: [],
        advice: "",
    }
    PhilipsTiff {
        name: "Philips TIFF",
        family: Slide,
        endings: [],
        marks: [],
        advice: "",
    }
    VentanaBif {
        name: "Ventana BIF",
        family: Slide,
        endings: [".bif"],
        marks: [],
        advice: "Ventana slides (BIF) are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    }
    Vsi {
        name: "Olympus VSI",
        family: Slide,
        endings: [".vsi"],
        marks: [],
        advice: "Olympus slides (VSI) are not read; convert them to OME-TIFF with bioformats2raw and raw2ometiff",
    }
    Czi {
        name: "Zeiss CZI",
        family: Slide,
        endings: [".czi"],
        marks: [b"ZISRAWFILE"],
        advice: "Zeiss slides (CZI) are not read; convert them to OME-TIFF with bioformats2raw and raw2ometiff",
    }
    Mrxs {
        name: "MIRAX",
        family: Slide,
        endings: [".mrxs"],
        marks: [],
        advice: "MIRAX slides (MRXS) are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    }
}

impl Format {
    /// Its name, as people say it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is an image of.
    pub fn family(self) -> Family {
        self.row().family
    }

    /// How names of its files end, with the dot, in lower case. Content decides, not the name: these are
    /// taken off to name results, and tell that a file with other content is damaged.
    pub fn endings(self) -> &'static [&'static str] {
        self.row().endings
    }

    /// What its files begin with, where that alone tells the format.
    pub(super) fn marks(self) -> &'static [&'static [u8]] {
        self.row().marks
    }

    /// Whether files of this format can be read; else a sentence with what to do.
    pub fn support(self) -> Result<(), &'static str> {
        match self.row().advice {
            "" => Ok(()),
            advice => Err(advice),
        }
    }
}
