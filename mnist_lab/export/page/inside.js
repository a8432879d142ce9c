/** Every layer's maps for what is drawn; one cell of them can be chosen. */

import { el, pixelsOfScale } from "./dom.js";

const HATCH = 0xff808080; // grey: no value has it

const NAMES = {
  input: "What it is shown",
  conv2d: "Convolution",
  linear: "Fully connected",
  batch_norm: "Batch normalisation",
  relu: "ReLU",
  tanh: "Tanh",
  sigmoid: "Sigmoid",
  silu: "SiLU",
  gelu: "GELU",
  leaky_relu: "Leaky ReLU",
  max_pool2d: "Max pooling",
  avg_pool2d: "Average pooling",
  adaptive_avg_pool2d: "Average pooling",
  mean: "Global average",
  pixel_unshuffle: "Squares of pixels as channels",
  pad: "Border",
  add: "Sum",
  cat: "Side by side",
  softmax: "Softmax",
};

/** Its name, and the size of its windows. */
export function titleOf(node) {
  const size = node.kernel ?? node.weight?.shape.slice(2) ?? [];
  return `${NAMES[node.op] ?? node.op}${size.length ? ` ${size.join("\u00d7")}` : ""}`;
}

/** Maps of a node's output: `[count, height, width]`; units are maps of one cell. */
export function mapsOf(node) {
  const [count, ...size] = node.shape;
  return size.length === 2 ? [count, ...size] : [count, 1, size[0] ?? 1];
}

function sizeOf(node, output) {
  const [count, height, width] = mapsOf(node);
  if (height * width > 1) return `${count} map${count > 1 ? "s" : ""} of ${height}\u00d7${width}`;
  return `${count} ${node === output ? "logits" : "units"}`;
}

/** The atlas of a layer: where each map lies, in cells, with a cell between maps. */
class Layer {
  constructor(node, position, output, choose) {
    this.node = node;
    this.limit = 0;
    [this.count, this.height, this.width] = mapsOf(node);
    const single = this.height * this.width === 1;
    this.gap = single ? 0 : 1;
    const many = !single && this.count > 24; // each is smaller then, and the card wider
    let scale = Math.max(2, Math.round((many ? 44 : 56) / this.width));
    if (single) scale = this.count > 200 ? 8 : 14;
    const most = Math.max(1, Math.floor((many ? 430 : 300) / ((this.width + this.gap) * scale)));
    const even = Math.ceil(this.count / Math.ceil(this.count / most));
    this.columns = Math.min(this.count, single ? Math.min(most, 28) : even);
    this.rows = Math.ceil(this.count / this.columns);
    this.canvas = el("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "maps",
      "aria-label": `${titleOf(node)}, ${sizeOf(node, output)}: arrows choose a cell`,
      width: this.columns * (this.width + this.gap) - this.gap,
      height: this.rows * (this.height + this.gap) - this.gap,
      click: (event) => this.click(event, choose),
      keydown: (event) => this.key(event, choose),
    });
    this.canvas.style.width = `${this.canvas.width * scale}px`;
    this.mark = el("span", { class: "mark", hidden: true });
    this.legend = el("span", { class: "limit" });
    this.element = el(
      "article",
      { class: "layer" },
      el("h4", {}, el("span", { class: "place" }, String(position)), titleOf(node)),
      el("p", {}, sizeOf(node, output)),
      el("div", { class: "atlas" }, this.canvas, this.mark),
      this.legend,
    );
    this.chosen = null;
  }

  click(event, choose) {
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
    const [wide, tall] = [this.width + this.gap, this.height + this.gap];
    const map = Math.floor(y / tall) * this.columns + Math.floor(x / wide);
    if (map >= this.count) return;
    const clamp = (value, most) => Math.min(value, most - 1);
    choose(this, [map, clamp(y % tall, this.height), clamp(x % wide, this.width)]);
  }

  /** From cell to cell, over the borders of maps; Page Up and Down go from map to map. */
  key(event, choose) {
    const [map, y, x] = this.chosen ?? [0, 0, 0];
    const moves = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      Enter: [0, 0],
    };
    let cell = null;
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      cell = [map, y + down, x + right];
      if (cell[2] < 0) cell = [map - 1, y, this.width - 1];
      if (cell[2] >= this.width) cell = [map + 1, y, 0];
      if (cell[1] < 0) cell = [map - this.columns, this.height - 1, x];
      if (cell[1] >= this.height) cell = [map + this.columns, 0, x];
    } else if (event.key === "PageDown") cell = [map + 1, y, x];
    else if (event.key === "PageUp") cell = [map - 1, y, x];
    else return;
    event.preventDefault();
    if (cell[0] >= 0 && cell[0] < this.count) choose(this, cell);
  }

  choose(cell) {
    this.chosen = cell;
    this.mark.hidden = !cell;
    this.element.classList.toggle("chosen", Boolean(cell));
    if (!cell) return;
    const [map, y, x] = cell;
    const { width, height } = this.canvas;
    const left = (map % this.columns) * (this.width + this.gap) + x;
    const top = Math.floor(map / this.columns) * (this.height + this.gap) + y;
    this.mark.style.left = `${(100 * left) / width}%`;
    this.mark.style.top = `${(100 * top) / height}%`;
    this.mark.style.width = `${100 / width}%`;
    this.mark.style.height = `${100 / height}%`;
  }

  /** The scale grows with what is seen, and never shrinks: colours can be compared. */
  widen(values) {
    for (let i = 0; i < values.length; i++) {
      this.limit = Math.max(this.limit, Math.abs(values[i]));
    }
  }

  paint(values, off) {
    this.widen(values ?? []);
    const limit = this.limit || 1;
    const { width, height } = this.canvas;
    const data = new ImageData(width, height);
    const pixels = new Uint32Array(data.data.buffer);
    const scale = pixelsOfScale();
    pixels.fill(scale[255]);
    const area = this.height * this.width;
    for (let map = 0; map < this.count; map++) {
      const left = (map % this.columns) * (this.width + this.gap);
      const top = Math.floor(map / this.columns) * (this.height + this.gap);
      const hatched = off?.has(map) ?? false;
      for (let i = 0; i < area; i++) {
        const x = left + (i % this.width);
        const y = top + Math.floor(i / this.width);
        const value = values ? values[map * area + i] / limit : 0;
        pixels[y * width + x] =
          hatched && (x + y) % 2 ? HATCH : scale[255 + Math.round(255 * value)];
      }
    }
    this.canvas.getContext("2d").putImageData(data, 0, 0);
    const ends = `\u00b1${limit.toPrecision(3)}`;
    if (this.legend.textContent !== ends) this.legend.textContent = ends;
  }
}

export class Inside {
  /** @param chosen called with a network's member, a node and a cell, or null */
  constructor(member, chosen) {
    this.member = member;
    const { network } = member;
    const nodes = network.nodes.filter((node) => node.op !== "reshape");
    const output = network.byName.get(network.output);
    const choose = (layer, cell) => {
      for (const each of this.layers) if (each !== layer) each.choose(null);
      layer.choose(cell);
      chosen(member, layer, cell);
    };
    this.layers = nodes.map((node, i) => new Layer(node, i, output, choose));
    this.element = el(
      "div",
      { class: "layers" },
      this.layers.map((layer) => layer.element),
    );
  }

  /** Widen the scales by what images of a data set give. */
  measure(found) {
    for (const layer of this.layers) layer.widen(found.get(layer.node.name));
  }

  paint() {
    for (const layer of this.layers) {
      layer.paint(this.member.found?.get(layer.node.name), this.member.off.get(layer.node.name));
    }
  }
}
