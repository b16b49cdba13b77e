//! The summary of a training run before its first step, and the estimate of its duration after some steps.

use std::fmt::Write as _;

use synthfm_train::{MemoryEstimate, ParameterGroup, Summary, TimeEstimate};

/// The groups of parameters as a table, and the memory that a step holds.
pub(super) fn table(summary: &Summary) -> String {
    let mut text = format!(
        "{:<34} {:>7} {:>12} {:>8} {:>12}\n",
        "parameters", "tensors", "numbers", "rate", "weight decay"
    );
    for ParameterGroup {
        name,
        tensors,
        parameters,
        trainable,
        lr_factor,
        weight_decay,
    } in &summary.groups
    {
        let rate = if *trainable {
            format!("{lr_factor:.3}")
        } else {
            "frozen".to_owned()
        };
        let _ = writeln!(
            text,
            "{name:<34} {tensors:>7} {parameters:>12} {rate:>8} {weight_decay:>12}"
        );
    }
    text + &memory(&summary.memory)
}

fn memory(estimate: &MemoryEstimate) -> String {
    let MemoryEstimate {
        weights,
        gradients,
        moments,
        average,
        activations,
    } = *estimate;
    let named = [
        ("weights", weights),
        ("gradients", gradients),
        ("moments", moments),
        ("average", average),
    ];
    let counted = named.iter().filter(|(_, bytes)| *bytes > 0);
    let counted: Vec<String> = counted
        .map(|(name, bytes)| format!("{name} {}", size(*bytes)))
        .collect();
    format!(
        "memory of a step: {}, activations about {} (estimated from the sizes); together {}",
        counted.join(", "),
        size(activations),
        size(estimate.total())
    )
}

fn size(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    if mb < 1000.0 {
        format!("{mb:.0} MB")
    } else {
        format!("{:.1} GB", mb / 1e3)
    }
}

/// How long the run takes, in one line.
pub(super) fn time(estimate: &TimeEstimate) -> String {
    format!(
        "{:.2} s per step over {} steps: {} per epoch, {} left, without checkpoints and validations",
        estimate.seconds_per_step,
        estimate.timed_steps,
        duration(estimate.seconds_per_epoch),
        duration(estimate.seconds_left)
    )
}

/// Two significant units at most.
fn duration(seconds: f64) -> String {
    let (minute, hour, day) = (60.0, 3600.0, 86400.0);
    if seconds < 2.0 * minute {
        format!("{seconds:.0} s")
    } else if seconds < 2.0 * hour {
        format!("{:.0} min", seconds / minute)
    } else if seconds < 2.0 * day {
        format!("{:.1} h", seconds / hour)
    } else {
        format!("{:.1} days", seconds / day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_memory_are_named() {
        let group = |name: &str, trainable, lr_factor| ParameterGroup {
            name: name.to_owned(),
            tensors: 3,
            parameters: 1200,
            trainable,
            lr_factor,
            weight_decay: 0.01,
        };
        let summary = Summary {
            groups: vec![
                group("image_encoder, stem to block 9", false, 0.0),
                group("mask_decoder", true, 1.0),
            ],
            memory: MemoryEstimate {
                weights: 2_500_000_000,
                gradients: 16_000_000,
                moments: 32_000_000,
                average: 0,
                activations: 300_000_000,
            },
        };
        let text = table(&summary);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("block 9") && lines[1].contains("frozen"));
        assert!(lines[2].contains("1200") && lines[2].contains("1.000"));
        assert_eq!(
            lines[3],
            "memory of a step: weights 2.5 GB, gradients 16 MB, moments 32 MB, activations about 300 MB (estimated \
             from the sizes); together 2.8 GB"
        );
    }

    #[test]
    fn durations_are_rounded() {
        let all = [59.7, 150.0, 9000.0, 10_000_000.0].map(duration);
        assert_eq!(all, ["60 s", "2 min", "2.5 h", "115.7 days"]);
    }
}
