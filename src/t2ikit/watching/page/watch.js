// Asks the server every few seconds what is new, and shows it. All text of runs is set as text, never as HTML.

import { Chart, colourOf, dashOf } from "./chart.js";
import { RunData, Unreachable, json, short } from "./data.js";
import { Samples } from "./samples.js";

const PAUSE = 2000; // milliseconds between questions
const SVG = "http://www.w3.org/2000/svg";
const TITLES = {
  images_per_second: "images per second",
  memory_mb: "memory, MB",
  data_wait: "share of the time that training waited for data",
  mfu: "model FLOPs over the device's peak",
};
const ORDER = ["loss", "lr", "images_per_second", "memory_mb", "grad_norm", "data_wait", "mfu"];
const UNSHOWN = new Set(["minutes", "seconds"]);

const get = (id) => document.getElementById(id);
const runs = []; // {number, state, data, hidden, parts: the elements of its entry}
const charts = new Map(); // what is shown -> Chart
const samples = new Samples();
let session = null;
let asking = false;

async function ask() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const answer = await json("state");
    if (session !== null && answer.session !== session) {
      location.reload(); // another server, perhaps of other runs
      return;
    }
    session = answer.session;
    answer.runs.forEach(update);
    const behind = runs.filter((run) => run.data.isBehind(run.state));
    await Promise.all(behind.map((run) => run.data.fetch()));
    runs.forEach(drawEntry);
    samples.show(shownRuns().map(sampled));
    if (behind.length) drawCharts();
    tell(`read at ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    tell("no answer: t2ikit watch has ended, or cannot be reached; what is shown is what it last read", true);
  } finally {
    asking = false;
  }
}

function update(state, number) {
  if (!runs[number]) {
    const parts = makeEntry(number);
    runs[number] = { number, state, data: new RunData(number), hidden: false, parts };
  }
  runs[number].state = state;
  drawEntry(runs[number]);
}

const shownRuns = () => runs.filter((run) => !run.hidden);

function tell(text, lost = false) {
  const news = get("news");
  news.textContent = text;
  news.classList.toggle("lost", lost);
  news.setAttribute("aria-live", lost ? "polite" : "off"); // a clock is not read aloud
}

// The entry of a run: switch, colour, name, state, how far it is.
function makeEntry(number) {
  const make = (name, ...children) => {
    const element = document.createElement(name);
    element.append(...children);
    return element;
  };
  const box = make("input");
  box.type = "checkbox";
  box.checked = true;
  const name = make("span");
  const progress = make("progress");
  const facts = make("dl");
  const problem = make("p");
  problem.className = "problem";
  get("runs").append(make("li", make("label", box, swatch(number), name), progress, facts, problem));
  box.addEventListener("change", () => {
    runs[number].hidden = !box.checked;
    samples.show(shownRuns().map(sampled));
    drawCharts();
  });
  return { name, progress, facts, problem };
}

function swatch(number) {
  const sign = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "line");
  for (const [key, value] of Object.entries({ x1: 0, x2: 26, y1: 6, y2: 6, "stroke-width": 3 })) {
    line.setAttribute(key, value);
  }
  line.setAttribute("stroke-dasharray", dashOf(number).join(" "));
  line.style.stroke = colourOf(number);
  sign.setAttribute("aria-hidden", "true");
  sign.append(line);
  return sign;
}

function drawEntry({ state, data, parts }) {
  const timed = state.minutes > 0 && state.state !== "done";
  const minutes = data.last("minutes") ?? 0;
  const [done, all] = timed ? [minutes, state.minutes] : [state.step, state.steps];
  parts.name.textContent = state.label;
  parts.progress.max = all || 1;
  parts.progress.value = Math.min(done, all || 1);
  parts.progress.setAttribute("aria-label", `progress of ${state.label}`);
  const number = (value) => value.toLocaleString("en");
  const step = timed ? `${number(state.step)}, ${minutes.toFixed(1)} of ${state.minutes} min`
    : `${number(state.step)} of ${number(state.steps)}`;
  const facts = [["", state.state, state.state], ["step", step]];
  if (data.last("images_per_second") !== undefined) facts.push(["images/s", short(data.last("images_per_second"))]);
  if (data.last("memory_mb") !== undefined) facts.push(["memory", `${short(data.last("memory_mb"))} MB`]);
  parts.facts.replaceChildren(...facts.map(fact));
  const damaged = state.damaged ? `${state.damaged} damaged line${state.damaged > 1 ? "s" : ""} in log.jsonl left out` : "";
  parts.problem.textContent = [state.problem, damaged].filter(Boolean).join("; ");
  parts.problem.hidden = !parts.problem.textContent;
}

function fact([name, value, kind]) {
  const pair = document.createElement("div");
  const [term, text] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name || "state";
  text.textContent = value;
  if (kind) text.className = kind;
  pair.append(term, text);
  return pair;
}

const sampled = (run) => ({
  number: run.number, label: run.state.label, colour: colourOf(run.number), grids: run.state.grids,
});

// What a key is shown with: the loss NAME with its validation.
function groupOf(key) {
  const [kind, name] = [key.split("/", 1)[0], key.split("/").slice(1).join("/")];
  if (kind === "loss" || kind === "validation") return { id: `loss/${name}`, kind: "loss", title: `loss: ${name}`, log: true };
  if (kind === "grad_norm") return { id: key, kind, title: `gradient norm: ${name}`, log: true };
  if (kind === "lr") return { id: key, kind, title: `learning rate: ${name}`, log: false };
  return { id: key, kind: key, title: Object.hasOwn(TITLES, key) ? TITLES[key] : key, log: false };
}

function drawCharts() {
  const options = { logarithmic: get("logarithmic").checked, decay: Number(get("smoothing").value) };
  const groups = new Map();
  for (const run of shownRuns()) {
    for (const [key, held] of run.data.series) {
      if (UNSHOWN.has(key)) continue;
      const group = groupOf(key);
      if (!groups.has(group.id)) groups.set(group.id, { ...group, lines: [] });
      const line = { run: run.number, label: run.state.label, held, validation: key.startsWith("validation/") };
      groups.get(group.id).lines.push(line);
    }
  }
  get("empty").hidden = groups.size > 0;
  const rank = ({ kind }) => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);
  const wanted = [...groups.values()].sort((a, b) => rank(a) - rank(b));
  for (const [id, chart] of charts) chart.element.hidden = !groups.has(id);
  wanted.forEach(({ id, kind, title, log, lines }, place) => {
    if (!charts.has(id)) charts.set(id, new Chart(title, log, kind === "lr" || kind === "memory_mb"));
    const chart = charts.get(id);
    const there = get("charts").children[place];
    if (there !== chart.element) get("charts").insertBefore(chart.element, there ?? null);
    chart.show(lines, options);
  });
}

function smoothingChanged() {
  get("smoothing-shown").textContent = Number(get("smoothing").value).toFixed(2);
  drawCharts();
}

get("logarithmic").addEventListener("change", drawCharts);
get("smoothing").addEventListener("input", smoothingChanged);
get("smoothing-shown").textContent = Number(get("smoothing").value).toFixed(2);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
document.addEventListener("visibilitychange", ask);
setInterval(ask, PAUSE);
ask();
