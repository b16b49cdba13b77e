//! From a file or DICOM series to the 8-bit picture that a model sees, and from a mask back to a file of the same grid.
//!
//! 8-bit pictures are taken as they are; deeper ones and volumes pass through a window: the one asked for, else the
//! file's own, else the 0.5 and 99.5 percentiles of the whole picture or volume, as in the evaluation.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use synthfm_image::{
    Image, ImageFile, LabelFile, LabelMap, LabelVolume, Mask, MaskFormat, OpenOptions, Picture,
    Plane, ReadOptions, RgbImage, Scan, ScanInfo, Segment, Segmentation, Volume, VolumeGeometry,
    Window, WriteOptions, check_source, open_scan, read_labels, write_segmentation,
};
use synthfm_train::dataset::percentile_window;

use crate::cli::{ViewArgs, numbers};
use crate::output::usage;

/// Value of a structure in the label maps that are written.
const LABEL: u16 = 1;

/// How intensities become grey.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WindowChoice {
    /// This range.
    Range(Window),
    /// The first one that the file recommends.
    Own,
    /// The 0.5 and 99.5 percentiles.
    Percentiles,
}

impl FromStr for WindowChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "own" => return Ok(Self::Own),
            "percentiles" => return Ok(Self::Percentiles),
            _ => {}
        }
        if let Some(window) = Window::named(text) {
            return Ok(Self::Range(window));
        }
        let names: Vec<&str> = Window::NAMED.iter().map(|(name, ..)| *name).collect();
        let expected = format!("width,level or {}, own, percentiles", names.join(", "));
        let [width, level] = numbers(text, &expected)?;
        let window = Window::of_width_level(width, level);
        window.map(Self::Range).map_err(|error| error.to_string())
    }
}

/// A window in numbers: one by name, or width and level.
pub(crate) fn parse_range(text: &str) -> Result<Window, String> {
    match text.parse()? {
        WindowChoice::Range(window) => Ok(window),
        WindowChoice::Own | WindowChoice::Percentiles => {
            Err("a window's name, or width,level expected".to_owned())
        }
    }
}

/// Which part of a file is shown, and how.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) slice: Option<usize>,
    pub(crate) plane: Plane,
    pub(crate) window: Option<WindowChoice>,
    pub(crate) open: OpenOptions,
}

impl From<&ViewArgs> for View {
    fn from(args: &ViewArgs) -> Self {
        Self {
            slice: args.slice,
            plane: args.axis.into(),
            window: args.window.clone(),
            open: args.open.options(),
        }
    }
}

/// Where the picture lies in its file.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// It is the file.
    Picture,
    /// A slice of a volume.
    Slice {
        geometry: Box<VolumeGeometry>,
        plane: Plane,
        index: usize,
    },
}

/// What a model sees of a file.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) rgb: RgbImage,
    pub(crate) place: Place,
    /// Intensities shown as black and white; `None` if they were taken as they are.
    pub(crate) window: Option<[f32; 2]>,
    /// Where the window comes from.
    pub(crate) window_source: Option<String>,
    /// What is known about the file.
    pub(crate) info: ScanInfo,
}

/// Reads a picture, or one slice of a volume.
pub(crate) fn read(path: &Path, view: &View) -> Result<Input> {
    of_scan(path, open_scan(path, &view.open)?, view)
}

/// What a model sees of a file that was opened.
pub(crate) fn of_scan(path: &Path, scan: Scan, view: &View) -> Result<Input> {
    match scan.content {
        ImageFile::Picture(picture) => of_picture(path, picture, scan.info, view),
        ImageFile::Volume(volume) => of_volume(path, &volume, scan.info, view),
    }
}

fn of_picture(path: &Path, picture: Picture, info: ScanInfo, view: &View) -> Result<Input> {
    if view.slice.is_some() {
        return Err(usage(format!(
            "--slice is for volumes; {} is a picture",
            path.display()
        )));
    }
    let (rgb, window) = match (picture, &view.window) {
        (Picture::Rgb(_), Some(_)) => {
            let path = path.display();
            return Err(usage(format!(
                "--window is for intensities; {path} is a colour picture"
            )));
        }
        (Picture::Rgb(rgb), None) => (rgb, None),
        (Picture::Grey(image), None) if info.windows.is_empty() && is_8_bit(&image) => {
            let all = Window {
                low: 0.0,
                high: 255.0,
                name: None,
            };
            (all.apply(&image, info.inverted), None)
        }
        (Picture::Grey(image), choice) => {
            let chosen = chosen(path, choice.as_ref(), &info, image.data())?;
            (chosen.window.apply(&image, info.inverted), Some(chosen))
        }
    };
    Ok(Input::new(rgb, Place::Picture, window, info))
}

