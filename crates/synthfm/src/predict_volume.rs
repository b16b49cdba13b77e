//! `synthfm predict --volume`: the whole structure that prompts on one or several slices mean.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use synthfm_image::{
    ImageFile, LabelFile, LabelVolume, Plane, Presentation, RgbImage, Scan, ScanInfo, Segment,
    Segmentation, Size, Volume, WindowChoice, WriteOptions, draw, open_scan, write_json,
    write_rgb_png, write_segmentation,
};
use synthfm_sam::{Carried, CarryPolicy, CarrySlices, Predictor, Prompts, SliceAnswer};

use crate::cache::CacheArgs;
use crate::cli::PredictArgs;
use crate::frame::{Corners, Frame, Position, box_in_space, region, slice_of, spot};
use crate::input::{Place, View, no_window};
use crate::interrupt;
use crate::model::Model;
use crate::output::{Session, create_parent, usage};
use crate::predict::{Marks, check_output, check_paths, outputs, since_ms, volume_record};
use crate::progress::bar;

/// Value of the structure in the labels.
const LABEL: u16 = 1;
/// The remark on an answer without a voxel.
pub(crate) const EMPTY: &str = "the answer is empty: no voxel belongs to the structure";
/// Memory for a voxel while its volume is answered about: its value, the labels and their file; where structures are
/// carried, the masks of all slices too.
pub(crate) const BYTES_PER_VOXEL: u64 = 7;
pub(crate) const BYTES_PER_CARRIED_VOXEL: u64 = 13;
/// What the limit leaves beside that.
const ROOM_BYTES: u64 = 64 << 20;
/// Slices on a preview.
const PREVIEW_SLICES: usize = 24;
const PREVIEW_COLUMNS: usize = 6;
/// Longer side of a slice on a preview.
const PREVIEW_PX: usize = 160;
const MASK_COLOUR: draw::Colour = [255, 200, 0];
const PROMPTED_COLOUR: draw::Colour = [60, 160, 255];
const MASK_OPACITY: f32 = 0.4;

/// The volume with how it is looked at.
pub(crate) struct Looked<'a> {
    volume: &'a Volume,
    plane: Plane,
    shown: Presentation,
}

impl Looked<'_> {
    /// The volume as `view` shows it.
    pub(crate) fn new<'a>(
        path: &Path,
        scan: &'a Scan,
        plane: Plane,
        window: Option<&WindowChoice>,
    ) -> Result<Looked<'a>> {
        let ImageFile::Volume(volume) = &scan.content else {
            let path = path.display();
            return Err(usage(format!("--volume: {path} is a picture")));
        };
        let shown = Presentation::of_volume(volume, &scan.info, window);
        Ok(Looked {
            volume,
            plane,
            shown: shown.map_err(|error| no_window(path, &error))?,
        })
    }

    /// Slices of the volume.
    pub(crate) fn count(&self) -> usize {
        self.volume.geometry().slice_count(self.plane)
    }

    fn size(&self) -> Size {
        self.volume.geometry().slice_size(self.plane)
    }

    fn slice(&self, index: usize) -> synthfm_image::Result<RgbImage> {
        let slice = self.volume.slice(self.plane, index)?;
        self.shown.apply(&slice.image)
    }

    /// Asks the model about slice after slice until `stop` is set; `tell` hears of every answer.
    pub(crate) fn carry(
        &self,
        predictor: &mut Predictor,
        asked: &Asked,
        stop: &AtomicBool,
        mut tell: impl FnMut(),
    ) -> Result<Carried> {
        let Asked {
            prompted, slices, ..
        } = asked;
        if let Some(outside) = prompted.keys().find(|slice| !slices.contains(slice)) {
            return Err(usage(format!(
                "{} slice {outside} has a prompt, and the structure is looked for on slices {} to {} alone",
                self.plane,
                slices.start,
                slices.end - 1
            )));
        }
        let slices = CarrySlices {
            range: slices.clone(),
            policy: CarryPolicy::default(),
            picture: |index| Ok(self.slice(index)?),
            tell: |_, _: &SliceAnswer| {
                tell();
                if stop.load(Relaxed) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        };
        Ok(predictor.carry(prompted, slices)?)
    }

    /// The structure as a volume of labels.
    pub(crate) fn labels(&self, carried: &Carried) -> Result<LabelVolume> {
        let mut labels = LabelVolume::zeros(self.volume.geometry().clone());
        for (&index, answer) in &carried.slices {
            labels.insert_slice(self.plane, index, &answer.mask, LABEL)?;
        }
        Ok(labels)
    }

    pub(crate) fn plane(&self) -> Plane {
        self.plane
    }

    /// The intensities from black to white.
    pub(crate) fn window(&self) -> Option<[f32; 2]> {
        let window = self.shown.window.as_ref();
        window.map(|window| [window.low, window.high])
    }

    /// Where the window came from.
    pub(crate) fn window_source(&self) -> Option<String> {
        self.shown.source.clone()
    }

    /// Adds to a record how the volume was looked at.
    fn record(&self, record: &mut Value) {
        record["axis"] = json!(self.plane.to_string());
        record["window"] = json!(self.window());
        record["window_source"] = json!(self.window_source());
    }

    fn place(&self, index: usize) -> Place {
        Place::Slice {
            geometry: Box::new(self.volume.geometry().clone()),
            plane: self.plane,
            index,
        }
    }
}

