//! `synthfm predict FOLDER --prompts FILE --volume`: every entry is a structure that is carried through its volume.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;
use synthfm_image::{
    MaskFormat, Scan, WriteOptions, check_source, write_rgb_png, write_segmentation,
};
use synthfm_sam::{Carried, Predictor};

use super::entry::Task;
use super::labels::Labels;
use super::{Done, Outcome, Run, overlay_name};
use crate::output::usage;
use crate::predict::{Marks, since_ms};
use crate::predict_volume::{
    EMPTY, Looked, Wanted, add_masks, ends, preview, segmentation, slices, voxels,
};

/// What a line says of a whole structure.
#[derive(Debug, Serialize)]
pub(super) struct Whole {
    voxels: usize,
    /// Each slice that has an answer: its number, the one that it came from, the estimated `IoU`, the area.
    slices: Value,
    /// Why each run through the slices ended.
    ends: Value,
}

/// The format of masks of whole structures.
///
/// # Errors
/// If it holds one slice alone.
pub(super) fn format(asked: Option<MaskFormat>) -> Result<MaskFormat> {
    let format = asked.unwrap_or(MaskFormat::Nifti);
    if format.is_picture() {
        return Err(usage(format!(
            "--format {} holds one slice; with --volume use nifti, nrrd, metaimage, dicom-seg or rtstruct",
            format.name()
        )));
    }
    Ok(format)
}

impl Run<'_> {
    /// Carries the structure of every entry through its volume; returns the map of labels where one is asked for. Returns
    /// early where the run is stopped.
    pub(super) fn volumes(
        &self,
        image: &Path,
        scan: &Scan,
        tasks: &[Task],
        predictor: &mut Predictor,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Option<Labels> {
        let mut map = None;
        for task in tasks {
            if self.stop.load(Relaxed) {
                return None;
            }
            let outcome = match self.volume(image, scan, task, predictor, &mut map) {
                Ok(Some(done)) => Outcome::Done(Box::new(done)),
                Ok(None) => return None,
                Err(error) => Outcome::failed(&error),
            };
            if outcomes.insert(task.entry, outcome).is_none() {
                self.steps.inc();
            }
        }
        map
    }

    /// The structure of one entry; `None` where the run is stopped.
    fn volume(
        &self,
        image: &Path,
        scan: &Scan,
        task: &Task,
        predictor: &mut Predictor,
        map: &mut Option<Labels>,
    ) -> Result<Option<Done>> {
        let args = self.args;
        let format = format(args.format)?;
        let view = &task.view;
        let looked = Looked::new(image, scan, view.plane, view.window.as_ref())?;
        let wanted = Wanted {
            points: task.points.clone(),
            corners: task.corners,
            frame: task.frame,
            slice: view.slice.or(args.view.slice),
            within: args.within,
        };
        let mut asked = wanted.prompts(&scan.content, &looked)?;
        if let Some(mask) = &task.mask {
            add_masks(&args.input.join(mask), &looked, &mut asked.prompted)?;
        }
        if asked.prompted.is_empty() {
            return Err(synthfm_sam::Error::EmptyPrompt.into());
        }
        let name = format!("{}{}", task.output, format.ending());
        let out = args.out.join(&name);
        check_source(&out, format, &scan.info)?;

        let started = Instant::now();
        let carried = looked.carry(predictor, &asked, &self.stop, || {})?;
        if carried.stopped {
            return Ok(None);
        }
        let predict_ms = since_ms(started);
        let labels = looked.labels(&carried)?;
        let voxels = voxels(&labels);
        let label = match (args.labels, u16::try_from(task.place)) {
            (false, _) => None,
            (true, Ok(label)) => {
                let map = map.get_or_insert_with(|| Labels::of_volume(&labels, &scan.info));
                map.add_volume(&labels, label, &task.id);
                Some(label)
            }
            (true, Err(_)) => {
                let most = u16::MAX;
                bail!("--labels: the first {most} entries of an image have a value");
            }
        };
        let segmentation = segmentation(labels, &task.id);
        let options = WriteOptions {
            format: Some(format),
            ..WriteOptions::default()
        };
        let notes = write_segmentation(&out, &segmentation, &scan.info, &options)?;
        if let Some(folder) = &args.overlay_dir {
            let sheet = preview(&looked, &carried)?;
            let path = folder.join(overlay_name(task));
            write_rgb_png(&path, &sheet).with_context(|| path.display().to_string())?;
        }
        let mut warnings: Vec<String> = scan.info.warnings.iter().cloned().chain(notes).collect();
        if voxels == 0 {
            warnings.push(EMPTY.to_owned());
        }
        Ok(Some(Done {
            warnings,
            label,
            predict_ms,
            ..done(name, task, asked.marks, &looked, &carried, voxels)
        }))
    }
}

/// What a line says of an answer, but for time and remarks.
fn done(
    mask: String,
    task: &Task,
    positions: Marks,
    looked: &Looked,
    carried: &Carried,
    voxels: usize,
) -> Done {
    let count = carried.slices.len().max(1) as f32;
    Done {
        mask,
        iou: carried
            .slices
            .values()
            .map(|answer| answer.iou)
            .sum::<f32>()
            / count,
        area_px: None,
        whole: Some(Whole {
            voxels,
            slices: slices(carried),
            ends: ends(carried),
        }),
        slice: None,
        axis: Some(looked.plane().to_string()),
        window: looked.window(),
        window_source: looked.window_source(),
        ..Done::asked(task, positions)
    }
}
