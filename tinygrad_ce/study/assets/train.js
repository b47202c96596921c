
// ---- Train: softmax regression, or one hidden layer before it, by gradient descent on points of a plane.

const { classes, starts, places } = pageData; // how many classes; first weights by hidden units; points by preset

const ACTIVATIONS = {
  tanh: { of: Math.tanh, slope: (z, h) => 1 - h * h },
  relu: { of: (z) => Math.max(z, 0), slope: (z) => (z > 0 ? 1 : 0) },
};
const lesson = { points: [], chosen: 0, layers: [], step: 0, from: 0, losses: [], entry: [0, 0, 0], timer: null };

const setting = (name) => byId(`train-${name}`).value;
const hiddenUnits = () => (setting("model") === "softmax" ? 0 : Number(setting("units")));
const sumOf = (values) => values.reduce((sum, v) => sum + v, 0);
const affine = ({ weight, bias }, x) => weight.map((row, k) => sumOf(row.map((w, j) => w * x[j])) + bias[k]);

const isTop = (layer) => layer === lesson.layers.length - 1;

/** From a place to the logits, by way of the hidden layer if there is one: z before its activation, h after it. */
function forward(x) {
  const rule = ACTIVATIONS[setting("model")];
  const z = rule ? affine(lesson.layers[0], x) : [];
  const h = rule ? z.map(rule.of) : x;
  return { z, h, rule, logits: affine(lesson.layers.at(-1), h) };
}

/** All that one point makes of the weights: forward to its probabilities and loss, and back to the hidden layer. */
function passOf({ x, label }) {
  const { z, h, rule, logits } = forward(x);
  const { p, loss, slope } = leaveTargetOut(logits, label, exact);
  const top = lesson.layers.at(-1);
  const delta = p.map((v, c) => (c === label ? slope : v)); // p - onehot
  const chains = z.map((_, u) => delta.map((d, c) => d * top.weight[c][u]));
  return { x, h, label, p, loss, delta, chains, slopes: z.map((v, u) => rule.slope(v, h[u])) };
}

/** The factors of a point's term in the gradient of a weight; of a bias, which stands after a row's weights, but the last. */
function factorsOf(pass, [layer, row, column]) {
  const input = layer ? pass.h : pass.x;
  const before = isTop(layer) ? [pass.delta[row]] : [sumOf(pass.chains[row]), pass.slopes[row]];
  return column < input.length ? [...before, input[column]] : before;
}

const termOf = (pass, entry) => factorsOf(pass, entry).reduce((product, v) => product * v, 1);

/** The gradient of the batch's mean loss in one weight or bias. */
const gradientOf = (passes, entry) => sumOf(passes.map((pass) => termOf(pass, entry))) / passes.length;

/** Another set of layers: what a function makes of each weight and bias and its entry [layer, row, column]. */
const mapLayers = (change) => lesson.layers.map(({ weight, bias }, layer) => ({
  weight: weight.map((weights, row) => weights.map((w, column) => change(w, [layer, row, column]))),
  bias: bias.map((b, row) => change(b, [layer, row, weight[row].length])),
}));

/** The points of the next step: all, or the next few in their order. */
function batch() {
  const size = Number(setting("batch")) || lesson.points.length;
  return lesson.points.slice(lesson.from, lesson.from + size);
}

const lossNow = () => sumOf(lesson.points.map((point) => passOf(point).loss)) / lesson.points.length;

/** One step of gradient descent: w − rate · gradient, for every weight and bias. */
function takeStep() {
  const [points, rate] = [batch(), Number(setting("rate"))];
  if (!points.length || !Number.isFinite(lesson.losses.at(-1))) return;
  const passes = points.map(passOf);
  lesson.layers = mapLayers((w, entry) => w - rate * gradientOf(passes, entry));
  lesson.step += 1;
  lesson.from = lesson.from + points.length < lesson.points.length ? lesson.from + points.length : 0;
  lesson.losses.push(lossNow());
}

/** Steps until every point has had its turn. */
function takeEpoch() {
  do takeStep(); while (lesson.from > 0 && Number.isFinite(lesson.losses.at(-1)));
}

