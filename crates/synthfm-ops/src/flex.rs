//! The operations on the CPU: tensors as slices, for the kernels.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::fused::{map_to_tokens, tokens_to_map};
use super::gradients::SamGradients;
use super::{
    MaskLossWeights, PlainWindows, SamOps, Sampling, finer_head, mask_scores, select_rows,
};
use crate::kernels::{
    self, Activation, Arithmetic, Bias, Conv, ConvShape, Depthwise, ImageKeys, ImageToTokens, Isa,
    Kernel, Layout, Linear, MaskHead, Placement, SelfAttention, SharedAttention, TokensToImage,
    WindowAttention,
};

/// The values of a CPU tensor; the modules of this crate compute in `f32`.
pub(super) fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}

/// The memory of a contiguous tensor, if it has all of it to itself.
fn own(tensor: &mut FloatTensor<Flex>) -> Option<&mut [f32]> {
    let count = tensor.shape().num_elements();
    if !tensor.is_unique() {
        return None;
    }
    let storage = tensor.storage_mut::<f32>();
    (storage.len() == count).then_some(storage)
}

pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

pub(super) fn shaped(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

/// The shape of a convolution, and where its result goes.
pub(super) fn conv_shape(x: &Shape, weight: &Shape, sampling: Sampling) -> (ConvShape, Placement) {
    let ([batch, height, width, input], [side, _, _, output]) = (x.dims(), weight.dims());
    let shape = ConvShape {
        batch,
        height,
        width,
        input,
        output,
        side,
        stride: 1,
    };
    match sampling {
        Sampling::Same => (shape, Placement::Pixels),
        Sampling::Patches => (
            ConvShape {
                stride: side,
                ..shape
            },
            Placement::Pixels,
        ),
        Sampling::Spread => (shape, Placement::Spread),
    }
}

/// The result of a convolution as a tensor.
pub(super) fn placed(out: Vec<f32>, shape: ConvShape, placement: Placement) -> FloatTensor<Flex> {
    let [rows, columns] = shape.grid();
    match placement {
        Placement::Pixels => tensor(out, [shape.batch, rows, columns, shape.output]),
        Placement::Spread => {
            let output = shape.output / 4;
            tensor(out, [shape.batch, 2 * rows, 2 * columns, output])
        }
    }
}

fn run_conv(
    [x, weight, bias]: [FloatTensor<Flex>; 3],
    (shape, placement): (ConvShape, Placement),
    activation: Activation,
    residual: Option<&[f32]>,
    arithmetic: Arithmetic,
) -> FloatTensor<Flex> {
    let [x, weight, bias] = [x, weight, bias].map(|t| t.to_contiguous());
    let conv = Conv {
        shape,
        x: values(&x),
        cut: None,
        weight: Kernel::Plain(values(&weight)),
        bias: values(&bias),
        activation,
        residual,
        placement,
    };
    placed(conv.run(Isa::best(), arithmetic), shape, placement)
}

/// Whether fewer products with the map are left when its projection is folded into the tokens.
const fn folding_pays(tokens: usize, heads: usize, inner: usize) -> bool {
    tokens * heads <= inner
}

pub(super) fn image_keys<'a>(
    map: &'a FloatTensor<Flex>,
    position: &'a FloatTensor<Flex>,
) -> ImageKeys<'a> {
    ImageKeys {
        map: values(map),
        position: values(position),
        channels: map.shape()[2],
    }
}

fn run_linear(
    [x, weight, bias]: [FloatTensor<Flex>; 3],
    activation: Activation,
    residual: Option<&[f32]>,
    arithmetic: Arithmetic,
) -> FloatTensor<Flex> {
    let (x, weight, bias) = (
        x.to_contiguous(),
        weight.to_contiguous(),
        bias.to_contiguous(),
    );
    let ([m, k], [_, n]) = (x.shape().dims(), weight.shape().dims());
    let linear = Linear {
        x: values(&x),
        offset: None,
        weight: values(&weight),
        bias: values(&bias),
        activation,
        residual,
        size: [m, k, n],
    };
    tensor(linear.run(Isa::best(), arithmetic), [m, n])
}

