/**
 * From ink on a canvas to MNIST's form, by the steps of `data/pictures.py` and `data/ink.py` for
 * dark strokes on an empty sheet. What a photograph needs besides, shadows, ruled lines, a table
 * around the sheet, a canvas hasn't.
 *
 * A sheet is `{values, height, width}`, row by row.
 */

import { rounded } from "./interpreter.js";

const MNIST_SIDE = 28;

const blank = (height, width) => ({ values: new Float64Array(height * width), height, width });

/** The part within `[top, left, bottom, right]`. */
function cut({ values, width }, [top, left, bottom, right]) {
  const out = blank(bottom - top, right - left);
  for (let y = 0; y < out.height; y++) {
    const start = (top + y) * width + left;
    out.values.set(values.subarray(start, start + out.width), y * out.width);
  }
  return out;
}

/** The smallest `[top, left, bottom, right]` around values in a range; null if there are none. */
function boxOf({ values, height, width }, above, below = Number.POSITIVE_INFINITY) {
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = values[y * width + x];
      if (value > above && value < below) {
        if (y < top) top = y;
        if (x < left) left = x;
        if (y >= bottom) bottom = y + 1;
        if (x >= right) right = x + 1;
      }
    }
  }
  return bottom ? [top, left, bottom, right] : null;
}

/** Rows as columns: what works along rows works along columns, twice turned. */
function turned({ values, height, width }) {
  const out = blank(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) out.values[x * height + y] = values[y * width + x];
  }
  return out;
}

/** A Gaussian; beyond the border lies the border's mirror image, or nothing. */
function blurred(image, sigma, truncate, mirrored) {
  const reach = Math.floor(truncate * sigma + 0.5);
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-0.5 * ((i - reach) / sigma) ** 2),
  );
  const sum = kernel.reduce((a, b) => a + b, 0);
  const alongRows = ({ values, height, width }) => {
    const out = blank(height, width);
    const line = new Float64Array(width + 2 * reach);
    for (let y = 0; y < height; y++) {
      line.set(values.subarray(y * width, (y + 1) * width), reach);
      for (let i = 0; mirrored && i < Math.min(reach, width); i++) {
        line[reach - 1 - i] = line[reach + i];
        line[reach + width + i] = line[reach + width - 1 - i];
      }
      for (let x = 0; x < width; x++) {
        let value = 0;
        for (let k = 0; k <= 2 * reach; k++) value += kernel[k] * line[x + k];
        out.values[y * width + x] = value / sum;
      }
    }
    return out;
  };
  return turned(alongRows(turned(alongRows(image))));
}

/** The greatest value within half a window's width, by van Herk's and Gil's running maxima. */
function highest(image, window) {
  const half = window >> 1;
  const alongRows = ({ values, height, width }) => {
    const out = blank(height, width);
    const total = Math.ceil((width + 2 * half) / window) * window;
    const forward = new Float64Array(total);
    const backward = new Float64Array(total);
    for (let y = 0; y < height; y++) {
      forward.fill(Number.NEGATIVE_INFINITY);
      forward.set(values.subarray(y * width, (y + 1) * width), half);
      backward.set(forward);
      for (let i = 1; i < total; i++) {
        if (i % window && forward[i - 1] > forward[i]) forward[i] = forward[i - 1];
      }
      for (let i = total - 2; i >= 0; i--) {
        if ((i + 1) % window && backward[i + 1] > backward[i]) backward[i] = backward[i + 1];
      }
      for (let x = 0; x < width; x++) {
        out.values[y * width + x] = Math.max(backward[x], forward[x + window - 1]);
      }
    }
    return out;
  };
  return turned(alongRows(turned(alongRows(image))));
}

const negative = ({ values, height, width }) => ({
  values: values.map((value) => -value),
  height,
  width,
});

