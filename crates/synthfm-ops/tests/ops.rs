//! The hand-written CPU operations against the tensor library's own, values and gradients.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation, module};
use synthfm_ops::{self as ops, Activation, Arithmetic, Sampling};

/// Values in [-2, 2) that look random and are the same on every machine.
fn noise<const D: usize>(shape: [usize; D], salt: u32, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let value = |i: usize| {
        let mut x = (i as u32).wrapping_mul(0x9E37_79B9) ^ salt.wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 15)).wrapping_mul(0x2C1B_3C6D);
        x ^= x >> 12;
        (x as f32 / u32::MAX as f32) * 4.0 - 2.0
    };
    Tensor::from_data(
        TensorData::new((0..count).map(value).collect::<Vec<f32>>(), shape),
        device,
    )
}

/// Largest difference relative to the largest value of `expected`.
fn error<const D: usize>(got: Tensor<D>, expected: Tensor<D>) -> f32 {
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let worst: f32 = (got - expected).abs().max().into_scalar();
    worst / largest
}

#[test]
fn convolution_equals_the_librarys() {
    let device = Device::flex().autodiff();
    for (side, relu) in [(1, false), (3, false), (3, true), (5, true)] {
        // Odd, non-square, more rows than one tile of the kernel.
        let (b, h, w, c, o) = (2, 41, 23, 5, 7);
        let leaf = |shape: [usize; 4], salt| noise(shape, salt, &device).require_grad();
        let (x, weight) = (leaf([b, h, w, c], 1), leaf([side, side, c, o], 2));
        let bias = noise([o], 3, &device).require_grad();
        let mix = noise([b, h, w, o], 4, &device);

        let ours = ops::conv(
            x.clone(),
            (weight.clone(), bias.clone()),
            Sampling::Same,
            relu,
            Arithmetic::F32,
        );
        let options = ConvOptions::new([1, 1], [side / 2, side / 2], [1, 1], 1);
        let (nchw, oihw) = (
            x.clone().permute([0, 3, 1, 2]),
            weight.clone().permute([3, 2, 0, 1]),
        );
        let theirs = module::conv2d(nchw, oihw, Some(bias.clone()), options).permute([0, 2, 3, 1]);
        let theirs = if relu {
            activation::relu(theirs)
        } else {
            theirs
        };

        assert!(
            error(ours.clone().inner(), theirs.clone().inner()) < 1e-5,
            "side {side}, relu {relu}"
        );
        let (a, e) = (
            (ours * mix.clone()).sum().backward(),
            (theirs * mix).sum().backward(),
        );
        assert!(
            error(x.grad(&a).unwrap(), x.grad(&e).unwrap()) < 1e-5,
            "by input, side {side}"
        );
        assert!(
            error(weight.grad(&a).unwrap(), weight.grad(&e).unwrap()) < 1e-5,
            "by weight, side {side}"
        );
        assert!(
            error(bias.grad(&a).unwrap(), bias.grad(&e).unwrap()) < 1e-5,
            "by bias, side {side}"
        );
    }
}

#[test]
fn attention_among_tokens_equals_that_of_the_library() {
    let device = Device::flex().autodiff();
    // More tokens than one block of queries, and no whole number of them.
    for (b, n, heads, d) in [(2, 70, 3, 8), (1, 12, 2, 5)] {
        let c = heads * d;
        let qkv = noise([b, n, 3 * c], 1, &device).require_grad();
        let mix = noise([b, n, c], 2, &device);
        let ours = ops::self_attention(qkv.clone(), heads, Arithmetic::F32);
        let parts = qkv.clone().reshape([b, n, 3, heads, d]);
        let parts = parts.permute([2, 0, 3, 1, 4]);
        let part = |i: usize| parts.clone().narrow(0, i, 1).reshape([b, heads, n, d]);
        let scores = part(0).matmul(part(1).swap_dims(2, 3)) / (d as f32).sqrt();
        let theirs = activation::softmax(scores, 3).matmul(part(2));
        let theirs = theirs.swap_dims(1, 2).reshape([b, n, c]);
        let off = error(ours.clone().inner(), theirs.clone().inner());
        assert!(off < 1e-5, "{n} tokens: {off}");
        let (a, e) = (
            (ours * mix.clone()).sum().backward(),
            (theirs * mix).sum().backward(),
        );
        let off = error(qkv.grad(&a).unwrap(), qkv.grad(&e).unwrap());
        assert!(off < 1e-5, "gradient, {n} tokens: {off}");
    }
}

