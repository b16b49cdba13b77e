//! The picture that a model and a person see of a file: which intensities become black and white.
//!
//! 8-bit pictures are shown as they are. Everything else passes through a window: the one that is asked for, else the
//! file's own, else for Hounsfield units radiology's window for soft tissue, else the 0.5 and 99.5 percentiles of the whole
//! picture or volume, as in `MedSAM` (Ma et al. 2024). Prediction, evaluation and the annotator all ask here.

use std::str::FromStr;

use rayon::prelude::*;

use crate::{Error, Image, Picture, Plane, Result, RgbImage, ScanInfo, Volume, Window, check_room};

/// The window for Hounsfield units where nothing else is said.
const SOFT_TISSUE: &str = "abdomen";
/// Hounsfield units of air, with the noise and the rounding of scanners.
const AIR: [f32; 2] = [-1100.0, -850.0];
/// Hounsfield units of soft tissue and fat.
const TISSUE: [f32; 2] = [-200.0, 250.0];
/// Values between lung and fat, which few voxels of a CT have.
const GAP: [f32; 2] = [-600.0, -300.0];
/// How much denser than there values lie around air.
const PEAK: f64 = 2.0;
/// Lowest value of a CT, with what scanners write outside of their field of view.
const LOWEST: f32 = -4096.0;
/// Highest value of a CT: metal, and the end of 16 bits.
const HIGHEST: f32 = 32_768.0;
/// Least share of the values that must be air, and least share that must be tissue.
const LEAST_SHARE: f64 = 0.01;

/// Bytes of a picture in 8 bits, for each pixel.
const RGB_BYTES: u64 = 3;

/// How intensities become grey.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowChoice {
    /// The given range of intensities.
    Range(Window),
    /// The one that the file recommends.
    Own,
    /// The 0.5 and 99.5 percentiles.
    Percentiles,
}

impl FromStr for WindowChoice {
    type Err = String;

    /// `own`, `percentiles`, a name of [`Window::NAMED`], or width and level as in `400,40`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "own" => return Ok(Self::Own),
            "percentiles" => return Ok(Self::Percentiles),
            _ => {}
        }
        if let Some(window) = Window::named(text) {
            return Ok(Self::Range(window));
        }
        let number = |part: &str| part.trim().parse().ok().filter(|v: &f64| v.is_finite());
        let parts: Option<Vec<f64>> = text.split(',').map(number).collect();
        let Some(&[width, level]) = parts.as_deref() else {
            let names: Vec<&str> = Window::NAMED.iter().map(|(name, ..)| *name).collect();
            return Err(format!(
                "width,level or {}, own, percentiles expected, such as 400,40",
                names.join(", ")
            ));
        };
        let window = Window::of_width_level(width, level);
        window.map(Self::Range).map_err(|error| error.to_string())
    }
}

/// How an image is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Presentation {
    /// Intensities shown as black and white; `None` for bytes that are shown as they are.
    pub window: Option<Window>,
    /// Where the window comes from, for people; `None` where there is no window.
    pub source: Option<String>,
    /// Whether small values are bright.
    inverted: bool,
}

impl Presentation {
    /// How a grey picture is shown. Fails if the file's own window is asked for and there is none.
    pub fn of_picture(
        image: &Image,
        info: &ScanInfo,
        choice: Option<&WindowChoice>,
    ) -> Result<Self> {
        if choice.is_none() && info.windows.is_empty() && image.is_8_bit() {
            return Ok(Self {
                window: None,
                source: None,
                inverted: info.inverted,
            });
        }
        Self::chosen(choice, info.windows.first(), info, image.data())
    }

    /// How a volume is shown as a whole: by percentiles where its slices recommend different windows. Fails as
    /// [`Self::of_picture`] does.
    pub fn of_volume(
        volume: &Volume,
        info: &ScanInfo,
        choice: Option<&WindowChoice>,
    ) -> Result<Self> {
        Self::chosen(choice, info.windows.first(), info, volume.data())
    }

