// What the runs have logged, fetched in parts: a run's points grow, and begin anew where its log was cut.

export const MOST = 3000; // points of a key held here; beyond it, few points in place of all are fetched

export class RunData {
  constructor(number) {
    this.number = number;
    this.forget();
  }

  forget() {
    this.generation = -1;
    this.rows = 0;
    this.series = new Map(); // key -> {step, mean, low, high, each, lost}: lists of equal length, and a count
  }

  isBehind(state) {
    return state.generation !== this.generation || state.rows !== this.rows;
  }

  async fetch() {
    const full = [...this.series.values()].some((one) => one.step.length > MOST);
    const row = full ? 0 : this.rows;
    const got = await json(`log/${this.number}?generation=${this.generation}&row=${row}`);
    if (got.from === 0) this.series = new Map();
    for (const [key, points] of Object.entries(got.series)) this.append(key, points);
    this.generation = got.generation;
    this.rows = got.rows;
  }

  append(key, points) {
    if (!this.series.has(key)) this.series.set(key, { step: [], mean: [], low: [], high: [], each: [], lost: 0 });
    const held = this.series.get(key);
    held.lost += points.lost;
    points.step.forEach((step, at) => {
      held.step.push(step);
      held.mean.push(points.mean[at]);
      held.low.push((points.low ?? points.mean)[at]);
      held.high.push((points.high ?? points.mean)[at]);
      held.each.push(points.each);
    });
  }

  last(key) {
    const held = this.series.get(key);
    return held ? held.mean[held.mean.length - 1] : undefined;
  }
}

export class Unreachable extends Error {}

export async function json(path) {
  try {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(30000) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return await answer.json();
  } catch (error) {
    throw new Unreachable(String(error));
  }
}

// Exponential moving average, corrected for its start; a point that stands for several values counts as these.
export function smoothed(values, each, decay) {
  let average = 0;
  let weight = 0;
  return values.map((value, at) => {
    if (value === null) return null;
    const kept = decay ** each[at];
    average = kept * average + (1 - kept) * value;
    weight = kept * weight + (1 - kept);
    return average / weight;
  });
}

// Where `step` is in an ascending list, or the place before it; -1: all are later.
export function placeOf(steps, step) {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
