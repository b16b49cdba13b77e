//! `synthfm models`: what there is, whether it is whole, and conversion.

mod args;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use synthfm_sam::{
    ModelFile, ModelReport, OnnxFiles, OnnxInput, OnnxMasks, OnnxOptions, Precision, Preparation,
    Sam, WeightMean, ensure_published, not_finite, save, save_pth,
};

use crate::model::{EMBEDDED, MODELS_VARIABLE, Model, registered};
use crate::output::{Session, create_parent, shown, usage};
use crate::paths::Paths;
use crate::progress::{bar, spinner};
use args::{ExportArgs, ExportFormat, ModelsAction, OnnxInputKind, OnnxMasksKind};

pub(crate) use args::ModelsArgs;

const MILLION: u64 = 1_000_000;

/// Carries out the action.
pub(crate) fn run(args: &ModelsArgs, session: &Session) -> Result<()> {
    match &args.action {
        ModelsAction::List => list(session),
        ModelsAction::Verify { model } => verify(model, session),
        ModelsAction::Convert {
            input,
            output,
            half,
        } => convert(input, output, *half, session),
        ModelsAction::Average {
            models,
            output,
            half,
        } => average(models, output, *half, session),
        ModelsAction::Export(args) => export(args, session),
    }
}

fn list(session: &Session) -> Result<()> {
    let report = Model::open(None)?.file.report()?;
    let mut text = format!("{EMBEDDED:<24} {}\n", one_line(&report));
    let mut all = vec![json!({ "name": EMBEDDED, "report": report })];
    for (name, path) in registered() {
        match ModelFile::open(&path).and_then(|file| file.report()) {
            Ok(report) => {
                let _ = writeln!(text, "{name:<24} {}", one_line(&report));
                all.push(json!({ "name": name, "path": shown(&path), "report": report }));
            }
            Err(error) => {
                let _ = writeln!(text, "{name:<24} unusable: {error}");
                all.push(json!({ "name": name, "path": shown(&path), "error": error.to_string() }));
            }
        }
    }
    let _ = writeln!(
        text,
        "\nOther models: name a file or folder, or set {MODELS_VARIABLE} to a folder of them."
    );
    session.print(&all, || text)
}

fn one_line(report: &ModelReport) -> String {
    let ModelReport {
        kind,
        config,
        image_encoder_parameters,
        prompt_encoder_parameters,
        mask_decoder_parameters,
        ..
    } = report;
    let million = |count: usize| count as f64 / 1e6;
    format!(
        "{kind}, input {} px, encoder {:.2} M, decoder {:.2} M parameters",
        config.image_size,
        million(*image_encoder_parameters),
        million(prompt_encoder_parameters + mask_decoder_parameters)
    )
}

fn verify(name: &str, session: &Session) -> Result<()> {
    let model = Model::open_to_report(name)?;
    let report = model.file.report()?;
    session.print(&report, || describe(&report))?;
    if !report.differences.is_empty() {
        bail!("{name}: the weights do not fit the model: see the keys in the report");
    }
    // Reading every tensor finds truncated data.
    let broken = not_finite(&model.load(session)?);
    if let Some(first) = broken.first() {
        bail!(
            "{name}: {} parameters hold values that are not finite, the first is {first}: the model cannot answer; \
             take an earlier checkpoint of its training",
            broken.len()
        );
    }
    let device = session.device()?.description;
    session.note(&format!(
        "every key is there with its shape, and the weights can be read ({device})"
    ));
    Ok(())
}

/// A report for people.
pub(crate) fn describe(report: &ModelReport) -> String {
    let mut text = format!("model    {}\n", one_line(report));
    let format = if report.format == synthfm_sam::WeightsFormat::Pth {
        "PyTorch"
    } else {
        "safetensors"
    };
    let _ = writeln!(text, "format   {format}");
    let _ = writeln!(text, "sha256   {}", report.sha256);
    let _ = writeln!(
        text,
        "values   {} in the image encoder, {} in the prompt encoder, {} in the mask decoder",
        report.image_encoder_parameters,
        report.prompt_encoder_parameters,
        report.mask_decoder_parameters
    );
    if report.memory_parameters > 0 {
        let _ = writeln!(
            text,
            "memory   {} values for videos, without influence on the mask of an image",
            report.memory_parameters
        );
    }
    if let Some(why) = &report.guessed {
        let _ = writeln!(text, "sizes    those of the nearest published model: {why}");
    }
    if !report.unused.is_empty() {
        let _ = writeln!(
            text,
            "unused   {} tensors without influence on a mask, as {}",
            report.unused.len(),
            report.unused[0]
        );
    }
    let misshapen: Vec<String> = report
        .differences
        .misshapen
        .iter()
        .map(|m| format!("{} (expected {:?}, found {:?})", m.key, m.expected, m.found))
        .collect();
    let lists = [
        ("missing", &report.differences.missing),
        ("unexpected", &report.differences.unexpected),
        ("misshapen", &misshapen),
    ];
    for (what, keys) in lists.into_iter().filter(|(_, keys)| !keys.is_empty()) {
        let _ = writeln!(text, "{what} keys ({}):", keys.len());
        for key in keys {
            let _ = writeln!(text, "  {key}");
        }
    }
    text
}

