/** The classes' probabilities, live, and the answer in words. */

import { el, percent } from "./dom.js";
import { softmax } from "./interpreter.js";

const SHOWN = 12; // classes in their order; of more the likeliest

export class Answer {
  constructor(member, classes) {
    this.classes = classes;
    this.temperature = member.temperature;
    this.best = el("output", { class: "best" }, "?");
    this.words = el("p", { class: "words" });
    this.bars = Array.from({ length: Math.min(classes.length, SHOWN) }, () => {
      const name = el("th", { scope: "row" });
      const bar = el("span", { class: "bar" });
      const value = el("td", { class: "value" });
      return { name, bar, value, row: el("tr", {}, name, el("td", {}, bar), value) };
    });
    this.element = el(
      "section",
      { class: "answer", "aria-label": `Answer of ${member.title}` },
      el("h3", {}, member.title),
      el("div", { class: "verdict" }, this.best, this.words),
      el(
        "table",
        { class: "bars" },
        el("caption", { class: "hidden" }, "Probability of each class"),
        el(
          "tbody",
          {},
          this.bars.map((bar) => bar.row),
        ),
      ),
    );
    this.show(null, 0.5);
  }

  /** @returns the answer in words, for those who hear it */
  show(logits, threshold) {
    const shares = logits ? softmax(logits, this.temperature) : this.classes.map(() => 0);
    const order = this.classes.map((_, i) => i);
    if (this.classes.length > SHOWN) order.sort((a, b) => shares[b] - shares[a]);
    const likeliest = shares.indexOf(Math.max(...shares));
    this.bars.forEach(({ name, bar, value, row }, place) => {
      const i = order[place];
      name.textContent = this.classes[i];
      bar.style.width = `${100 * shares[i]}%`;
      value.textContent = logits ? percent(shares[i]) : "";
      row.classList.toggle("likeliest", Boolean(logits) && i === likeliest);
    });
    const sure = logits && shares[likeliest] >= threshold;
    this.best.textContent = sure ? this.classes[likeliest] : "?";
    this.best.classList.toggle("long", this.classes[likeliest].length > 3 && Boolean(sure));
    let words = "Draw something, or choose a test image.";
    if (sure) words = `${percent(shares[likeliest])} sure`;
    else if (logits) {
      words = `I don\u2019t know: ${this.classes[likeliest]} at best, with ${percent(shares[likeliest])}`;
    }
    this.words.textContent = words;
    return sure ? `${this.classes[likeliest]}, ${words}` : words;
  }
}
