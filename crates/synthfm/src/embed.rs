//! `synthfm embed`: encode an image once.

use anyhow::Result;
use serde_json::json;

use crate::cache::CacheArgs;
use crate::cli::EmbedArgs;
use crate::input;
use crate::model::Model;
use crate::output::{Session, VERSION, create_parent, shown, usage};
use crate::paths::Paths;
use crate::predict::since_ms;
use crate::progress::spinner;
use synthfm_image::write_json;
use synthfm_sam::describe_embedding;

/// Writes the embedding and, beside it, what it was made from.
pub(crate) fn run(args: &EmbedArgs, session: &Session) -> Result<()> {
    let mut paths = Paths::default();
    paths.read("the input", &args.input);
    if let Some(path) = Model::path(args.model.as_deref()) {
        paths.read("--model", &path);
    }
    paths.write("-o", &args.out)?;
    if args.out.is_file() && !describe_embedding(&args.out).is_ok_and(|found| found.is_some()) {
        return Err(usage(format!(
            "-o {} is no embedding and would be replaced: choose another name",
            args.out.display()
        )));
    }
    let record_path = paths.record(
        "the record",
        &args.out.with_extension("json"),
        ("embedding", &args.out),
    )?;
    paths.remove_leftovers();
    create_parent(&args.out)?;
    let input = input::read(&args.input, &(&args.view).into())?;
    let model = Model::open(args.model.as_deref())?;
    let predictor = model.predictor(session, args.precision)?;
    let mut predictor = args.cache.attach(predictor, session)?;
    let busy = spinner(session, "encoding");
    let encoder_sha256 = predictor.encoder_sha256().to_owned();
    let started = std::time::Instant::now();
    predictor.save_embedding(&input.rgb, &args.out)?;
    let encode_ms = since_ms(started);
    busy.finish_and_clear();
    let (slice, axis) = input.place.slice().unzip();
    let record = json!({
        "synthfm": VERSION,
        "input": shown(&args.input),
        "slice": slice,
        "axis": axis,
        "window": input.window,
        "window_source": input.window_source,
        "size": [input.rgb.size().height, input.rgb.size().width],
        "model": model.record()?,
        "encoder_sha256": encoder_sha256,
        "cache": CacheArgs::stats(&predictor),
        "precision": predictor.arithmetic().to_string(),
        "embedding": shown(&args.out),
        "encode_ms": encode_ms,
    });
    write_json(&record_path, &record)?;
    session.print(&record, || {
        format!("{}: encoded in {encode_ms:.0} ms", args.out.display())
    })
}
