//! Adapters that wgpu finds, and the tensor library's devices on them.
//!
//! The tensor library panics where a driver is missing. Adapters are therefore looked for first, and opened by the
//! kind and number under which it finds the same one.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};

use super::{DeviceChoice, DeviceInfo, OpenDevice, cpu};
use crate::error::Result;

/// What `auto` looks through, in this order.
const APIS: [WgpuBackend; 3] = [WgpuBackend::Vulkan, WgpuBackend::Metal, WgpuBackend::Dx12];

/// The best GPU, else the CPU.
pub(super) fn open_best() -> OpenDevice {
    let mut registry = Registry::lock();
    let adapters: Vec<Adapter> = APIS
        .iter()
        .flat_map(|&api| registry.adapters(api))
        .collect();
    let mut failure = None;
    for gpu in adapters.iter().filter(|adapter| !adapter.is_software()) {
        match registry.open(gpu) {
            Ok(opened) => return opened,
            Err(reason) => failure = Some(reason),
        }
    }
    let reason = failure.unwrap_or_else(|| match adapters.first() {
        Some(Adapter { info, .. }) => {
            format!("the only driver for GPUs is a software one, {}", info.name)
        }
        None => "no GPU was found".to_owned(),
    });
    cpu(Some(format!("computing on the CPU: {reason}")))
}

/// The adapter of that number on the graphics interface that was named.
pub(super) fn open_gpu(choice: DeviceChoice, index: usize) -> Result<OpenDevice> {
    let api = match choice {
        DeviceChoice::Metal => WgpuBackend::Metal,
        _ => WgpuBackend::Vulkan,
    };
    let mut registry = Registry::lock();
    let adapters = registry.adapters(api);
    let adapter = adapters
        .get(index)
        .ok_or_else(|| choice.unavailable(what_there_is(api, &adapters)))?;
    registry
        .open(adapter)
        .map_err(|reason| choice.unavailable(reason))
}

/// Every GPU that can be named.
pub(super) fn list() -> Vec<DeviceInfo> {
    let mut registry = Registry::lock();
    let vulkan = registry.adapters(WgpuBackend::Vulkan).into_iter();
    let vulkan = vulkan.enumerate().map(|(i, a)| (format!("vulkan:{i}"), a));
    let metal = registry.adapters(WgpuBackend::Metal).into_iter().take(1);
    let metal = metal.map(|adapter| ("metal".to_owned(), adapter));
    let info = |(name, adapter): (String, Adapter)| {
        let mut precisions = vec!["f32"];
        precisions.extend(adapter.has_half.then_some("f16"));
        DeviceInfo {
            name,
            description: adapter.describe(),
            precisions,
        }
    };
    vulkan.chain(metal).map(info).collect()
}

/// Why there is no such device.
fn what_there_is(api: WgpuBackend, adapters: &[Adapter]) -> String {
    if !adapters.is_empty() {
        let list = adapters.iter().enumerate();
        let list: Vec<String> = list
            .map(|(i, adapter)| format!("vulkan:{i}, {}", adapter.describe()))
            .collect();
        return format!("this machine has {}", list.join("; "));
    }
    match api {
        WgpuBackend::Metal if !cfg!(target_vendor = "apple") => {
            "Metal is on Apple's computers only: use --device vulkan".to_owned()
        }
        WgpuBackend::Metal => "no GPU was found".to_owned(),
        _ => "no driver for Vulkan was found: install the one of your GPU, on servers with the loaders libEGL and libGL \
              (`vulkaninfo --summary` shows what the system finds), or use --device cpu"
            .to_owned(),
    }
}

/// What one process knows of its adapters. The tensor library opens each once; Vulkan's loader crashes where
/// instances come and go on several threads, hence the lock, and instances that stay.
struct Registry {
    instances: Vec<(WgpuBackend, wgpu::Instance)>,
    opened: Vec<(WgpuBackend, DeviceKind, OpenDevice)>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    instances: Vec::new(),
    opened: Vec::new(),
});