    /// How one slice of a volume is shown: as the whole volume, except that where the slices recommend different windows
    /// the file's own is that of the slice, if the slices lie in `plane`. Fails as [`Self::of_picture`] does.
    pub fn of_slice(
        volume: &Volume,
        (plane, index): (Plane, usize),
        info: &ScanInfo,
        choice: Option<&WindowChoice>,
    ) -> Result<Self> {
        let as_stored = volume.geometry().slice_axis(plane) == 2;
        let own = if as_stored && choice == Some(&WindowChoice::Own) {
            info.window_of_slice(index)
        } else {
            info.windows.first()
        };
        Self::chosen(choice, own, info, volume.data())
    }

    fn chosen(
        choice: Option<&WindowChoice>,
        own: Option<&Window>,
        info: &ScanInfo,
        values: &[f32],
    ) -> Result<Self> {
        let (window, source) = match (choice, own) {
            (Some(WindowChoice::Range(window)), _) => {
                let source = window.name.clone().unwrap_or_else(|| "given".to_owned());
                (window.clone(), source)
            }
            (None | Some(WindowChoice::Own), Some(own)) => {
                let name = own.name.as_ref().map(|name| format!(": {name}"));
                let source = format!("the file's own{}", name.unwrap_or_default());
                (own.clone(), source)
            }
            (Some(WindowChoice::Own), None) => {
                let problem = "the file recommends no window".to_owned();
                return Err(Error::Parameter(problem));
            }
            (None, None) if is_hounsfield(info, values) => {
                let window = Window::named(SOFT_TISSUE).expect("one of the named windows");
                let source = format!("{SOFT_TISSUE}, because the values are Hounsfield units");
                (window, source)
            }
            (None | Some(WindowChoice::Percentiles), _) => {
                let (low, high) = info.percentile_window(values);
                let name = None;
                let window = Window { low, high, name };
                (window, "percentiles 0.5 and 99.5".to_owned())
            }
        };
        Ok(Self {
            window: Some(window),
            source: Some(source),
            inverted: info.inverted,
        })
    }

    /// The picture or slice in 8 bits, three equal channels.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where the system does not have the memory.
    pub fn apply(&self, image: &Image) -> Result<RgbImage> {
        check_room(image.size(), image.size().area() as u64 * RGB_BYTES)?;
        let bytes = Window {
            low: 0.0,
            high: 255.0,
            name: None,
        };
        let window = self.window.as_ref().unwrap_or(&bytes);
        Ok(window.apply(image, self.inverted))
    }
}

impl Picture {
    /// The picture in 8 bits: colours as they are, grey ones as [`Presentation::of_picture`] says.
    pub fn shown(&self, info: &ScanInfo) -> Result<RgbImage> {
        match self {
            Self::Rgb(rgb) => {
                check_room(rgb.size(), rgb.size().area() as u64 * RGB_BYTES)?;
                Ok(rgb.clone())
            }
            Self::Grey(image) => Presentation::of_picture(image, info, None)?.apply(image),
        }
    }
}

impl Image {
    /// Whether all values are whole numbers from 0 to 255, as in an 8-bit picture.
    pub fn is_8_bit(&self) -> bool {
        let mut values = self.data().iter();
        values.all(|&v| (0.0..=255.0).contains(&v) && v.fract() == 0.0)
    }
}

/// Counts of values that tell Hounsfield units from others.
#[derive(Default)]
struct Counts {
    finite: u64,
    air: u64,
    tissue: u64,
    gap: u64,
    out_of_range: bool,
}