/// `[B, H, W, C]` -> `[B, H/2, W/2, 4·C]`, and back.
fn to_depth(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let x = x.reshape([b, h / 2, 2, w / 2, 2, c]);
    x.permute([0, 1, 3, 2, 4, 5])
        .reshape([b, h / 2, w / 2, 4 * c])
}

fn to_space(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let x = x.reshape([b, h, w, 2, 2, c / 4]);
    x.permute([0, 1, 3, 2, 4, 5])
        .reshape([b, 2 * h, 2 * w, c / 4])
}

#[test]
fn convolutions_that_change_the_resolution_equal_products_and_permutations() {
    let device = Device::flex().autodiff();
    // Odd, non-square grids; channels that fill no vector, and that fill one.
    for (c, o) in [(5, 7), (16, 32)] {
        for sampling in [Sampling::Same, Sampling::Patches, Sampling::Spread] {
            for with_residual in [false, true] {
                let (b, h, w) = (2, 6, 10);
                let leaf = |shape: [usize; 4], salt| noise(shape, salt, &device).require_grad();
                let ([weight, out], columns) = match sampling {
                    Sampling::Same => ([[1, 1, c, o], [b, h, w, o]], o),
                    Sampling::Patches => ([[2, 2, c, o], [b, h / 2, w / 2, o]], o),
                    Sampling::Spread => ([[1, 1, c, 4 * o], [b, 2 * h, 2 * w, o]], 4 * o),
                };
                let (x, weight, residual) = (leaf([b, h, w, c], 1), leaf(weight, 2), leaf(out, 5));
                let bias = noise([columns], 3, &device).require_grad();
                let mix = noise(out, 4, &device);
                let parts = (weight.clone(), bias.clone());
                let single = Arithmetic::F32;
                let ours = if with_residual {
                    ops::conv_residual(x.clone(), parts, residual.clone(), sampling, single)
                } else {
                    ops::conv(x.clone(), parts, sampling, true, single)
                };
                let pixels = match sampling {
                    Sampling::Patches => to_depth(x.clone()),
                    Sampling::Same | Sampling::Spread => x.clone(),
                };
                let k = weight.dims().iter().product::<usize>() / columns;
                let products = pixels.matmul(weight.clone().reshape([1, 1, k, columns]));
                let theirs = products + bias.clone().reshape([1, 1, 1, columns]);
                let theirs = match sampling {
                    Sampling::Spread => to_space(theirs),
                    Sampling::Same | Sampling::Patches => theirs,
                };
                let theirs = if with_residual {
                    theirs + residual.clone()
                } else {
                    activation::relu(theirs)
                };
                let what = format!("{sampling:?}, {c} to {o}, residual {with_residual}");
                let off = error(ours.clone().inner(), theirs.clone().inner());
                assert!(off < 1e-5, "{what}: {off}");
                let (a, e) = (
                    (ours * mix.clone()).sum().backward(),
                    (theirs * mix).sum().backward(),
                );
                for (name, leaf) in [("input", &x), ("weight", &weight), ("residual", &residual)] {
                    let (Some(got), Some(expected)) = (leaf.grad(&a), leaf.grad(&e)) else {
                        assert!(name == "residual" && !with_residual, "{what}: {name}");
                        continue;
                    };
                    assert!(error(got, expected) < 1e-5, "by {name}, {what}");
                }
                let off = error(bias.grad(&a).unwrap(), bias.grad(&e).unwrap());
                assert!(off < 1e-5, "by bias, {what}: {off}");
            }
        }
    }
}

