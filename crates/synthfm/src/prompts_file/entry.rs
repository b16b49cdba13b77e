//! The entries of a prompts file: what they may say, and the tasks that they become.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use synthfm_image::WindowChoice;

use super::Outcome;
use super::bounded::{Bounds, List};
use crate::cli::{AxisName, PredictArgs};
use crate::frame::{Corners, Frame, Position};
use crate::input::View;
use crate::overrides::read_text;

/// More than any prompts file needs.
const MAX_PROMPTS_BYTES: u64 = 256 << 20;
/// Longest `id`.
const MAX_ID_CHARS: usize = 128;
/// Entries of a list.
const MAX_ENTRIES: usize = 100_000;
/// Points of an entry; each costs the decoder a token.
const MAX_POINTS: usize = 1000;

/// Endings of images that the names of their masks go without.
const ENDINGS: [&str; 16] = [
    ".nii.gz",
    ".nii",
    ".seg.nrrd",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".npy",
    ".npz",
    ".dcm",
];

/// One entry of a prompts file; `docs/prompts.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) image: PathBuf,
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    #[serde(default)]
    points: Vec<Position>,
    /// 1 on the structure, 0 beside it; all 1 if absent.
    point_labels: Option<Vec<u8>>,
    #[serde(rename = "box")]
    box_: Option<Corners>,
    /// Coordinates of points and box; `--frame` if absent.
    frame: Option<Frame>,
    /// Slice of a volume; that of a point in space, or `--slice`, if absent.
    slice: Option<usize>,
    /// Plane of the slice; `--axis` if absent.
    axis: Option<AxisName>,
    /// Intensities from black to white; `--window` if absent.
    #[serde(default, deserialize_with = "window")]
    window: Option<WindowChoice>,
    /// A rough mask to improve, on the grid of the image; its path is taken as the image's is.
    mask: Option<PathBuf>,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!(
            "id: text or a number expected, got {other}"
        ))),
    }
}

fn window<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<WindowChoice>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let choice = text.map(|text| text.parse()).transpose();
    choice.map_err(|text: String| serde::de::Error::custom(format!("window: {text}")))
}

/// An entry that can be tried.
pub(super) struct Task {
    pub(super) entry: usize,
    /// Place of the entry among those of its image, from 1: its value in the map of labels.
    pub(super) place: usize,
    /// Each with whether it lies on the structure.
    pub(super) points: Vec<(Position, bool)>,
    pub(super) corners: Option<Corners>,
    pub(super) frame: Frame,
    pub(super) view: View,
    pub(super) mask: Option<PathBuf>,
    /// Without its ending.
    pub(super) output: String,
    /// Name of the structure.
    pub(super) id: String,
}

impl Task {
    /// Every position that the entry names.
    pub(super) fn positions(&self) -> Vec<Position> {
        let points = self.points.iter().map(|&(position, _)| position);
        points
            .chain(self.corners.iter().flat_map(|corners| corners.0))
            .collect()
    }
}

/// Tasks by image file.
pub(super) type Groups = BTreeMap<PathBuf, Vec<Task>>;

/// The entries of a file, not yet checked one by one, whose values take at most `max_memory` bytes.
pub(super) fn read(file: &Path, max_memory: u64) -> Result<Vec<Value>> {
    let expected = || {
        let file = file.display();
        format!(
            "{file}: a JSON list of {{\"image\", \"id\", \"points\", \"point_labels\", \"box\", \"mask\"}} expected"
        )
    };
    let text = read_text(file, MAX_PROMPTS_BYTES).with_context(expected)?;
    // Programs of Windows put a mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let bounds = Bounds {
        entries: MAX_ENTRIES,
        bytes: max_memory,
    };
    match bounds.read(text).with_context(expected)? {
        List::Entries(entries) if entries.is_empty() => {
            bail!("{}: the list is empty", file.display())
        }
        List::Entries(entries) => Ok(entries),
        List::TooMany(count) => bail!(
            "{}: {count} entries, more than {MAX_ENTRIES}: divide the list",
            file.display()
        ),
    }
}

/// Sorts the entries by image; those that make no sense get their outcome at once.
pub(super) fn plan(
    entries: &[Value],
    args: &PredictArgs,
    outcomes: &mut BTreeMap<usize, Outcome>,
) -> Groups {
    let mut groups = Groups::new();
    let mut taken = Taken::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, value) in entries.iter().enumerate() {
        // Entries that fail count too, so that the values of the others do not depend on them.
        let place = counts
            .entry(value["image"].as_str().unwrap_or_default())
            .or_default();
        *place += 1;
        match task((index, *place), value, args, &mut taken) {
            Ok((image, task)) => groups.entry(image).or_default().push(task),
            Err(error) => {
                outcomes.insert(index, Outcome::failed(&error));
            }
        }
    }
    groups
}

/// Names that entries before have taken.
#[derive(Default)]
struct Taken {
    /// Names of files without their endings.
    names: BTreeSet<String>,
    /// The image of each map of labels.
    labels: BTreeMap<String, PathBuf>,
}

