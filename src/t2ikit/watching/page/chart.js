// One chart on a canvas: for each run the values (light: their range), and the smoothed line over them.

import { placeOf, short, smoothed } from "./data.js";

const LEFT = 52;
const RIGHT = 24;
const TOP = 8;
const BOTTOM = 22;
const DASHES = [[], [6, 3], [2, 2]];

export const colourOf = (run) => `var(--run-${run % 8})`;
export const dashOf = (run) => DASHES[Math.floor(run / 8) % DASHES.length];

export class Chart {
  // title: what is shown; mayBeLog: the switch for a logarithmic axis applies.
  // exact: its values are known, not measured, and are never smoothed.
  constructor(title, mayBeLog, exact) {
    this.title = title;
    this.exact = exact;
    this.mayBeLog = mayBeLog;
    this.at = null; // step under the pointer
    this.element = document.createElement("article");
    this.element.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = title;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.readout = document.createElement("p");
    this.element.append(heading, this.canvas, this.readout);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    new IntersectionObserver(([one]) => {
      this.visible = one.isIntersecting;
      if (this.visible && this.stale) this.draw();
    }).observe(this.canvas);
  }

  // lines: [{run, label, held, validation}]; only what is on the screen is drawn
  show(lines, options) {
    this.lines = lines;
    this.options = options;
    this.smooth = lines.map(({ held, validation }) =>
      validation || this.exact || !options.decay ? held.mean : smoothed(held.mean, held.each, options.decay));
    this.stale = true;
    if (this.visible) this.draw();
  }

  point(event) {
    this.at = event && this.scale ? this.scale.stepAt(event.offsetX) : null;
    this.draw();
  }

  draw() {
    if (!this.lines) return;
    this.stale = false;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const dense = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    const brush = this.canvas.getContext("2d");
    brush.scale(dense, dense);
    const style = getComputedStyle(this.canvas);
    this.colour = (name) => style.getPropertyValue(name).trim();
    this.scale = scaleOf(this.lines, this.mayBeLog && this.options.logarithmic, width, height);
    this.drawAxes(brush, width, height);
    this.lines.forEach((line, number) => this.drawLine(brush, line, this.smooth[number]));
    if (this.at !== null) this.drawPointer(brush, height);
    this.tell();
  }

  drawAxes(brush, width, height) {
    const { x, y, yTicks, xTicks } = this.scale;
    brush.font = "11px system-ui, sans-serif";
    brush.fillStyle = this.colour("--soft");
    brush.strokeStyle = this.colour("--line");
    brush.lineWidth = 1;
    brush.textAlign = "right";
    brush.textBaseline = "middle";
    for (const tick of yTicks) {
      stroke(brush, [[LEFT, y(tick)], [width - RIGHT, y(tick)]]);
      brush.fillText(short(tick), LEFT - 5, y(tick));
    }
    brush.textAlign = "center";
    brush.textBaseline = "top";
    for (const tick of xTicks) brush.fillText(tick.toLocaleString("en"), x(tick), height - BOTTOM + 6);
  }

  drawLine(brush, { run, held, validation }, smooth) {
    const { x, y, fits } = this.scale;
    brush.strokeStyle = brush.fillStyle = this.colour(`--run-${run % 8}`);
    brush.lineWidth = 1;
    const drawn = (values) => pieces(held.step.map((step, at) =>
      values[at] === null || !fits(values[at]) ? null : [x(step), y(values[at])]));
    if (!validation && smooth !== held.mean) {
      brush.globalAlpha = 0.3;
      for (const piece of drawn(held.mean)) stroke(brush, piece);
      brush.globalAlpha = 1;
    }
    if (held.each[0] > 1) {
      brush.globalAlpha = 0.22;
      held.step.forEach((step, at) => {
        if (held.low[at] === null || !fits(held.low[at])) return;
        stroke(brush, [[x(step), y(held.low[at])], [x(step), y(held.high[at])]]);
      });
      brush.globalAlpha = 1;
    }
    brush.lineWidth = 1.8;
    brush.setLineDash(validation ? [3, 3] : dashOf(run));
    for (const piece of drawn(smooth)) stroke(brush, piece);
    brush.setLineDash([]);
    if (validation || held.step.length === 1) for (const piece of drawn(smooth)) piece.forEach((at) => dot(brush, at));
  }

