//! The cases that are open: their images and annotations in memory, bounded, and their files on disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::sync::{OnceCell, Semaphore};

use super::annotation::{Annotation, Store, content_of};
use super::catalog::Case;
use super::error::{ApiError, ApiResult};
use super::labels::{Label, LabelLists, Source, manifest_labels};
use super::reading::reading;
use super::reference::{Reference, manifest_of, manifest_text};
use super::study::Study;

/// Bytes of images in memory before those that nobody has open go.
const ROOM_BYTES: usize = 2 << 30;
/// Cases in memory before those that nobody has open go.
const MAX_CASES: usize = 16;
/// Files that are read at once.
const MAX_READING: usize = 2;

/// A case in memory.
#[derive(Debug)]
pub(super) struct OpenCase {
    pub(super) case: Case,
    pub(super) study: Arc<Study>,
    store: Mutex<Store>,
    reference: Mutex<Option<Arc<Reference>>>,
    /// Numbers its runs of propagation.
    groups: AtomicU64,
    /// Asks the running propagation to stop; `None` where there is none.
    propagation: Mutex<Option<Arc<AtomicBool>>>,
    /// Remarks for whoever opens the case.
    notes: Vec<String>,
    data_set: DataSet,
}

/// The structures and remarks of the data set that a case belongs to.
#[derive(Debug, Default)]
struct DataSet {
    /// The folder of its `dataset.json` below the opened folder; empty where there is none.
    place: String,
    /// Names by value.
    labels: BTreeMap<u16, String>,
    /// The kind of image.
    modality: Option<String>,
    /// Remarks on labels that were left out.
    notes: Vec<String>,
}

impl DataSet {
    fn of(image: &Path, root: &Path) -> Self {
        let Some(manifest_path) = manifest_of(image) else {
            return Self::default();
        };
        let folder = manifest_path.parent().unwrap_or(root);
        let below = folder.strip_prefix(root).unwrap_or(Path::new(".."));
        let place = below.iter().map(|part| part.to_string_lossy());
        let text = manifest_text(image).unwrap_or_default();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let channels = manifest.get("channel_names").or(manifest.get("modality"));
        let modality = channels.and_then(|channels| channels.get("0")?.as_str());
        let (labels, notes) = manifest_labels(&text);
        Self {
            place: place.collect::<Vec<_>>().join("/"),
            labels,
            modality: modality.map(str::to_owned),
            notes: notes
                .iter()
                .map(|note| format!("dataset.json: {note}"))
                .collect(),
        }
    }
}