/** Begin again, with the engine's first weights. */
function resetTraining() {
  stopTraining();
  lesson.layers = starts[hiddenUnits()];
  const entries = lesson.layers[lesson.entry[0]]?.weight[lesson.entry[1]];
  if (!entries || lesson.entry[2] > entries.length) lesson.entry = [0, 0, 0];
  Object.assign(lesson, { step: 0, from: 0, losses: [lossNow()] });
}

// ---- The points.

const REACH = 2; // of the plane, from 0
const SIDE = 400; // of its drawing
const MOST_POINTS = 40;
const MARKS = ["M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0z", "M-6.5 -6.5h13v13h-13z", "M0 -8.5l8.5 14.5h-17z"];
const onPlane = (v) => Math.max(-REACH, Math.min(REACH, Math.round(v * 100) / 100));
const paintedClass = () => Number(document.querySelector("[name=train-class]:checked").value);

/** After a change of the points: the curve goes on from the loss that they have now. */
function pointsChanged() {
  lesson.chosen = Math.max(0, Math.min(lesson.chosen, lesson.points.length - 1));
  lesson.from = 0;
  lesson.losses[lesson.losses.length - 1] = lossNow();
  changeTraining();
}

function addPoint(x) {
  if (lesson.points.length === MOST_POINTS) return;
  lesson.points.push({ x: x.map(onPlane), label: paintedClass() });
  lesson.chosen = lesson.points.length - 1;
  pointsChanged();
}

function removePoint() {
  lesson.points.splice(lesson.chosen, 1);
  pointsChanged();
}

function movePoint(x) {
  lesson.points[lesson.chosen].x = x.map(onPlane);
  pointsChanged();
}

function choosePoint(k) {
  lesson.chosen = (k + lesson.points.length) % lesson.points.length;
  drawPoints();
  byId("train-plane").querySelector("[tabindex='0']").focus();
}

/** What a key does to the chosen point; whether it does anything. */
function pointKey(key) {
  const [right, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key] ?? [];
  const point = lesson.points[lesson.chosen];
  if (right !== undefined) movePoint([point.x[0] + right * 0.05, point.x[1] + up * 0.05]);
  else if (key === "Delete" || key === "Backspace") removePoint();
  else if (key === "PageDown") choosePoint(lesson.chosen + 1);
  else if (key === "PageUp") choosePoint(lesson.chosen - 1);
  else if (Number(key) < classes && key !== " ") {
    point.label = Number(key);
    pointsChanged();
  } else return false;
  if (lesson.points.length) choosePoint(lesson.chosen);
  return true;
}

/** Where on the plane the pointer is. */
function atPlane({ clientX, clientY }) {
  const box = byId("train-plane").getBoundingClientRect();
  return [(clientX - box.left) / box.width, 1 - (clientY - box.top) / box.height].map((v) => (2 * v - 1) * REACH);
}

// ---- Drawings.

/** Points are kept while they move: what is dragged or has the focus must stay. */
function drawPoints() {
  const group = byId("train-points");
  while (group.children.length > lesson.points.length) group.lastChild.remove();
  while (group.children.length < lesson.points.length) {
    group.append(shape("g", { role: "button" }, shape("circle", { r: 16, class: "reach" }), shape("path")));
  }
  lesson.points.forEach(({ x, label }, k) => {
    const [left, top] = [x[0] + REACH, REACH - x[1]].map((v) => (v * SIDE) / (2 * REACH));
    const chosen = k === lesson.chosen;
    fill(group.children[k], {
      class: `point class-${label}`, "data-point": k, transform: `translate(${left} ${top})`, tabindex: chosen ? 0 : -1,
      "aria-pressed": chosen, "aria-label": say("point-name", { k, i: label, x0: show(x[0], 3), x1: show(x[1], 3) }),
    }, []);
    group.children[k].lastChild.setAttribute("d", MARKS[label]);
  });
}

