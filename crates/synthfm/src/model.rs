//! Which model a name means: the embedded one, a file, a folder, or a name in the folder of models.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use synthfm_sam::{Device, ModelFile, PrecisionChoice, Predictor, Sam};
use synthfm_serve::ModelRecord;

use crate::output::{Session, refuse_pipe};
use crate::progress::bar;

/// The default model.
static WEIGHTS: &[u8] = include_bytes!("../model/model.safetensors");

/// Name of the embedded model on the command line.
pub(crate) const EMBEDDED: &str = "embedded";
/// The variable that names a folder of models.
pub(crate) const MODELS_VARIABLE: &str = "SYNTHFM_MODELS";
const ENDINGS: [&str; 3] = ["safetensors", "pth", "pt"];

const MILLION: u64 = 1_000_000;
/// Loading fewer parameters takes no time worth a progress bar.
const MANY_PARAMETERS: u64 = 20 * MILLION;

/// A model that was found.
pub(crate) struct Model {
    /// For tables: `embedded`, or the name of the file or folder.
    pub(crate) name: String,
    /// Where it lies; `None` for the embedded one.
    pub(crate) path: Option<PathBuf>,
    /// Weights and configuration.
    pub(crate) file: ModelFile,
}

impl Model {
    /// Finds a model; `None` is the embedded one.
    pub(crate) fn open(name: Option<&str>) -> Result<Self> {
        let name = name.unwrap_or(EMBEDDED);
        if name == EMBEDDED && !Path::new(name).exists() {
            let file = ModelFile::from_bytes(WEIGHTS).context("the embedded model")?;
            let name = name.to_owned();
            return Ok(Self {
                name,
                path: None,
                file,
            });
        }
        Self::at(locate(name)?, ModelFile::open)
    }

    /// Finds a model to report on, however little its file tells.
    pub(crate) fn open_to_report(name: &str) -> Result<Self> {
        if name == EMBEDDED && !Path::new(name).exists() {
            return Self::open(None);
        }
        Self::at(locate(name)?, ModelFile::open_to_report)
    }

    /// Where the model of that name lies, if it is a file or a folder.
    pub(crate) fn path(name: Option<&str>) -> Option<PathBuf> {
        let name = name.filter(|&name| name != EMBEDDED || Path::new(name).exists())?;
        locate(name).ok()
    }

    fn at(path: PathBuf, open: impl Fn(&Path) -> synthfm_sam::Result<ModelFile>) -> Result<Self> {
        let file = open(&path)?;
        Ok(Self {
            name: name_of(&path),
            path: Some(path),
            file,
        })
    }

    /// Reads the weights onto the device of the session.
    pub(crate) fn predictor(
        &self,
        session: &Session,
        precision: PrecisionChoice,
    ) -> Result<Predictor> {
        let device = session.device()?.device;
        let sam = self.load_on(&device, session)?;
        session.detail(&format!(
            "model: {} at {} px",
            self.name,
            self.file.config().image_size
        ));
        Ok(Predictor::new(&sam, &device).with_precision(precision)?)
    }

    /// Reads the weights, with progress where it takes a while.
    pub(crate) fn load(&self, session: &Session) -> Result<Sam> {
        self.load_on(&session.device()?.device, session)
    }

    fn load_on(&self, device: &Device, session: &Session) -> Result<Sam> {
        let total = self.file.parameters() as u64;
        if total < MANY_PARAMETERS {
            return Ok(self.file.load(device)?);
        }
        let bar = bar(session, total.div_ceil(MILLION), "M parameters");
        let mut read = 0;
        let sam = self.file.load_with(device, &mut |values| {
            read += values as u64;
            bar.set_position(read / MILLION);
        })?;
        bar.finish_and_clear();
        Ok(sam)
    }

    /// For records.
    pub(crate) fn record(&self) -> Result<ModelRecord> {
        Ok(ModelRecord {
            name: self.name.clone(),
            path: self.path.clone(),
            sha256: self.file.sha256()?,
            image_size: self.file.config().image_size,
        })
    }
}

/// A file or folder of that name, or one in the folder of models.
fn locate(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    refuse_pipe(&path)?;
    if path.exists() {
        // The weights of a training run carry their configuration themselves.
        let weights = path.join("model.safetensors");
        let is_run = weights.is_file() && !path.join("config.json").exists();
        return Ok(if is_run { weights } else { path });
    }
    match registered().remove(name) {
        Some(path) => Ok(path),
        None => bail!(
            "model {name}: no such file or folder, and not a registered name; `synthfm models list` shows the names"
        ),
    }
}

/// Models in the folder that the environment names, by name.
pub(crate) fn registered() -> BTreeMap<String, PathBuf> {
    let Some(folder) = env::var_os(MODELS_VARIABLE) else {
        return BTreeMap::new();
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_model = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.join("model.safetensors").is_file() || ending.is_some_and(|e| ENDINGS.contains(&e))
    };
    paths
        .filter(is_model)
        .map(|path| (name_of(&path), path))
        .collect()
}

/// The file's name without its ending; the folder's name where a file is called `model.safetensors`.
fn name_of(path: &Path) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    match stem(path) {
        Some(name) if name == "model" => folder.unwrap_or(name),
        Some(name) => name,
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_or_their_folders() {
        for (path, name) in [
            ("a/sam_vit_b_01ec64.pth", "sam_vit_b_01ec64"),
            ("runs/first/model.safetensors", "first"),
            ("model.safetensors", "model"),
            ("runs/first", "first"),
        ] {
            assert_eq!(name_of(Path::new(path)), name);
        }
    }
}