/// An adapter under the name that the tensor library has for it.
struct Adapter {
    api: WgpuBackend,
    kind: DeviceKind,
    info: wgpu::AdapterInfo,
    has_half: bool,
}

impl Adapter {
    fn is_software(&self) -> bool {
        self.kind == DeviceKind::Cpu
    }

    fn describe(&self) -> String {
        let software = if self.is_software() { ", software" } else { "" };
        format!("{} ({:?}{software})", self.info.name, self.info.backend)
    }

    /// GPUs with memory of their own first, software last.
    fn rank(&self) -> usize {
        match self.kind {
            DeviceKind::DiscreteGpu(_) => 0,
            DeviceKind::IntegratedGpu(_) => 1,
            DeviceKind::VirtualGpu(_) => 2,
            _ => 3,
        }
    }
}

impl Registry {
    fn lock() -> std::sync::MutexGuard<'static, Self> {
        REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The adapters of a graphics interface in the order of their numbers.
    fn adapters(&mut self, api: WgpuBackend) -> Vec<Adapter> {
        let backends = match api {
            WgpuBackend::Vulkan => wgpu::Backends::VULKAN,
            WgpuBackend::Metal => wgpu::Backends::METAL,
            WgpuBackend::Dx12 => wgpu::Backends::DX12,
            _ => return Vec::new(),
        };
        if !wgpu::Instance::enabled_backend_features().contains(backends) {
            return Vec::new();
        }
        let found = at_once(self.instance(api, backends).enumerate_adapters(backends));
        let mut counts = [0; 4];
        let named = found.iter().filter_map(|adapter| {
            let info = adapter.get_info();
            let (count, kind): (_, fn(usize) -> DeviceKind) = match info.device_type {
                wgpu::DeviceType::DiscreteGpu => (&mut counts[0], DeviceKind::DiscreteGpu),
                wgpu::DeviceType::IntegratedGpu => (&mut counts[1], DeviceKind::IntegratedGpu),
                wgpu::DeviceType::VirtualGpu => (&mut counts[2], DeviceKind::VirtualGpu),
                // The tensor library opens the first of these only.
                wgpu::DeviceType::Cpu if counts[3] == 0 => (&mut counts[3], |_| DeviceKind::Cpu),
                wgpu::DeviceType::Cpu | wgpu::DeviceType::Other => return None,
            };
            *count += 1;
            Some(Adapter {
                api,
                kind: kind(*count - 1),
                info,
                has_half: adapter.features().contains(wgpu::Features::SHADER_F16),
            })
        });
        let mut adapters: Vec<Adapter> = named.collect();
        adapters.sort_by_key(Adapter::rank);
        adapters
    }

    fn instance(&mut self, api: WgpuBackend, backends: wgpu::Backends) -> wgpu::Instance {
        let known = self.instances.iter().find(|(of, _)| *of == api);
        if let Some((_, instance)) = known {
            return instance.clone();
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        self.instances.push((api, instance.clone()));
        instance
    }

    fn open(&mut self, adapter: &Adapter) -> std::result::Result<OpenDevice, String> {
        let Adapter { api, kind, .. } = adapter;
        let known = self.opened.iter().find(|(a, k, _)| (a, k) == (api, kind));
        if let Some((.., opened)) = known {
            return Ok(opened.clone());
        }
        let options = Device::wgpu_options()
            .device_kind(kind.clone())
            .graphics_api(*api);
        let device = options.init().map_err(|error| {
            let name = &adapter.info.name;
            format!("{name} cannot be opened: {error}")
        })?;
        let notice = adapter.is_software().then(|| {
            let name = &adapter.info.name;
            format!("{name} computes in software: --device cpu is faster")
        });
        let opened = OpenDevice {
            device,
            description: adapter.describe(),
            notice,
        };
        self.opened.push((*api, kind.clone(), opened.clone()));
        Ok(opened)
    }
}

/// What a future gives that is ready when it is made, as wgpu's are outside of browsers.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return value;
        }
        std::thread::yield_now();
    }
}
