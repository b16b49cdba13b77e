//! An ONNX graph under construction: nodes in the order of computation, and the constants they use.
//!
//! Every method adds the operator of its name (ONNX operator set 17) and returns its result. Weights are
//! noted by their key and read when the file is written, so that a graph is small whatever its model.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::proto;

/// A tensor that a node makes or that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(Rc<str>);

/// A side of an input or output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// Always this.
    Fixed(usize),
    /// Chosen by the caller, under this name.
    Free(&'static str),
}

/// Where a constant's values come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// The weight of this key.
    Weight(String),
    /// The matrix of this key, transposed.
    Transposed(String),
    /// The table of this key, interpolated to another number of rows.
    Interpolated(String),
    /// These.
    Floats(Vec<f32>),
    /// These.
    Integers(Vec<i64>),
}

/// A constant of the graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) content: Content,
}

/// A setting of an operator.
enum Setting {
    Integer(i64),
    Integers(Vec<i64>),
    Real(f32),
    Text(&'static str),
}

/// Shapes of the weights, by key.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// See the module's description.
pub(super) struct Graph<'a> {
    weights: &'a Shapes,
    nodes: Vec<proto::Node>,
    constants: BTreeMap<String, Constant>,
    inputs: Vec<proto::ValueInfo>,
    outputs: Vec<proto::ValueInfo>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(weights: &'a Shapes) -> Self {
        Self {
            weights,
            nodes: Vec::new(),
            constants: BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Nodes, inputs and outputs under the graph's name, and the constants by theirs.
    pub(super) fn finish(self, name: &str) -> (proto::Graph, BTreeMap<String, Constant>) {
        let graph = proto::Graph {
            node: self.nodes,
            name: name.to_owned(),
            initializer: Vec::new(),
            input: self.inputs,
            output: self.outputs,
        };
        (graph, self.constants)
    }

    /// A tensor of 32-bit floats that the caller gives.
    pub(super) fn input(&mut self, name: &str, sides: &[Side]) -> Value {
        self.inputs.push(value_info(name, sides));
        Value(name.into())
    }

    /// Gives `value` to the caller under a name.
    pub(super) fn output(&mut self, value: &Value, name: &str, sides: &[Side]) {
        self.push("Identity", &[value], name, vec![]);
        self.outputs.push(value_info(name, sides));
    }

    // Constants

    /// A weight as the checkpoint has it.
    pub(super) fn weight(&mut self, key: &str) -> Value {
        let content = Content::Weight(key.to_owned());
        self.constant(key.to_owned(), self.shape_of(key), content)
    }

    /// A linear layer's weight, `[out, in]` in the checkpoint, as `[in, out]`.
    pub(super) fn transposed_weight(&mut self, key: &str) -> Value {
        let mut shape = self.shape_of(key);
        shape.reverse();
        let content = Content::Transposed(key.to_owned());
        self.constant(format!("{key}.transposed"), shape, content)
    }

    /// A table of relative positions with `rows` rows, whatever the checkpoint's length.
    pub(super) fn relative_positions(&mut self, key: &str, rows: usize) -> Value {
        let shape = self.shape_of(key);
        if shape[0] == rows {
            return self.weight(key);
        }
        let content = Content::Interpolated(key.to_owned());
        self.constant(format!("{key}.interpolated"), vec![rows, shape[1]], content)
    }

    /// A weight's shape in the checkpoint.
    pub(super) fn shape_of(&self, key: &str) -> Vec<usize> {
        let shape = self.weights.get(key);
        shape.expect("keys were compared with the model's").clone()
    }

    /// Values of the graph's own.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Value {
        self.constant(name.to_owned(), shape.to_vec(), Content::Floats(values))
    }

    /// One number.
    pub(super) fn scalar(&mut self, value: f32) -> Value {
        self.floats(&format!("scalar.{value}"), &[], vec![value])
    }

    /// A list of integers: a shape, axes, indices.
    pub(super) fn integers(&mut self, values: &[i64]) -> Value {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("integers.{}", text.join("_"));
        self.constant(name, vec![values.len()], Content::Integers(values.to_vec()))
    }

    /// A table of indices.
    pub(super) fn indices(&mut self, name: &str, shape: &[usize], values: Vec<i64>) -> Value {
        self.constant(name.to_owned(), shape.to_vec(), Content::Integers(values))
    }

    fn constant(&mut self, name: String, shape: Vec<usize>, content: Content) -> Value {
        let value = Value(name.as_str().into());
        let constant = Constant { shape, content };
        let before = self.constants.insert(name, constant.clone());
        assert!(
            before.is_none_or(|before| before == constant),
            "{value:?} is two constants"
        );
        value
    }

    // Operators of one result

    pub(super) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("MatMul", &[a, b], vec![])
    }

