// Asks for the state once a second and draws it. What comes from the cluster becomes text, never HTML.
"use strict";

const POLL_MS = 1000;
const TIMEOUT_MS = 3000;
const SILENT_SECONDS = 5; // after so long without a word a process is marked
const SPAN_SECONDS = 300;
const GAP_SECONDS = 3; // a line is not drawn over what nobody has seen
const COLOURS = 6;
const MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

// What a sample holds, by its place.
const [AT, CONNECTIONS, IN, OUT, P50, P99] = [0, 1, 2, 3, 4, 5];

const PLOTS = {
  connections: [{ name: "open", at: CONNECTIONS, show: whole }],
  rates: [{ name: "in", at: IN, show: rate }, { name: "out", at: OUT, show: rate }],
  latency: [{ name: "p50", at: P50, show: ms }, { name: "p99", at: P99, show: ms }],
};

const byId = (id) => document.getElementById(id);
const cursors = new Map(); // by plot: how many seconds ago the reader looks
let shown = null; // the last good state
let since = Date.now(); // when the last good state came

// ---- words -------------------------------------------------------------------------------------

function whole(value) { return Math.round(value).toLocaleString("en"); }
function rate(value) { return value < 10 && value % 1 ? value.toFixed(1) : whole(value); }

function ms(value) {
  if (value === 0) return "–"; // no command was answered
  return value >= 100 ? whole(value) : value.toPrecision(3);
}

function clock(moment) { return new Date(moment).toLocaleTimeString("en-GB"); }
function sum(list, field) { return list.reduce((total, one) => total + one[field], 0); }

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// ---- tables ------------------------------------------------------------------------------------

function standing(process) {
  if (process.silent_seconds > SILENT_SECONDS) {
    return element("td", `silent ${whole(process.silent_seconds)} s`, "bad");
  }
  return process.draining ? element("td", "draining", "warn") : element("td", "up", "good");
}

function fill(body, rows, columns) {
  if (!rows.length) {
    const none = element("td", "none", "none");
    none.colSpan = columns;
    rows = [[none]];
  }
  body.replaceChildren(...rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((cell) => (cell instanceof Node ? cell : element("td", cell))));
    return row;
  }));
}

function showGateways(gateways) {
  fill(document.querySelector("#gateways tbody"), gateways.map((one) => [
    one.node, standing(one), whole(one.connections), rate(one.taken_rate), rate(one.given_rate),
    ms(one.p50_ms), ms(one.p99_ms), one.release,
  ]), 8);
}

function unowned(service, state) {
  const served = new Set(state.replicas.filter((one) => one.service === service).flatMap((one) => one.serves));
  return state.partitions - served.size;
}

function showReplicas(service, state) {
  const section = document.querySelector(`[data-service="${service}"]`);
  const replicas = state.replicas.filter((one) => one.service === service);
  const owners = new Map();
  fill(section.querySelector("tbody"), replicas.map((one, number) => {
    const mark = MARKS[number % MARKS.length];
    const kind = `owner-${number % COLOURS}`;
    for (const partition of one.serves) owners.set(partition, { mark, kind, node: one.node });
    const name = element("td");
    name.append(element("span", mark, `mark ${kind}`), one.node);
    return [name, standing(one), whole(one.serves.length), whole(one.stands_by), rate(one.rate), one.release];
  }), 6);
  const missing = unowned(service, state);
  const note = section.querySelector("small");
  note.textContent = missing
    ? `${missing} of ${state.partitions} partitions without an owner`
    : `${state.partitions} partitions, all served`;
  note.className = missing ? "bad" : "";
  section.querySelector(".map").replaceChildren(...Array.from({ length: state.partitions }, (_, partition) => {
    const owner = owners.get(partition);
    const cell = element("li", String(partition), owner ? owner.kind : "unowned");
    cell.append(element("b", owner ? owner.mark : "✕"));
    cell.title = `partition ${partition}: ${owner ? owner.node : "nobody serves it"}`;
    return cell;
  }));
}

function showTotals(state) {
  const slowest = (field) => ms(Math.max(0, ...state.gateways.map((one) => one[field])));
  const missing = unowned("router", state) + unowned("presence", state);
  const totals = [
    ["Connections", whole(sum(state.gateways, "connections"))],
    ["In/s", rate(sum(state.gateways, "taken_rate"))],
    ["Out/s", rate(sum(state.gateways, "given_rate"))],
    ["p50 ms", slowest("p50_ms")],
    ["p99 ms", slowest("p99_ms")],
    ["Processes", whole(state.gateways.length + state.replicas.length)],
    ["Unowned", whole(missing), missing ? "bad" : ""],
  ];
  byId("totals").replaceChildren(...totals.map(([name, value, kind]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value, kind));
    return pair;
  }));
}

// ---- plots -------------------------------------------------------------------------------------

