
// ---- The mathematics: softmax, cross-entropy and its gradient, in 64 bits and in 32.

const exact = (value) => value;
const inFloat32 = Math.fround;

/** exp(v) / Σ exp(v) and what follows from it, each operation rounded as given. */
function divideBySum(exponents, target, round) {
  const e = exponents.map((v) => round(Math.exp(v)));
  const sum = e.reduce((total, v) => round(total + v), 0);
  const p = e.map((v) => round(v / sum));
  return { exponents, e, sum, p, loss: -round(Math.log(p[target])), slope: round(p[target] - 1) };
}

/** The textbook's cure: exponents of at most 0 can't overflow. */
function divideBySumShifted(z, target, round) {
  const largest = Math.max(...z);
  return divideBySum(z.map((v) => round(v - largest)), target, round);
}

/** The target's own term stays out of the sum s: s is the whole difference between p_t and 1, and keeps its digits. */
function leaveTargetOut(z, target, round) {
  const largest = Math.max(...z);
  const exponents = z.map((v) => round(v - largest));
  const e = exponents.map((v) => round(Math.exp(v)));
  const sum = e.reduce((total, v, j) => (j === target ? total : round(total + v)), 0);
  const all = round(sum + e[target]);
  const near = e[target] >= 0.5;
  const loss = near
    ? round(Math.log1p(round(sum / e[target])))
    : round(round(Math.log(all)) + round(largest - z[target]));
  return { exponents, e, sum, p: e.map((v) => round(v / all)), loss, slope: -round(sum / all), near };
}

/** All that the page shows of one row of logits, in 64 bits. */
function figures({ logits, temperature, target }) {
  const z = logits.map((x) => x / temperature);
  const { p, loss, slope } = leaveTargetOut(z, target, exact);
  const surprise = z.map((_, i) => leaveTargetOut(z, i, exact).loss); // -log p, also where p rounds to 1 or to 0
  const entropy = p.reduce((total, v, i) => total + v * surprise[i], 0);
  return { z, p, loss, surprise, entropy, gradient: p.map((v, i) => (i === target ? slope : v)) };
}

// ---- The state: what the controls set, and what a link can carry.

const LIMIT = 1e6; // of a logit
const state = { logits: [1.5, 0.8, -0.2], target: 0, temperature: 1, reach: 10 };

/** Set what a query string such as "x=1.5,0.8&t=0&T=1" names; false, and nothing changes, where it makes no sense. */
function set(query) {
  const given = new URLSearchParams(query);
  const numbers = (name, otherwise) => (given.has(name) ? given.get(name).split(",").map(parseFloat) : otherwise);
  const logits = numbers("x", state.logits);
  const [target] = numbers("t", [state.target]);
  const [temperature] = numbers("T", [state.temperature]);
  const valid = logits.length >= 2 && logits.length <= 6 && logits.every((x) => Math.abs(x) <= LIMIT)
    && target in logits && temperature >= 0.05 && temperature <= 20;
  if (valid) {
    Object.assign(state, { logits, target, temperature, reach: 10 });
    widen();
  }
  return valid;
}

const link = () => `#x=${state.logits.join(",")}&t=${state.target}&T=${state.temperature}`;

/** Let the sliders reach ±10, ±20, ±50, ±100 …: as far as the largest logit, and never less than before. */
function widen() {
  const largest = Math.max(...state.logits.map(Math.abs));
  for (const factor = [2, 2.5, 2]; state.reach < largest; factor.push(factor.shift())) state.reach *= factor[0];
}

// ---- The controls.

/** One row for each class: which is the target, a slider, a number. Made anew only when classes come or go. */
function buildControls() {
  byId("logits").replaceChildren(...state.logits.map((_, i) => {
    const radio = element("input", { type: "radio", name: "target", value: i, "aria-label": say("is-target", { i }) });
    const slider = element("input", { type: "range" });
    const number = element("input", { type: "number", step: 0.1 });
    nameInputs(say("logit", { i }), slider, number);
    radio.addEventListener("change", () => { state.target = i; change(); });
    slider.addEventListener("input", () => { state.logits[i] = slider.valueAsNumber; change(); });
    number.addEventListener("input", () => accept(number, -LIMIT, LIMIT, (x) => { state.logits[i] = x; widen(); }));
    return element("div", { class: "row" }, element("label", { class: "name" }, radio, say("class", { i })), slider, number);
  }));
}