/// Refuses a volume whose answer takes more than the limit and a quarter, and some room for the model.
pub(crate) fn check_memory(path: &Path, scan: &Scan, per_voxel: u64, limit: u64) -> Result<()> {
    let ImageFile::Volume(volume) = &scan.content else {
        return Ok(());
    };
    let bytes = (volume.data().len() as u64).saturating_mul(per_voxel);
    if bytes > limit.saturating_add(limit / 4).saturating_add(ROOM_BYTES) {
        let path = path.to_owned();
        return Err(synthfm_image::Error::Limit { path, bytes, limit }.into());
    }
    Ok(())
}

/// Segments a structure through a volume.
pub(crate) fn run(args: &PredictArgs, session: &Session) -> Result<()> {
    let record_path = check_paths(args)?;
    let view = View::from(&args.view);
    let scan = open_scan(&args.input, &view.open)?;
    check_memory(
        &args.input,
        &scan,
        BYTES_PER_CARRIED_VOXEL,
        args.view.open.max_memory,
    )?;
    let looked = Looked::new(&args.input, &scan, view.plane, view.window.as_ref())?;
    for note in &scan.info.warnings {
        session.note(&format!("note: {note}"));
    }
    let positive = args.point.iter().map(|&point| (point, true));
    let negative = args.negative.iter().map(|&point| (point, false));
    let wanted = Wanted {
        points: positive.chain(negative).collect(),
        corners: args.box_,
        frame: args.frame,
        slice: args.view.slice,
        within: args.within,
    };
    let mut asked = wanted.prompts(&scan.content, &looked)?;
    if let Some(path) = &args.mask_prompt {
        add_masks(path, &looked, &mut asked.prompted)?;
    }
    check_outputs(args, &scan.info)?;
    let model = Model::open(args.model.as_deref())?;
    check_output(args, model.file.config())?;
    let predictor = model.predictor(session, args.precision)?;
    let mut predictor = args.cache.attach(predictor, session)?;

    let started = Instant::now();
    let carried = carry(&mut predictor, &asked, &looked, session)?;
    let predict_ms = since_ms(started);
    let voxels = write(args, &looked, &carried, &scan.info, session)?;
    let mut warnings = scan.info.warnings.clone();
    if voxels == 0 {
        warnings.push(EMPTY.to_owned());
        session.note(&format!("note: {EMPTY}"));
    }
    let mut record = volume_record(args, &scan.info, &asked.marks);
    looked.record(&mut record);
    record["warnings"] = json!(warnings);
    record["voxels"] = json!(voxels);
    record["slices"] = slices(&carried);
    record["ends"] = ends(&carried);
    record["model"] = json!(model.record()?);
    record["precision"] = json!(predictor.arithmetic().to_string());
    record["cache"] = json!(CacheArgs::stats(&predictor));
    record["predict_ms"] = json!(predict_ms);
    if let Some(path) = record_path {
        write_json(&path, &record)?;
    }
    session.print(&record, || {
        let outs = outputs(args).map(|(out, _)| out.display().to_string());
        format!(
            "{}: {voxels} voxels on {} of {} slices, {predict_ms:.0} ms",
            outs.collect::<Vec<_>>().join(", "),
            carried.slices.len(),
            looked.count()
        )
    })
}