#[test]
fn layer_norm_equals_its_formula() {
    let device = Device::flex().autodiff();
    for channels in [1, 5, 33] {
        let x = noise([3, 50, channels], 5, &device).require_grad();
        let gamma = noise([channels], 6, &device).require_grad();
        let beta = noise([channels], 7, &device).require_grad();
        let mix = noise([3, 50, channels], 8, &device);
        let ours = ops::layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-3);
        let centred = x.clone() - x.clone().mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let theirs = centred / (variance + 1e-3).sqrt() * gamma.clone().reshape([1, 1, channels])
            + beta.clone().reshape([1, 1, channels]);
        assert!(error(ours.clone().inner(), theirs.clone().inner()) < 1e-5);
        let (a, e) = (
            (ours * mix.clone()).sum().backward(),
            (theirs * mix).sum().backward(),
        );
        if channels > 1 {
            assert!(error(x.grad(&a).unwrap(), x.grad(&e).unwrap()) < 1e-5);
            assert!(error(gamma.grad(&a).unwrap(), gamma.grad(&e).unwrap()) < 1e-5);
        }
        assert!(error(beta.grad(&a).unwrap(), beta.grad(&e).unwrap()) < 1e-5);
    }
}

#[test]
#[expect(clippy::excessive_precision, reason = "the oracle's digits")]
fn gelu_is_the_exact_one() {
    let device = Device::flex().autodiff();
    let x = Tensor::<1>::from_floats([-9.0, -3.0, -1.0, -0.1, 0.0, 0.5, 1.0, 4.0], &device)
        .require_grad();
    let y = ops::gelu(x.clone());
    // scipy.stats.norm: x·cdf(x), and cdf(x) + x·pdf(x)
    let expected = [
        -1.015_729e-18,
        -0.004_049_694,
        -0.158_655_25,
        -0.046_017_22,
        0.0,
        0.345_731_23,
        0.841_344_75,
        3.999_873_3,
    ];
    let slopes = [
        0.0,
        -0.011_945_647,
        -0.083_315_47,
        0.420_476_9,
        0.5,
        0.867_495_14,
        1.083_315_5,
        1.000_503_6,
    ];
    let gradient = x.grad(&y.clone().sum().backward()).unwrap();
    for (got, expected) in [(y.inner(), expected), (gradient, slopes)] {
        let got: Vec<f32> = got.into_data().try_into_vec().unwrap();
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 2e-6, "{g}, expected {e}");
        }
    }
}

/// What a kernel gives and what its composed body gives, which is what a device with gradients computes.
fn both<const D: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    run: impl Fn([Tensor<D>; N]) -> Tensor<D>,
) -> [Tensor<D>; 2] {
    let device = Device::flex().autodiff();
    let composed = run(inputs
        .clone()
        .map(|x| Tensor::from_data(x.into_data(), &device).require_grad()));
    [run(inputs), composed.inner()]
}

/// Half the distance between two values whose difference gives a slope.
const STEP: f32 = 1e-2;

/// The gradient of the composed body, along a direction, against differences of the kernel's values.
fn assert_slope<const N: usize>(
    inputs: &[Tensor<2>; N],
    run: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    let device = Device::flex().autodiff();
    let leaves = inputs
        .clone()
        .map(|x| Tensor::from_data(x.into_data(), &device).require_grad());
    let out = run(leaves.clone());
    let mix = noise(out.dims(), 90, &device);
    let gradients = (out * mix.clone()).sum().backward();
    let directions: Vec<Tensor<2>> = (0..N)
        .map(|i| noise(inputs[i].dims(), 91 + i as u32, &Device::flex()))
        .collect();
    let expected: f32 = (0..N)
        .map(|i| {
            // What the result does not depend on has none.
            let along = |gradient: Tensor<2>| (gradient * directions[i].clone()).sum();
            leaves[i]
                .grad(&gradients)
                .map_or(0.0, |g| along(g).into_scalar::<f32>())
        })
        .sum();
    let at = |sign: f32| {
        let mut i = 0;
        let moved = inputs.clone().map(|x| {
            i += 1;
            x + directions[i - 1].clone() * (sign * STEP)
        });
        (run(moved) * mix.clone().inner())
            .sum()
            .into_scalar::<f32>()
    };
    let slope = (at(1.0) - at(-1.0)) / (2.0 * STEP);
    assert!(
        (slope - expected).abs() < 5e-3 * expected.abs().max(1.0),
        "{slope}, expected {expected}"
    );
}

