//! The program as its users see it: exit codes, standard output and error, files.
//!
//! Each test works in its own folder with small images that it draws itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod cases;
mod common;
mod compare;
mod devices;
mod dicom;
#[cfg(target_os = "linux")]
mod disk_full;
mod evaluate;
mod floors;
mod formats;
mod generate;
mod help;
mod hostile;
mod http;
mod info;
mod models;
mod paths;
mod predict;
mod predict_volume;
mod prompts_file;
mod serve;
mod serve_cases;
mod shards;
mod train;
mod train_kill;
mod verify;
mod viewers;
mod volumes;
