//! Where tensors live: `--device auto|cpu|cuda[:i]|vulkan[:i]|metal`.
//!
//! The CPU is always there. GPUs are reached through wgpu in builds with the feature `gpu`; the adapter
//! is opened before the first tensor, because the tensor library panics where a driver is missing.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::error::{Error, Result};

/// A device as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA, by index.
    Cuda(Option<usize>),
    /// A GPU through Vulkan, by index among the discrete ones.
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
    /// Opens the device. Only `auto` falls back to another one, and its description says so.
    pub fn open(self) -> Result<OpenDevice> {
        match self {
            Self::Cpu => Ok(cpu("CPU")),
            Self::Auto => Ok(open_best()),
            Self::Cuda(_) => Err(self.unavailable(
                "this program reaches NVIDIA GPUs through Vulkan: use --device vulkan",
            )),
            Self::Vulkan(_) | Self::Metal => open_gpu(self),
        }
    }

    fn unavailable(self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable {
            device: self.to_string(),
            reason: reason.into(),
        }
    }
}

fn cpu(description: impl Into<String>) -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        description: description.into(),
    }
}

#[cfg(not(feature = "gpu"))]
fn open_best() -> OpenDevice {
    cpu("CPU (this build has no GPU support)")
}

#[cfg(not(feature = "gpu"))]
fn open_gpu(choice: DeviceChoice) -> Result<OpenDevice> {
    Err(choice.unavailable("this build has no GPU support: rebuild with --features gpu"))
}

#[cfg(feature = "gpu")]
use gpu::{open_best, open_gpu};

#[cfg(feature = "gpu")]
mod gpu {
    use std::sync::Mutex;

    use burn::tensor::wgpu::{WgpuBackend, WgpuInitError, wgpu};
    use burn::tensor::{Device, DeviceKind};

    use super::{DeviceChoice, OpenDevice, cpu};
    use crate::error::Result;

    /// Adapters opened so far: wgpu opens each once per process.
    static OPENED: Mutex<Vec<(DeviceChoice, OpenDevice)>> = Mutex::new(Vec::new());

    pub(super) fn open_best() -> OpenDevice {
        match open(DeviceChoice::Auto) {
            Ok((opened, Adapter::Hardware)) => opened,
            Ok((_, Adapter::Software)) => cpu("CPU (the only GPU driver is a software one)"),
            Err(error) => cpu(format!("CPU (no GPU: {error})")),
        }
    }

    pub(super) fn open_gpu(choice: DeviceChoice) -> Result<OpenDevice> {
        if let Some(opened) = opened(choice) {
            return Ok(opened);
        }
        match open(choice) {
            Ok((opened, _)) => Ok(opened),
            Err(error) => Err(choice.unavailable(error.to_string())),
        }
    }

    enum Adapter {
        Hardware,
        Software,
    }

    fn opened(choice: DeviceChoice) -> Option<OpenDevice> {
        let opened = OPENED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = opened.iter().find(|(c, _)| *c == choice);
        found.map(|(_, device)| device.clone())
    }

    fn open(choice: DeviceChoice) -> std::result::Result<(OpenDevice, Adapter), WgpuInitError> {
        if let Some(opened) = opened(choice) {
            return Ok((opened, Adapter::Hardware));
        }
        let kind = match choice {
            DeviceChoice::Vulkan(Some(index)) => DeviceKind::DiscreteGpu(index),
            _ => DeviceKind::DefaultDevice,
        };
        let api = match choice {
            DeviceChoice::Vulkan(_) => WgpuBackend::Vulkan,
            DeviceChoice::Metal => WgpuBackend::Metal,
            _ => WgpuBackend::Auto,
        };
        let options = Device::wgpu_options().device_kind(kind).graphics_api(api);
        let (device, setup) = options.init_with_setup()?;
        let info = setup.adapter.get_info();
        let adapter = match info.device_type {
            wgpu::DeviceType::Cpu => Adapter::Software,
            _ => Adapter::Hardware,
        };
        let opened = OpenDevice {
            device,
            description: format!("{} ({:?})", info.name, info.backend),
        };
        let mut list = OPENED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        list.push((choice, opened.clone()));
        Ok((opened, adapter))
    }
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
