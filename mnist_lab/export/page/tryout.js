/** Test images that travel along: to look at, to edit, and to count on. */

import { el, paintImage, percent } from "./dom.js";

export class Tryout {
  /** @param chosen called with the number of an image */
  constructor(images, labels, members, classes, chosen) {
    this.images = images;
    this.labels = labels;
    this.members = members;
    this.counts = members.map(() => el("output", {}, "..."));
    this.buttons = images.map((image, i) => {
      const canvas = el("canvas", { width: 28, height: 28 });
      paintImage(canvas, image);
      const said = el("span", { class: "said" }, classes[labels[i]]);
      return el(
        "button",
        { type: "button", class: "sample", click: () => chosen(i) },
        canvas,
        said,
      );
    });
    this.classes = classes;
    this.round = 0;
    const lines = members.map((member, i) => {
      const name = members.length > 1 ? `${member.title}: ` : "";
      return el("p", { class: "count" }, name, this.counts[i]);
    });
    this.element = el("div", {}, lines, el("div", { class: "samples" }, this.buttons));
  }

  /** Count anew, in pieces between which the page stays alive; images of before are forgotten. */
  async count() {
    this.round++;
    const round = this.round;
    const right = this.members.map(() => 0);
    let since = performance.now();
    for (const [i, image] of this.images.entries()) {
      const answers = this.members.map((member) => {
        const logits = member.network.logits(image, member.off);
        return logits.indexOf(Math.max(...logits));
      });
      answers.forEach((answer, m) => {
        right[m] += answer === this.labels[i];
      });
      this.label(i, answers);
      if (performance.now() - since > 12) {
        await new Promise((resolve) => setTimeout(resolve));
        if (round !== this.round) return;
        since = performance.now();
      }
    }
    this.members.forEach((member, m) => {
      const count = this.images.length;
      const off = [...member.off.values()].reduce((a, set) => a + set.size, 0);
      const without = off ? `, with ${off} switched off` : "";
      this.counts[m].textContent =
        `${right[m]} of ${count} right (${percent(right[m] / count)})${without}`;
    });
  }

  label(i, answers) {
    const truth = this.classes[this.labels[i]];
    const wrong = answers.filter((answer) => answer !== this.labels[i]);
    const button = this.buttons[i];
    button.classList.toggle("wrong", wrong.length > 0);
    const said = wrong.length
      ? `${truth}\u2192${[...new Set(wrong)].map((answer) => this.classes[answer]).join("/")}`
      : truth;
    if (button.lastChild.textContent !== said) button.lastChild.textContent = said;
    const taken = [...new Set(answers)].map((answer) => this.classes[answer]).join(" and ");
    button.setAttribute("aria-label", `Test image, a ${truth}, taken for ${taken}`);
  }
}