/** What a slider and a field for the same number are called. */
function nameInputs(name, slider, number) {
  slider.ariaLabel = say("slider", { name });
  number.ariaLabel = say("number", { name });
  number.dataset.name = name;
}

/** Take a number that was typed. One that is out of bounds is complained of; half a number changes nothing yet. */
function accept(input, least, most, take) {
  const value = input.valueAsNumber;
  const outside = value < least || value > most;
  const { name } = input.dataset;
  complain(outside ? say("out-of-range", { name, least: show(least), most: show(most) }) : "");
  if (outside || Number.isNaN(value)) return;
  take(value);
  change();
}

function complain(text) {
  byId("complaint").textContent = text;
  byId("complaint").hidden = !text;
}

/** Write the state into the controls, but not into the one that is being typed into. */
function showControls() {
  const write = (input, value) => { if (input !== document.activeElement || input.type !== "number") input.value = value; };
  const rows = [...byId("logits").children];
  if (rows.length !== state.logits.length) {
    buildControls();
    return showControls();
  }
  rows.forEach((row, i) => {
    const [radio, slider, number] = row.querySelectorAll("input");
    radio.checked = i === state.target;
    Object.assign(slider, { min: -state.reach, max: state.reach, step: state.reach / 100 });
    write(slider, state.logits[i]);
    write(number, state.logits[i]);
  });
  const slider = byId("temperature-slider"); // from 1/20 to 20, with 1 in the middle
  write(slider, Math.log(state.temperature) / Math.log(20));
  slider.setAttribute("aria-valuetext", `T = ${state.temperature}`);
  write(byId("temperature"), state.temperature);
  byId("add").disabled = state.logits.length === 6;
  byId("remove").disabled = state.logits.length === 2;
}

// ---- What follows: numbers, charts, the three ways.

/** Put a number into an element: rounded for the eye, in full in data-value. */
function put(node, value, digits = 6) {
  node.dataset.value = value;
  node.textContent = show(value, digits);
  return node;
}

const figureOf = (name) => document.querySelector(`[data-figure="${name}"]`);

function showFigure(name, value) {
  put(figureOf(name), value);
}

function showNumbers(f) {
  byId("numbers").replaceChildren(...state.logits.map((x, i) => element(
    "tr", {},
    rowHeader(i),
    ...Object.entries({ x, z: f.z[i], p: f.p[i], surprise: f.surprise[i], gradient: f.gradient[i] })
      .map(([name, value]) => put(element("td", { "data-figure": name, "data-class": i }), value)),
  )));
}

const nameOf = (i) => say(i === state.target ? "target-name" : "class", { i });

function rowHeader(i) {
  const own = i === state.target;
  return element("th", { scope: "row", class: own ? "target" : "" }, own ? "▸ " : "", say("class", { i }));
}

/** 1, 2 or 5 times a power of ten: the least that is no smaller. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((k) => k * power).find((v) => v >= value);
}

/** Horizontal bars from 0, with names on the left and numbers on the right; outlines behind them where given. */
function drawBars(svg, caption, values, [least, most], outlines = []) {
  const [left, right, height] = [80, 88, 34];
  const width = Math.max(svg.clientWidth, 220);
  const at = (v) => left + ((width - left - right) * (v - least)) / (most - least);
  const bar = (v, y, thick, name) => shape("rect", {
    x: Math.min(at(0), at(v)), y, width: Math.abs(at(v) - at(0)), height: thick, class: name,
  });
  const bottom = values.length * height;
  const parts = values.flatMap((v, i) => {
    const own = i === state.target;
    const middle = i * height + height / 2;
    return [
      bar(v, middle - 9, 18, own ? "bar target" : "bar"),
      ...(outlines.length ? [bar(outlines[i], middle - 12, 24, "outline")] : []),
      shape("text", { x: 0, y: middle + 4, class: own ? "marked" : "" }, (own ? "▸ " : "") + say("class", { i })),
      shape("text", { x: width, y: middle + 4, "text-anchor": "end", class: "number" }, show(v)),
    ];
  });
  const ticks = [...new Set([least, 0, most])].flatMap((v) => [
    shape("line", { x1: at(v), x2: at(v), y1: v ? bottom : 0, y2: bottom + 5 }),
    shape("text", { x: at(v), y: bottom + 18, "text-anchor": "middle", class: "quiet" }, show(v)),
  ]);
  svg.setAttribute("height", bottom + 22);
  const said = values.map((v, i) => say("chart-value", { name: nameOf(i), value: show(v) })).join("; ");
  svg.setAttribute("aria-label", say("chart", { what: caption, values: said }));
  svg.replaceChildren(...parts, ...ticks);
}

