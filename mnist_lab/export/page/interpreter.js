/**
 * Runs a network over the graph that torch.export gives of it (see graph.py): no batch axis,
 * values of one image at a time, as Float32Array in the order of their shape.
 */

/** The bytes of base64 text. */
export function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** Half to even, as torch and numpy round. */
export function rounded(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

export class Network {
  /** @param graph what graph_of gives */
  constructor(graph) {
    this.nodes = graph.nodes;
    this.output = graph.output;
    this.shown = graph.shown;
    const values = new Float32Array(bytesOf(graph.values).buffer);
    const weights = graph.weights.map(({ shape, start }) => {
      const weight = values.subarray(start, start + product(shape));
      return { shape, values: weight };
    });
    const of = (number) => (number === null || number === undefined ? null : weights[number]);
    for (const node of this.nodes) {
      node.size = product(node.shape);
      node.weight = of(node.weight);
      node.bias = of(node.bias);
      node.running_mean = of(node.running_mean);
      node.running_var = of(node.running_var);
      if (node.op === "conv2d") node.packed = packed(node);
    }
    this.byName = new Map(this.nodes.map((node) => [node.name, node]));
  }

  /** The network's input of an image of bytes: resized, scaled and normalised. */
  preprocessed(image) {
    const { rows, columns, mean, std } = this.shown;
    const side = Math.sqrt(image.length);
    const pixels = rows ? resized(image, side, rows, columns) : image;
    return Float32Array.from(pixels, (value) => (value / 255 - mean[0]) / std[0]);
  }

  /**
   * What every node gives for an image of bytes, by the nodes' names.
   * @param off by a node's name the set of channels, or units, that are to give zero
   */
  run(image, off = new Map()) {
    const found = new Map();
    for (const node of this.nodes) {
      const inputs = node.from.map((name) => ({
        values: found.get(name),
        shape: this.byName.get(name).shape,
      }));
      const values =
        node.op === "input" ? this.preprocessed(image) : OPERATIONS[node.op](node, ...inputs);
      const inner = node.size / node.shape[0];
      for (const channel of off.get(node.name) ?? []) {
        values.fill(0, channel * inner, (channel + 1) * inner);
      }
      found.set(node.name, values);
    }
    return found;
  }

  /** The logits of an image of bytes. */
  logits(image, off) {
    return this.run(image, off).get(this.output);
  }
}

/** Probabilities of logits, which are divided by a temperature. */
export function softmax(logits, temperature = 1) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp((value - most) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

function resized(image, side, rows, columns) {
  const across = rows.map((row) => {
    const line = new Float64Array(side);
    row.forEach((weight, y) => {
      if (weight) for (let x = 0; x < side; x++) line[x] += weight * image[y * side + x];
    });
    return line;
  });
  return across.flatMap((line) =>
    columns.map((column) => {
      let sum = 0;
      for (let x = 0; x < side; x++) sum += column[x] * line[x];
      return rounded(sum);
    }),
  );
}

/** A convolution's weights, four output channels side by side: they share what they read. */
function packed({ weight, groups }) {
  const [outputs, inputs, height, width] = weight.shape;
  const perGroup = outputs / groups;
  const length = inputs * height * width;
  const blocks = [];
  for (let group = 0; group < groups; group++) {
    for (let start = 0; start < perGroup; start += 4) {
      const first = group * perGroup + start;
      const count = Math.min(4, perGroup - start);
      const values = new Float64Array(4 * length);
      for (let i = 0; i < count; i++) {
        for (let k = 0; k < length; k++) {
          values[4 * k + i] = weight.values[(first + i) * length + k];
        }
      }
      blocks.push({ first, count, group, values });
    }
  }
  return blocks;
}

/** An image `(C, H, W)` with a border of a value, in double precision. */
export function padded({ values, shape }, [top, left, bottom, right], value = 0) {
  const [channels, height, width] = shape;
  const tall = height + top + bottom;
  const wide = width + left + right;
  const out = new Float64Array(channels * tall * wide).fill(value);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const start = (c * height + y) * width;
      out.set(values.subarray(start, start + width), (c * tall + y + top) * wide + left);
    }
  }
  return { values: out, shape: [channels, tall, wide] };
}

