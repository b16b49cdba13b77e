//! `Generator`: a configuration of the generator, and its samples.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use synthfm::api;
use synthfm_image::Size;
use synthfm_synth::{GeneratorConfig, Sample, SampleParams, render};

use crate::arrays::stack_of;
use crate::errors::{OrRaise, usage};

/// A configuration of the generator.
#[pyclass(frozen, module = "synthfm._synthfm")]
pub(crate) struct Generator {
    config: GeneratorConfig,
}

#[pymethods]
impl Generator {
    /// From a preset's name or the path of a TOML file.
    #[new]
    #[pyo3(signature = (name=None))]
    fn new(name: Option<std::path::PathBuf>) -> PyResult<Self> {
        let name = name.as_ref().map(|name| name.to_string_lossy());
        let config = api::generator_config(name.as_deref()).or_raise()?;
        Ok(Self { config })
    }

    /// From a table as JSON, over the defaults.
    #[classmethod]
    fn of_json(_type: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
        let table =
            serde_json::from_str(text).map_err(|error| usage(format!("configuration: {error}")))?;
        let config = api::generator_config_of(table).or_raise()?;
        Ok(Self { config })
    }

    /// The whole configuration as JSON.
    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&self.config).or_raise()
    }

    /// Rows and columns of the samples.
    #[getter]
    fn size(&self) -> (usize, usize) {
        (self.config.size.height, self.config.size.width)
    }

    /// Everything that was drawn for a sample, as JSON.
    fn recipe(&self, py: Python<'_>, seed: u64, index: u64) -> PyResult<String> {
        let params = py.detach(|| SampleParams::draw(&self.config, seed, index));
        serde_json::to_string(&params).or_raise()
    }

    /// A sample as a dictionary of arrays.
    #[pyo3(signature = (seed, index, masks))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        seed: u64,
        index: u64,
        masks: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (params, arrays) = py.detach(|| {
            let params = SampleParams::draw(&self.config, seed, index);
            let arrays = Arrays::of(render(&params), masks);
            (params, arrays)
        });
        py.check_signals()?;
        dictionary(py, &params, arrays)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let make = slf.get_type().getattr("of_json")?;
        let text = slf.get().to_json()?;
        let arguments = PyTuple::new(slf.py(), [text])?;
        PyTuple::new(slf.py(), [make, arguments.into_any()])
    }
}

/// A sample's values as the arrays hold them.
struct Arrays {
    size: Size,
    image: Vec<f32>,
    labels: Vec<i32>,
    /// Every target whole, one after another, and what each is.
    targets: Option<(Vec<bool>, Vec<String>)>,
}

impl Arrays {
    fn of(sample: Sample, masks: bool) -> Self {
        let labels = sample.target_labels();
        let targets = masks.then(|| {
            let values: Vec<&[bool]> = sample.targets.iter().map(|t| t.mask.data()).collect();
            (values.concat(), sample.targets.iter().map(kind).collect())
        });
        Self {
            size: sample.image.size(),
            image: sample.image.into_data(),
            labels: labels.data().iter().copied().map(i32::from).collect(),
            targets,
        }
    }
}

fn dictionary<'py>(
    py: Python<'py>,
    params: &SampleParams,
    arrays: Arrays,
) -> PyResult<Bound<'py, PyDict>> {
    let Size { height, width } = arrays.size;
    let all = PyDict::new(py);
    all.set_item("image", stack_of(py, [1, height, width], arrays.image)?)?;
    all.set_item("label", stack_of(py, [1, height, width], arrays.labels)?)?;
    if let Some((masks, kinds)) = arrays.targets {
        let shape = [kinds.len(), height, width];
        all.set_item("masks", stack_of(py, shape, masks)?)?;
        all.set_item("kinds", PyList::new(py, kinds)?)?;
    }
    all.set_item("modality", name(&params.look))?;
    all.set_item("scene", name(&params.scene))?;
    all.set_item("seed", params.seed)?;
    all.set_item("index", params.index)?;
    Ok(all)
}

fn kind(target: &synthfm_synth::Target) -> String {
    name(&target.kind)
}

/// The name of an enumeration's value in files.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}