  drawPointer(brush, height) {
    brush.strokeStyle = this.colour("--soft");
    brush.lineWidth = 1;
    stroke(brush, [[this.scale.x(this.at), TOP], [this.scale.x(this.at), height - BOTTOM]]);
  }

  // The values under the pointer, or the last ones; what was not finite is said.
  tell() {
    const words = this.lines.map(({ label, held, validation }, number) => {
      const place = this.at === null ? held.step.length - 1 : placeOf(held.step, this.at);
      const lost = held.lost ? ` (${held.lost} not finite)` : "";
      const what = validation ? `${label}, validation` : label;
      return { run: this.lines[number].run, text: `${what}: ${short(place < 0 ? null : this.smooth[number][place])}${lost}` };
    });
    const at = this.at === null ? "" : `step ${Math.round(this.at).toLocaleString("en")}`;
    this.readout.replaceChildren(...[...(at ? [{ text: at }] : []), ...words].map(({ run, text }) => {
      const span = document.createElement("span");
      span.textContent = text;
      if (run !== undefined) span.style.color = colourOf(run);
      return span;
    }));
    this.canvas.setAttribute("aria-label", `${this.title}. ${words.map((one) => one.text).join("; ")}`);
  }
}

// From steps and values to pixels. Logarithmic only where some value is above 0; the others are then left out.
function scaleOf(lines, wantsLog, width, height) {
  const all = lines.flatMap(({ held }) => [...held.low, ...held.high]).filter((value) => value !== null);
  const above = all.filter((value) => value > 0);
  const log = wantsLog && above.length > 0;
  const to = log ? Math.log10 : (value) => value;
  let [low, high] = extent((log ? above : all).map(to), [0, 1]);
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.1 || 0.1;
  [low, high] = [low - margin, high + margin];
  let [first, last] = extent(lines.flatMap(({ held }) => held.step), [0, 1]);
  if (first === last) [first, last] = [first - 1, last + 1];
  const wide = Math.max(1, width - LEFT - RIGHT);
  const tall = Math.max(1, height - TOP - BOTTOM);
  const x = (step) => LEFT + ((step - first) / (last - first)) * wide;
  return {
    x,
    y: (value) => TOP + (1 - (to(value) - low) / (high - low)) * tall,
    fits: (value) => !log || value > 0,
    stepAt: (pixel) => Math.min(last, Math.max(first, first + ((pixel - LEFT) / wide) * (last - first))),
    yTicks: log ? logTicks(low, high) : ticks(low, high, 4),
    xTicks: ticks(first, last, Math.max(2, Math.floor(wide / 90))).filter((tick) => tick === Math.round(tick)),
  };
}

function extent(values, otherwise) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : otherwise;
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const count = Math.floor(high / size) - Math.ceil(low / size);
  return Array.from({ length: Math.min(50, count + 1) }, (_, at) => Number(((Math.ceil(low / size) + at) * size).toPrecision(12)));
}

// Powers of ten; with 2 and 5 between them where there are few; even steps where there are none.
function logTicks(low, high) {
  if (high - low > 4) return ticks(low, high, 5).filter(Number.isInteger).map((one) => 10 ** one);
  const found = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const one of [1, 2, 5]) {
      const place = power + Math.log10(one);
      if (place >= low && place <= high) found.push(Number(`${one}e${power}`));
    }
  }
  return found.length > 1 ? found : ticks(10 ** low, 10 ** high, 4);
}

// A line is broken where a value is missing.
function pieces(points) {
  const found = [[]];
  for (const point of points) {
    if (point) found[found.length - 1].push(point);
    else if (found[found.length - 1].length) found.push([]);
  }
  return found.filter((piece) => piece.length);
}

function stroke(brush, points) {
  brush.beginPath();
  points.forEach(([x, y], at) => (at ? brush.lineTo(x, y) : brush.moveTo(x, y)));
  brush.stroke();
}

function dot(brush, [x, y]) {
  brush.beginPath();
  brush.arc(x, y, 2.5, 0, 7);
  brush.fill();
}