#[derive(Debug, Clone, Copy)]
struct AttentionShape {
    window: [usize; 2],
    head_dim: usize,
    layout: Layout,
}

fn run_attention(
    qkv: &FloatTensor<Flex>,
    padding: &FloatTensor<Flex>,
    bias: Bias<'_>,
    shape: AttentionShape,
    arithmetic: Arithmetic,
) -> FloatTensor<Flex> {
    let (qkv, padding) = (qkv.to_contiguous(), padding.to_contiguous());
    let [batch, height, width, channels] = qkv.shape().dims();
    let AttentionShape {
        window,
        head_dim,
        layout,
    } = shape;
    let attention = WindowAttention {
        qkv: values(&qkv),
        padding: values(&padding),
        bias,
        map: [batch, height, width],
        window,
        heads: channels / (3 * head_dim),
        head_dim,
        layout,
        pooled: None,
    };
    let out = attention.run(Isa::best(), arithmetic);
    tensor(out, [batch, height, width, channels / 3])
}

/// See [`SamOps::plain_attention`].
fn run_plain_attention(
    qkv: &FloatTensor<Flex>,
    padding: &FloatTensor<Flex>,
    windows: PlainWindows,
    arithmetic: Arithmetic,
) -> FloatTensor<Flex> {
    let (qkv, padding) = (qkv.to_contiguous(), padding.to_contiguous());
    let [batch, height, width, channels] = qkv.shape().dims();
    let PlainWindows {
        window,
        heads,
        pooled,
    } = windows;
    let map = [batch, height, width];
    let queries = pooled.then(|| kernels::pooled_queries(values(&qkv), map));
    let attention = WindowAttention {
        qkv: values(&qkv),
        padding: values(&padding),
        bias: Bias::None,
        map,
        window,
        heads,
        head_dim: channels / (3 * heads),
        layout: Layout::PartThenHead,
        pooled: queries.as_deref(),
    };
    let out = attention.run(Isa::best(), arithmetic);
    let stride = if pooled { 2 } else { 1 };
    tensor(out, [batch, height / stride, width / stride, channels / 3])
}

/// Attention among the tokens of `[B, n, 3·C]`.
pub(super) fn self_attention(qkv: &FloatTensor<Flex>, heads: usize) -> SelfAttention<'_> {
    let [images, tokens, channels] = qkv.shape().dims();
    SelfAttention {
        qkv: values(qkv),
        images,
        tokens,
        heads,
        head_dim: channels / 3 / heads,
    }
}

