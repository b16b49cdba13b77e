//! `synthfm bench step`: one training step of SAM's decoder on an embedding, as PyTorch's is timed by
//! `tools/decoder_step.py`.

use anyhow::{Context, Result};
use serde::Serialize;
use synthfm_sam::{EncoderConfig, Sam, SamConfig, VitConfig};
use synthfm_train::{AdamW, BatchMaker, Learner, Mode, ModelSpec, TrainConfig, initialise};

use super::BenchArgs;
use super::{Spread, memory_text, peak_memory_mb, spread};
use crate::allocator;
use crate::output::Session;
use crate::progress::spinner;

/// Objects of the second row.
const OBJECTS: usize = 4;

#[derive(Debug, Serialize)]
struct StepTimes {
    device: String,
    threads: usize,
    repeats: usize,
    /// Sides of the embedding.
    embedding: [usize; 3],
    /// Prompt encoder, decoder, Dice loss, backward, AdamW; one click on one object.
    one_object_ms: Spread,
    objects: usize,
    /// A step with a click on each of `objects` objects of the image.
    objects_ms: Spread,
    peak_memory_mb: Option<f64>,
}

/// Times training steps on one and on four objects.
pub(super) fn run(args: &BenchArgs, session: &Session) -> Result<()> {
    allocator::keep_freed_memory(allocator::Keep::Always);
    let busy = spinner(session, "training");
    let repeats = usize::from(args.repeats);
    let one_object_ms = steps(1, repeats, session)?;
    let objects_ms = steps(OBJECTS, repeats, session)?;
    busy.finish_and_clear();
    let model = model();
    let times = StepTimes {
        device: session.device()?.description,
        threads: rayon::current_num_threads(),
        repeats,
        embedding: [
            model.prompt_embed_dim,
            model.embedding_side(),
            model.embedding_side(),
        ],
        one_object_ms,
        objects: OBJECTS,
        objects_ms,
        peak_memory_mb: peak_memory_mb(),
    };
    session.print(&times, || {
        let [c, h, w] = times.embedding;
        format!(
            "device                    {}, {} threads\n\
             repetitions               {}\n\
             decoder's training step, on an embedding of {c} x {h} x {w}: forward, backward, AdamW\n\
             one object                {}\n\
             {} objects                 {}\n\
             peak memory               {}\n",
            times.device,
            times.threads,
            times.repeats,
            times.one_object_ms.text(),
            times.objects,
            times.objects_ms.text(),
            memory_text(times.peak_memory_mb),
        )
    })
}

/// SAM's prompt encoder and mask decoder behind an image encoder that is as small as can be, for it is not run.
fn model() -> SamConfig {
    let encoder = VitConfig {
        patch_size: 16,
        embed_dim: 32,
        depth: 1,
        num_heads: 1,
        mlp_ratio: 1.0,
        window_size: 14,
        global_attn_indexes: vec![],
    };
    SamConfig {
        encoder: EncoderConfig::Vit(encoder),
        ..SamConfig::vit_b()
    }
}

fn steps(objects: usize, repeats: usize, session: &Session) -> Result<Spread> {
    let sizes = model();
    let mut config = TrainConfig {
        objects_per_image: objects,
        model: ModelSpec::Custom(Box::new(sizes.clone())),
        ..TrainConfig::default()
    };
    // One click each.
    (config.prompts.clicks, config.prompts.bounding_box) = (0.0, 0.0);
    config.prompts.box_and_clicks = 0.0;
    let side = sizes.image_size;
    (config.generator.size.height, config.generator.size.width) = (side, side);

    let device = session.device()?.device;
    let sam = initialise(Sam::new(&sizes, &device), config.seed);
    let learner = Learner::new(sam, sizes.clone(), Mode::Decoder, config.loss, &device);
    let mut optimizer = AdamW::new(config.optimizer);
    let lr = config.schedule.peak;
    let maker = BatchMaker::new(config, sizes);
    let batch = (0..100)
        .map(|step| maker.batch(step))
        .find(|batch| batch.objects() == objects)
        .context("no sample has enough structures")?;
    let embedding = learner.encode(&batch);
    let mut learner = Some(learner);
    spread(repeats, || {
        let mut trained = learner.take().context("the step before failed")?;
        let output = trained.answer(&embedding, &batch);
        let gradients = trained.gradients(&output);
        let norm = gradients.global_norm();
        trained.sam = optimizer.step(trained.sam, gradients, norm, lr);
        let _ = output.loss.into_scalar::<f32>();
        learner = Some(trained);
        Ok(())
    })
}
