//! Whole evaluations of a small volume, with segmenters whose answers are known.

use std::fs;
use std::sync::atomic::AtomicBool;

use synthfm_image::{LabelVolume, Mask, RgbImage, Size, VolumeGeometry, write_label_nifti};
use tempfile::TempDir;

use super::*;
use crate::dataset::Dataset;
use crate::evaluate::{
    Evaluation, Options, PromptSetting, Row, RunOptions, Segmenter, Target, evaluate,
};
use crate::{Error, Result};

/// Columns, rows and slices.
const SHAPE: [usize; 3] = [16, 12, 14];

/// A data set of one volume, spacing 0.5 x 1 x 3 mm: structure `bar` of 4 x 3 pixels on slices 2 to 11, 6 x 3 on slice 7,
/// with a smaller piece on slices 2 to 3; structure `short` on three slices; voxels of unknown truth.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["imagesTs", "labelsTs"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let manifest = r#"{"name": "Bars", "channel_names": {"0": "CT"}, "labels": {"background": 0, "bar": 1,
        "short": 2, "nothing": 3, "ignore": 4}, "file_ending": ".nii.gz"}"#;
    fs::write(root.path().join("dataset.json"), manifest).unwrap();
    let geometry = VolumeGeometry::with_spacing(SHAPE, [0.5, 1.0, 3.0]).unwrap();
    let [width, height, _] = SHAPE;
    let label = |at: usize| {
        let (x, y, z) = (at % width, at / width % height, at / (width * height));
        match (x, y, z) {
            (5..9, 4..7, 2..12) | (3..9, 4..7, 7) | (12..14, 1, 2..4) => 1,
            (2, 9..11, 4..7) => 2,
            (9..12, 4..7, 9) => 4,
            _ => 0,
        }
    };
    let len = SHAPE.iter().product();
    let labels = LabelVolume::new(geometry, (0..len).map(label).collect()).unwrap();
    let root_path = root.path();
    write_label_nifti(&root_path.join("labelsTs/v.nii.gz"), &labels).unwrap();
    write_label_nifti(&root_path.join("imagesTs/v_0000.nii.gz"), &labels).unwrap();
    root
}

/// Carries the box of the prompted slice as its mask through all slices; each correction makes the slice of the click
/// right, if it is of three pixels.
#[derive(Clone, Default)]
struct Carrier {
    answer: Option<MaskStack>,
    truth: Option<MaskStack>,
}

impl Segmenter for Carrier {
    fn name(&self) -> &'static str {
        "carrier"
    }

    fn identity(&self) -> String {
        "carrier 1".to_owned()
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    fn set_image(&mut self, _image: &RgbImage) -> Result<()> {
        Ok(())
    }

    fn segment(&mut self, _prompts: &PromptSet) -> Result<Mask> {
        Err(Error::Parameter("not asked".to_owned()))
    }

    fn volume(&mut self) -> Option<&mut dyn VolumeSegmenter> {
        Some(self)
    }
}

impl VolumeSegmenter for Carrier {
    fn set_volume(&mut self, volume: &Arc<ShownVolume>) -> Result<()> {
        self.answer = Some(volume.empty_stack());
        Ok(())
    }

    fn segment_volume(&mut self, question: VolumeQuestion) -> Result<MaskStack> {
        self.truth = Some(question.truth.clone());
        let mut answer = self.answer.clone().unwrap();
        let (slice, set) = question.prompts.iter().next().unwrap();
        let Some(around) = set.bounding_box else {
            return Err(Error::Parameter("a box is needed".to_owned()));
        };
        assert_eq!(Some(around), question.truth.slices()[*slice].bounding_box());
        let mut mask = Mask::zeros(answer.size());
        let width = mask.size().width;
        for (at, inside) in mask.data_mut().iter_mut().enumerate() {
            let (x, y) = ((at % width) as f64, (at / width) as f64);
            *inside = (around.min.x..=around.max.x).contains(&x)
                && (around.min.y..=around.max.y).contains(&y);
        }
        for slice in 0..answer.slices().len() {
            answer.set(slice, mask.clone())?;
        }
        Ok(self.answer.insert(answer).clone())
    }

