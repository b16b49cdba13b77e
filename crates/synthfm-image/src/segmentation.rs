//! Named structures on the grid of an image, and the formats that hold them.

use std::path::Path;
use std::time::SystemTime;

use crate::{Error, LabelFile, Plane, Result};

/// Colours that stand out from each other and from grey, for structures without one of their own.
const PALETTE: [[u8; 3]; 8] = [
    [255, 200, 0],
    [60, 160, 255],
    [230, 90, 80],
    [110, 200, 100],
    [190, 110, 220],
    [80, 210, 210],
    [250, 140, 40],
    [240, 130, 180],
];

/// One structure of a segmentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Value of the structure in the labels; not 0.
    pub label: u16,
    /// Name of the structure, as viewers show it.
    pub name: String,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

impl Segment {
    /// A structure in a colour that depends on its label.
    pub fn new(label: u16, name: impl Into<String>) -> Self {
        let colour = PALETTE[usize::from(label.saturating_sub(1)) % PALETTE.len()];
        let name = name.into();
        Self {
            label,
            name,
            colour,
        }
    }
}

/// Labels on the grid of an image, with their names.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// The labels.
    pub labels: LabelFile,
    /// The structures; labels that occur without one get a name from their number.
    pub segments: Vec<Segment>,
}

impl Segmentation {
    /// The structures, those without an entry included, in ascending order of their labels.
    pub fn all_segments(&self) -> Vec<Segment> {
        let occurring = match &self.labels {
            LabelFile::Map(map) => map.labels(),
            LabelFile::Volume(volume) => volume.labels(),
        };
        let mut all = self.segments.clone();
        for label in occurring {
            if all.iter().all(|segment| segment.label != label) {
                all.push(Segment::new(label, format!("label_{label}")));
            }
        }
        all.sort_by_key(|segment| segment.label);
        all
    }
}

/// Formats that a segmentation can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskFormat {
    /// 0 and 255 for a single structure with label 1, labels otherwise; a picture or the slice looked at.
    Png,
    /// As PNG for a picture; pages along the last axis for a volume.
    Tiff,
    /// NIfTI-1, `.nii` or `.nii.gz`.
    Nifti,
    /// 3D Slicer's `.seg.nrrd`, with names and colours; also plain `.nrrd`.
    Nrrd,
    /// `MetaImage`, `.mha`.
    MetaImage,
    /// DICOM Segmentation (binary).
    DicomSeg,
    /// DICOM RT structure set: closed planar contours.
    RtStruct,
    /// COCO instances with compressed run lengths.
    CocoJson,
}

impl MaskFormat {
    /// Every format, with its name and the endings of its files, the usual one first.
    pub const ALL: [(Self, &'static str, &'static [&'static str]); 8] = [
        (Self::Png, "png", &[".png"]),
        (Self::Tiff, "tiff", &[".tif", ".tiff"]),
        (Self::Nifti, "nifti", &[".nii.gz", ".nii"]),
        (Self::Nrrd, "nrrd", &[".seg.nrrd", ".nrrd"]),
        (Self::MetaImage, "metaimage", &[".mha"]),
        (Self::RtStruct, "rtstruct", &[".rtstruct.dcm"]),
        (Self::DicomSeg, "dicom-seg", &[".seg.dcm", ".dcm"]),
        (Self::CocoJson, "coco", &[".coco.json", ".json"]),
    ];

    /// The format that a file's name asks for.
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let fits = |(_, _, endings): &&(_, _, &[&str])| endings.iter().any(|e| name.ends_with(e));
        Self::ALL.iter().find(fits).map(|&(format, ..)| format)
    }

    /// The format of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|&(format, ..)| format)
    }

    /// The name, as in [`MaskFormat::of_name`].
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The usual ending of its files.
    pub fn ending(self) -> &'static str {
        self.entry().2[0]
    }

    fn entry(self) -> &'static (Self, &'static str, &'static [&'static str]) {
        let own = Self::ALL.iter().find(|(format, ..)| *format == self);
        own.expect("every format is listed")
    }

    /// Whether it stores references to DICOM images, and therefore needs a DICOM source.
    pub const fn needs_dicom(self) -> bool {
        matches!(self, Self::DicomSeg | Self::RtStruct)
    }

    /// Whether it holds two-dimensional pictures as they are seen.
    pub const fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::CocoJson)
    }
}

/// How a segmentation is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The format; by default what the file's name asks for.
    pub format: Option<MaskFormat>,
    /// The slice of a volume that formats of pictures show.
    pub slice: Option<(Plane, usize)>,
    /// When the segmentation was made; DICOM objects say so.
    pub created: SystemTime,
}

impl Default for WriteOptions {
    /// The format of the file's name; the time of this call.
    #[expect(
        clippy::disallowed_methods,
        reason = "DICOM objects must say when they were made"
    )]
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl WriteOptions {
    /// The format of the file's name; no slice.
    pub const fn new(created: SystemTime) -> Self {
        Self {
            format: None,
            slice: None,
            created,
        }
    }

    /// The format for `path`, or an error that lists the endings that are known.
    pub fn format_of(&self, path: &Path) -> Result<MaskFormat> {
        let format = self.format.or_else(|| MaskFormat::of_path(path));
        format.ok_or_else(|| {
            let endings = MaskFormat::ALL.iter().flat_map(|(_, _, endings)| *endings);
            let endings: Vec<&str> = endings.copied().collect();
            Error::Parameter(format!(
                "{}: the ending tells no format of masks; use one of {}",
                path.display(),
                endings.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LabelMap, Size};

    #[test]
    fn endings_tell_formats() {
        for (name, format) in [
            ("a.PNG", Some(MaskFormat::Png)),
            ("a.nii.gz", Some(MaskFormat::Nifti)),
            ("a.seg.nrrd", Some(MaskFormat::Nrrd)),
            ("liver.dcm", Some(MaskFormat::DicomSeg)),
            ("liver.rtstruct.dcm", Some(MaskFormat::RtStruct)),
            ("liver.coco.json", Some(MaskFormat::CocoJson)),
            ("a.gz", None),
            ("png", None),
        ] {
            assert_eq!(MaskFormat::of_path(Path::new(name)), format, "{name}");
        }
        for (format, name, endings) in MaskFormat::ALL {
            assert_eq!(MaskFormat::of_name(name), Some(format));
            let file = format!("x{}", endings[0]);
            assert_eq!(MaskFormat::of_path(Path::new(&file)), Some(format));
        }
        let error = WriteOptions::new(SystemTime::UNIX_EPOCH).format_of(Path::new("a.xyz"));
        assert!(error.unwrap_err().to_string().contains(".nii.gz"));
    }

    #[test]
    fn labels_without_a_name_get_one() {
        let map = LabelMap::new(Size::new(1, 4), vec![0, 7, 2, 7]).unwrap();
        let segmentation = Segmentation {
            labels: LabelFile::Map(map),
            segments: vec![Segment::new(7, "liver")],
        };
        let all = segmentation.all_segments();
        let names: Vec<_> = all.iter().map(|s| (s.label, s.name.as_str())).collect();
        assert_eq!(names, [(2, "label_2"), (7, "liver")]);
    }
}