/** The paper below dark strokes narrower than the window: a morphological closing. */
function background(grey, window) {
  if (paperShows(grey, window)) {
    const white = blank(grey.height, grey.width);
    white.values.fill(255);
    return white;
  }
  // Windows hang over the border, so that what is dark along it counts as paper in the shade.
  const half = window >> 1;
  const wide = blank(grey.height + 2 * half, grey.width + 2 * half);
  wide.values.fill(Number.NEGATIVE_INFINITY);
  for (let y = 0; y < grey.height; y++) {
    const row = grey.values.subarray(y * grey.width, (y + 1) * grey.width);
    wide.values.set(row, (y + half) * wide.width + half);
  }
  const closed = negative(highest(negative(highest(wide, window)), window));
  return cut(closed, [half, half, half + grey.height, half + grey.width]);
}

/** Whether there is white in any window, so that all paper is white; true of most drawings. */
function paperShows({ values, height, width }, window) {
  for (let i = 0; i < width; i++) {
    if (values[i] < 255 || values[(height - 1) * width + i] < 255) return false;
  }
  for (let i = 0; i < height; i++) {
    if (values[i * width] < 255 || values[(i + 1) * width - 1] < 255) return false;
  }
  const size = window >> 1; // a window holds one whole square of this size at least
  for (let top = 0; top + size <= height; top += size) {
    for (let left = 0; left + size <= width; left += size) {
      let white = false;
      for (let y = top; y < top + size && !white; y++) {
        for (let x = left; x < left + size && !white; x++) white = values[y * width + x] === 255;
      }
      if (!white) return false;
    }
  }
  return true;
}

/** How much of the paper's light each pixel lacks, from 0 to 1. */
function inkOn(paper, grey) {
  const out = blank(grey.height, grey.width);
  for (let i = 0; i < out.values.length; i++) {
    out.values[i] = Math.max(0, paper.values[i] - grey.values[i]) / (paper.values[i] + 16);
  }
  return out;
}

/** The value that 98 of 100 of those above a floor stay below. */
function nearlyDeepest({ values }, floor) {
  const counts = new Uint32Array(4096); // of equally wide classes, fine enough for a threshold
  let total = 0;
  for (const value of values) {
    if (value > floor) {
      counts[Math.min(4095, Math.floor(value * 4096))]++;
      total++;
    }
  }
  let level = 4095;
  for (let beyond = counts[level]; beyond <= 0.02 * total; beyond += counts[level]) level--;
  return (level + 0.5) / 4096;
}

/** Means over squares of `size` pixels; the last ones may hang over, into nothing. */
function inSquares({ values, height, width }, size) {
  const out = blank(Math.ceil(height / size), Math.ceil(width / size));
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / size) * out.width;
    for (let x = 0; x < width; x++) out.values[row + Math.floor(x / size)] += values[y * width + x];
  }
  for (let i = 0; i < out.values.length; i++) out.values[i] /= size ** 2;
  return out;
}

/**
 * Ink made full where its strokes are pale: multiplied by how much there is around, over its
 * square. That factor changes slowly, so it is calculated for squares, and between them by lines.
 */
function evened(ink, deep) {
  const { height, width } = ink;
  const strokes = blank(height, width);
  const squares = blank(height, width);
  for (let i = 0; i < ink.values.length; i++) {
    const value = ink.values[i] > deep ? ink.values[i] : 0;
    strokes.values[i] = value;
    squares.values[i] = value * value;
  }
  const reach = Math.max(height - 1, width - 1, 1) / 5;
  const size = Math.max(1, Math.floor(reach / 8));
  const few = blurred(inSquares(strokes, size), reach / size, 3, false);
  const fewSquares = blurred(inSquares(squares, size), reach / size, 3, false);
  const factor = few.values.map((value, i) => value / (fewSquares.values[i] + 1e-6));
  const out = blank(height, width);
  for (let y = 0; y < height; y++) {
    const down = Math.min(Math.max((y + 0.5) / size - 0.5, 0), few.height - 1);
    const top = Math.floor(down) * few.width;
    const bottom = Math.min(Math.floor(down) + 1, few.height - 1) * few.width;
    for (let x = 0; x < width; x++) {
      const value = ink.values[y * width + x];
      if (!value) continue;
      const across = Math.min(Math.max((x + 0.5) / size - 0.5, 0), few.width - 1);
      const left = Math.floor(across);
      const right = Math.min(left + 1, few.width - 1);
      const v = down % 1;
      const h = across % 1;
      const full =
        value *
        ((1 - v) * ((1 - h) * factor[top + left] + h * factor[top + right]) +
          v * ((1 - h) * factor[bottom + left] + h * factor[bottom + right]));
      out.values[y * width + x] = full < 0.1 ? 0 : Math.min(full, 1);
    }
  }
  return out;
}