function conv2d(node, input) {
  const { stride, dilation, bias } = node;
  const [, inputs, kernelHeight, kernelWidth] = node.weight.shape;
  const [, height, width] = node.shape;
  const wide = padded(input, node.padding);
  const [, tall, across] = wide.shape;
  const pixels = wide.values;
  const out = new Float32Array(node.size);
  const area = height * width;
  for (const { first, count, group, values } of node.packed) {
    const begin = group * inputs * tall * across;
    const b = [0, 1, 2, 3].map((i) => (bias && i < count ? bias.values[first + i] : 0));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let s0 = b[0];
        let s1 = b[1];
        let s2 = b[2];
        let s3 = b[3];
        let k = 0;
        for (let c = 0; c < inputs; c++) {
          let line = begin + (c * tall + y * stride[0]) * across + x * stride[1];
          for (let ky = 0; ky < kernelHeight; ky++) {
            let at = line;
            for (let kx = 0; kx < kernelWidth; kx++) {
              const pixel = pixels[at];
              s0 += pixel * values[k];
              s1 += pixel * values[k + 1];
              s2 += pixel * values[k + 2];
              s3 += pixel * values[k + 3];
              k += 4;
              at += dilation[1];
            }
            line += dilation[0] * across;
          }
        }
        const place = first * area + y * width + x;
        out[place] = s0;
        if (count > 1) out[place + area] = s1;
        if (count > 2) out[place + 2 * area] = s2;
        if (count > 3) out[place + 3 * area] = s3;
      }
    }
  }
  return out;
}

function linear(node, { values }) {
  const [units, length] = node.weight.shape;
  const weights = node.weight.values;
  const out = new Float32Array(node.size);
  for (let row = 0; row < values.length / length; row++) {
    for (let unit = 0; unit < units; unit++) {
      let sum = node.bias ? node.bias.values[unit] : 0;
      const start = unit * length;
      for (let i = 0; i < length; i++) sum += weights[start + i] * values[row * length + i];
      out[row * units + unit] = sum;
    }
  }
  return out;
}

/** What batch normalisation multiplies a channel by, and what it adds. */
export function scaleAndShift(node, channel) {
  const deviation = Math.sqrt(node.running_var.values[channel] + node.eps);
  const scale = (node.weight ? node.weight.values[channel] : 1) / deviation;
  const shift = node.bias ? node.bias.values[channel] : 0;
  return [scale, shift - node.running_mean.values[channel] * scale];
}

function batchNorm(node, { values }) {
  const out = new Float32Array(node.size);
  const inner = node.size / node.shape[0];
  for (let channel = 0; channel < node.shape[0]; channel++) {
    const [scale, shift] = scaleAndShift(node, channel);
    for (let i = channel * inner; i < (channel + 1) * inner; i++) {
      out[i] = values[i] * scale + shift;
    }
  }
  return out;
}

