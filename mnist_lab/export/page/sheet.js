/** What one draws on: strokes by mouse, pen, finger or keys, on paper or on a test image. */

import { asItLies, toMnist } from "./form.js";

export const SIDE = 280; // ten times MNIST's, and no more than predict looks at

export class Sheet {
  /**
   * @param changed called with true once a stroke is finished, with false while it is drawn
   */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    this.strokes = [];
    this.base = null;
    this.width = 20;
    this.erasing = false;
    this.cursor = null;
    this.current = null;
    canvas.width = SIDE;
    canvas.height = SIDE;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.end(event));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.lift());
    this.redraw();
  }

  get empty() {
    return !this.base && !this.strokes.some((stroke) => !stroke.erasing);
  }

  /** The 28x28 bytes that a network is shown; null of an empty sheet. */
  image() {
    if (this.empty) return null;
    const { data } = this.context.getImageData(0, 0, SIDE, SIDE);
    const grey = new Uint8Array(SIDE * SIDE);
    for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i];
    const image = this.base ? asItLies(grey, SIDE) : toMnist(grey, SIDE);
    return image?.some((value) => value > 0) ? image : null;
  }

  /** Start over with a 28x28 image, which is edited where it lies; null is an empty sheet. */
  start(image) {
    this.base = image;
    this.strokes = [];
    this.lift();
    this.redraw();
    this.changed(true);
  }

  undo() {
    if (this.strokes.pop()) {
      this.lift();
      this.redraw();
      this.changed(true);
    }
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  press(point) {
    this.current = { erasing: this.erasing, width: this.width, points: [point] };
    this.strokes.push(this.current);
    this.draw(this.current, 0);
  }

  begin(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.lift();
    this.press(this.point(event));
    this.changed(false);
  }

  go(event) {
    if (!this.current || !event.isPrimary || this.cursor) return;
    const from = this.current.points.length;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.current.points.push(this.point(each));
    this.draw(this.current, from);
    this.changed(false);
  }

  end(event) {
    if (!this.current || !event.isPrimary || this.cursor) return;
    this.current = null;
    this.changed(true);
  }

  lift() {
    this.current = null;
    this.cursor = null;
    this.mark();
  }

  /** Arrows move a cursor, with shift a little; the space bar puts the pen down and lifts it. */
  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const step = event.shiftKey ? 3 : 12;
      const from = this.cursor ?? [SIDE / 2, SIDE / 2];
      this.cursor = from.map((value, i) => Math.min(Math.max(value + step * move[i], 0), SIDE));
      if (this.current) {
        this.current.points.push(this.cursor);
        this.draw(this.current, this.current.points.length - 1);
        this.changed(false);
      }
    } else if (event.key === " ") {
      this.cursor ??= [SIDE / 2, SIDE / 2];
      if (this.current) this.current = null;
      else this.press(this.cursor);
      this.changed(!this.current);
    } else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete") this.start(null);
    else return;
    event.preventDefault();
    this.mark();
  }

  /** Where the keys' cursor is, in an element of its own: it isn't ink. */
  mark() {
    const mark = this.canvas.parentElement?.querySelector(".cursor");
    if (!mark) return;
    mark.hidden = !this.cursor;
    if (this.cursor) {
      mark.style.left = `${(100 * this.cursor[0]) / SIDE}%`;
      mark.style.top = `${(100 * this.cursor[1]) / SIDE}%`;
      mark.classList.toggle("down", Boolean(this.current));
    }
  }

  redraw() {
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, SIDE, SIDE);
    if (this.base) {
      const size = SIDE / 28;
      this.base.forEach((value, i) => {
        const grey = 255 - value;
        this.context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
        this.context.fillRect((i % 28) * size, Math.floor(i / 28) * size, size, size);
      });
    }
    for (const stroke of this.strokes) this.draw(stroke, 0);
  }

  /** A stroke's points from one on, with lines between them. */
  draw(stroke, from) {
    const { context } = this;
    context.strokeStyle = stroke.erasing ? "#fff" : "#000";
    context.lineWidth = stroke.width;
    context.lineCap = "round";
    context.lineJoin = "round";
    // Line by line, as they come: drawn again after an undo, the pixels are the same.
    for (let i = from; i < stroke.points.length; i++) {
      context.beginPath();
      context.moveTo(...stroke.points[Math.max(0, i - 1)]);
      context.lineTo(...stroke.points[i]);
      context.stroke();
    }
  }
}