/// The folder of the annotation of an image with this content. Where the folder of the case belongs to other pixels under
/// the same DICOM identifiers, it is one of its own, and a note says so.
fn place_of(folder: &Path, content: Option<&str>) -> (PathBuf, Option<String>) {
    let Some(content) = content else {
        return (folder.to_owned(), None);
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let own = folder.with_file_name(format!("{name}-{}", &content[..8]));
    let differs = content_of(folder).is_some_and(|before| before != content);
    if !differs && !own.exists() {
        return (folder.to_owned(), None);
    }
    let note = format!(
        "other pixels with the same DICOM identifiers were annotated before; that work is kept in cases/{name}"
    );
    (own, Some(note))
}

impl OpenCase {
    fn load(case: Case, folder: &Path, max_bytes: u64) -> ApiResult<Self> {
        let file = case.file()?;
        let study = Study::read(&file, case.series(), max_bytes, case.root())?;
        if case.identity().is_some() && study.identity().as_deref() != case.identity() {
            return Err(ApiError::conflict(
                "moved",
                "the folder has changed: open the case again in a moment, when the list of cases is up to date",
            ));
        }
        let content = case.identity().map(|_| study.content());
        let (folder, note) = place_of(folder, content.as_deref());
        let store = Store::open(&folder, study.grid().clone())?;
        let content = content.or_else(|| case.content().map(str::to_owned));
        let store = store
            .about(&case.name, content)
            .of_series(case.series_uid());
        let note = note.or_else(|| case.note().map(str::to_owned));
        let mut notes: Vec<String> = note.into_iter().collect();
        notes.extend(study.warnings().iter().cloned());
        let reference = match Reference::find(&file, &case, &study, &folder, max_bytes) {
            Ok(reference) => reference,
            Err(error) => {
                let error = synthfm_image::one_line(error.as_ref());
                notes.push(format!("not taken as reference: {error}"));
                None
            }
        };
        let data_set = if case.uploaded {
            DataSet::default()
        } else {
            DataSet::of(&file, case.root())
        };
        notes.extend(data_set.notes.iter().cloned());
        for note in &notes {
            synthfm_image::tell(&format!("note: {}: {note}", case.name));
        }
        let groups = store.annotation().last_group();
        Ok(Self {
            case,
            study: Arc::new(study),
            store: Mutex::new(store),
            reference: Mutex::new(reference.map(Arc::new)),
            groups: AtomicU64::new(groups),
            propagation: Mutex::new(None),
            notes,
            data_set,
        })
    }

    /// Remarks for whoever opens the case.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Names the data set for the lists of labels.
    pub(super) fn source(&self) -> Source<'_> {
        let DataSet { place, labels, .. } = &self.data_set;
        Source {
            set: place,
            named: labels,
        }
    }

    /// The structures that every case of the data set may have.
    pub(super) fn labels(&self, lists: &LabelLists) -> Vec<Label> {
        lists.of(self.source())
    }

    /// The work for files, where each structure has the value of its name in the list of all cases.
    pub(super) fn for_files<'a>(
        &self,
        annotation: &'a Annotation,
        lists: &LabelLists,
    ) -> anyhow::Result<Cow<'a, Annotation>> {
        let values = lists.values(self.source(), annotation.structures())?;
        if values.iter().all(|(id, value)| id == value) {
            return Ok(Cow::Borrowed(annotation));
        }
        Ok(Cow::Owned(annotation.renumbered(&values)))
    }

    /// Whether the values are Hounsfield units: of CT, or by the values where nobody says what the image is.
    pub(super) fn is_hounsfield(&self) -> bool {
        match self.modality() {
            Some(modality) => {
                let modality = modality.to_lowercase();
                modality == "ct" || modality.starts_with("computed")
            }
            None => self.study.is_hounsfield(),
        }
    }

    /// The kind of image, such as `CT` or `MR`, as its file or its data set calls it.
    pub(super) fn modality(&self) -> Option<&str> {
        let own = self.study.info().and_then(|info| info.modality.as_deref());
        own.or(self.data_set.modality.as_deref())
    }

    /// Names the image for the embeddings of its slices: the case, and which volume of its file it is.
    pub(super) fn image_id(&self) -> String {
        match self.study.volumes() {
            Some(volumes) => format!("{}#{}", self.case.id, volumes.shown),
            None => self.case.id.clone(),
        }
    }

    /// The annotation and its files.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Labels to compare with.
    pub(super) fn reference(&self) -> Option<Arc<Reference>> {
        lock(&self.reference).clone()
    }

    pub(super) fn set_reference(&self, reference: Reference) {
        *lock(&self.reference) = Some(Arc::new(reference));
    }

    /// A number for a group of steps; larger than those of any step that the journal holds.
    pub(super) fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes the right to propagate, with the flag that asks it to stop.
    pub(super) fn begin_propagation(&self) -> ApiResult<Arc<AtomicBool>> {
        let mut running = lock(&self.propagation);
        if running.is_some() {
            return Err(ApiError::conflict(
                "propagating",
                "this case is being propagated already; stop that first",
            ));
        }
        let stop = Arc::new(AtomicBool::new(false));
        *running = Some(Arc::clone(&stop));
        Ok(stop)
    }

    pub(super) fn is_propagating(&self) -> bool {
        lock(&self.propagation).is_some()
    }

    pub(super) fn end_propagation(&self) {
        *lock(&self.propagation) = None;
    }

    /// Asks a running propagation to stop; whether there was one.
    pub(super) fn stop_propagation(&self) -> bool {
        let running = lock(&self.propagation);
        if let Some(stop) = &*running {
            stop.store(true, Ordering::Relaxed);
        }
        running.is_some()
    }
}

type Cell = Arc<OnceCell<Arc<OpenCase>>>;

/// All open cases.
#[derive(Debug)]
pub(super) struct OpenCases {
    /// Holds a folder per case.
    folder: PathBuf,
    max_file_bytes: u64,
    entries: Mutex<Entries>,
    /// The volumes that were chosen in files of several.
    volumes: Mutex<BTreeMap<String, u64>>,
    reading: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Entries {
    cells: BTreeMap<String, (Cell, u64)>,
    clock: u64,
}

impl OpenCases {
    pub(super) fn new(folder: PathBuf, max_file_bytes: u64) -> Self {
        Self {
            folder,
            max_file_bytes,
            entries: Mutex::default(),
            volumes: Mutex::default(),
            reading: Arc::new(Semaphore::new(MAX_READING)),
        }
    }

