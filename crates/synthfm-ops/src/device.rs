//! Where tensors live: `--device auto|cpu|cuda[:i]|vulkan[:i]|metal`.
//!
//! The CPU is always there. GPUs are reached through wgpu in builds with the feature `gpu`; an adapter is looked
//! for before the first tensor, because the tensor library panics where a driver is missing.

#[cfg(feature = "gpu")]
mod gpu;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::kernels::Isa;
#[cfg(feature = "gpu")]
use gpu::{list, open_best, open_gpu};

/// A device as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU where there is one, else the CPU. No software device, which is slower than the CPU's own kernels.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA, by index.
    Cuda(Option<usize>),
    /// A GPU through Vulkan, by its number in [`devices`]: those with memory of their own come first, a software
    /// device last.
    Vulkan(Option<usize>),
    /// An Apple GPU.
    Metal,
}

/// An opened device.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device for tensors and modules.
    pub device: Device,
    /// What it is, for the user.
    pub description: String,
    /// What the user should know about the choice: the CPU stands in, or the device computes in software.
    pub notice: Option<String>,
}

impl OpenDevice {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        self.device == Device::flex()
    }
}

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// How [`DeviceChoice`] names it.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The values of [`crate::PrecisionChoice`] that it computes in.
    pub precisions: Vec<&'static str>,
}

/// Every device that this build can use here, the CPU first.
pub fn devices() -> Vec<DeviceInfo> {
    let mut precisions = vec!["f32"];
    precisions.extend(Isa::best().multiplies_bf16().then_some("bf16"));
    let cpu = DeviceInfo {
        name: "cpu".to_owned(),
        description: "CPU".to_owned(),
        precisions,
    };
    std::iter::once(cpu).chain(list()).collect()
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::UnknownDevice {
            name: text.to_owned(),
        };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index)),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            ("metal", None) => Ok(Self::Metal),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
            Self::Vulkan(None) => f.write_str("vulkan"),
            Self::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device. Only `auto` falls back to another one, and the notice says so.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] says what there is instead.
    pub fn open(self) -> Result<OpenDevice> {
        match self {
            Self::Cpu => Ok(cpu(None)),
            Self::Auto => Ok(open_best()),
            Self::Cuda(_) => Err(self.unavailable(
                "this program reaches NVIDIA GPUs through Vulkan: use --device vulkan",
            )),
            Self::Vulkan(index) => open_gpu(self, index.unwrap_or(0)),
            Self::Metal => open_gpu(self, 0),
        }
    }

    fn unavailable(self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable {
            device: self.to_string(),
            reason: reason.into(),
        }
    }
}

fn cpu(notice: Option<String>) -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        description: "CPU".to_owned(),
        notice,
    }
}

#[cfg(not(feature = "gpu"))]
fn list() -> Vec<DeviceInfo> {
    Vec::new()
}

#[cfg(not(feature = "gpu"))]
fn open_best() -> OpenDevice {
    let reason = "computing on the CPU: this build has no GPU support (feature gpu)";
    cpu(Some(reason.to_owned()))
}

#[cfg(not(feature = "gpu"))]
fn open_gpu(choice: DeviceChoice, _index: usize) -> Result<OpenDevice> {
    Err(choice.unavailable("this build has no GPU support: rebuild with --features gpu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_alike() {
        for name in [
            "auto", "cpu", "cuda", "cuda:1", "vulkan", "vulkan:0", "metal",
        ] {
            let choice: DeviceChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
        }
        for name in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "vulkan:-1", "auto:1"] {
            let error = name.parse::<DeviceChoice>().unwrap_err();
            assert!(error.to_string().contains("vulkan[:i]"), "{error}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(!DeviceChoice::default().open().unwrap().device.is_autodiff());
        assert!(!DeviceChoice::Auto.open().unwrap().description.is_empty());
    }

    #[test]
    fn what_is_not_built_in_says_what_to_do() {
        let error = DeviceChoice::Cuda(None).open().unwrap_err().to_string();
        assert!(error.contains("--device vulkan"), "{error}");
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn gpus_need_the_gpu_build() {
        let error = DeviceChoice::Vulkan(Some(0)).open().unwrap_err();
        assert!(error.to_string().contains("--features gpu"), "{error}");
    }
}