/// Refuses formats that do not fit, before any work is done.
fn check_outputs(args: &PredictArgs, info: &ScanInfo) -> Result<()> {
    for (out, format) in outputs(args) {
        let options = WriteOptions {
            format,
            ..WriteOptions::default()
        };
        let format = options.format_of(out).map_err(|e| usage(e.to_string()))?;
        if format.is_picture() {
            return Err(usage(format!(
                "{}: {} holds one slice; with --volume use .nii.gz, .seg.nrrd, .mha, .dcm or .rtstruct.dcm",
                out.display(),
                format.name()
            )));
        }
        synthfm_image::check_source(out, format, info).map_err(|e| usage(e.to_string()))?;
        create_parent(out)?;
    }
    Ok(())
}

/// Asks the model about slice after slice, with progress; Ctrl-C ends it.
fn carry(
    predictor: &mut Predictor,
    asked: &Asked,
    looked: &Looked,
    session: &Session,
) -> Result<Carried> {
    let stop = interrupt::flag()?;
    let progress = bar(session, asked.slices.len() as u64, "slices");
    let carried = looked.carry(predictor, asked, &stop, || progress.inc(1))?;
    progress.finish_and_clear();
    if carried.stopped {
        let count = carried.slices.len();
        bail!("stopped after {count} slices; nothing was written");
    }
    Ok(carried)
}

/// Writes the structure in every format that is asked for; returns how many voxels it has.
fn write(
    args: &PredictArgs,
    looked: &Looked,
    carried: &Carried,
    info: &ScanInfo,
    session: &Session,
) -> Result<usize> {
    let labels = looked.labels(carried)?;
    let voxels = voxels(&labels);
    let segmentation = segmentation(labels, &args.name);
    for (out, format) in outputs(args) {
        let options = WriteOptions {
            format,
            ..WriteOptions::default()
        };
        for note in write_segmentation(out, &segmentation, info, &options)? {
            session.note(&format!("note: {}: {note}", out.display()));
        }
    }
    if let Some(overlay) = &args.overlay {
        create_parent(overlay)?;
        write_rgb_png(overlay, &preview(looked, carried)?)?;
    }
    Ok(voxels)
}

/// The prompts on a volume beside a mask: clicks and a box.
pub(crate) struct Wanted {
    /// Clicks; `true` on the structure.
    pub(crate) points: Vec<(Position, bool)>,
    pub(crate) corners: Option<Corners>,
    pub(crate) frame: Frame,
    /// The slice of clicks and boxes that do not name one.
    pub(crate) slice: Option<usize>,
    /// The slices that the structure is looked for on; all without it, or those of a box in space.
    pub(crate) within: Option<SliceRange>,
}

/// What is asked of a volume, by slices.
pub(crate) struct Asked {
    /// The prompts of each slice that has some.
    pub(crate) prompted: BTreeMap<usize, Prompts>,
    /// Where they lie.
    pub(crate) marks: Marks,
    /// The slices that the structure is looked for on.
    pub(crate) slices: Range<usize>,
}