#[test]
fn linear_layers_equal_their_composed_bodies() {
    let device = Device::flex();
    for [m, k, n] in [[3, 5, 3], [40, 19, 51]] {
        let inputs = [
            noise([m, k], 10, &device),
            noise([k, n], 11, &device),
            noise([1, n], 12, &device),
            noise([m, n], 13, &device),
        ];
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            let run = |[x, weight, bias, _]: [Tensor<2>; 4]| {
                ops::linear(
                    x,
                    weight,
                    bias.squeeze_dim::<1>(0),
                    activation,
                    Arithmetic::F32,
                )
            };
            let [got, expected] = both(inputs.clone(), run);
            assert!(error(got, expected) < 1e-5, "{m} {k} {n} {activation:?}");
        }
        let run = |[x, weight, bias, residual]: [Tensor<2>; 4]| {
            ops::linear_residual(
                x,
                weight,
                bias.squeeze_dim::<1>(0),
                residual,
                Arithmetic::F32,
            )
        };
        let [got, expected] = both(inputs.clone(), run);
        assert!(error(got, expected) < 1e-5, "{m} {k} {n} with a residual");
        assert_slope(&inputs, run);
    }
}

#[test]
fn convolutions_without_own_gradients_equal_their_composed_bodies() {
    let device = Device::flex();
    for (side, stride) in [(1, 2), (3, 1), (3, 2), (5, 2)] {
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            // More rows than one tile of the kernel, fewer channels than a vector.
            let shape = [2, 41, 23, 5];
            let inputs = [
                noise(shape, 20, &device),
                noise([side, side, 5, 7], 21, &device),
                noise([1, 1, 1, 7], 22, &device),
            ];
            let run = |[x, weight, bias]: [Tensor<4>; 3]| {
                ops::strided_conv(x, (weight, bias.reshape([7])), stride, activation)
            };
            let [got, expected] = both(inputs.clone(), run);
            assert_eq!(
                got.dims(),
                [2, 41_usize.div_ceil(stride), 23_usize.div_ceil(stride), 7]
            );
            assert!(
                error(got, expected) < 1e-5,
                "{side} {stride} {activation:?}"
            );

            let inputs = [
                noise(shape, 23, &device),
                noise([side, side, 1, 5], 24, &device),
                noise([1, 1, 1, 5], 25, &device),
            ];
            let run = |[x, weight, bias]: [Tensor<4>; 3]| {
                let weight = weight.reshape([side, side, 5]);
                ops::depthwise(x, (weight, bias.reshape([5])), stride, activation)
            };
            let [got, expected] = both(inputs.clone(), run);
            assert!(
                error(got, expected) < 1e-5,
                "{side} {stride} {activation:?}, depthwise"
            );
        }
    }
}

#[test]
fn window_attention_equals_its_composed_body() {
    let device = Device::flex();
    // Two images of 5 × 7 tokens, 2 heads of 3 channels; windows that fill the map, do not, and exceed it.
    let ([b, h, w], heads, d) = ([2, 5, 7], 2, 3);
    let channels = 3 * heads * d;
    let qkv = noise([b * h * w, channels], 20, &device);
    let padding = noise([1, channels], 21, &device);
    for [wh, ww] in [[5, 7], [2, 3], [6, 4]] {
        let map = |qkv: Tensor<2>| qkv.reshape([b, h, w, channels]);
        let out = |out: Tensor<4>| out.reshape([b * h * w, heads * d]);
        let relative = [
            qkv.clone(),
            padding.clone(),
            noise([2 * wh - 1, d], 22, &device),
            noise([2 * ww - 1, d], 23, &device),
        ];
        let run = |[qkv, padding, rows, columns]: [Tensor<2>; 4]| {
            let padding = padding.squeeze_dim::<1>(0);
            out(ops::window_attention(
                map(qkv),
                padding,
                rows,
                columns,
                Arithmetic::F32,
            ))
        };
        let [got, expected] = both(relative.clone(), run);
        assert!(error(got, expected) < 1e-5, "windows of {wh} x {ww}");
        assert_slope(&relative, run);

        let n = wh * ww;
        let tabled = [
            qkv.clone(),
            padding.clone(),
            noise([heads * n, n], 24, &device),
        ];
        let run = |[qkv, padding, table]: [Tensor<2>; 3]| {
            let (padding, table) = (padding.squeeze_dim::<1>(0), table.reshape([heads, n, n]));
            out(ops::table_attention(
                map(qkv),
                padding,
                table,
                [wh, ww],
                Arithmetic::F32,
            ))
        };
        let [got, expected] = both(tabled.clone(), run);
        assert!(
            error(got, expected) < 1e-5,
            "a table, windows of {wh} x {ww}"
        );
        assert_slope(&tabled, run);
    }
}

