// Sample grids of the runs at one step, which a slider chooses. Only the grids looked at are loaded.

import { placeOf } from "./data.js";

export class Samples {
  constructor() {
    this.section = document.getElementById("samples");
    this.slider = document.getElementById("step");
    this.shown = document.getElementById("step-shown");
    this.figures = new Map(); // run -> {figure, image, caption}
    this.steps = [];
    this.runs = [];
    this.following = true; // the newest, until an earlier one is chosen
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value)));
    document.getElementById("newest").addEventListener("click", () => this.choose(this.steps.length - 1));
  }

  choose(place) {
    this.following = place >= this.steps.length - 1;
    this.slider.value = place;
    this.draw();
  }

  // runs: the visible ones, [{number, label, colour, grids: [[step, version]]}]
  show(runs) {
    const before = this.steps[Number(this.slider.value)];
    this.runs = runs;
    this.steps = [...new Set(runs.flatMap((run) => run.grids.map(([step]) => step)))].sort((a, b) => a - b);
    this.section.hidden = this.steps.length === 0;
    this.slider.max = Math.max(0, this.steps.length - 1);
    this.slider.value = this.following ? this.slider.max : Math.max(0, placeOf(this.steps, before));
    this.draw();
  }

  draw() {
    const place = Number(this.slider.value);
    const step = this.steps[place];
    if (step === undefined) return;
    this.shown.textContent = step.toLocaleString("en");
    this.slider.setAttribute("aria-valuetext", `step ${step}`);
    for (const [number, { figure }] of this.figures) {
      if (!this.runs.some((run) => run.number === number)) {
        figure.remove();
        this.figures.delete(number);
      }
    }
    for (const run of this.runs) this.drawRun(run, step);
    for (const near of [place - 1, place + 1]) this.prefetch(this.steps[near]);
  }

  drawRun(run, step) {
    const grid = gridAt(run, step);
    const { figure, image, caption } = this.figureOf(run);
    figure.hidden = run.grids.length === 0;
    image.hidden = !grid;
    caption.textContent = grid ? `${run.label}, step ${grid[0].toLocaleString("en")}` : `${run.label}: no samples by then`;
    if (!grid) return;
    image.alt = `Samples of ${run.label} at step ${grid[0]}`;
    const address = addressOf(run, grid);
    if (image.getAttribute("src") !== address) image.src = address;
  }

  figureOf(run) {
    if (!this.figures.has(run.number)) {
      const figure = document.createElement("figure");
      const image = document.createElement("img");
      image.decoding = "async";
      const caption = document.createElement("figcaption");
      caption.style.color = run.colour;
      figure.append(caption, image);
      const later = [...this.figures].find(([number]) => number > run.number);
      document.getElementById("grids").insertBefore(figure, later ? later[1].figure : null);
      this.figures.set(run.number, { figure, image, caption });
    }
    return this.figures.get(run.number);
  }

  prefetch(step) {
    if (step === undefined) return;
    for (const run of this.runs) {
      const grid = gridAt(run, step);
      if (grid) new Image().src = addressOf(run, grid);
    }
  }
}

// The newest grid of a run at a step or before.
function gridAt(run, step) {
  return run.grids[placeOf(run.grids.map(([one]) => one), step)];
}

function addressOf(run, [step, version]) {
  return `grid/${run.number}/${step}.png?v=${version}`;
}
