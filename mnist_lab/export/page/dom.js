/** Elements, numbers and colours, as every part of the page makes them. */

/** An element with attributes; functions are listeners, `null` and `false` leave one out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** A number in few digits, with a true minus. */
export function number(value) {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace("-", "\u2212");
}

/** A share in per cent, never rounded to all or nothing. */
export function percent(share) {
  if (share > 0.999 && share < 1) return ">99.9 %";
  if (share < 0.001 && share > 0) return "<0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

let ends = null;
let palette = null;

function colours() {
  if (!ends) {
    const style = getComputedStyle(document.documentElement);
    ends = ["--negative", "--zero", "--positive"].map((name) => {
      const [, r, g, b] = /^#(..)(..)(..)$/.exec(style.getPropertyValue(name).trim());
      return [r, g, b].map((part) => Number.parseInt(part, 16));
    });
  }
  return ends;
}

/** Forget the colours of the former theme. */
export function forgetColours() {
  ends = null;
  palette = null;
}

/** `[red, green, blue]` of a value from -1 to 1: one scale for all that the page shows. */
export function colour(value) {
  const [negative, zero, positive] = colours();
  const end = value < 0 ? negative : positive;
  const share = Math.min(Math.abs(value), 1);
  return zero.map((part, i) => Math.round(part + share * (end[i] - part)));
}

/** The colours of -1 to 1 in 511 steps, as pixels of an ImageData. */
export function pixelsOfScale() {
  if (!palette) {
    palette = new Uint32Array(511);
    const bytes = new Uint8Array(palette.buffer);
    for (let i = 0; i < 511; i++) bytes.set([...colour((i - 255) / 255), 255], 4 * i);
  }
  return palette;
}

/** Background and legible text for a cell that shows a value from -1 to 1. */
export function cellStyle(value) {
  const [r, g, b] = colour(value);
  const dark = 0.299 * r + 0.587 * g + 0.114 * b < 140;
  return `background:rgb(${r} ${g} ${b});color:${dark ? "#fff" : "#111"}`;
}

/** Paint a 28x28 image of bytes as dark ink on white. */
export function paintImage(canvas, image) {
  const side = canvas.width;
  const data = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const grey = 255 - (image ? image[i] : 0);
    data.data.set([grey, grey, grey, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
}