/** The class that is likeliest at every place of the plane; the fuller its colour, the surer. */
function drawRegions() {
  const [cells, canvas] = [64, byId("train-regions")];
  const style = getComputedStyle(document.documentElement);
  const colours = Array.from({ length: classes }, (_, i) => [1, 3, 5]
    .map((at) => parseInt(style.getPropertyValue(`--class-${i}`).trim().slice(at, at + 2), 16)));
  const [picture, shares] = [new ImageData(cells, cells), colours.map(() => 0)];
  for (let k = 0; k < cells * cells; k += 1) {
    const x = [(k % cells) + 0.5, cells - Math.floor(k / cells) - 0.5].map((v) => ((2 * v) / cells - 1) * REACH);
    const { p } = divideBySumShifted(forward(x).logits, 0, exact);
    const sure = Math.max(...p);
    const best = Math.max(0, p.indexOf(sure));
    shares[best] += 1;
    picture.data.set([...colours[best], 20 + 90 * (sure || 0)], 4 * k);
  }
  Object.assign(canvas, { width: cells, height: cells });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.ariaLabel = say("regions", { values: shares.map((n, i) => say("region", { i, share: Math.round((100 * n) / cells ** 2) })).join("; ") });
}

function drawLosses() {
  const [svg, all] = [byId("train-losses"), lesson.losses];
  const [width, left, top, bottom] = [Math.max(svg.clientWidth, 220), 56, 8, 120];
  const last = Math.max(1, all.length - 1);
  const every = Math.ceil(all.length / 300);
  const shown = all.map((v, k) => [k, v]).filter(([k, v]) => Number.isFinite(v) && (k % every === 0 || k === all.length - 1));
  const most = roundUp(Math.max(1e-3, ...shown.map(([, v]) => v)));
  const at = ([k, v]) => `${left + ((width - left - 8) * k) / last},${bottom - ((bottom - top) * v) / most}`;
  const tick = (x, y, text) => shape("text", { x, y, "text-anchor": "end", class: "quiet" }, text);
  fill(svg, { height: bottom + 20, "aria-label": say("losses", { step: lesson.step, first: show(all[0], 4), last: show(all.at(-1), 4) }) }, []);
  svg.replaceChildren(
    shape("line", { x1: left, x2: width - 8, y1: bottom, y2: bottom }), shape("line", { x1: left, x2: left, y1: top, y2: bottom }),
    shape("polyline", { points: shown.map(at).join(" "), class: "curve" }),
    tick(left - 6, top + 6, show(most)), tick(left - 6, bottom, "0"), tick(width - 8, bottom + 16, say("step-number", { step: last })),
  );
}

// ---- The gradient: a table for each layer, and where the chosen entry comes from.

