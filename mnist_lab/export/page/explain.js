/** One cell: what it sees of the layer before, the weights, the sum, the activation, in numbers. */

import { cellStyle, colour, el, number } from "./dom.js";
import { mapsOf, titleOf } from "./inside.js";
import { scaleAndShift, windowOf } from "./interpreter.js";

const MOST = 3; // maps of the layer before, those that add most
const UNITS = 8;
const POINTWISE = ["relu", "tanh", "sigmoid", "silu", "gelu", "leaky_relu"];

const short = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace("-", "\u2212");

/** Numbers in coloured cells, each over the greatest of them all. */
function grid(rows, caption, limit) {
  const most = limit ?? Math.max(...rows.flat().map(Math.abs), 1e-9);
  return el(
    "table",
    { class: "grid" },
    el("caption", {}, caption),
    el(
      "tbody",
      {},
      rows.map((row) =>
        el(
          "tr",
          {},
          row.map((value) => el("td", { style: cellStyle(value / most) }, short(value))),
        ),
      ),
    ),
  );
}

/** What a layer of a member gave, as rows of one map; beyond the border lies `outside`. */
function patch(values, [, height, width], map, ys, xs, outside) {
  return ys.map((y) =>
    xs.map((x) => {
      const inside = y >= 0 && y < height && x >= 0 && x < width;
      return inside ? values[(map * height + y) * width + x] : outside;
    }),
  );
}

const sumOf = (rows) => rows.flat().reduce((a, b) => a + b, 0);

function convolution(node, source, values, [channel, row, column]) {
  const [outputs, inputs, tall, wide] = node.weight.shape;
  const first = Math.floor(channel / (outputs / node.groups)) * inputs;
  const [top, left] = node.padding;
  const ys = Array.from(
    { length: tall },
    (_, k) => row * node.stride[0] - top + k * node.dilation[0],
  );
  const xs = Array.from(
    { length: wide },
    (_, k) => column * node.stride[1] - left + k * node.dilation[1],
  );
  const parts = Array.from({ length: inputs }, (_, i) => {
    const seen = patch(values, source.shape, first + i, ys, xs, 0);
    const start = (channel * inputs + i) * tall * wide;
    const weights = seen.map((_, y) =>
      Array.from(node.weight.values.subarray(start + y * wide, start + (y + 1) * wide)),
    );
    const sum = sumOf(seen.map((line, y) => line.map((value, x) => value * weights[y][x])));
    return { map: first + i, seen, weights, sum };
  }).sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const shown = parts
    .slice(0, MOST)
    .map(({ map, seen, weights, sum }) =>
      el(
        "div",
        { class: "product" },
        el("p", {}, `${inputs > 1 ? `Map ${map + 1}` : "What it sees"} adds ${number(sum)}`),
        grid(seen, "values"),
        el("span", { "aria-label": "times" }, "\u00d7"),
        grid(weights, "weights"),
      ),
    );
  const others = parts.slice(MOST);
  return [...shown, ...total(parts, others, node.bias?.values[channel])];
}

/** The line that adds up: products, those that aren't shown, the bias. */
function total(parts, others, bias = 0) {
  const sum = (list) => list.reduce((a, part) => a + part.sum, 0);
  const rest = others.length ? `The other ${others.length} add ${number(sum(others))}. ` : "";
  const told = `${rest}Sum ${number(sum(parts))}, bias ${number(bias)}: ${number(sum(parts) + bias)}`;
  return [el("p", { class: "total" }, told)];
}

function fullyConnected(node, values, [unit, row], image, spatial) {
  const [, length] = node.weight.shape;
  const parts = Array.from({ length }, (_, i) => {
    const weight = node.weight.values[unit * length + i];
    const value = values[row * length + i];
    return { i, value, weight, sum: value * weight };
  });
  const order = [...parts].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const most = Math.abs(order[0].sum) || 1;
  const name = ({ i }) => {
    if (!spatial) return `unit ${i + 1}`;
    const [, height, width] = spatial;
    const place = `${Math.floor((i / width) % height) + 1}, ${(i % width) + 1}`;
    return spatial[0] > 1 ? `map ${Math.floor(i / height / width) + 1}: ${place}` : place;
  };
  const rows = order
    .slice(0, UNITS)
    .map((part) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, name(part)),
        el("td", {}, number(part.value)),
        el("td", {}, number(part.weight)),
        el("td", { style: cellStyle(part.sum / most) }, number(part.sum)),
      ),
    );
  const heads = [spatial ? "input (row, column)" : "input", "value", "weight", "contribution"];
  const table = el(
    "table",
    { class: "inputs" },
    el("caption", {}, "What drives it most"),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        heads.map((head) => el("th", { scope: "col" }, head)),
      ),
    ),
    el("tbody", {}, rows),
  );
  const picture = spatial && spatial[1] > 1 ? [overImage(parts, spatial, image)] : [];
  return [...picture, table, ...total(parts, order.slice(UNITS), node.bias?.values[unit])];
}