/// Whether all values are bytes.
pub(crate) fn is_8_bit(image: &Image) -> bool {
    let mut values = image.data().iter();
    values.all(|&v| (0.0..=255.0).contains(&v) && v.fract() == 0.0)
}

fn of_volume(path: &Path, volume: &Volume, info: ScanInfo, view: &View) -> Result<Input> {
    let (geometry, plane) = (volume.geometry(), view.plane);
    let count = geometry.slice_count(plane);
    let index = match view.slice {
        Some(index) => index,
        None if count == 1 => 0,
        None => {
            let path = path.display();
            return Err(usage(format!(
                "{path} is a volume of {count} {plane} slices: choose one with --slice (0 to {})",
                count.saturating_sub(1)
            )));
        }
    };
    let slice = volume
        .slice(plane, index)
        .with_context(|| path.display().to_string())?;
    let chosen = chosen(path, view.window.as_ref(), &info, volume.data())?;
    let rgb = chosen.window.apply(&slice.image, info.inverted);
    let place = Place::Slice {
        geometry: Box::new(geometry.clone()),
        plane,
        index,
    };
    Ok(Input::new(rgb, place, Some(chosen), info))
}

/// A window, and where it comes from.
struct Chosen {
    window: Window,
    source: String,
}

/// The window that is asked for; by default the file's own, else percentiles.
fn chosen(
    path: &Path,
    choice: Option<&WindowChoice>,
    info: &ScanInfo,
    values: &[f32],
) -> Result<Chosen> {
    let own = info.windows.first();
    let (window, source) = match (choice, own) {
        (Some(WindowChoice::Range(window)), _) => {
            let source = window.name.clone().unwrap_or_else(|| "given".to_owned());
            (window.clone(), source)
        }
        (None | Some(WindowChoice::Own), Some(own)) => {
            let name = own.name.as_ref().map(|name| format!(": {name}"));
            (
                own.clone(),
                format!("the file's own{}", name.unwrap_or_default()),
            )
        }
        (Some(WindowChoice::Own), None) => {
            let path = path.display();
            return Err(usage(format!("--window own: {path} recommends no window")));
        }
        (None | Some(WindowChoice::Percentiles), _) => {
            let [low, high] = percentile_window(values).into();
            let window = Window {
                low,
                high,
                name: None,
            };
            (window, "percentiles 0.5 and 99.5".to_owned())
        }
    };
    Ok(Chosen { window, source })
}

impl Place {
    /// The usual format of a mask.
    const fn format(&self) -> MaskFormat {
        match self {
            Self::Picture => MaskFormat::Png,
            Self::Slice { .. } => MaskFormat::Nifti,
        }
    }

    /// Slice and plane, for records.
    pub(crate) fn slice(&self) -> Option<(usize, String)> {
        match self {
            Self::Picture => None,
            Self::Slice { plane, index, .. } => Some((*index, plane.to_string())),
        }
    }

    /// Reads a mask and brings it onto the grid of the input: everything but 0 is inside. How a volume was brought there
    /// is written to standard error.
    pub(crate) fn read_mask(&self, path: &Path, input: &RgbImage) -> Result<Mask> {
        let labels = match (self, read_labels(path, &ReadOptions::default())?) {
            (_, LabelFile::Map(labels)) => labels,
            (
                Self::Slice {
                    geometry,
                    plane,
                    index,
                },
                LabelFile::Volume(labels),
            ) => {
                let placed = labels.on_grid(geometry);
                let (labels, note) = placed.with_context(|| path.display().to_string())?;
                if let Some(note) = note {
                    eprintln!("note: {}: {note}", path.display());
                }
                labels.slice(*plane, *index)?
            }
            (_, LabelFile::Volume(labels)) => {
                let shape = labels.geometry().shape();
                bail!(
                    "{}: a volume of {shape:?} does not lie on the grid of the input",
                    path.display()
                );
            }
        };
        inside(path, &labels, input)
    }
}

impl Input {
    fn new(rgb: RgbImage, place: Place, chosen: Option<Chosen>, info: ScanInfo) -> Self {
        let (window, window_source) = chosen
            .map(|Chosen { window, source }| ([window.low, window.high], source))
            .unzip();
        Self {
            rgb,
            place,
            window,
            window_source,
            info,
        }
    }