#[test]
fn two_way_attention_equals_its_composed_body() {
    let device = Device::flex();
    // 2 objects of 3 tokens on 11 pixels: few enough tokens for the folded kernel, and too many for it.
    for (tokens, maps) in [(3, 2), (3, 1), (9, 2)] {
        let (objects, n, c, inner, heads) = (2, 11, 8, 6, 2);
        let tensors =
            |x: Tensor<2>, count: usize, rows: usize, width: usize| x.reshape([count, rows, width]);
        let inputs = [
            noise([objects * tokens, inner], 40, &device),
            noise([objects * tokens, inner], 41, &device),
            noise([maps * n, c], 42, &device),
            noise([n, c], 43, &device),
            noise([c, inner], 44, &device),
            noise([1, inner], 45, &device),
            noise([c, inner], 46, &device),
            noise([1, inner], 47, &device),
            noise([inner, c], 48, &device),
            noise([1, c], 49, &device),
        ]
        // Small values: with large ones the softmax bends within a step.
        .map(|x| x * 0.4);
        let to_image = |[q, _, map, pe, wk, bk, wv, bv, _, _]: [Tensor<2>; 10]| {
            let image = [tensors(map, maps, n, c), tensors(pe, 1, n, c)];
            let (key, value) = ((wk, bk.squeeze_dim(0)), (wv, bv.squeeze_dim(0)));
            let query = tensors(q, objects, tokens, inner);
            ops::tokens_to_image(query, image, key, value, heads, Arithmetic::F32)
                .reshape([objects * tokens, inner])
        };
        let to_tokens = |[k, v, map, pe, wq, bq, _, _, wo, bo]: [Tensor<2>; 10]| {
            let image = [tensors(map, maps, n, c), tensors(pe, 1, n, c)];
            let key_value = [k, v].map(|x| tensors(x, objects, tokens, inner));
            let (query, out) = ((wq, bq.squeeze_dim(0)), (wo, bo.squeeze_dim(0)));
            ops::image_to_tokens(image, key_value, query, out, heads, Arithmetic::F32)
                .reshape([objects * n, c])
        };
        let [got, expected] = both(inputs.clone(), to_image);
        assert!(
            error(got, expected) < 1e-5,
            "to the image, {tokens} tokens, {maps} maps"
        );
        assert_slope(&inputs, to_image);
        let [got, expected] = both(inputs.clone(), to_tokens);
        assert!(
            error(got, expected) < 1e-5,
            "to the tokens, {tokens} tokens, {maps} maps"
        );
        assert_slope(&inputs, to_tokens);
    }
}

/// Result and gradients of an operation on seven tensors. With a position code that tracks gradients it is its composed
/// body, else it has a gradient of its own.
fn with_gradients(
    inputs: &[Tensor<3>; 7],
    composed: bool,
    run: impl Fn([Tensor<3>; 7], Tensor<3>) -> Tensor<3>,
) -> Vec<Tensor<3>> {
    let device = Device::flex().autodiff();
    let leaves = inputs
        .clone()
        .map(|x| Tensor::<3>::from_data(x.into_data(), &device).require_grad());
    let [_, n, c] = inputs[0].dims();
    let position = noise([1, n, c], 80, &device).set_require_grad(composed);
    let out = run(leaves.clone(), position);
    let mix = noise(out.dims(), 81, &device);
    let gradients = (out.clone() * mix).sum().backward();
    let by = leaves.iter().map(|x| x.grad(&gradients).unwrap());
    std::iter::once(out.inner()).chain(by).collect()
}