const below = (k) => [...String(k)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");
const layerName = (letter, layer) => letter + (lesson.layers.length > 1 ? below(layer + 1) : "");
const inputName = (layer, j) => (layer ? "h" : "x") + below(j);
const widthOf = (layer) => lesson.layers[layer].weight[0].length;
const weightOf = ([layer, row, column]) => lesson.layers[layer].weight[row][column] ?? lesson.layers[layer].bias[row];

function entryName([layer, row, column]) {
  return column < widthOf(layer) ? `${layerName("W", layer)}[${row}, ${column}]` : `${layerName("b", layer)}[${row}]`;
}

/** The tables, made anew only when the model is another: a button keeps its focus from step to step. */
function buildGradient() {
  const table = ({ weight }, layer) => {
    const heads = [...weight[0].map((_, j) => inputName(layer, j)), "1"];
    const cell = (_, row, column) => element("td", {}, element("button", { type: "button", "data-entry": [layer, row, column] }),
      element("span", { class: "quiet" }));
    return element("div", { class: "scroll" }, element("table", { class: "entries" },
      element("caption", {}, `${layerName("W", layer)}, ${layerName("b", layer)}`),
      element("thead", {}, element("tr", {}, element("td"), ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...weight.map((_, row) => element("tr", {},
        element("th", { scope: "row" }, say(isTop(layer) ? "class" : "unit", { i: row })), ...heads.map((head, column) => cell(head, row, column)))))));
  };
  byId("train-gradient").replaceChildren(...lesson.layers.map(table));
}

function showGradient(passes) {
  const buttons = [...byId("train-gradient").querySelectorAll("button")];
  if (buttons.length !== sumOf(lesson.layers.map(({ weight, bias }) => weight.flat().length + bias.length))) {
    buildGradient();
    return showGradient(passes);
  }
  for (const button of buttons) {
    const entry = button.dataset.entry.split(",").map(Number);
    put(button, passes.length ? gradientOf(passes, entry) : 0, 4);
    button.ariaLabel = `∂/∂${entryName(entry)} = ${button.textContent}`;
    button.ariaPressed = String(entry) === String(lesson.entry);
    put(button.nextSibling, weightOf(entry), 4);
  }
  showTerms(passes, lesson.entry);
}

/** The factors of an entry, one by one: how each is called, and what it is for a point. */
function columnsOf([layer, row, column]) {
  const error = (c) => `(p${below(c)} − onehot${below(c)})`;
  const input = column < widthOf(layer) ? [[`· ${inputName(layer, column)}`, (pass) => (layer ? pass.h : pass.x)[column]]] : [];
  if (isTop(layer)) return [[error(row), (pass) => pass.delta[row]], ...input];
  const chain = lesson.layers[1].bias.map((_, c) => [`${error(c)} · W₂[${c}, ${row}]`, (pass) => pass.chains[row][c]]);
  const rest = [["= Σ", (pass) => sumOf(pass.chains[row])], [`· ${setting("model")}′(z${below(row)})`, (pass) => pass.slopes[row]]];
  return [...chain, ...rest, ...input];
}

/** The arithmetic of an entry: a row for each point of the batch, their sum, the mean, and the step that follows. */
function showTerms(passes, entry) {
  const columns = columnsOf(entry);
  const cell = (value) => put(element("td"), value, 4);
  const rows = passes.map((pass, k) => element("tr", {},
    element("th", { scope: "row" }, say("term-of", { k: lesson.from + k, i: pass.label })),
    ...columns.map(([, of]) => cell(of(pass))), cell(termOf(pass, entry))));
  const total = (name, value) => element("tr", {}, element("th", { scope: "row", colspan: columns.length + 1 }, name), cell(value));
  const [sum, name, rate, w] = [sumOf(passes.map((pass) => termOf(pass, entry))), entryName(entry), setting("rate"), weightOf(entry)];
  const gradient = passes.length ? sum / passes.length : 0;
  byId("train-entry").textContent = `∂/∂${name}`;
  byId("train-terms").replaceChildren(
    element("thead", {}, element("tr", {}, ...[say("point"), ...columns.map(([head]) => head), `= ${say("term")}`]
      .map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows),
    element("tfoot", {}, total(say("sum"), sum), total(say("mean", { n: passes.length }), gradient)),
  );
  byId("train-next").textContent = `${name} ← ${show(w, 4)} − ${rate} · (${show(gradient, 4)}) = ${show(w - rate * gradient, 4)}`;
}

// ---- After a control: everything drawn anew.

function trainingNow() {
  const right = lesson.points.filter((point) => {
    const { p, label } = passOf(point);
    return p[label] === Math.max(...p);
  }).length;
  return say("train-now", { step: lesson.step, loss: show(lesson.losses.at(-1), 4), right, n: lesson.points.length });
}

function drawTraining() {
  const [empty, diverged] = [!lesson.points.length, lesson.points.length && !Number.isFinite(lesson.losses.at(-1))];
  byId("train-now").textContent = empty ? say("no-points") : trainingNow();
  byId("train-now").dataset.value = lesson.losses.at(-1);
  byId("train-complaint").hidden = !diverged;
  byId("train-complaint").textContent = diverged ? say("diverged") : "";
  for (const name of ["step", "epoch", "run"]) byId(`train-${name}`).disabled = empty || diverged;
  byId("train-remove").disabled = empty;
  byId("train-add").disabled = lesson.points.length === MOST_POINTS;
  byId("train-units").disabled = setting("model") === "softmax";
  [drawPoints, drawRegions, drawLosses].forEach((draw) => draw());
  showGradient(batch().map(passOf));
}

function changeTraining() {
  drawTraining();
  atRest(() => announce(byId("train-now").textContent));
}

function stopTraining() {
  clearTimeout(lesson.timer);
  lesson.timer = null;
  byId("train-run").textContent = say("run");
}

function runTraining() {
  takeEpoch();
  changeTraining();
  if (byId("train-run").disabled) return stopTraining();
  byId("train-run").textContent = say("pause");
  lesson.timer = setTimeout(runTraining, 40);
}

function place(name) {
  lesson.points = places[name].map(([x0, x1, label]) => ({ x: [x0, x1], label }));
  lesson.chosen = 0;
  resetTraining();
}

// ---- The tabs: one for each part, and the part that the address names.

const tabs = [...document.querySelectorAll("[role=tab]")];

function showTab(chosen) {
  stopTraining();
  for (const tab of tabs) {
    fill(tab, { "aria-selected": tab === chosen, tabindex: tab === chosen ? 0 : -1 }, []);
    byId(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
  if (chosen.id === "tab-train") drawTraining();
  else update();
}

const tabOf = (hash) => byId(hash === "#train" ? "tab-train" : "tab-row");

for (const tab of tabs) {
  tab.addEventListener("click", () => {
    clearTimeout(atRest.timer); // of the other part, which would write its own address
    showTab(tab);
    if (location.protocol !== "about:") history.replaceState(null, "", tab.id === "tab-train" ? "#train" : link());
  });
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next?.focus();
    next?.click();
  });
}

// ---- Wiring.

const ACTIONS = {
  step: () => { takeStep(); changeTraining(); },
  epoch: () => { takeEpoch(); changeTraining(); },
  reset: () => { resetTraining(); changeTraining(); },
  add: () => { addPoint([0, 0]); choosePoint(lesson.chosen); },
  remove: removePoint,
};
for (const [name, action] of Object.entries(ACTIONS)) byId(`train-${name}`).addEventListener("click", action);
byId("train-run").addEventListener("click", () => (lesson.timer === null ? runTraining() : stopTraining()));
for (const name of ["model", "units"]) byId(`train-${name}`).addEventListener("change", ACTIONS.reset);
for (const name of ["rate", "batch"]) {
  byId(`train-${name}`).addEventListener("change", () => { lesson.from = 0; changeTraining(); });
}
for (const button of document.querySelectorAll("[data-place]")) {
  button.addEventListener("click", () => { place(button.dataset.place); changeTraining(); });
}
byId("train-gradient").addEventListener("click", (event) => {
  const button = event.target.closest("[data-entry]");
  if (!button) return;
  lesson.entry = button.dataset.entry.split(",").map(Number);
  drawTraining();
  announce(byId("train-next").textContent);
});
byId("train-plane").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !event.target.closest("[data-point]")) return;
  if (pointKey(event.key)) event.preventDefault();
});
byId("train-plane").addEventListener("pointerdown", (event) => {
  const point = event.target.closest("[data-point]");
  if (!point) return;
  point.setPointerCapture(event.pointerId);
  choosePoint(Number(point.dataset.point));
  event.preventDefault();
});
byId("train-plane").addEventListener("pointermove", (event) => {
  const point = event.target.closest("[data-point]");
  if (point?.hasPointerCapture(event.pointerId)) movePoint(atPlane(event));
});
byId("train-plane").addEventListener("click", (event) => {
  if (!event.target.closest("[data-point]")) addPoint(atPlane(event));
});
addEventListener("hashchange", ({ newURL }) => {
  const tab = tabOf(new URL(newURL).hash);
  if (tab.ariaSelected !== "true") showTab(tab);
});
addEventListener("resize", () => { if (!byId("panel-train").hidden) drawTraining(); });
byId("theme").addEventListener("click", drawTraining); // the colours of the regions are the theme's
byId("train-units").append(...Object.keys(starts).filter(Number).map((units) => element("option", {}, units)));
byId("train-units").value = 4;
byId("train-classes").append(...MARKS.map((mark, i) => element("label", {},
  element("input", { type: "radio", name: "train-class", value: i, "aria-label": say("class", { i }), ...(i ? {} : { checked: "" }) }),
  say("class", { i }),
  shape("svg", { viewBox: "-10 -10 20 20", class: `point class-${i}`, "aria-hidden": true }, shape("path", { d: mark })))));
place("groups");
showTab(tabOf(location.hash));