/** The curve -log p with a dot where the target is; a loss beyond the chart is at its upper edge, with an arrow. */
function drawLoss(svg, p, loss) {
  const [left, right, top, most] = [28, 14, 18, 7];
  const [width, height] = [Math.max(svg.clientWidth, 220), 34 * Math.max(3, state.logits.length) + 22];
  const bottom = height - 22;
  const x = (v) => left + (width - left - right) * v;
  const y = (v) => bottom - ((bottom - top) * v) / most;
  const curve = Array.from({ length: 141 }, (_, k) => `${x(Math.exp(-k / 20))},${y(k / 20)}`).join(" ");
  const inside = Math.min(loss, most);
  const label = `${loss > most ? "↑ " : ""}${show(loss)}`;
  const tick = (tx, ty, anchor, text) => shape("text", { x: tx, y: ty, "text-anchor": anchor, class: "quiet" }, text);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label", say("chart-loss", { p: show(p), loss: show(loss) }));
  svg.replaceChildren(
    shape("line", { x1: left, x2: left, y1: top, y2: bottom }),
    shape("line", { x1: left, x2: width - right, y1: bottom, y2: bottom }),
    shape("polyline", { points: curve, class: "curve" }),
    shape("polyline", { points: `${left},${y(inside)} ${x(p)},${y(inside)} ${x(p)},${bottom}`, class: "curve guide" }),
    shape("circle", { cx: x(p), cy: y(inside), r: 5, class: "dot" }),
    shape("text", { x: x(p) + (p < 0.6 ? 10 : -4), y: y(inside) - 12, "text-anchor": p < 0.6 ? "start" : "end",
      class: "number marked" }, label),
    tick(left - 6, y(0) + 4, "end", "0"), tick(left - 6, y(most) + 4, "end", String(most)),
    tick(x(0), height - 4, "middle", "0"), tick(x(0.5), height - 4, "middle", "p"), tick(x(1), height - 4, "middle", "1"),
  );
}

/** A word on a figure in 32 bits, and whether it is bad, good or just to be noted; null where there is nothing to say. */
const verdicts = {
  e: (v) => (v === Infinity ? ["bad", say("overflow")] : v === 0 ? ["note", say("underflow")] : null),
  sum: (v, way) => (v === Infinity ? ["bad", say("overflow")]
    : way.near === undefined && way.e.some((e) => e > 0 && inFloat32(v + e) === v) ? ["bad", say("term-lost")] : null),
  p: (v, way) => (Number.isNaN(v) ? ["bad", "inf ÷ inf"]
    : v === 0 && way.sum === Infinity ? ["bad", "÷ inf"]
    : v === 0 ? ["note", say("underflow")]
    : v === 1 ? ["note", say("rounded-to-1")] : null),
  loss(v, way, truth) {
    if (Number.isNaN(v)) return ["bad", say("not-a-number")];
    if (v === Infinity) return ["bad", say("log-of-0")];
    const error = v === truth ? 0 : Math.abs(v - truth) / truth;
    if (truth < 2 ** -126) return ["note", say("too-small")];
    if (error <= 1e-6) return ["good", say("right")];
    const digits = Math.floor(-Math.log10(error));
    if (digits < 1) return ["bad", say("all-digits-lost")];
    return [digits < 4 ? "bad" : "note", say("digits-left", { digits })];
  },
  slope: (v, way, truth) => (Number.isNaN(v) ? ["bad", say("not-a-number")]
    : v === 0 && truth >= 2 ** -126 ? ["bad", say("nothing-to-learn")] : null),
};