    /// The case in memory, read now if it is not yet. Whoever asks meanwhile waits for the same reading.
    pub(super) async fn open(&self, case: Case) -> ApiResult<Arc<OpenCase>> {
        let id = case.id.clone();
        let cell = {
            let mut entries = lock(&self.entries);
            entries.clock += 1;
            let clock = entries.clock;
            let entry = entries.cells.entry(id.clone()).or_default();
            entry.1 = clock;
            Arc::clone(&entry.0)
        };
        let opened = cell.get_or_try_init(|| self.load(case)).await.cloned();
        drop(cell);
        self.make_room(&id);
        opened
    }

    /// Shows another volume of a file with several from the next time that the case is opened, which is now: a case that
    /// something is still done with is not closed.
    pub(super) fn choose_volume(&self, case: &str, volume: u64) -> ApiResult<()> {
        let mut entries = lock(&self.entries);
        if let Some((cell, _)) = entries.cells.get(case) {
            let open = cell.get();
            if open.is_some_and(|open| open.study.volumes().is_some_and(|v| v.shown == volume)) {
                return Ok(());
            }
            let idle = Arc::strong_count(cell) == 1
                && open.is_none_or(|open| Arc::strong_count(open) == 1);
            if !idle {
                return Err(ApiError::busy("the case is in use; try again"));
            }
            if let Some((cell, _)) = entries.cells.remove(case) {
                close(cell);
            }
        }
        lock(&self.volumes).insert(case.to_owned(), volume);
        Ok(())
    }

    async fn load(&self, case: Case) -> ApiResult<Arc<OpenCase>> {
        let Ok(turn) = Arc::clone(&self.reading).acquire_owned().await else {
            return Err(ApiError::busy("the server is stopping"));
        };
        let volume = lock(&self.volumes).get(&case.id).copied();
        let case = case.with_volume(volume);
        let (folder, max_bytes) = (self.folder.join(&case.id), self.max_file_bytes);
        let work = reading(turn, move || OpenCase::load(case, &folder, max_bytes));
        let loaded = work.await.context("opening the case failed")??;
        Ok(Arc::new(loaded))
    }

    /// Closes the cases that nobody uses, the oldest first, as long as there are too many. `newest` stays.
    fn make_room(&self, newest: &str) {
        let mut entries = lock(&self.entries);
        // A reading that failed leaves an empty cell, which nobody needs.
        entries
            .cells
            .retain(|_, (cell, _)| cell.initialized() || Arc::strong_count(cell) > 1);
        loop {
            let opened = || {
                entries
                    .cells
                    .iter()
                    .filter_map(|(id, (cell, used))| Some((id, cell, cell.get()?, *used)))
            };
            let bytes: usize = opened().map(|(_, _, open, _)| open.study.bytes()).sum();
            if bytes <= ROOM_BYTES && opened().count() <= MAX_CASES {
                return;
            }
            // Nobody else holds it: opening clones it under the lock that is held here.
            let idle = opened().filter(|(id, cell, open, _)| {
                *id != newest && Arc::strong_count(cell) == 1 && Arc::strong_count(open) == 1
            });
            let Some(id) = idle
                .min_by_key(|(.., used)| *used)
                .map(|(id, ..)| id.clone())
            else {
                return;
            };
            if let Some((cell, _)) = entries.cells.remove(&id) {
                close(cell);
            }
        }
    }

    /// Closes everything, at the end.
    pub(super) fn close(&self) {
        for (cell, _) in std::mem::take(&mut lock(&self.entries).cells).into_values() {
            close(cell);
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.entries).cells.len()
    }

    /// The cases that are in memory.
    pub(super) fn opened(&self) -> Vec<Arc<OpenCase>> {
        let entries = lock(&self.entries);
        let cells = entries.cells.values();
        cells.filter_map(|(cell, _)| cell.get().cloned()).collect()
    }
}

/// Closes a case of which this is the only holder; work in progress keeps it open, which loses nothing.
fn close(cell: Cell) {
    let open = Arc::into_inner(cell).and_then(OnceCell::into_inner);
    if let Some(open) = open.and_then(Arc::into_inner) {
        let store = open
            .store
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = store.close() {
            let text = synthfm_image::one_line(error.as_ref());
            synthfm_image::tell(&format!(
                "warning: {}: {text} (the journal holds everything)",
                open.case.name
            ));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