/** The error function: its series where that is short, its continued fraction elsewhere. */
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = size;
    let sum = size;
    for (let n = 1; Math.abs(term) > 1e-17; n++) {
      term *= (-size * size) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / (fraction * Math.sqrt(Math.PI)));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function gelu(x, approximate) {
  if (approximate === "tanh") {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** Each value by itself. */
const each =
  (calculate) =>
  (node, { values }) => {
    const out = new Float32Array(values.length);
    for (let i = 0; i < out.length; i++) out[i] = calculate(values[i], node);
    return out;
  };

/** The cells that a pooled cell `(row, column)` is made of: `[top, left, bottom, right]`. */
export function windowOf(node, shape, row, column) {
  const [, height, width] = shape;
  if (node.op === "mean") return [0, 0, height, width];
  if (node.op === "adaptive_avg_pool2d") {
    const [, tall, wide] = node.shape;
    return [
      Math.floor((row * height) / tall),
      Math.floor((column * width) / wide),
      Math.ceil(((row + 1) * height) / tall),
      Math.ceil(((column + 1) * width) / wide),
    ];
  }
  const { kernel, stride, padding, dilation } = node;
  const top = row * stride[0] - padding[0];
  const left = column * stride[1] - padding[1];
  return [
    top,
    left,
    Math.min(top + (kernel[0] - 1) * dilation[0] + 1, height + padding[0]),
    Math.min(left + (kernel[1] - 1) * dilation[1] + 1, width + padding[1]),
  ];
}

function pooled(node, { values, shape }) {
  const [channels, height, width] = shape;
  const [, tall, wide] = node.shape.length === 3 ? node.shape : [0, 1, 1];
  const [down, right] = node.dilation ?? [1, 1];
  const most = node.op === "max_pool2d";
  const out = new Float32Array(node.size);
  for (let row = 0; row < tall; row++) {
    for (let column = 0; column < wide; column++) {
      const [top, left, bottom, end] = windowOf(node, shape, row, column);
      let count = (bottom - top) * (end - left);
      if (!node.counts_padding) {
        count =
          (Math.min(bottom, height) - Math.max(top, 0)) *
          (Math.min(end, width) - Math.max(left, 0));
      }
      for (let c = 0; c < channels; c++) {
        let sum = most ? Number.NEGATIVE_INFINITY : 0;
        for (let y = top; y < bottom; y += down) {
          if (y < 0 || y >= height) continue;
          for (let x = left; x < end; x += right) {
            if (x < 0 || x >= width) continue;
            const value = values[(c * height + y) * width + x];
            sum = most ? Math.max(sum, value) : sum + value;
          }
        }
        out[(c * tall + row) * wide + column] = most ? sum : sum / count;
      }
    }
  }
  return out;
}

function pixelUnshuffle(node, { values, shape }) {
  const factor = node.downscale_factor;
  const [channels, , across] = shape;
  const [, height, width] = node.shape;
  const out = new Float32Array(node.size);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let part = 0; part < factor * factor; part++) {
      for (let y = 0; y < height; y++) {
        const row = c * height * factor + y * factor + Math.floor(part / factor);
        for (let x = 0; x < width; x++)
          out[at++] = values[row * across + x * factor + (part % factor)];
      }
    }
  }
  return out;
}

function cat(node, ...inputs) {
  const outer = product(node.shape.slice(0, node.axis));
  const out = new Float32Array(node.size);
  let at = 0;
  for (let i = 0; i < outer; i++) {
    for (const { values } of inputs) {
      const length = values.length / outer;
      out.set(values.subarray(i * length, (i + 1) * length), at);
      at += length;
    }
  }
  return out;
}

function softmaxAlong(node, { values }) {
  const count = node.shape[node.axis];
  const inner = product(node.shape.slice(node.axis + 1));
  const out = new Float32Array(node.size);
  for (let start = 0; start < node.size; start++) {
    if (Math.floor(start / inner) % count) continue;
    const places = Array.from({ length: count }, (_, i) => start + i * inner);
    const found = softmax(places.map((place) => values[place]));
    places.forEach((place, i) => {
      out[place] = found[i];
    });
  }
  return out;
}

const OPERATIONS = {
  conv2d,
  linear,
  batch_norm: batchNorm,
  relu: each((x) => (x > 0 ? x : 0)),
  tanh: each(Math.tanh),
  sigmoid: each(sigmoid),
  silu: each((x) => x * sigmoid(x)),
  gelu: each((x, node) => gelu(x, node.approximate)),
  leaky_relu: each((x, node) => (x > 0 ? x : x * node.negative_slope)),
  max_pool2d: pooled,
  avg_pool2d: pooled,
  adaptive_avg_pool2d: pooled,
  mean: pooled,
  reshape: (_, { values }) => values.slice(),
  pixel_unshuffle: pixelUnshuffle,
  pad: (node, input) => Float32Array.from(padded(input, node.padding, node.value).values),
  add: (_, one, other) => one.values.map((value, i) => value + other.values[i]),
  cat,
  softmax: softmaxAlong,
};
