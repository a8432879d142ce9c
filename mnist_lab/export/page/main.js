/** Puts the page together, and runs the networks whenever what is drawn changes. */

import { Answer } from "./answer.js";
import { el, forgetColours, number, paintImage, percent } from "./dom.js";
import { explain } from "./explain.js";
import { Inside, mapsOf, titleOf } from "./inside.js";
import { bytesOf, Network } from "./interpreter.js";
import { Sheet, SIDE } from "./sheet.js";
import { Tryout } from "./tryout.js";

const PIXELS = 28 * 28;

const handed = JSON.parse(document.getElementById("handed").textContent);
const { classes } = handed;
const members = handed.networks.map(({ graph, facts, title, temperature }) => ({
  network: new Network(graph),
  facts,
  title,
  temperature,
  off: new Map(),
  found: null,
}));
const travelling = bytesOf(handed.images);
const samples = handed.labels.map((_, i) => travelling.subarray(i * PIXELS, (i + 1) * PIXELS));
const place = (id) => document.getElementById(id);

let image = null;
let chosen = null;
let threshold = 0.5;

const answers = members.map((member) => new Answer(member, classes));
const insides = members.map((member) => new Inside(member, choose));
const tryout = new Tryout(samples, handed.labels, members, classes, (i) => {
  sheet.start(samples[i]);
  place("draw").scrollIntoView({ block: "nearest" });
});
const sheet = new Sheet(place("sheet"), changed);

/** The drawing is another one: from ink to answers, layers and the chosen cell. */
function changed(finished) {
  image = sheet.image();
  for (const member of members) member.found = image && member.network.run(image, member.off);
  show(finished);
}

function show(finished) {
  paintImage(place("seen"), image);
  place("how").textContent = sheet.base
    ? "A test image, edited where it lies."
    : "Your drawing, fitted to 20\u00d720 and centred.";
  const words = members.map((member, i) => {
    const logits = member.found?.get(member.network.output) ?? null;
    return answers[i].show(logits, threshold);
  });
  for (const [i, inside] of insides.entries()) {
    if (!inside.element.hidden) inside.paint();
    else if (members[i].found) inside.measure(members[i].found);
  }
  explainChosen();
  place("undo").disabled = !sheet.strokes.length;
  place("save").disabled = !image;
  if (finished) {
    const told = members.map(({ title }, i) => (members.length > 1 ? `${title}: ` : "") + words[i]);
    place("spoken").textContent = told.join(". ");
  }
}

function choose(member, layer, cell) {
  chosen = { member, layer, cell };
  const narrow = matchMedia("(max-width: 1099px)").matches;
  if (narrow) layer.element.after(place("cell"));
  else place("beside").append(place("cell"));
  explainChosen();
}

function explainChosen() {
  if (!chosen) return;
  const { member, layer, cell } = chosen;
  const { node } = layer;
  const [count, height, width] = mapsOf(node);
  const [map, row, column] = cell;
  const single = height * width === 1;
  const where = single
    ? `unit ${map + 1} of ${count}`
    : `map ${map + 1} of ${count}, row ${row + 1}, column ${column + 1}`;
  const off = member.off.get(node.name)?.has(map) ?? false;
  const name = node.name === member.network.output ? ` (${classes[map]})` : "";
  const parts = [el("h3", {}, titleOf(node)), el("p", {}, where + name)];
  if (node.op !== "input") parts.push(switchOf(member, node, map, off, single ? "unit" : "map"));
  if (member.found) {
    const { value, body } = explain(member, node, cell, image);
    parts.push(el("p", { class: "reading" }, number(value)));
    if (off) parts.push(el("p", { class: "total" }, "Switched off: it gives nothing but 0."));
    else parts.push(...body);
  } else parts.push(el("p", {}, "Draw something to see numbers here."));
  const focused = document.activeElement?.id === "switch";
  place("cell").replaceChildren(...parts);
  if (focused) place("switch")?.focus();
}

function switchOf(member, node, map, off, what) {
  const box = el("input", {
    type: "checkbox",
    id: "switch",
    change: () => {
      const set = member.off.get(node.name) ?? new Set();
      if (off) set.delete(map);
      else set.add(map);
      if (set.size) member.off.set(node.name, set);
      else member.off.delete(node.name);
      switched();
    },
  });
  box.checked = !off;
  return el("label", { class: "switch" }, box, ` This ${what} is on`);
}