    /// The ending of a mask file of this format, by default of the usual one.
    pub(crate) fn ending(&self, format: Option<MaskFormat>) -> &'static str {
        format.unwrap_or_else(|| self.place.format()).ending()
    }

    /// Refuses names and formats that do not fit the input, before any work is done.
    pub(crate) fn check_output(&self, path: &Path, format: Option<MaskFormat>) -> Result<()> {
        let options = WriteOptions {
            format,
            ..WriteOptions::default()
        };
        let checked = options
            .format_of(path)
            .and_then(|format| check_source(path, format, &self.info));
        checked.map_err(|error| usage(error.to_string()))
    }

    /// Writes a mask on the grid of the input; a slice's mask is a volume that is empty elsewhere. Returns what the
    /// format could not keep.
    pub(crate) fn write_mask(
        &self,
        path: &Path,
        mask: &Mask,
        name: &str,
        format: Option<MaskFormat>,
    ) -> Result<Vec<String>> {
        let (labels, slice) = match &self.place {
            Place::Picture => {
                let data = mask.data().iter().map(|&inside| u16::from(inside) * LABEL);
                let map = LabelMap::new(mask.size(), data.collect())?;
                (LabelFile::Map(map), None)
            }
            Place::Slice {
                geometry,
                plane,
                index,
            } => {
                let mut labels = LabelVolume::zeros((**geometry).clone());
                labels.insert_slice(*plane, *index, mask, LABEL)?;
                (LabelFile::Volume(labels), Some((*plane, *index)))
            }
        };
        let segmentation = Segmentation {
            labels,
            segments: vec![Segment::new(LABEL, name)],
        };
        let options = WriteOptions {
            format,
            slice,
            ..WriteOptions::default()
        };
        Ok(write_segmentation(
            path,
            &segmentation,
            &self.info,
            &options,
        )?)
    }
}

fn inside(path: &Path, labels: &LabelMap, input: &RgbImage) -> Result<Mask> {
    let (size, expected) = (labels.size(), input.size());
    if size != expected {
        bail!(
            "{}: the mask has {size} pixels, the input {expected}",
            path.display()
        );
    }
    Ok(Mask::new(
        size,
        labels.data().iter().map(|&v| v != 0).collect(),
    )?)
}

#[cfg(test)]
mod tests {
    use synthfm_image::{FileFormat, Size};

    use super::*;

    fn view(window: Option<WindowChoice>) -> View {
        View {
            slice: None,
            plane: Plane::Axial,
            window,
            open: OpenOptions::default(),
        }
    }

    fn grey(values: Vec<f32>) -> Picture {
        Picture::Grey(Image::new(Size::new(1, values.len()), values).unwrap())
    }

    #[test]
    fn windows_have_names_and_numbers() {
        let window = |text: &str| text.parse::<WindowChoice>();
        let edges = |text: &str| match window(text) {
            Ok(WindowChoice::Range(window)) => (window.low, window.high),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(edges("abdomen"), (-160.0, 240.0));
        assert_eq!(edges("1500,-600"), edges("lung"));
        assert_eq!(window("own"), Ok(WindowChoice::Own));
        for text in ["", "belly", "0,40", "-5,40", "1", "1e300,0", "nan,0"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_pictures_are_stretched_and_shallow_ones_are_not() {
        let plain = || ScanInfo::of_format(FileFormat::Npy);
        let of = |values| of_picture(Path::new("a"), grey(values), plain(), &view(None)).unwrap();
        let shallow = of(vec![3.0, 200.0]);
        assert_eq!((shallow.rgb.data()[0], shallow.window), (3, None));
        let deep = of(vec![1000.0, 3000.0]);
        assert_eq!((deep.rgb.data()[0], deep.rgb.data()[3]), (0, 255));
        assert_eq!(deep.window, Some([1000.0, 3000.0]));
        // Fractions from 0 to 1, as in arrays, are no 8-bit values.
        let fractions = of(vec![0.0, 0.5, 1.0]);
        assert_eq!(fractions.rgb.data()[3], 128);
    }

    #[test]
    fn a_file_with_a_window_is_seen_through_it() {
        let mut info = ScanInfo::of_format(FileFormat::Dicom);
        let mut window = Window::of_width_level(100.0, 50.0).unwrap();
        window.name = Some("SOFT".to_owned());
        info.windows = vec![window];
        info.inverted = true;
        let of = |choice| {
            let values = grey(vec![0.0, 50.0, 200.0]);
            of_picture(Path::new("a"), values, info.clone(), &view(choice)).unwrap()
        };
        let own = of(None);
        assert_eq!(own.window, Some([0.0, 100.0]));
        assert_eq!(own.window_source.as_deref(), Some("the file's own: SOFT"));
        assert_eq!(
            [own.rgb.data()[0], own.rgb.data()[3], own.rgb.data()[6]],
            [255, 127, 0]
        );
        assert_eq!(
            of(Some(WindowChoice::Percentiles)).window,
            Some([0.0, 200.0])
        );
        info.windows.clear();
        let none = of_picture(
            Path::new("a"),
            grey(vec![0.0, 1.0]),
            info.clone(),
            &view(Some(WindowChoice::Own)),
        );
        assert!(
            none.unwrap_err()
                .to_string()
                .contains("recommends no window")
        );
    }
}