    pub(super) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], vec![])
    }

    pub(super) fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], vec![])
    }

    pub(super) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], vec![])
    }

    pub(super) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], vec![])
    }

    pub(super) fn add_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.add(x, &value)
    }

    pub(super) fn mul_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.mul(x, &value)
    }

    pub(super) fn div_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.div(x, &value)
    }

    /// An operator of one input without settings.
    pub(super) fn unary(&mut self, operator: &'static str, x: &Value) -> Value {
        self.node(operator, &[x], vec![])
    }

    pub(super) fn equal(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Equal", &[a, b], vec![])
    }

    pub(super) fn float_from(&mut self, x: &Value) -> Value {
        let to = Setting::Integer(proto::FLOAT.into());
        self.node("Cast", &[x], vec![("to", to)])
    }

    pub(super) fn integer_from(&mut self, x: &Value) -> Value {
        let to = Setting::Integer(proto::INT64.into());
        self.node("Cast", &[x], vec![("to", to)])
    }

    pub(super) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![("axis", Setting::Integer(-1))])
    }

    /// The index of the largest value along `axis`, which is left out.
    pub(super) fn argmax(&mut self, x: &Value, axis: i64) -> Value {
        let settings = vec![
            ("axis", Setting::Integer(axis)),
            ("keepdims", Setting::Integer(0)),
        ];
        self.node("ArgMax", &[x], settings)
    }

    /// The largest value, as a list of one.
    pub(super) fn largest(&mut self, x: &Value) -> Value {
        self.node("ReduceMax", &[x], vec![("keepdims", Setting::Integer(1))])
    }

    // Operators that move values

    /// Reshapes; one side may be -1, which takes what is left.
    pub(super) fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    pub(super) fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        let order = Setting::Integers(order.to_vec());
        self.node("Transpose", &[x], vec![("perm", order)])
    }

    pub(super) fn unsqueeze(&mut self, x: &Value, axis: i64) -> Value {
        let axis = self.integers(&[axis]);
        self.node("Unsqueeze", &[x, &axis], vec![])
    }

    pub(super) fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.node("Concat", parts, vec![("axis", Setting::Integer(axis))])
    }

    /// The rows of `x` that `indices` name along `axis`.
    pub(super) fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        let axis = Setting::Integer(axis);
        self.node("Gather", &[x, indices], vec![("axis", axis)])
    }

    /// Row `index` along `axis`, which is left out.
    pub(super) fn row(&mut self, x: &Value, index: i64, axis: i64) -> Value {
        let index = self.indices(&format!("index.{index}"), &[], vec![index]);
        self.gather(x, &index, axis)
    }

    /// From `starts` to before `ends` along `axes`.
    pub(super) fn slice(&mut self, x: &Value, [starts, ends]: [&Value; 2], axes: &[i64]) -> Value {
        let axes = self.integers(axes);
        self.node("Slice", &[x, starts, ends, &axes], vec![])
    }

    /// `count` rows of an axis from `start` on.
    pub(super) fn narrow(&mut self, x: &Value, axis: i64, start: i64, count: i64) -> Value {
        let (starts, ends) = (self.integers(&[start]), self.integers(&[start + count]));
        self.slice(x, [&starts, &ends], &[axis])
    }

    /// Zeros around `x`: as many as `pads` says before every axis and then behind it.
    pub(super) fn pad(&mut self, x: &Value, pads: &Value) -> Value {
        self.node("Pad", &[x, pads], vec![("mode", Setting::Text("constant"))])
    }

    /// Linear interpolation of the last two axes to `sizes`, which has all four; pixel centres lie half a
    /// pixel in, as in `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    pub(super) fn resize(&mut self, x: &Value, sizes: &Value) -> Value {
        let none = Value("".into());
        let settings = vec![
            (
                "coordinate_transformation_mode",
                Setting::Text("half_pixel"),
            ),
            ("mode", Setting::Text("linear")),
        ];
        self.node("Resize", &[x, &none, &none, sizes], settings)
    }

    // Layers

    /// Normalisation of the last axis; `layer` holds `weight` and `bias`.
    pub(super) fn layer_norm(&mut self, x: &Value, layer: &str, epsilon: f64) -> Value {
        let scale = self.weight(&format!("{layer}.weight"));
        let shift = self.weight(&format!("{layer}.bias"));
        let settings = vec![
            ("axis", Setting::Integer(-1)),
            ("epsilon", Setting::Real(epsilon as f32)),
        ];
        self.node("LayerNormalization", &[x, &scale, &shift], settings)
    }

    /// Normalisation with fixed statistics of axis 1.
    pub(super) fn batch_norm(&mut self, x: &Value, layer: &str, epsilon: f64) -> Value {
        let [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|name| self.weight(&format!("{layer}.{name}")));
        self.node(
            "BatchNormalization",
            &[x, &scale, &shift, &mean, &variance],
            vec![("epsilon", Setting::Real(epsilon as f32))],
        )
    }

    /// A convolution that `weight` and, where there is one, `bias` of `layer` describe.
    pub(super) fn conv(&mut self, x: &Value, layer: &str, form: Conv) -> Value {
        let key = format!("{layer}.weight");
        let side = self.shape_of(&key)[2] as i64;
        let mut inputs = vec![x.clone(), self.weight(&key)];
        let bias = format!("{layer}.bias");
        if self.weights.contains_key(&bias) {
            inputs.push(self.weight(&bias));
        }
        let Conv {
            stride,
            padding,
            groups,
        } = form;
        let settings = vec![
            ("kernel_shape", Setting::Integers(vec![side; 2])),
            ("strides", Setting::Integers(vec![stride; 2])),
            ("pads", Setting::Integers(vec![padding; 4])),
            ("group", Setting::Integer(groups)),
        ];
        let inputs: Vec<&Value> = inputs.iter().collect();
        self.node("Conv", &inputs, settings)
    }

    /// A transposed convolution whose stride equals its kernel.
    pub(super) fn up_conv(&mut self, x: &Value, layer: &str) -> Value {
        let key = format!("{layer}.weight");
        let side = self.shape_of(&key)[2] as i64;
        let (weight, bias) = (self.weight(&key), self.weight(&format!("{layer}.bias")));
        let settings = vec![
            ("kernel_shape", Setting::Integers(vec![side; 2])),
            ("strides", Setting::Integers(vec![side; 2])),
        ];
        self.node("ConvTranspose", &[x, &weight, &bias], settings)
    }

    fn node(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        settings: Vec<(&'static str, Setting)>,
    ) -> Value {
        let name = format!("{operator}_{}", self.nodes.len());
        self.push(operator, inputs, &name, settings)
    }

    fn push(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        output: &str,
        settings: Vec<(&'static str, Setting)>,
    ) -> Value {
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|v| v.0.to_string()).collect(),
            output: vec![output.to_owned()],
            name: format!("node.{output}"),
            op_type: operator.to_owned(),
            attribute: settings.into_iter().map(attribute).collect(),
        });
        Value(output.into())
    }
}