impl SamOps for Flex {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sampling: Sampling,
        relu: bool,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let activation = if relu {
            Activation::Relu
        } else {
            Activation::None
        };
        let geometry = conv_shape(&x.shape(), &weight.shape(), sampling);
        run_conv([x, weight, bias], geometry, activation, None, arithmetic)
    }

    fn conv_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let geometry = conv_shape(&x.shape(), &weight.shape(), sampling);
        let (residual, none) = (residual.to_contiguous(), Activation::None);
        run_conv(
            [x, weight, bias],
            geometry,
            none,
            Some(values(&residual)),
            arithmetic,
        )
    }

    fn strided_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (shape, placement) = conv_shape(&x.shape(), &weight.shape(), Sampling::Same);
        let geometry = (ConvShape { stride, ..shape }, placement);
        run_conv(
            [x, weight, bias],
            geometry,
            activation,
            None,
            Arithmetic::F32,
        )
    }

    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(|t| t.to_contiguous());
        let shape @ [batch, height, width, channels] = x.shape().dims();
        let conv = Depthwise {
            x: values(&x),
            weight: values(&weight),
            bias: values(&bias),
            shape,
            side: weight.shape()[0],
            stride,
            activation,
        };
        let [rows, columns] = [height, width].map(|n| n.div_ceil(stride));
        tensor(conv.run(Isa::best()), [batch, rows, columns, channels])
    }

    fn transposed_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::affine_param_grad(a, b, None, Arithmetic::F32).0
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (mut x, gamma, beta) = (
            x.to_contiguous(),
            gamma.to_contiguous(),
            beta.to_contiguous(),
        );
        if let Some(own) = own(&mut x) {
            let (gamma, beta) = (values(&gamma), values(&beta));
            kernels::layer_norm_in_place(Isa::best(), own, gamma, beta, epsilon as f32);
            return x;
        }
        let out = kernels::layer_norm(
            Isa::best(),
            values(&x),
            values(&gamma),
            values(&beta),
            epsilon as f32,
        );
        tensor::<2>(out, x.shape().dims())
    }

    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        run_linear([x, weight, bias], activation, None, arithmetic)
    }

    fn affine_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let residual = residual.to_contiguous();
        run_linear(
            [x, weight, bias],
            Activation::None,
            Some(values(&residual)),
            arithmetic,
        )
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let (rows, columns) = (rows.to_contiguous(), columns.to_contiguous());
        let side = |table: &FloatTensor<Self>| table.shape()[0].div_ceil(2);
        let shape = AttentionShape {
            window: [side(&rows), side(&columns)],
            head_dim: rows.shape()[1],
            layout: Layout::PartThenHead,
        };
        let bias = Bias::Relative {
            rows: values(&rows),
            columns: values(&columns),
        };
        run_attention(&qkv, &padding, bias, shape, arithmetic)
    }

    fn table_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        table: FloatTensor<Self>,
        window: [usize; 2],
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let table = table.to_contiguous();
        let shape = AttentionShape {
            window,
            head_dim: qkv.shape()[3] / (3 * table.shape()[0]),
            layout: Layout::HeadThenPart,
        };
        run_attention(
            &qkv,
            &padding,
            Bias::Table(values(&table)),
            shape,
            arithmetic,
        )
    }

    fn plain_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        windows: PlainWindows,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        run_plain_attention(&qkv, &padding, windows, arithmetic)
    }

    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let qkv = qkv.to_contiguous();
        let [images, tokens, channels] = qkv.shape().dims();
        let out = self_attention(&qkv, heads).run(Isa::best(), arithmetic);
        tensor(out, [images, tokens, channels / 3])
    }

    fn tokens_to_image(
        query: FloatTensor<Self>,
        map: FloatTensor<Self>,
        position: FloatTensor<Self>,
        key_weight: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        value_weight: FloatTensor<Self>,
        value_bias: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let [_, tokens, inner] = query.shape().dims();
        if !folding_pays(tokens, heads, inner) {
            let shape = query.shape();
            let inputs = [
                query,
                map,
                position,
                key_weight,
                key_bias,
                value_weight,
                value_bias,
            ];
            let inputs = inputs.map(|t| t.to_contiguous());
            let (out, _) = tokens_to_map(&inputs, heads).forward(Isa::best(), arithmetic);
            return shaped(out, shape);
        }
        let shape = query.shape();
        let [query, map, position] = [query, map, position].map(|t| t.to_contiguous());
        let [key_weight, value_weight, value_bias] =
            [key_weight, value_weight, value_bias].map(|t| t.to_contiguous());
        let attention = TokensToImage {
            query: values(&query),
            image: image_keys(&map, &position),
            key_weight: values(&key_weight),
            value_weight: values(&value_weight),
            value_bias: values(&value_bias),
            heads,
        };
        tensor::<3>(attention.run(Isa::best(), arithmetic), shape.dims())
    }

    fn tokens_to_projected(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let shape = query.shape();
        let [query, key, value] = [query, key, value].map(|t| t.to_contiguous());
        let attention = SharedAttention {
            query: values(&query),
            key: values(&key),
            value: values(&value),
            inner: shape[2],
            heads,
        };
        tensor::<3>(attention.run(Isa::best()), shape.dims())
    }

    fn image_to_tokens(
        map: FloatTensor<Self>,
        position: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        query_weight: FloatTensor<Self>,
        query_bias: FloatTensor<Self>,
        out_weight: FloatTensor<Self>,
        out_bias: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let [objects, tokens, inner] = key.shape().dims();
        if !folding_pays(tokens, heads, inner) {
            let [_, n, channels] = map.shape().dims();
            let inputs = [
                map,
                position,
                key,
                value,
                query_weight,
                query_bias,
                out_weight,
                out_bias,
            ];
            let inputs = inputs.map(|t| t.to_contiguous());
            let (out, _) = map_to_tokens(&inputs, heads).forward(Isa::best(), arithmetic);
            return tensor(out, [objects, n, channels]);
        }
        let [_, n, channels] = map.shape().dims();
        let [map, position, key, value] = [map, position, key, value].map(|t| t.to_contiguous());
        let [query_weight, query_bias, out_weight, out_bias] =
            [query_weight, query_bias, out_weight, out_bias].map(|t| t.to_contiguous());
        let attention = ImageToTokens {
            image: image_keys(&map, &position),
            key: values(&key),
            value: values(&value),
            query_weight: values(&query_weight),
            query_bias: values(&query_bias),
            out_weight: values(&out_weight),
            out_bias: values(&out_bias),
            objects,
            heads,
        };
        tensor(
            attention.run(Isa::best(), arithmetic),
            [objects, n, channels],
        )
    }

    fn mask_head(
        map: FloatTensor<Self>,
        first_weight: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        second_weight: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        tokens: FloatTensor<Self>,
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let ([objects, n, _], [_, masks, _]) = (map.shape().dims(), tokens.shape().dims());
        let [map, tokens, gamma, beta] = [map, tokens, gamma, beta].map(|t| t.to_contiguous());
        let [first_weight, first_bias, second_weight, second_bias] =
            [first_weight, first_bias, second_weight, second_bias].map(|t| t.to_contiguous());
        let head = MaskHead {
            map: values(&map),
            first: [values(&first_weight), values(&first_bias)],
            norm: [values(&gamma), values(&beta)],
            epsilon: epsilon as f32,
            second: [values(&second_weight), values(&second_bias)],
            masks: values(&tokens),
            size: [objects, n, masks],
        };
        tensor(head.run(Isa::best(), arithmetic), [objects, masks, 16 * n])
    }

    fn finer_head(
        map: FloatTensor<Self>,
        first_weight: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        half: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        second_weight: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        quarter: FloatTensor<Self>,
        added: FloatTensor<Self>,
        tokens: FloatTensor<Self>,
        image_of_object: Vec<usize>,
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let inputs = [
            map,
            first_weight,
            first_bias,
            half,
            gamma,
            beta,
            second_weight,
            second_bias,
            quarter,
            added,
            tokens,
        ];
        finer_head::run(inputs, &image_of_object, epsilon, arithmetic)
    }

    fn mask_scores(
        logits: FloatTensor<Self>,
        target: FloatTensor<Self>,
        weights: MaskLossWeights,
    ) -> FloatTensor<Self> {
        mask_scores::run([logits, target], weights)
    }

    fn select_rows(x: FloatTensor<Self>, of: Vec<usize>) -> FloatTensor<Self> {
        select_rows::run(&x, &of)
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let mut x = x.to_contiguous();
        if let Some(values) = own(&mut x) {
            kernels::gelu(Isa::best(), values);
            return x;
        }
        let mut out = values(&x).to_vec();
        kernels::gelu(Isa::best(), &mut out);
        FloatTensor::<Self>::from_data(TensorData::new(out, x.shape()))
    }

    fn exact_gelu_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        FloatTensor::<Self>::from_data(TensorData::new(
            kernels::gelu_grad(Isa::best(), values(&x), values(&grad)),
            x.shape(),
        ))
    }
}