/** Contributions by where they come from, over the drawing. */
function overImage(parts, [, height, width], image) {
  const side = 112;
  const sums = new Float64Array(height * width);
  for (const { i, sum } of parts) sums[i % (height * width)] += sum;
  const most = Math.max(...Array.from(sums, Math.abs), 1e-9);
  const canvas = el("canvas", {
    width: side,
    height: side,
    role: "img",
    "aria-label": "Contributions over the image",
  });
  const data = new ImageData(side, side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = Math.floor((y * height) / side) * width + Math.floor((x * width) / side);
      const ink = image[Math.floor(y / 4) * 28 + Math.floor(x / 4)] / 255;
      const rgb = colour(sums[at] / most);
      const outline = 1 - 0.45 * ink;
      data.data.set([...rgb.map((part) => part * outline), 255], 4 * (y * side + x));
    }
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  const caption = el("figcaption", {}, "For it and against it, by place; the ink is darker");
  return el("figure", { class: "over" }, canvas, caption);
}

function pooling(node, source, values, [channel, row, column]) {
  const [top, left, bottom, right] = windowOf(node, source.shape, row, column);
  const [down, across] = node.dilation ?? [1, 1];
  const range = (from, to, step) =>
    Array.from({ length: Math.ceil((to - from) / step) }, (_, k) => from + k * step);
  const most = node.op === "max_pool2d";
  const [ys, xs] = [range(top, bottom, down), range(left, right, across)];
  if (ys.length * xs.length > 64) return [];
  return [
    grid(patch(values, source.shape, channel, ys, xs, 0), "it sees"),
    el("p", { class: "total" }, most ? "The greatest of them." : "The mean of them."),
  ];
}

/** What becomes of the value in the activations right behind it. */
function next(node, cellIndex, member) {
  const { network, found } = member;
  const after = network.nodes.find(
    (each) => POINTWISE.includes(each.op) && each.from[0] === node.name,
  );
  if (!after) return [];
  const value = found.get(after.name)[cellIndex];
  return [el("p", { class: "total" }, `${titleOf(after)} makes of it ${number(value)}`)];
}

/** The node whose maps a fully connected layer's inputs are, if they come from maps at all. */
function mapsBehind(node, network) {
  let source = network.byName.get(node.from[0]);
  while (source.op === "reshape" || POINTWISE.includes(source.op)) {
    if (source.shape.length === 3) break;
    source = network.byName.get(source.from[0]);
  }
  return source.shape.length === 3 ? source.shape : null;
}

/** The elements that explain a cell `[map, row, column]` of a node. */
export function explain(member, node, cell, image) {
  const { network, found } = member;
  const [map, row, column] = cell;
  const [, height, width] = mapsOf(node);
  const index = (map * height + row) * width + column;
  const source = network.byName.get(node.from[0]);
  const values = source && found.get(source.name);
  const body = [];
  if (node.op === "conv2d") body.push(...convolution(node, source, values, cell));
  else if (node.op === "linear") {
    const lines = node.shape.length === 1 ? [map, 0] : [column, map];
    const spatial = mapsBehind(node, network);
    body.push(...fullyConnected(node, values, lines, image, spatial));
  } else if (node.op.includes("pool") || node.op === "mean") {
    body.push(...pooling(node, source, values, cell));
  } else if (node.op === "batch_norm") {
    const [scale, shift] = scaleAndShift(node, map);
    const told = `${number(values[index])} \u00d7 ${number(scale)} + ${number(shift)}`;
    body.push(el("p", { class: "total" }, told));
  } else if (POINTWISE.includes(node.op)) {
    body.push(el("p", { class: "total" }, `${titleOf(node)} of ${number(values[index])}`));
  } else if (node.op === "add") {
    const terms = node.from.map((name) => number(found.get(name)[index])).join(" + ");
    body.push(el("p", { class: "total" }, terms));
  } else if (node.op === "input") {
    body.push(
      el(
        "p",
        { class: "total" },
        "A pixel, less the training images\u2019 mean, over their deviation.",
      ),
    );
  }
  body.push(...next(node, index, member));
  return { value: found.get(node.name)[index], body };
}