    fn correct_volume(&mut self, slice: usize, click: Click) -> Result<MaskStack> {
        let (answer, truth) = (self.answer.as_mut().unwrap(), self.truth.as_ref().unwrap());
        let (row, col) = click.point.row_col(truth.size()).unwrap();
        assert_eq!(click.positive, truth.slices()[slice].at(row, col));
        answer.set(slice, truth.slices()[slice].clone())?;
        Ok(answer.clone())
    }
}

fn options(settings: &[&str], protocol: VolumeProtocol) -> Options {
    Options {
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        volume: Some(protocol),
        ..Options::default()
    }
}

fn run(options: &Options, segmenters: &[Box<dyn Segmenter>], run: &RunOptions) -> Evaluation {
    let root = folder();
    let datasets = [Dataset::open(root.path()).unwrap()];
    let stop = AtomicBool::new(false);
    evaluate(&datasets, segmenters, options, run, |_| (), &stop).unwrap()
}

fn dice(row: &Row) -> f64 {
    row.outcome.as_ref().unwrap().dice
}

#[test]
fn structures_are_asked_for_on_their_largest_slice_and_corrected_on_the_worst() {
    let protocol = VolumeProtocol {
        corrections: vec![2, 20],
        ..VolumeProtocol::default()
    };
    let segmenters: [Box<dyn Segmenter>; 2] = [Box::<Carrier>::default(), Box::new(CopiedMask)];
    let folder = tempfile::tempdir().unwrap();
    let how = RunOptions {
        folder: Some(folder.path()),
        save_masks: true,
        ..RunOptions::default()
    };
    let found = run(&options(&["box"], protocol), &segmenters, &how);
    assert_eq!((found.too_small, found.absent), (1, 1));
    let rows = &found.rows;
    let names: Vec<String> = rows
        .iter()
        .map(|r| format!("{} {}", r.model, r.prompt))
        .collect();
    assert_eq!(
        names,
        [
            "carrier box",
            "carrier box +2",
            "carrier box +20",
            "copied-mask box"
        ]
    );
    // 10 slices of 12 pixels and 6 more; the smaller piece is no part of the largest component.
    let truth = 126.0;
    assert!(
        rows.iter()
            .all(|row| row.area_px == 126 && row.slice == Some(7))
    );
    let note = rows[0].volume.as_ref().unwrap();
    assert_eq!((note.slices, note.predicted_slices), (10, 14));
    assert!((note.slice_spacing_mm - 3.0).abs() < 1e-9);
    assert_eq!(rows[0].spacing_mm, Some([1.0, 0.5]));
    // The box of slice 7 has 18 pixels on all 14 slices; none of the voxels of unknown truth is in it.
    let first = 2.0 * truth / (truth + 14.0 * 18.0);
    assert!((dice(&rows[0]) - first).abs() < 1e-12);
    // Four slices without the structure have 18 wrong pixels each, and two of them become right.
    let second = 2.0 * truth / (truth + 12.0 * 18.0);
    assert!((dice(&rows[1]) - second).abs() < 1e-12);
    let corrected = &rows[1].volume.as_ref().unwrap().corrections;
    let slices: Vec<usize> = corrected.iter().map(|&(slice, _)| slice).collect();
    assert_eq!(slices, [0, 1]);
    // 13 corrections make all right, and no click is asked for after that.
    assert!((dice(&rows[2]) - 1.0).abs() < 1e-12);
    assert_eq!(rows[2].volume.as_ref().unwrap().corrections.len(), 13);
    let curve = &rows[2].curve.as_ref().unwrap().dice;
    assert_eq!(
        (curve.len(), curve[13] < 1.0, curve[12] < 1.0),
        (21, false, true)
    );
    assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]));
    // The copy knows the extent: 10 slices of 18 pixels.
    assert!((dice(&rows[3]) - 2.0 * truth / (truth + 180.0)).abs() < 1e-12);
    let saved = rows[1].mask.as_ref().unwrap();
    let read = |name: &str| {
        let path = folder.path().join(name);
        let labels = synthfm_image::read_labels(&path, &synthfm_image::ReadOptions::default());
        let synthfm_image::LabelFile::Volume(labels) = labels.unwrap() else {
            panic!("a volume expected");
        };
        MaskStack::of_labels(&labels, ShownVolume::PLANE, |value| value == 1)
    };
    let (prediction, truth) = (read(&saved.prediction), read(&saved.truth));
    assert_eq!((prediction.voxels(), truth.voxels()), (12 * 18, 126));
    let spacing = truth.spacing_mm().map(|mm| (1000.0 * mm).round() as u64);
    assert_eq!(spacing, [3000, 1000, 500]);
}