/// A convolution's form; the kernel's side is that of its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv {
    pub(super) stride: i64,
    pub(super) padding: i64,
    pub(super) groups: i64,
}

impl Conv {
    /// Every pixel by itself.
    pub(super) const POINTWISE: Self = Self {
        stride: 1,
        padding: 0,
        groups: 1,
    };

    /// Patches that lie side by side.
    pub(super) const fn patches(side: usize) -> Self {
        Self {
            stride: side as i64,
            ..Self::POINTWISE
        }
    }

    /// An odd kernel that keeps the grid.
    pub(super) const fn keeping(side: usize) -> Self {
        Self {
            padding: side as i64 / 2,
            ..Self::POINTWISE
        }
    }
}

fn attribute((name, setting): (&'static str, Setting)) -> proto::Attribute {
    // `AttributeProto.AttributeType`
    const FLOAT: i32 = 1;
    const INT: i32 = 2;
    const STRING: i32 = 3;
    const INTS: i32 = 7;
    let mut attribute = proto::Attribute {
        name: name.to_owned(),
        ..proto::Attribute::default()
    };
    match setting {
        Setting::Integer(value) => (attribute.kind, attribute.i) = (INT, Some(value)),
        Setting::Integers(values) => (attribute.kind, attribute.ints) = (INTS, values),
        Setting::Real(value) => (attribute.kind, attribute.f) = (FLOAT, Some(value)),
        Setting::Text(text) => {
            (attribute.kind, attribute.s) = (STRING, Some(text.as_bytes().to_vec()));
        }
    }
    attribute
}

fn value_info(name: &str, sides: &[Side]) -> proto::ValueInfo {
    let dim = sides.iter().map(|side| match *side {
        Side::Fixed(length) => proto::Dimension {
            value: Some(length as i64),
            param: None,
        },
        Side::Free(name) => proto::Dimension {
            value: None,
            param: Some(name.to_owned()),
        },
    });
    let tensor = proto::TensorType {
        elem_type: proto::FLOAT,
        shape: Some(proto::Shape { dim: dim.collect() }),
    };
    proto::ValueInfo {
        name: name.to_owned(),
        r#type: Some(proto::Type {
            tensor: Some(tensor),
        }),
    }
}