function drawn(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// The next of 1, 2, 5, 10, 20, 50 ...
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function path(samples, series, x, y) {
  let last = -Infinity;
  return samples.map((one) => {
    const pen = one[AT] - last > GAP_SECONDS ? "M" : "L";
    last = one[AT];
    return `${pen}${x(one[AT]).toFixed(1)} ${y(one[series.at]).toFixed(1)}`;
  }).join("");
}

function showPlot(figure, state) {
  const svg = figure.querySelector("svg");
  const lines = PLOTS[figure.dataset.plot];
  const { clientWidth: width, clientHeight: height } = svg;
  const [left, right, top, bottom] = [38, 4, 8, 18];
  const most = ceiling(Math.max(...state.past.flatMap((one) => lines.map((line) => one[line.at])), 1));
  const x = (at) => width - right - ((state.now - at) / SPAN_SECONDS) * (width - left - right);
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const parts = [0, most / 2, most].flatMap((value) => [
    drawn("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, rate(value)),
  ]);
  for (const [minutes, anchor] of [[5, "start"], [4, "middle"], [3, "middle"], [2, "middle"], [1, "middle"], [0, "end"]]) {
    const label = minutes === 0 ? "now" : minutes === 5 ? "−5 min" : `−${minutes}`;
    parts.push(drawn("text", { x: x(state.now - 60 * minutes), y: height - 4, "text-anchor": anchor }, label));
  }
  lines.forEach((line, number) => parts.push(
    drawn("path", { class: number ? "second" : "first", d: path(state.past, line, x, y) }),
  ));
  const ago = cursors.get(figure.dataset.plot);
  const sample = ago === undefined ? state.past.at(-1) : nearest(state.past, state.now - ago);
  if (ago !== undefined && sample) {
    parts.push(drawn("line", { class: "cursor", x1: x(sample[AT]), x2: x(sample[AT]), y1: top, y2: height - bottom }));
  }
  svg.replaceChildren(...parts);
  showKey(figure, lines, sample, ago === undefined || !sample ? "" : `${whole(state.now - sample[AT])} s ago`);
}

function nearest(samples, at) {
  return samples.reduce((best, one) => (best && Math.abs(best[AT] - at) <= Math.abs(one[AT] - at) ? best : one), null);
}

function showKey(figure, lines, sample, when) {
  const key = figure.querySelector(".key");
  const values = lines.map((line) => [line.name, sample ? line.show(sample[line.at]) : "–"]);
  key.replaceChildren(when, ...values.flatMap(([name, value], number) => [
    element("i", "", number ? "second" : ""), name, element("b", value),
  ]));
  const title = figure.querySelector("h2").textContent;
  const told = values.map((pair) => pair.join(" ")).join(", ");
  figure.querySelector("svg").setAttribute("aria-label", `${title}, ${when || "now"}: ${told}. Arrow keys go back and forth.`);
}

function lookAt(figure, ago) {
  if (ago === undefined) cursors.delete(figure.dataset.plot);
  else cursors.set(figure.dataset.plot, Math.min(SPAN_SECONDS, Math.max(0, ago)));
  if (shown) showPlot(figure, shown);
}

function follow(figure) {
  const svg = figure.querySelector("svg");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: 5, ArrowRight: -5 }[event.key];
    if (event.key === "Escape") lookAt(figure, undefined);
    if (!step) return;
    event.preventDefault();
    lookAt(figure, (cursors.get(figure.dataset.plot) ?? 0) + step);
  });
  svg.addEventListener("blur", () => lookAt(figure, undefined));
  svg.addEventListener("pointermove", (event) => {
    const { left, width } = svg.getBoundingClientRect();
    lookAt(figure, ((width - 4 - (event.clientX - left)) / (width - 42)) * SPAN_SECONDS);
  });
  svg.addEventListener("pointerleave", () => lookAt(figure, undefined));
}

// ---- the whole ---------------------------------------------------------------------------------

const figures = [...document.querySelectorAll("figure")];

function show(state) {
  showTotals(state);
  showGateways(state.gateways);
  showReplicas("router", state);
  showReplicas("presence", state);
  for (const figure of figures) showPlot(figure, state);
}

function complain(text) {
  const trouble = byId("trouble");
  if (trouble.textContent !== text) trouble.textContent = text; // or it would be read out each second
  trouble.hidden = !text;
  byId("main").className = text ? "old" : "";
}

async function look() {
  if (byId("pause").getAttribute("aria-pressed") === "true") return;
  let state;
  try {
    const answer = await fetch("dashboard/state", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(answer.statusText);
    state = await answer.json();
  } catch {
    complain(`This gateway does not answer. What is shown is of ${clock(since)}.`);
    return;
  }
  byId("source").textContent = `as ${state.node} hears it`;
  if (state.heard) {
    [shown, since] = [state, Date.now()];
    complain("");
    show(state);
  } else if (shown || Date.now() - since > TIMEOUT_MS) {
    const what = shown ? ` What is shown is of ${clock(since)}.` : "";
    complain(`The gateway hears nothing of the cluster: RabbitMQ cannot be reached.${what}`);
  }
}

async function poll() {
  await look();
  setTimeout(poll, POLL_MS);
}

byId("pause").addEventListener("click", () => {
  const pause = byId("pause");
  pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
});
figures.forEach(follow);
new ResizeObserver(() => { if (shown) for (const figure of figures) showPlot(figure, shown); }).observe(document.body);
poll();