function switched() {
  const count = members.flatMap((member) => [...member.off.values()]);
  const total = count.reduce((a, set) => a + set.size, 0);
  place("all-on").hidden = !total;
  place("all-on").textContent = `Switch all ${total} on again`;
  changed(true);
  tryout.count();
}

function facts() {
  const rows = [
    ["Model", (f) => f.model],
    ["Dataset", (f) => f.dataset],
    ["Classes", (f) => f.classes.join(", ")],
    ["Test accuracy", accuracy],
    ["Parameters", (f) => f.parameters.toLocaleString("en")],
    ["Temperature", (f) => f.temperature],
    ["Seed", (f) => f.seed],
    ["Commit", (f) => f.commit?.slice(0, 12)],
    [
      "Versions",
      (f) =>
        f.versions &&
        Object.entries(f.versions)
          .map((v) => v.join(" "))
          .join(", "),
    ],
    ["Checkpoint\u2019s SHA-256", (f) => f.checkpoint_sha256],
  ];
  return el(
    "table",
    {},
    members.length > 1 &&
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("td"),
          members.map((m) => el("th", { scope: "col" }, m.title)),
        ),
      ),
    el(
      "tbody",
      {},
      rows.map(([name, of]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name),
          members.map((m) => el("td", {}, String(of(m.facts) ?? "not known"))),
        ),
      ),
    ),
  );
}

function accuracy(f) {
  if (f.test_accuracy === undefined) return null;
  const [low, high] = f.test_accuracy_interval.map((share) => (100 * share).toFixed(2));
  const of = `${f.test_images.toLocaleString("en")} images`;
  return `${(100 * f.test_accuracy).toFixed(2)} % of ${of} (95 % interval ${low} to ${high} %)`;
}

/** One network's inside at a time; the other's numbers are kept up to date. */
function showInside(which) {
  for (const [i, inside] of insides.entries()) inside.element.hidden = i !== which;
  for (const layer of insides.flatMap((inside) => inside.layers)) layer.choose(null);
  chosen = null;
  place("beside").append(place("cell"));
  place("cell").replaceChildren(
    el(
      "p",
      {},
      "Click a cell of any map, or go there with Tab and the arrows: what it sees, its weights and its sum stand here.",
    ),
  );
  insides[which].paint();
}

function build() {
  place("answers").append(...answers.map((answer) => answer.element));
  place("maps").append(...insides.map((inside) => inside.element));
  place("facts").append(facts());
  if (samples.length) place("tryout").append(tryout.element);
  else place("try").hidden = true;
  place("which").hidden = members.length < 2;
  members.forEach((member, i) => {
    const radio = el("input", { type: "radio", name: "which", change: () => showInside(i) });
    radio.checked = i === 0;
    place("which").append(el("label", {}, radio, ` ${member.title}`));
  });
  for (const radio of document.querySelectorAll("input[name=tool]")) {
    radio.addEventListener("change", () => {
      sheet.erasing = radio.value === "eraser" && radio.checked;
    });
  }
  place("width").addEventListener("input", (event) => {
    sheet.width = Number(event.target.value);
  });
  place("undo").addEventListener("click", () => sheet.undo());
  place("clear").addEventListener("click", () => sheet.start(null));
  place("save").addEventListener("click", save);
  place("threshold").addEventListener("input", (event) => {
    threshold = Number(event.target.value) / 100;
    place("least").textContent = `${event.target.value} %`;
    show(true);
  });
  place("all-on").addEventListener("click", () => {
    for (const member of members) member.off.clear();
    switched();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      sheet.undo();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    forgetColours();
    show(false);
  });
  for (const [i, member] of members.entries()) {
    // The scales begin with what some test images give, so that the first drawing fits them.
    for (const sample of samples.slice(-4)) insides[i].measure(member.network.run(sample));
  }
  showInside(0);
  changed(false);
  setTimeout(() => tryout.count());
}

/** The drawing as a PNG, which `python -m mnist_lab.predict` reads. */
function save() {
  sheet.canvas.toBlob((blob) => {
    const link = el("a", { href: URL.createObjectURL(blob), download: "drawing.png" });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

build();

/** For tests, and for whoever opens the console. */
window.mnistLab = { members, sheet, samples, SIDE, percent, image: () => image };