impl Taken {
    /// Takes the names of what an entry is written to.
    fn take(&mut self, image: &Path, output: &str, args: &PredictArgs) -> Result<()> {
        if self.names.contains(output) || self.labels.contains_key(output) {
            bail!("another entry is written to {output} already: choose another id");
        }
        if args.labels {
            let name = labels_name(image)?;
            if name == output || self.names.contains(&name) {
                bail!("{name} is the name of the image's map of labels: choose another id");
            }
            let other = self.labels.entry(name).or_insert_with(|| image.to_owned());
            if other != image {
                bail!(
                    "the map of labels would be that of {} too: give one of the images another name",
                    other.display()
                );
            }
        }
        if args.overlay_dir.is_some() {
            self.names.insert(format!("{output}{OVERLAY}"));
        }
        self.names.insert(output.to_owned());
        Ok(())
    }
}

/// Checks the type of each field. The messages name the field, which serde's do not always.
fn check_fields(value: &Value) -> Result<()> {
    type Rule = (&'static str, fn(&Value) -> bool, &'static str);
    fn numbers(value: &Value) -> bool {
        value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_number))
    }
    fn points(value: &Value) -> bool {
        value
            .as_array()
            .is_some_and(|list| list.iter().all(numbers))
    }
    const RULES: [Rule; 9] = [
        ("image", Value::is_string, "the name of a file"),
        ("points", points, "a list of [x, y] or [x, y, z]"),
        ("point_labels", numbers, "a list of 1 and 0"),
        ("box", numbers, "four numbers, or six in space"),
        ("slice", Value::is_u64, "a whole number from 0"),
        ("axis", Value::is_string, "axial, coronal or sagittal"),
        ("window", Value::is_string, "a text as for --window"),
        ("frame", Value::is_string, "voxel, display, lps or ras"),
        ("mask", Value::is_string, "the name of a file"),
    ];
    for (name, holds, expected) in RULES {
        if let Some(found) = value.get(name).filter(|found| !found.is_null())
            && !holds(found)
        {
            let found: String = found.to_string().chars().take(60).collect();
            bail!("{name}: {expected} expected, got {found}");
        }
    }
    Ok(())
}

/// The task of an entry and its image.
fn task(
    (index, place): (usize, usize),
    value: &Value,
    args: &PredictArgs,
    taken: &mut Taken,
) -> Result<(PathBuf, Task)> {
    check_fields(value)?;
    let entry = Entry::deserialize(value)?;
    let points = points(&entry)?;
    let image = args.input.join(&entry.image);
    let output = format!("{}__{}", stem_of(&entry.image)?, checked(&entry.id)?);
    taken.take(&image, &output, args)?;
    let shared = View::from(&args.view);
    if entry.box_.is_none()
        && entry.mask.is_none()
        && !points.iter().any(|(_, on)| *on)
        && !points.is_empty()
    {
        bail!(
            "clicks beside the structure alone do not say what is meant: give a click on it, a box or a mask"
        );
    }
    let task = Task {
        entry: index,
        place,
        points,
        corners: entry.box_,
        frame: entry.frame.unwrap_or(args.frame),
        view: View {
            slice: entry.slice,
            plane: entry.axis.map_or(shared.plane, Into::into),
            window: entry.window.or(shared.window),
            open: shared.open,
        },
        mask: entry.mask,
        output,
        id: entry.id,
    };
    Ok((image, task))
}

fn points(entry: &Entry) -> Result<Vec<(Position, bool)>> {
    let count = entry.points.len();
    if count > MAX_POINTS {
        bail!("{count} points, more than {MAX_POINTS}: give fewer, or a mask");
    }
    let labels = entry.point_labels.clone();
    let labels = labels.unwrap_or_else(|| vec![1; count]);
    if labels.len() != count {
        bail!("{count} points but {} point_labels", labels.len());
    }
    if let Some(other) = labels.iter().find(|&&label| label > 1) {
        bail!("point_labels: 1 (on the structure) or 0 (beside it) expected, got {other}");
    }
    let labels = labels.into_iter().map(|label| label == 1);
    Ok(entry.points.iter().copied().zip(labels).collect())
}

/// Ending of the name of an entry's picture, after the name of its mask.
pub(super) const OVERLAY: &str = ".overlay";

/// The map of labels of an image, without its ending.
pub(super) fn labels_name(image: &Path) -> Result<String> {
    Ok(format!("{}__labels", stem_of(image)?))
}

/// The name of an image without the ending of its format.
fn stem_of(image: &Path) -> Result<String> {
    let Some(name) = image.file_name() else {
        bail!("image {}: not the name of a file", image.display());
    };
    let name = name.to_string_lossy();
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    Ok(stem.unwrap_or(&name).to_owned())
}