/// Whether values are Hounsfield units: nothing that says otherwise, a peak of air near -1000, and tissue around water.
fn is_hounsfield(info: &ScanInfo, values: &[f32]) -> bool {
    if info
        .modality
        .as_ref()
        .is_some_and(|modality| modality != "CT")
    {
        return false;
    }
    let within = |v: f32, [low, high]: [f32; 2]| (low..=high).contains(&v);
    let count = |mut counts: Counts, &v: &f32| {
        if v.is_finite() {
            counts.finite += 1;
            counts.air += u64::from(within(v, AIR));
            counts.tissue += u64::from(within(v, TISSUE));
            counts.gap += u64::from(within(v, GAP));
            counts.out_of_range |= !(LOWEST..=HIGHEST).contains(&v);
        }
        counts
    };
    let together = |a: Counts, b: Counts| Counts {
        finite: a.finite + b.finite,
        air: a.air + b.air,
        tissue: a.tissue + b.tissue,
        gap: a.gap + b.gap,
        out_of_range: a.out_of_range || b.out_of_range,
    };
    let Counts {
        finite,
        air,
        tissue,
        gap,
        out_of_range,
    } = values
        .par_iter()
        .fold(Counts::default, count)
        .reduce(Counts::default, together);
    let enough = |n: u64| n as f64 >= LEAST_SHARE * finite as f64;
    // Values that are spread evenly, or around zero, are as dense or denser between air and tissue.
    let per_unit = |n: u64, [low, high]: [f32; 2]| n as f64 / f64::from(high - low);
    let is_peak =
        per_unit(air, AIR) >= PEAK * per_unit(gap, GAP) || info.modality.as_deref() == Some("CT");
    finite > 0 && !out_of_range && enough(air) && enough(tissue) && is_peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileFormat, Size, VolumeGeometry};

    fn grey(values: Vec<f32>) -> Image {
        Image::new(Size::new(1, values.len()), values).expect("one value per pixel")
    }

    fn plain() -> ScanInfo {
        ScanInfo::of_format(FileFormat::Npy)
    }

    fn window(low: f32, high: f32) -> Window {
        let name = None;
        Window { low, high, name }
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
        for text in [
            "", "belly", "0,40", "-5,40", "1", "1e300,0", "nan,0", "1,2,3",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_told_from_other_values() {
        let is_8_bit = |values: &[f32]| grey(values.to_vec()).is_8_bit();
        assert!(is_8_bit(&[0.0, 255.0]));
        for values in [[0.0, 0.5], [-1.0, 0.0], [0.0, 256.0], [f32::NAN, 0.0]] {
            assert!(!is_8_bit(&values), "{values:?}");
        }
    }

    #[test]
    fn deep_pictures_are_stretched_and_shallow_ones_are_not() {
        let shown = |values: Vec<f32>| {
            let image = grey(values);
            let shown = Presentation::of_picture(&image, &plain(), None).expect("a presentation");
            let rgb = shown.apply(&image).expect("memory").into_data();
            let bytes: Vec<u8> = rgb.into_iter().step_by(3).collect();
            (bytes, shown.window)
        };
        assert_eq!(shown(vec![3.0, 200.0]), (vec![3, 200], None));
        let deep = (vec![0, 255], Some(window(1000.0, 3000.0)));
        assert_eq!(shown(vec![1000.0, 3000.0]), deep);
        // Fractions from 0 to 1, as in arrays, are no 8-bit values.
        assert_eq!(shown(vec![0.0, 0.5, 1.0]).0, [0, 128, 255]);
    }

    #[test]
    fn a_file_with_a_window_is_seen_through_it() {
        let mut info = plain();
        let mut soft = window(0.0, 100.0);
        soft.name = Some("SOFT".to_owned());
        info.windows = vec![soft.clone()];
        info.inverted = true;
        let image = grey(vec![0.0, 50.0, 200.0]);
        let shown = |info: &ScanInfo, choice: Option<WindowChoice>| {
            Presentation::of_picture(&image, info, choice.as_ref())
        };
        let own = shown(&info, None).expect("the file's own");
        assert_eq!(own.window, Some(soft));
        assert_eq!(own.source.as_deref(), Some("the file's own: SOFT"));
        assert_eq!(
            own.apply(&image).expect("memory").data()[..4],
            [255, 255, 255, 127]
        );
        let all = shown(&info, Some(WindowChoice::Percentiles)).expect("percentiles");
        assert_eq!(all.window, Some(window(0.0, 200.0)));
        info.windows.clear();
        let none = shown(&info, Some(WindowChoice::Own)).expect_err("there is none");
        assert!(none.to_string().contains("recommends no window"));
    }

    #[test]
    fn slices_have_their_own_windows_where_they_are_asked_for() {
        let geometry = VolumeGeometry::with_spacing([2, 2, 2], [1.0; 3]).expect("a grid");
        let volume = Volume::new(geometry, (0u8..8).map(f32::from).collect()).expect("8 voxels");
        let mut info = plain();
        info.slice_windows = vec![Some(window(0.0, 3.0)), None];
        let own = Some(&WindowChoice::Own);
        let slice = Presentation::of_slice(&volume, (Plane::Axial, 0), &info, own);
        assert_eq!(slice.expect("a window").window, Some(window(0.0, 3.0)));
        assert!(Presentation::of_slice(&volume, (Plane::Axial, 1), &info, own).is_err());
        assert!(Presentation::of_slice(&volume, (Plane::Coronal, 0), &info, own).is_err());
        let at = |plane, index| {
            let place = (plane, index);
            let shown = Presentation::of_slice(&volume, place, &info, None).expect("a window");
            let window = shown.window.expect("no bytes");
            (window.low, window.high)
        };
        assert_eq!(at(Plane::Axial, 0), (0.0, 7.0));
        for place in [(Plane::Axial, 1), (Plane::Coronal, 0), (Plane::Sagittal, 1)] {
            assert_eq!(at(place.0, place.1), (0.0, 7.0), "{place:?}");
        }
    }

    #[test]
    fn hounsfield_units_are_recognised() {
        let body = |air: f32, n: usize| [vec![air; n], vec![40.0; 50], vec![700.0; 10]].concat();
        let is = |modality: Option<&str>, values: &[f32]| {
            let mut info = plain();
            info.modality = modality.map(str::to_owned);
            is_hounsfield(&info, values)
        };
        assert!(is(None, &body(-1000.0, 40)) && is(Some("CT"), &body(-1024.0, 1)));
        assert!(is(None, &body(-994.3, 40)), "rescaled values");
        assert!(is(
            None,
            &[body(-1000.0, 40), vec![-3024.0, f32::NAN]].concat()
        ));
        assert!(!is(Some("MR"), &body(-1000.0, 40)));
        assert!(!is(None, &body(0.0, 40)), "no air");
        assert!(!is(None, &[-1000.0; 40]), "air alone");
        let even: Vec<f32> = (-4096..=4094).step_by(7).map(|v| v as f32).collect();
        assert!(!is(None, &even), "phases, spread evenly");
        // A bell around 0 with a deviation of 500.
        let bell: Vec<f32> = (-2000..=2000)
            .step_by(10)
            .flat_map(|v| {
                let z = v as f32 / 500.0;
                vec![v as f32; (200.0 * (-z * z / 2.0).exp()) as usize]
            })
            .collect();
        assert!(!is(None, &bell), "velocities around 0");
        assert!(is(Some("CT"), &even), "as the file says");
        assert!(!is(None, &[body(-1000.0, 40), vec![1e6]].concat()));
        assert!(!is(None, &[]));
        let values = body(-1000.0, 40);
        let shown = Presentation::of_picture(&grey(values), &plain(), None).expect("a window");
        let window = shown.window.expect("no bytes");
        assert_eq!((window.low, window.high), (-160.0, 240.0));
        assert!(shown.source.expect("a source").contains("Hounsfield"));
    }
}