/** Each row brought to a width, as Pillow's BILINEAR does: by a triangle of the wider pixel. */
function squeezed({ values, height, width }, wide) {
  const scale = width / wide;
  const support = Math.max(scale, 1);
  const out = blank(height, wide);
  for (let x = 0; x < wide; x++) {
    const centre = (x + 0.5) * scale;
    const start = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(width, Math.floor(centre + support + 0.5));
    const weights = new Float64Array(end - start);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) {
      weights[k] = Math.max(0, 1 - Math.abs((start + k + 0.5 - centre) / support));
      sum += weights[k];
    }
    for (let y = 0; y < height; y++) {
      let value = 0;
      for (let k = 0; k < weights.length; k++) value += weights[k] * values[y * width + start + k];
      out.values[y * wide + x] = Math.fround(value / sum);
    }
  }
  return out;
}

/** Ink from 0 to 1 fitted into 20x20, its centre of mass in the middle of 28x28 (`ink.form`). */
function form(ink) {
  const box = boxOf(ink, 0.25);
  if (!box) return null;
  const tight = cut(ink, box);
  const most = Math.max(tight.height, tight.width);
  const [tall, wide] = [tight.height, tight.width].map((side) =>
    Math.max(1, rounded((20 * side) / most)),
  );
  const small = turned(squeezed(turned(squeezed(tight, wide)), tall)).values;
  const peak = small.reduce((a, b) => Math.max(a, b));
  let [sum, down, across] = [0, 0, 0];
  for (let i = 0; i < small.length; i++) {
    small[i] = Math.fround(small[i] / peak);
    sum += small[i];
    down += small[i] * Math.floor(i / wide);
    across += small[i] * (i % wide);
  }
  const place = (moment, side) =>
    Math.min(Math.max(rounded(MNIST_SIDE / 2 - moment / sum), 0), MNIST_SIDE - side);
  const [row, column] = [place(down, tall), place(across, wide)];
  const picture = new Uint8Array(MNIST_SIDE * MNIST_SIDE);
  for (let i = 0; i < small.length; i++) {
    const at = (row + Math.floor(i / wide)) * MNIST_SIDE + column + (i % wide);
    picture[at] = rounded(small[i] * 255);
  }
  return picture;
}

/**
 * The 28x28 bytes of dark strokes on a light square of grey values from 0 to 255; null where there
 * is no ink.
 */
export function toMnist(grey, side) {
  const page = { values: new Float64Array(grey), height: side, width: side };
  const dark = boxOf(page, -1, 255);
  if (!dark) return null;
  const [top, left, bottom, right] = dark;
  // The blur reaches three pixels; around them all is paper.
  const near = [top - 3, left - 3, bottom + 3, right + 3].map((at) =>
    Math.min(Math.max(at, 0), side),
  );
  const window = Math.max(3, rounded(0.3 * side) | 1);
  let soft = blurred(cut(page, near), 0.7, 4, true);
  let paper = null;
  if (paperShows(page, window)) {
    paper = { ...soft, values: new Float64Array(soft.values.length).fill(255) };
  } else {
    soft = blurred(page, 0.7, 4, true);
    paper = background(soft, window);
  }
  const all = inkOn(paper, soft);
  const box = boxOf(all, 0.06);
  if (!box) return null;
  const ink = cut(all, box);
  return form(evened(ink, nearlyDeepest(ink, 0.06) / 2));
}

/** The 28x28 bytes of what lies on a sheet of whole squares as it is, neither moved nor scaled. */
export function asItLies(grey, side) {
  const means = inSquares({ values: grey, height: side, width: side }, side / MNIST_SIDE);
  return Uint8Array.from(means.values, (value) => rounded(255 - value));
}