/// Slices from one to another, both counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SliceRange {
    first: usize,
    last: usize,
}

impl FromStr for SliceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-');
        let ends = ends.and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?}: FIRST-LAST expected, as in 20-45")),
        }
    }
}

impl Wanted {
    /// The prompts of each slice that has some, where they lie, and the slices that the structure is looked for on. A box in
    /// space is a box on the slice in its middle, and the structure is looked for on its slices alone.
    pub(crate) fn prompts(&self, content: &ImageFile, looked: &Looked) -> Result<Asked> {
        let mut all: BTreeMap<usize, Prompts> = BTreeMap::new();
        let mut marks = Marks::default();
        for &(position, on) in &self.points {
            let slice = self.slice_at(content, looked, &[position])?;
            let spot = spot(&looked.place(slice), looked.size(), self.frame, position)?;
            all.entry(slice).or_default().points.push((spot.pixel, on));
            marks.push_point(&spot);
        }
        let mut slices = 0..looked.count();
        if let Some(SliceRange { first, last }) = self.within {
            if last >= looked.count() {
                return Err(usage(format!(
                    "--within {first}-{last}: the volume has {} {} slices (counted from 0)",
                    looked.count(),
                    looked.plane
                )));
            }
            slices = first..last + 1;
        }
        if let Some(corners @ Corners(both)) = self.corners {
            let in_space = box_in_space(content, looked.plane, self.frame, corners)?;
            let (slice, frame, corners) = match in_space {
                Some((reach, corners)) => {
                    let (first, last) = reach.into_inner();
                    slices = slices.start.max(first)..slices.end.min(last + 1);
                    (usize::midpoint(first, last), Frame::Display, corners)
                }
                None => (self.slice_at(content, looked, &both)?, self.frame, corners),
            };
            let (found, spots) = region(&looked.place(slice), frame, corners)?;
            all.entry(slice).or_default().box_ = Some(found);
            marks.set_box(&spots);
        }
        Ok(Asked {
            prompted: all,
            marks,
            slices,
        })
    }

    /// The slice that positions lie on.
    fn slice_at(
        &self,
        content: &ImageFile,
        looked: &Looked,
        positions: &[Position],
    ) -> Result<usize> {
        let found = slice_of(content, looked.plane, self.frame, positions)?;
        let slice = found.or(self.slice);
        let slice = slice.ok_or_else(|| {
            usage("--volume: give points in space (three numbers), or their slice with --slice")
        })?;
        if slice >= looked.count() {
            bail!(
                "{} slice {slice} does not exist: the volume has {} (counted from 0)",
                looked.plane,
                looked.count()
            );
        }
        Ok(slice)
    }
}

/// Takes every slice of a mask that holds something as a prompt of that slice.
pub(crate) fn add_masks(
    path: &Path,
    looked: &Looked,
    all: &mut BTreeMap<usize, Prompts>,
) -> Result<()> {
    let options = synthfm_image::ReadOptions::default();
    let LabelFile::Volume(labels) = synthfm_image::read_labels(path, &options)? else {
        bail!("{}: a volume, as the input, expected", path.display());
    };
    let placed = labels.on_grid(looked.volume.geometry());
    let (labels, note) = placed.with_context(|| path.display().to_string())?;
    if let Some(note) = note {
        synthfm_image::tell(&format!("note: {}: {note}", path.display()));
    }
    add_labels(&labels, looked, all).with_context(|| path.display().to_string())
}

/// Takes every slice of labels on the volume's grid that holds something as a prompt of that slice.
pub(crate) fn add_labels(
    labels: &LabelVolume,
    looked: &Looked,
    all: &mut BTreeMap<usize, Prompts>,
) -> Result<()> {
    let mut found = false;
    for index in 0..looked.count() {
        let slice = labels.slice(looked.plane, index)?;
        let mask = slice.data().iter().map(|&v| v != 0).collect();
        let mask = synthfm_image::Mask::new(slice.size(), mask)?;
        if mask.area() > 0 {
            all.entry(index).or_default().earlier = Some(mask);
            found = true;
        }
    }
    if !found {
        bail!("the mask is empty");
    }
    Ok(())
}