/** The table of the three ways: what each computes at every step, and what it comes to. */
function showWays() {
  const z = state.logits.map((x) => inFloat32(inFloat32(x) / inFloat32(state.temperature)));
  const rules = { naive: divideBySum, shifted: divideBySumShifted, "left-out": leaveTargetOut };
  const ways = Object.entries(rules).map(([name, rule]) => ({ name, ...rule(z, state.target, inFloat32) }));
  const truth = leaveTargetOut(z, state.target, exact).loss;
  const last = ways[2].near ? "log1p(s/eₜ)" : "log S + (m − xₜ/T)";
  const steps = [
    ["exponents", say("step-exponent"), "x/T", "x/T − m", "x/T − m"],
    ["e", say("step-exp"), "e", "e", "e"],
    ["sum", say("step-sum"), "S", "S", "s"],
    ["p", say("step-p"), "e/S", "e/S", "e/(s + eₜ)"],
    ["loss", say("loss"), "−log pₜ", "−log pₜ", last],
    ["slope", say("step-gradient"), "pₜ − 1", "pₜ − 1", "−s/(s + eₜ)"],
  ];
  const cell = (way, step, value, i) => {
    const node = element("td", { "data-way": way.name, "data-step": step, ...(i === undefined ? {} : { "data-class": i }) });
    const verdict = verdicts[step]?.(value, way, truth);
    put(node, value, 7);
    if (verdict) node.append(" ", element("span", { class: verdict[0] }, verdict[1]));
    return node;
  };
  const rows = (step) => (Array.isArray(ways[0][step])
    ? z.map((_, i) => element("tr", {}, rowHeader(i), ...ways.map((way) => cell(way, step, way[step][i], i))))
    : [element("tr", {}, element("td"), ...ways.map((way) => cell(way, step, way[step])))]);
  byId("ways").querySelectorAll("tbody").forEach((group) => group.remove());
  byId("ways").append(...steps.map(([step, title, ...formulas]) => element(
    "tbody", {},
    element("tr", { class: "formula" }, element("th", { scope: "rowgroup" }, title),
      ...formulas.map((formula) => element("td", {}, formula))),
    ...rows(step),
  )));
  showFigure("truth", truth);
}

/** Work everything out anew; what came of it in a sentence. */
function update() {
  const f = figures(state);
  const [p, most] = [f.p[state.target], Math.log(state.logits.length)];
  showControls();
  Object.entries({ loss: f.loss, "target-p": p, entropy: f.entropy, "most-entropy": most })
    .forEach(([name, value]) => showFigure(name, value));
  figureOf("classes").textContent = f.p.length;
  figureOf("classes-in-words").textContent = say("numerals").split(" ")[f.p.length - 2];
  showNumbers(f);
  const far = roundUp(Math.max(1, ...state.logits.map(Math.abs), ...f.z.map(Math.abs)));
  const negative = [...state.logits, ...f.z].some((v) => v < 0);
  drawBars(byId("chart-logits"), say("chart-logits"), f.z, [negative ? -far : 0, far], state.logits);
  drawBars(byId("chart-p"), say("probabilities"), f.p, [0, 1]);
  drawBars(byId("chart-gradient"), say("chart-gradient"), f.gradient, [-1, 1]);
  drawLoss(byId("chart-loss"), p, f.loss);
  showWays();
  return say("summary", { loss: show(f.loss, 4), target: state.target, p: show(p, 4), entropy: show(f.entropy, 4) });
}

/** After a control: work out, and when it rests, say what came of it and write it into the page's address. */
function change() {
  const summary = update();
  atRest(() => {
    announce(summary);
    if (location.protocol !== "about:") history.replaceState(null, "", link()); // in a notebook there is no address
  });
}

const narrow = matchMedia("(max-width: 34rem)");

/** On a phone the bars of the probabilities stand with the sliders, and stay in view while one moves them. */
function placeBars() {
  const [bars, home] = [byId("chart-p").parentNode, narrow.matches ? byId("set") : byId("chart-logits").parentNode];
  home.after(bars);
}

// ---- Wiring.

nameInputs(say("temperature"), byId("temperature-slider"), byId("temperature"));
byId("temperature-slider").addEventListener("input", (event) => {
  state.temperature = Number((20 ** event.target.valueAsNumber).toPrecision(3));
  change();
});
byId("temperature").addEventListener("input", (event) => accept(event.target, 0.05, 20, (T) => { state.temperature = T; }));
byId("add").addEventListener("click", () => { state.logits.push(0); change(); });
byId("remove").addEventListener("click", () => {
  state.logits.pop();
  state.target = Math.min(state.target, state.logits.length - 1);
  change();
});
byId("next").addEventListener("click", () => { state.target = (state.target + 1) % state.logits.length; change(); });
for (const button of document.querySelectorAll("[data-set]")) {
  button.addEventListener("click", () => { set(button.dataset.set); change(); });
}
document.addEventListener("focusout", () => { complain(""); showControls(); });
addEventListener("hashchange", ({ newURL }) => { // by now, what rested before may have written its own address
  const { hash } = new URL(newURL);
  if (hash !== "#train" && set(hash.slice(1))) change();
});
addEventListener("resize", update);
narrow.addEventListener("change", () => { placeBars(); update(); });
placeBars();
set(location.hash.slice(1));
update();