/// Refuses outputs that would replace a model.
fn check_paths(models: &[&str], outputs: &[&Path]) -> Result<()> {
    let mut paths = Paths::default();
    for model in models {
        if let Some(path) = Model::path(Some(model)) {
            paths.read("the model", &path);
        }
    }
    for output in outputs {
        paths.write("the output", output)?;
    }
    paths.remove_leftovers();
    Ok(())
}

fn convert(input: &str, output: &Path, half: bool, session: &Session) -> Result<()> {
    check_ending(output)?;
    check_paths(&[input], &[output])?;
    create_parent(output)?;
    let sam = Model::open(Some(input))?.load(session)?;
    write(&sam, half, output, session)
}

/// The mean of the weights of models, each named with its share.
fn average(models: &[String], output: &Path, half: bool, session: &Session) -> Result<()> {
    check_ending(output)?;
    let models: Vec<(&str, f64)> = models.iter().map(|model| share_of(model)).collect();
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).collect();
    check_paths(&names, &[output])?;
    create_parent(output)?;
    let mut mean = WeightMean::default();
    for (name, share) in models {
        let sam = Model::open(Some(name))?.load(session)?;
        mean.add(sam, share).with_context(|| name.to_owned())?;
    }
    write(&mean.finish()?, half, output, session)
}

/// A model's name and what stands behind its last `=`, if that is a number; otherwise 1.
fn share_of(model: &str) -> (&str, f64) {
    let split = model.rsplit_once('=');
    let number = split.and_then(|(name, share)| Some((name, share.parse().ok()?)));
    number.unwrap_or((model, 1.0))
}

fn check_ending(output: &Path) -> Result<()> {
    if output
        .extension()
        .is_some_and(|ending| ending == "safetensors")
    {
        return Ok(());
    }
    Err(usage(format!(
        "{}: the output is a .safetensors file",
        output.display()
    )))
}

fn write(sam: &Sam, half: bool, output: &Path, session: &Session) -> Result<()> {
    let busy = spinner(session, "writing");
    let precision = if half { Precision::F16 } else { Precision::F32 };
    save(sam, precision, output)?;
    busy.finish_and_clear();
    print_written(output, session)
}

fn export(args: &ExportArgs, session: &Session) -> Result<()> {
    let ExportArgs {
        model,
        output,
        format,
        ..
    } = args;
    let onnx_default =
        args.onnx_input == OnnxInputKind::default() && args.onnx_masks == OnnxMasksKind::default();
    if *format != ExportFormat::Onnx && !onnx_default {
        return Err(usage(
            "--onnx-input and --onnx-masks go with --format onnx".to_owned(),
        ));
    }
    if *format == ExportFormat::Onnx {
        let OnnxFiles { encoder, decoder } = OnnxFiles::named(output);
        check_paths(&[model], &[&encoder, &decoder])?;
    } else {
        check_paths(&[model], &[output])?;
    }
    create_parent(output)?;
    let found = Model::open(Some(model))?;
    ensure_published(found.file.config()).with_context(|| model.clone())?;
    if *format == ExportFormat::Onnx {
        return export_onnx(args, &found, session);
    }
    // For Python: what `load_state_dict` of SAM's, SAM 2's or MobileSAM's code takes as it is.
    let sam = found.load(session)?;
    let busy = spinner(session, "writing");
    if *format == ExportFormat::Pth {
        save_pth(&sam, output)?;
    } else {
        save(&sam, Precision::F32, output)?;
    }
    busy.finish_and_clear();
    print_written(output, session)
}

/// Encoder and decoder as ONNX files.
fn export_onnx(args: &ExportArgs, model: &Model, session: &Session) -> Result<()> {
    let options = OnnxOptions {
        input: match args.onnx_input {
            OnnxInputKind::Tensor => OnnxInput::Tensor,
            OnnxInputKind::Image => OnnxInput::Image,
        },
        masks: match args.onnx_masks {
            OnnxMasksKind::Best => OnnxMasks::Best,
            OnnxMasksKind::All => OnnxMasks::All,
        },
    };
    if model.file.config().preparation == Preparation::MedSam {
        session.note(
            "the tools that load these files prepare images as SAM's code does, not as MedSAM's: expect other masks",
        );
    }
    let total = (model.file.parameters() as u64).div_ceil(MILLION);
    let progress = bar(session, total, "M parameters");
    let mut done = 0;
    let files = OnnxFiles::named(&args.output);
    let written = model.file.export_onnx(options, &files, &mut |values| {
        done += values as u64;
        progress.set_position(done / MILLION);
    })?;
    progress.finish_and_clear();
    let sizes = written
        .iter()
        .map(|path| Ok((path, std::fs::metadata(path)?.len())))
        .collect::<Result<Vec<_>>>()?;
    let outputs: Vec<_> = sizes
        .iter()
        .map(|(path, bytes)| json!({ "output": shown(path), "bytes": bytes }))
        .collect();
    session.print(&outputs, || {
        sizes.iter().fold(String::new(), |mut text, (path, bytes)| {
            let _ = writeln!(text, "{}: {:.1} MB", path.display(), *bytes as f64 / 1e6);
            text
        })
    })
}

/// Reads back what was written and describes it.
fn print_written(output: &Path, session: &Session) -> Result<()> {
    let report = ModelFile::open(output)?.report()?;
    let bytes = std::fs::metadata(output)?.len();
    let result = json!({ "output": shown(output), "bytes": bytes, "report": report });
    session.print(&result, || {
        format!(
            "{}: {:.1} MB\n{}",
            output.display(),
            bytes as f64 / 1e6,
            describe(&report)
        )
    })
}