/// Voxels of a structure.
pub(crate) fn voxels(labels: &LabelVolume) -> usize {
    labels.data().iter().filter(|&&v| v != 0).count()
}

/// The labels of one structure, as [`Looked::labels`] gives them, with its name.
pub(crate) fn segmentation(labels: LabelVolume, name: &str) -> Segmentation {
    Segmentation {
        labels: LabelFile::Volume(labels),
        segments: vec![Segment::new(LABEL, name)],
    }
}

/// Why each run through the slices ended.
pub(crate) fn ends(carried: &Carried) -> Value {
    let ends = carried.ends.iter().map(
        |end| json!({ "from": end.from, "slice": end.slice, "reason": end.reason.to_string() }),
    );
    ends.collect()
}

/// Origin, estimated `IoU` and area of the mask of each slice, as a JSON list in the order of the slices.
pub(crate) fn slices(carried: &Carried) -> Value {
    let slices = carried.slices.iter().map(|(index, answer)| {
        json!({ "slice": index, "from": answer.from, "iou": answer.iou, "area_px": answer.mask.area() })
    });
    slices.collect()
}

/// A sheet of slices with their masks; those with prompts have a blue frame.
pub(crate) fn preview(looked: &Looked, carried: &Carried) -> Result<RgbImage> {
    let (Some(first), Some(last)) = (
        carried.slices.keys().next().copied(),
        carried.slices.keys().next_back().copied(),
    ) else {
        bail!("no slice to show");
    };
    let (first, last) = (first.saturating_sub(1), (last + 1).min(looked.count() - 1));
    let step = (last - first + 1).div_ceil(PREVIEW_SLICES);
    let mut pictures = Vec::new();
    for index in (first..=last).step_by(step) {
        let mut picture = looked.slice(index)?;
        let answer = carried.slices.get(&index);
        if let Some(answer) = answer {
            picture = draw::overlay(&picture, &answer.mask, MASK_COLOUR, MASK_OPACITY)?;
        }
        let size = picture.size();
        let scale = PREVIEW_PX as f64 / size.height.max(size.width).max(1) as f64;
        let side = |length: usize| ((length as f64 * scale).round() as usize).max(1);
        let mut small = draw::resize_rgb(&picture, Size::new(side(size.height), side(size.width)));
        let is_prompted = answer.is_some_and(|answer| answer.from == index);
        let colour = if is_prompted {
            PROMPTED_COLOUR
        } else {
            MASK_COLOUR
        };
        draw::text(&mut small, (2, 2), &index.to_string(), colour);
        pictures.push(small);
    }
    Ok(draw::grid(&pictures, PREVIEW_COLUMNS, 4)?)
}

#[cfg(test)]
mod tests {
    use synthfm_image::{VolumeGeometry, open_scan, write_label_nifti};

    use super::*;

    #[test]
    fn volumes_are_held_against_the_limit_with_their_answers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.nii");
        let geometry = VolumeGeometry::with_spacing([200, 200, 200], [1.0; 3]);
        let labels = LabelVolume::zeros(geometry.expect("a geometry"));
        write_label_nifti(&path, &labels).expect("a file");
        let scan = open_scan(&path, &synthfm_image::OpenOptions::default()).expect("a volume");
        let check = |limit| check_memory(&path, &scan, BYTES_PER_CARRIED_VOXEL, limit);
        // Eight million voxels take 104 MB.
        assert!(check(30_000_000).is_ok());
        let error = check(29_000_000).expect_err("too large").to_string();
        assert!(error.contains("needs 104000000 bytes"), "{error}");
    }
}
