//! `synthfm models`: what there is, whether it is whole, and conversion.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use synthfm_sam::{ModelFile, ModelReport, Precision, ensure_published, save, save_pth};

use crate::cli::{ExportFormat, ModelsAction, ModelsArgs};
use crate::model::{EMBEDDED, MODELS_VARIABLE, Model, registered};
use crate::output::{Session, create_parent, usage};
use crate::progress::spinner;

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
        ModelsAction::Export {
            model,
            output,
            format,
        } => export(model, output, *format, session),
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
                all.push(json!({ "name": name, "path": path, "report": report }));
            }
            Err(error) => {
                let _ = writeln!(text, "{name:<24} unusable: {error}");
                all.push(json!({ "name": name, "path": path, "error": error.to_string() }));
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
    model.load(session)?;
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

fn convert(input: &str, output: &Path, half: bool, session: &Session) -> Result<()> {
    if output
        .extension()
        .is_none_or(|ending| ending != "safetensors")
    {
        return Err(usage(format!(
            "{}: the output is a .safetensors file",
            output.display()
        )));
    }
    create_parent(output)?;
    let model = Model::open(Some(input))?;
    let sam = model.load(session)?;
    let busy = spinner(session, "writing");
    let precision = if half { Precision::F16 } else { Precision::F32 };
    save(&sam, precision, output)?;
    busy.finish_and_clear();
    print_written(output, session)
}

/// For Python: what `load_state_dict` of SAM's or MobileSAM's code takes as it is.
fn export(input: &str, output: &Path, format: ExportFormat, session: &Session) -> Result<()> {
    create_parent(output)?;
    let model = Model::open(Some(input))?;
    ensure_published(model.file.config()).with_context(|| input.to_owned())?;
    let sam = model.load(session)?;
    let busy = spinner(session, "writing");
    match format {
        ExportFormat::Safetensors => save(&sam, Precision::F32, output)?,
        ExportFormat::Pth => save_pth(&sam, output)?,
    }
    busy.finish_and_clear();
    print_written(output, session)
}

/// Reads back what was written and describes it.
fn print_written(output: &Path, session: &Session) -> Result<()> {
    let report = ModelFile::open(output)?.report()?;
    let bytes = std::fs::metadata(output)?.len();
    let result = json!({ "output": output, "bytes": bytes, "report": report });
    session.print(&result, || {
        format!(
            "{}: {:.1} MB\n{}",
            output.display(),
            bytes as f64 / 1e6,
            describe(&report)
        )
    })
}