#[test]
fn gradients_of_two_way_attention_equal_those_of_its_composed_body() {
    let device = Device::flex();
    let (objects, c, inner, heads) = (3, 20, 24, 3);
    for (tokens, n, maps) in [(2, 7, 3), (5, 203, 1), (11, 97, 3)] {
        let inputs = [
            noise([maps, n, c], 82, &device),
            noise([objects, tokens, inner], 83, &device),
            noise([objects, tokens, inner], 84, &device),
            noise([1, c, inner], 85, &device),
            noise([1, 1, inner], 86, &device),
            noise([1, c, inner], 87, &device),
            noise([1, 1, inner], 88, &device),
        ];
        // The second tokens are added to the query, so that it has a gradient too.
        let to_image = |[map, q, more, wk, bk, wv, bv]: [Tensor<3>; 7], position: Tensor<3>| {
            let key = (wk.squeeze_dim(0), bk.flatten(0, 2));
            let value = (wv.squeeze_dim(0), bv.flatten(0, 2));
            ops::tokens_to_image(
                q + more,
                [map, position],
                key,
                value,
                heads,
                Arithmetic::F32,
            )
        };
        let to_tokens = |[map, k, v, wq, bq, wo, bo]: [Tensor<3>; 7], position: Tensor<3>| {
            let query = (wq.squeeze_dim(0), bq.flatten(0, 2));
            let bias = bo.flatten::<1>(0, 2).narrow(0, 0, c);
            let out = (wo.squeeze_dim::<2>(0).transpose(), bias);
            ops::image_to_tokens([map, position], [k, v], query, out, heads, Arithmetic::F32)
        };
        let check = |name: &str, fused: Vec<Tensor<3>>, composed: Vec<Tensor<3>>| {
            // The keys' bias shifts all scores alike: its gradient is rounding.
            let pairs = fused.into_iter().zip(composed).enumerate();
            for (i, (got, expected)) in pairs.filter(|(i, _)| name != "image" || *i != 5) {
                let error = error(got, expected);
                assert!(
                    error < 2e-5,
                    "to the {name}, {tokens} tokens, {maps} maps, {i}: {error}"
                );
            }
        };
        let [fused, composed] = [false, true].map(|c| with_gradients(&inputs, c, to_image));
        check("image", fused, composed);
        let [fused, composed] = [false, true].map(|c| with_gradients(&inputs, c, to_tokens));
        check("tokens", fused, composed);
    }
}

#[test]
fn a_mask_head_equals_its_composed_body() {
    let device = Device::flex();
    // More cells than one block of the kernel, odd; one mask and several; fewer channels than a vector.
    for (n, masks) in [(5, 1), (131, 3)] {
        let (objects, c, c1, c2) = (2, 12, 7, 5);
        let inputs = [
            noise([objects * n, c], 60, &device),
            noise([c, 4 * c1], 61, &device),
            noise([1, 4 * c1], 62, &device),
            noise([1, c1], 63, &device),
            noise([1, c1], 64, &device),
            noise([c1, 4 * c2], 65, &device),
            noise([1, 4 * c2], 66, &device),
            noise([objects * masks, c2], 67, &device),
        ];
        let run = |[map, w1, b1, gamma, beta, w2, b2, tokens]: [Tensor<2>; 8]| {
            ops::mask_head(
                map.reshape([objects, n, c]),
                (w1, b1.squeeze_dim(0)),
                (gamma.squeeze_dim(0), beta.squeeze_dim(0), 1e-6),
                (w2, b2.squeeze_dim(0)),
                tokens.reshape([objects, masks, c2]),
                Arithmetic::F32,
            )
            .reshape([objects * masks, 16 * n])
        };
        let [got, expected] = both(inputs.clone(), run);
        assert!(error(got, expected) < 1e-5, "{n} cells, {masks} masks");
        assert_slope(&inputs, run);
    }
}