#[test]
fn three_slices_and_pieces_are_asked_for() {
    let protocol = VolumeProtocol {
        prompted_slices: 3,
        corrections: Vec::new(),
        min_slices: 2,
    };
    let mut options = options(&["box", "1,0"], protocol);
    options.target = Target::Components;
    options.min_area_px = 2;
    let segmenters: [Box<dyn Segmenter>; 1] = [Box::<Carrier>::default()];
    let found = run(&options, &segmenters, &RunOptions::default());
    let of = |row: &Row| (row.structure.clone(), row.component, row.prompt.to_string());
    let rows: Vec<_> = found.rows.iter().map(of).collect();
    let row = |name: &str, component, prompt: &str| (name.to_owned(), component, prompt.to_owned());
    assert_eq!(
        rows,
        [
            row("bar", 1, "box"),
            row("bar", 1, "1,0"),
            row("bar", 2, "box"),
            row("bar", 2, "1,0"),
            row("short", 1, "box"),
            row("short", 1, "1,0"),
        ]
    );
    // Raster order of the first voxel: the small piece first.
    assert_eq!(found.rows[0].area_px, 4);
    let prompted = |row: &Row| row.volume.as_ref().unwrap().prompted.clone();
    assert_eq!(prompted(&found.rows[0]), [2]);
    assert_eq!(prompted(&found.rows[2]), [7, 4, 9]);
    // What fails is a row of its own.
    let failed = found.rows.iter().filter(|row| row.outcome.is_err());
    assert!(
        failed
            .clone()
            .all(|row| row.prompt.setting != PromptSetting::Box)
    );
    assert_eq!(failed.count(), 3);
}

#[test]
fn protocols_that_make_no_sense_are_refused() {
    for (protocol, name) in [
        (
            VolumeProtocol {
                prompted_slices: 2,
                ..VolumeProtocol::default()
            },
            "prompted-slices",
        ),
        (
            VolumeProtocol {
                corrections: vec![3, 101],
                ..VolumeProtocol::default()
            },
            "corrections",
        ),
    ] {
        let error = options(&["box"], protocol).validate().unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    let iterative = options(&["iterative-3"], VolumeProtocol::default());
    assert!(
        iterative
            .validate()
            .unwrap_err()
            .to_string()
            .contains("iterative-3")
    );
}

#[test]
fn the_upper_bound_gets_the_true_box_of_every_slice() {
    /// Fills its box.
    struct Filler(Size);

    impl Segmenter for Filler {
        fn name(&self) -> &'static str {
            "filler"
        }

        fn identity(&self) -> String {
            "filler".to_owned()
        }

        fn fork(&self) -> Box<dyn Segmenter> {
            Box::new(Self(self.0))
        }

        fn set_image(&mut self, image: &RgbImage) -> Result<()> {
            self.0 = image.size();
            Ok(())
        }

        fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
            let around = prompts.bounding_box.unwrap();
            let inside = |i: usize| {
                let (x, y) = ((i % self.0.width) as f64, (i / self.0.width) as f64);
                (around.min.x..=around.max.x).contains(&x)
                    && (around.min.y..=around.max.y).contains(&y)
            };
            Ok(Mask::new(self.0, (0..self.0.area()).map(inside).collect())?)
        }
    }
    let bound = TrueBoxes::new(Box::new(Filler(Size::new(0, 0))));
    let segmenters: [Box<dyn Segmenter>; 1] = [Box::new(bound)];
    let found = run(
        &options(&["box", "1,0"], VolumeProtocol::default()),
        &segmenters,
        &RunOptions::default(),
    );
    assert_eq!(found.rows.len(), 1);
    assert_eq!(found.rows[0].model, "true-boxes:filler");
    assert!((dice(&found.rows[0]) - 1.0).abs() < 1e-12);
}