/// An id is part of a file's name and must not lead elsewhere.
fn checked(id: &str) -> Result<&str> {
    let bad = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    if id.is_empty() || id.chars().count() > MAX_ID_CHARS || id.contains(bad) {
        bail!("id {id:?}: 1 to {MAX_ID_CHARS} characters that a file's name may hold expected");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn args() -> PredictArgs {
        let line = [
            "synthfm",
            "predict",
            ".",
            "--prompts=p.json",
            "-o=o",
            "--window=bone",
        ];
        let Verb::Predict(args) = Cli::try_parse_from(line).unwrap().verb else {
            panic!("not predict")
        };
        args
    }

    fn parse(value: &Value) -> Result<(PathBuf, Task)> {
        task((0, 1), value, &args(), &mut Taken::default())
    }

    #[test]
    fn entries_are_read_as_the_contract_says() {
        let value = json!({ "image": "d/a.nii.gz", "id": 3, "points": [[1, 2.5], [3, 4, 5]], "point_labels": [1, 0],
                            "box": [0, 1, 2, 3], "frame": "display", "slice": 7, "axis": "coronal", "window": "400,40" });
        let (image, task) = parse(&value).unwrap();
        assert_eq!(image, Path::new("./d/a.nii.gz"));
        assert_eq!(task.output, "a__3");
        assert_eq!(
            task.points,
            [
                (Position::InPlane([1.0, 2.5]), true),
                (Position::InSpace([3.0, 4.0, 5.0]), false)
            ]
        );
        assert_eq!(task.corners, Some(Corners::in_plane([0.0, 1.0, 2.0, 3.0])));
        assert_eq!((task.frame, task.view.slice), (Frame::Display, Some(7)));
        assert_eq!(task.view.plane, synthfm_image::Plane::Coronal);
        assert_eq!(task.view.window, "400,40".parse().ok());
        // What an entry does not say is said by the command line.
        let (_, task) = parse(&json!({ "image": "a.png", "id": "b", "points": [[1, 2]] })).unwrap();
        assert_eq!((task.frame, task.view.slice), (Frame::Voxel, None));
        assert_eq!(task.view.window, "bone".parse().ok());
    }

    #[test]
    fn the_schema_describes_every_field() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/prompts.schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let described: Vec<&String> = schema["items"]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        let error = parse(&json!({ "image": "a.png", "id": "b", "no such field": 1 }));
        let text = error.err().unwrap().to_string();
        let listed: BTreeSet<&str> = text.split('`').skip(3).step_by(2).collect();
        assert_eq!(listed.len(), described.len(), "{text}");
        for name in described {
            assert!(listed.contains(name.as_str()), "{name}: {text}");
        }
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        for (value, part) in [
            (json!({ "id": "a" }), "image"),
            (json!({ "image": "a.png", "id": "../../b" }), "id"),
            (json!({ "image": "a.png", "id": "" }), "id"),
            (json!({ "image": "..", "id": "b" }), "image"),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2]], "point_labels": [2] }),
                "got 2",
            ),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2]], "point_labels": [0] }),
                "beside the structure alone",
            ),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2]], "point_labels": [] }),
                "1 points but 0",
            ),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2, 3, 4]] }),
                "points: x,y or x,y,z",
            ),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, "2"]] }),
                "points: a list of [x, y]",
            ),
            (
                json!({ "image": "a.png", "id": "b", "slice": "5" }),
                "slice: a whole number from 0 expected, got \"5\"",
            ),
            (
                json!({ "image": "a.png", "id": "b", "slice": -1 }),
                "slice: a whole",
            ),
            (
                json!({ "image": "a.png", "id": "b", "window": [400, 40] }),
                "window: a text",
            ),
            (
                json!({ "image": "a.png", "id": "b", "box": [1, 2, 3] }),
                "box: 4 numbers",
            ),
            (
                json!({ "image": "a.png", "id": "b", "frame": "array" }),
                "voxel",
            ),
            (
                json!({ "image": "a.png", "id": "b", "window": "belly" }),
                "window: ",
            ),
            (
                json!({ "image": "a.png", "id": "b", "pionts": [[1, 2]] }),
                "pionts",
            ),
            (json!([1]), "invalid"),
        ] {
            let error = format!("{:#}", parse(&value).err().unwrap());
            assert!(error.contains(part), "{error} should name {part}");
        }
    }

    #[test]
    fn two_entries_never_share_a_file() {
        let mut taken = Taken::default();
        let value = json!({ "image": "a.png", "id": "b", "points": [[1, 2]] });
        assert!(task((0, 1), &value, &args(), &mut taken).is_ok());
        let error = task((1, 2), &value, &args(), &mut taken).err().unwrap();
        assert!(error.to_string().contains("another id"));
        // Maps of labels and pictures have names too.
        let mut args = args();
        (args.labels, args.overlay_dir) = (true, Some("o".into()));
        let mut taken = Taken::default();
        let mut refused = |image: &str, id: &str| {
            let value = json!({ "image": image, "id": id, "points": [[1, 2]] });
            let found = task((0, 1), &value, &args, &mut taken);
            found.err().map(|error| error.to_string())
        };
        assert_eq!(refused("a.png", "b"), None);
        assert_eq!(refused("a.png", "c"), None);
        for (image, id, part) in [
            ("a.png", "labels", "another id"),
            ("a.png", "b.overlay", "another id"),
            ("other/a.png", "d", "another name"),
        ] {
            let error = refused(image, id).unwrap();
            assert!(error.contains(part), "{error}");
        }
    }
}
