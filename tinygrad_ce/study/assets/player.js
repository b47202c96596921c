
// ---- What is played: the steps, and for boxes and arrows of the graph, when something happens to them.

const { steps, arrays, origins, made, given } = pageData;
const last = steps.length - 1;
const graph = document.querySelector(".tg-graph");
const stage = byId("stage");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let current = 0;

const CHARACTER = 6.65; // the width of one in the graph, in pixels
const LARGE = { whole: 64, other: 32 }; // more numbers than that are shown as colours

/** Boxes, with the lines of text that change and at which steps, and when each is made and its gradient complete. */
const boxes = [...graph.querySelectorAll("[data-box]")]
  .map((node) => ({ node, lines: {}, made: Infinity, complete: null }));
const arrows = [...graph.querySelectorAll("[data-edge]")]
  .map((node) => ({ node, forward: Infinity, backward: Infinity }));

steps.forEach((step, number) => {
  for (const { box, line, text } of step.sets) {
    const { lines, node } = boxes[box];
    const room = node.querySelector(".box").getAttribute("width") - 14;
    lines[line] ??= { node: node.querySelector(`.${line}`), texts: [], room };
    lines[line].texts.push([number, text.replaceAll("-", "−")]);
    if (line === "grad") boxes[box].complete = number;
  }
  for (const box of step.lit) boxes[box].made = Math.min(boxes[box].made, number);
  for (const k of step.edges) arrows[k][step.phase] = Math.min(arrows[k][step.phase], number);
});
for (const box of boxes) { // one that stands for another, elsewhere
  const { made, complete } = boxes[box.node.dataset.origin] ?? box;
  Object.assign(box, { made, complete });
}

// ---- The graph.

const flag = shape("g", { class: "flag" }, shape("rect", { rx: 4, height: 15 }), shape("text"));
graph.append(flag);

/** Make the drawing something to click, with an arrow head at either end of every arrow. */
(function prepareGraph() {
  const { x, y, width, height } = graph.viewBox.baseVal;
  const room = Math.max(0, 360 - width) / 4; // for the flag of the first box, where the drawing is narrow
  fill(graph, { role: "group", viewBox: [x - room, y, width + room, height].join(" ") }, []);
  for (const { node } of boxes) {
    const title = node.querySelector("title");
    title.textContent = title.textContent.split("\n")[0]; // the rest tells numbers before their time
    const outer = shape("g"); // a tooltip is no part of the button's name, which is what can be read on it
    node.replaceWith(outer);
    outer.append(title, fill(node, { tabindex: 0, role: "button" }, []));
  }
  for (const { node } of arrows) {
    const [, x, y] = node.querySelector(".edge").getAttribute("d").match(/^M\s*(\S+)[ ,](\S+)/);
    node.append(shape("path", { class: "tip turned", d: `M${x} ${y} l7 -3.5 v7 z` }));
  }
})();

/** A graph of a few boxes is drawn larger than its size, as far as there is room. */
function scaleGraph() {
  const { width, height } = graph.viewBox.baseVal;
  const scale = Math.max(1, Math.min(1.5, Math.min(700, stage.parentElement.clientWidth - 2) / width, 420 / height));
  fill(graph, { width: width * scale, height: height * scale }, []);
}

function showGraph(step) {
  boxes.forEach((box, k) => {
    const place = step.lit.indexOf(k);
    const receives = step.phase === "backward" && place === 1;
    box.node.classList.toggle("waiting", current < box.made);
    box.node.classList.toggle("lit", place >= 0 && !receives);
    box.node.classList.toggle("receives", receives);
    Object.values(box.lines).forEach(showLine);
  });
  arrows.forEach(({ node, forward, backward }, k) => {
    node.classList.toggle("went", current >= forward);
    node.classList.toggle("returned", current >= backward);
    node.classList.toggle("flows", step.edges.includes(k));
  });
  showFlag(step.note);
}

/** A line of a box as it is by now; what has just been written is marked and fades in. */
function showLine({ node, texts, room }) {
  const [since, text] = texts.findLast(([number]) => number <= current) ?? [-1, ""];
  const fresh = since === current;
  if (node.textContent !== text) {
    node.textContent = text;
    // A box is as wide as its last text; one on the way there may be longer, and is squeezed.
    if (text.length * CHARACTER > room) fill(node, { textLength: room, lengthAdjust: "spacingAndGlyphs" }, []);
    else node.removeAttribute("textLength");
  }
  node.classList.toggle("fresh", fresh);
  if (fresh && !still.matches) node.animate({ opacity: [0, 1] }, 500);
}

/** A word at the foot of a box: which share arrives there, or what happens inside a folded one. */
function showFlag(note) {
  flag.style.display = note ? "" : "none";
  if (!note) return;
  const [box, text] = [boxes[note.box].node.querySelector(".box"), note.text.replaceAll("= -", "= −")];
  const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(box.getAttribute(name)));
  const [long, view] = [text.length * 6.1 + 12, graph.viewBox.baseVal];
  // Over its box, but no further to the right than halfway to the next.
  const left = Math.max(view.x + 2, Math.min(x + (width - long) / 2, x + width + 20 - long));
  const [back, words] = flag.children;
  fill(back, { x: left, y: y + height - 3, width: long }, []);
  fill(words, { x: left + 6, y: y + height + 8 }, []).textContent = text;
}

/** Scroll the stage, and nothing else, until what is lit can be seen. */
function bringIntoView(step, smooth) {
  const view = stage.getBoundingClientRect();
  const lit = step.lit.map((k) => boxes[k].node.getBoundingClientRect());
  const along = (low, high, room) => {
    const margin = 24;
    const span = [Math.min(...lit.map((r) => r[low])), Math.max(...lit.map((r) => r[high]))];
    const [from, to] = span[1] - span[0] + 2 * margin <= room ? span : [lit.at(-1)[low], lit.at(-1)[high]];
    return Math.min(0, from - view[low] - margin) || Math.max(0, to - view[low] - room + margin);
  };
  if (lit.length === 0) return;
  const [left, top] = [along("left", "right", stage.clientWidth), along("top", "bottom", stage.clientHeight)];
  if (left || top) stage.scrollBy({ left, top, behavior: smooth && !still.matches ? "smooth" : "instant" });
}

// ---- The numbers of a step.

/** A number in up to six significant digits, as Python prints it; nan and inf in words. */
function asText(value, dtype) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (dtype.startsWith("complex")) return String(value);
  if (dtype.includes("int")) return String(value).replace("-", "−");
  return show(Number(value)).replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "");
}

const asShape = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);
const isLarge = ({ shape, dtype }) => sizeOf(shape) > (dtype.includes("int") ? LARGE.whole : LARGE.other);

/** The index of a number of an array that is held as rows. */
function indexOf({ shape }, row, column) {
  const index = shape.length ? [column] : [];
  for (const n of shape.slice(0, -1).reverse()) {
    index.unshift(row % n);
    row = Math.floor(row / n);
  }
  return index;
}

/** All that is shown of one array: name, shape, and its numbers, or colours and a line that sums them up. */
function arrayFigure(row, kind) {
  const array = arrays[row.array];
  const large = isLarge(array);
  const line = element("p", { class: "quiet" }, large ? summary(array) : "");
  const inColours = large && !byId("digits").checked;
  const parts = inColours ? heatMap(array, row.label, line) : [numberTable(array, row.label, large)];
  return element(
    "figure", { class: `array ${kind}`, "data-label": row.label, "data-array": row.array },
    element("figcaption", {}, element("strong", {}, row.label),
      element("span", { class: "quiet" }, `${asShape(array.shape)} ${array.dtype}`)),
    ...parts, ...(line.textContent ? [line] : []),
  );
}

function summary({ shape, summary: words, rows, whole }) {
  const text = words.replaceAll(/-(?=\d|inf)/g, "−");
  if (whole) return text;
  const columns = shape.at(-1);
  const all = sizeOf(shape.slice(0, -1));
  const shown = [[rows.length, all, "rows"], [rows[0].length, columns, shape.length > 1 ? "columns" : "numbers"]]
    .filter(([n, of]) => n < of).map(([n, of, what]) => say(`shown-${what}`, { n, all: of }));
  return say("shown", { summary: text, parts: shown.join(` ${say("and")} `) });
}

function numberTable(array, label, headed) {
  const texts = array.rows.map((row) => row.map((value) => asText(value, array.dtype)));
  if (!texts.flat().length) return element("p", { class: "quiet" }, say("empty"));
  if (array.shape.length === 0) {
    return element("p", { class: "scalar" }, element("button", { "data-row": 0, "data-column": 0 }, texts[0][0]));
  }
  const after = (text) => (text.includes(".") ? text.length - text.indexOf(".") : 0);
  const most = texts[0].map((_, c) => Math.max(...texts.map((row) => after(row[c]))));
  const headers = array.shape.length > 1
    && (headed || array.shape.length > 2 || Math.min(texts.length, texts[0].length) > 2);
  const cell = (text, r, c) => element(
    "td", { tabindex: r || c ? -1 : 0, "data-row": r, "data-column": c }, text + " ".repeat(most[c] - after(text)));
  const cells = (row, r) => row.map((text, c) => cell(text, r, c));
  const rows = texts.map((row, r) => element("tr", {}, ...(headers
    ? [element("th", { scope: "row" }, indexOf(array, r, 0).slice(0, -1).join(", "))] : []), ...cells(row, r)));
  const table = element("table", { role: "grid", "aria-label": label }, element("tbody", {}, ...rows));
  return element("div", { class: "scroll matrix" }, table);
}

/** Cells from blue over the paper's colour at 0 to red, what they mean, and the number at the pointer in a line. */
function heatMap(array, label, line) {
  const values = array.rows.map((row) => row.map(Number));
  const [rows, columns] = [values.length, values[0].length];
  const most = Math.max(0, ...values.flat().map(Math.abs).filter(Number.isFinite));
  const cell = Math.max(6, Math.min(16, Math.floor(372 / columns), Math.floor(230 / rows)));
  const map = shape(
    "svg",
    { class: "heat", viewBox: `0 0 ${columns} ${rows}`, width: columns * cell, height: rows * cell, role: "img",
      tabindex: 0, "aria-label": `${label} ${asShape(array.shape)}: ${line.textContent}` },
    ...shades(values, most),
  );
  tellAtPointer(map, array, line);
  const lost = values.flat().every(Number.isFinite) ? [] : [`${say("not-finite")} `, element("b", {}, "■")];
  return [map, element("div", { class: "legend" }, show(-most, 3), element("i"), show(most, 3), ...lost)];
}

/** Cells in 16 shades of either sign, and those that are not finite: all of one shade are one path, for speed. */
function shades(values, most) {
  const levels = 16;
  const paths = {};
  values.forEach((row, r) => row.forEach((v, c) => {
    const level = Number.isFinite(v) ? Math.round((levels * Math.abs(v)) / (most || 1)) : levels;
    const name = `${Number.isFinite(v) ? (v < 0 ? "negative" : "positive") : "lost"} ${level}`;
    if (level) paths[name] = `${paths[name] ?? ""}M${c} ${r}h1v1h-1z`;
  }));
  return Object.entries(paths).map(([name, d]) => {
    const [sign, level] = name.split(" ");
    return shape("path", { class: sign, "fill-opacity": level / levels, d });
  });
}

/** The row and column of a heat map at the pointer. */
function atPointer(map, { rows }, event) {
  const at = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
  const { left, top, width, height } = map.getBoundingClientRect();
  return [at((event.clientY - top) / height, rows.length), at((event.clientX - left) / width, rows[0].length)];
}

/** While the pointer is on a heat map, the line below it has the index and the number there. */
function tellAtPointer(map, array, line) {
  const rest = line.textContent;
  map.addEventListener("pointermove", (event) => {
    const [r, c] = atPointer(map, array, event);
    line.textContent = `[${indexOf(array, r, c).join(", ")}] ${asText(array.rows[r][c], array.dtype)}`;
  });
  map.addEventListener("pointerleave", () => { line.textContent = rest; });
}

function showNumbers(step) {
  const result = ["start", "end"].includes(step.phase) ? -1 : step.rows.length - 1;
  const kind = (row, i) => (i === result ? "result" : row.indent ? "inside" : "");
  for (const name of ["title", "formula", "shapes"]) {
    byId(name).textContent = step[name];
    byId(name).hidden = !step[name];
  }
  byId("in-numbers").hidden = !step.rows.some((row) => isLarge(arrays[row.array]));
  byId("arrays").replaceChildren(...step.rows.map((row, i) => arrayFigure(row, kind(row, i))));
  forget();
}

// ---- The arithmetic of an entry: the terms that it is made of, with their numbers, and where these stand.

const TERMS = { found: 4096, said: 24 }; // more are not looked for, and of those found no more are written out
const isProduct = ({ words }) => words.every((word) => word === "" || word === " · ");

/** The number of columns of an array held as rows. */
const columnsOf = ({ shape }) => (shape.length > 1 ? shape.at(-1) : sizeOf(shape));

/** The number at a place in the flat order; undefined where it lies outside the part that the page holds. */
function numberAt(array, place) {
  const columns = columnsOf(array);
  return array.rows[Math.floor(place / columns)]?.[place % columns];
}

/** A place that depends on an index: by an offset and strides, and a list if there is one. */
function placeAt([[offset, ...strides], list], index) {
  const place = strides.reduce((sum, stride, k) => sum + stride * index[k], offset);
  return list.length ? list[place] : place;
}

/** The indices of a part's terms that belong to an entry. Branches that can't reach it are left out. */
function indicesOf({ shape, at: [[offset, ...strides], list] }, entry) {
  const reach = (extreme) => shape.map((_, k) => shape.slice(k)
    .reduce((sum, n, i) => sum + extreme(0, (n - 1) * strides[k + i]), 0)).concat(0);
  const [low, high] = [reach(Math.min), reach(Math.max)];
  const [found, index] = [[], []];
  const search = (axis, place) => {
    if (found.length >= TERMS.found) return;
    if (axis === shape.length) {
      if ((list.length ? list[place] : place) === entry) found.push([...index]);
      return;
    }
    for (let i = 0; i < shape[axis]; i += 1) {
      const next = place + i * strides[axis];
      if (!list.length && (entry < next + low[axis + 1] || entry > next + high[axis + 1])) continue;
      index[axis] = i;
      search(axis + 1, next);
    }
  };
  search(0, offset);
  return found;
}

/** The terms of an entry: for each its words, and its factors as arrays, places, names and numbers. */
function termsOf({ parts }, entry) {
  return parts.flatMap((part) => indicesOf(part, entry).map((index) => ({
    part,
    factors: part.of.map(([array, strides, list, name]) => {
      const place = placeAt([strides, list], index);
      return { array, place, name, value: numberAt(arrays[array], place) };
    }),
  }))).filter(({ factors }) => factors.every(({ place }) => place >= 0));
}

/** A term with its numbers between its words; one below 0 in brackets, unless it stands alone. */
function inWords({ part: { words }, factors }, added) {
  const alone = words.every((word) => word === "") && factors.length === 1 && !added;
  return factors.reduce((text, { array, value }, k) => {
    const number = asText(value, arrays[array].dtype);
    const inside = /(\(|, )$/.test(text) && /^[),]/.test(words[k + 1]);
    return text + (number.startsWith("−") && !alone && !inside ? `(${number})` : number) + words[k + 1];
  }, words[0]);
}

/** What an entry is made of: what stands before the terms and between them, and the terms as texts. */
function arithmetic({ by }, terms) {
  const held = terms.filter(({ factors }) => factors.every(({ value }) => value !== undefined));
  const isZero = ({ part, factors }) => isProduct(part) && factors.some(({ value }) => value === 0);
  const shown = held.length > TERMS.said ? held.filter((term) => !isZero(term)) : held;
  const texts = shown.slice(0, TERMS.said).map((term) => inWords(term, terms.length > 1 && !by));
  const more = [["more", shown.length - texts.length], ["that-are-0", held.length - shown.length],
    ["not-held", terms.length - held.length]];
  texts.push(...more.filter(([, n]) => n > 0).map(([what, n]) => say(what, { n })));
  if (!texts.length) texts.push(say("nothing"));
  return { before: by ? ` ${say("by", { rule: by })} ` : " = ", between: by ? ", " : " + ", texts };
}

/** The index of some places, as one would write it: of one, of a block, or of several within a block. */
function boxOf(shape, places) {
  if (!shape.length) return "";
  const row = (place) => indexOf({ shape }, Math.floor(place / shape.at(-1)), place % shape.at(-1));
  const index = places.map(row);
  const spans = shape.map((_, k) => [Math.min(...index.map((i) => i[k])), Math.max(...index.map((i) => i[k])) + 1]);
  const some = sizeOf(spans.map(([low, high]) => high - low)) === places.length ? "" : say("these", { n: places.length });
  const words = spans.map(([low, high], k) => {
    if (low === 0 && high === shape[k] && high > 1) return ":";
    return high === low + 1 ? String(low) : `${low}:${high}`;
  });
  return `[${words.join(", ")}]${some}`;
}

/** All places that take part, by array. */
function takenBy(terms) {
  const taken = new Map();
  for (const { array, place, name } of terms.flatMap(({ factors }) => factors)) {
    if (!taken.has(array)) taken.set(array, { name, places: new Set() });
    taken.get(array).places.add(place);
  }
  return taken;
}

/** Tell and light what an entry of a figure is made of. */
function choose(figure, r, c) {
  const row = steps[current].rows[[...byId("arrays").children].indexOf(figure)];
  const array = arrays[row.array];
  const origin = origins[row.made ?? made[row.array]];
  const entry = r * columnsOf(array) + c;
  const terms = origin ? termsOf(origin, entry) : [];
  const taken = takenBy(terms);
  const name = row.label.replace(say("in", { name: "" }), "").replace(/^[+=] /, "").split(",")[0].split(" = ")[0];
  const value = asText(array.rows[r][c], array.dtype);
  const { before, between, texts } = origin ? arithmetic(origin, terms)
    : { before: given.includes(row.array) ? say("given") : "", between: "", texts: [] };
  const from = [...taken].map(([k, { name, places }]) => name + boxOf(arrays[k].shape, [...places])).join(", ");
  light(taken, figure, entry);
  tell([`${name}${boxOf(array.shape, [entry])} = ${value}${before}`,
    ...texts.map((text, k) => (k < texts.length - 1 ? text + between : text))], from ? say("from", { parts: from }) : "");
}

/** Show how an entry came about: lines break between terms. */
function tell(pieces, from) {
  const terms = pieces.map((text) => element("span", { class: "term" }, text));
  const lines = [element("p", {}, ...terms), element("p", { class: "quiet" }, from)];
  byId("made").replaceChildren(...lines.filter((line) => line.textContent));
  byId("made").hidden = !pieces.length;
  byId("made").scrollTop = 0;
  // What scrolls can be reached with the keyboard.
  if (byId("made").scrollHeight > byId("made").clientHeight) byId("made").tabIndex = 0;
  else byId("made").removeAttribute("tabindex");
  if (pieces.length) atRest(() => announce(`${pieces.join("")} ${from}`));
}

/** Mark an entry, and in every figure the entries that it is made of. */
function light(taken, chosen, entry) {
  for (const figure of byId("arrays").children) {
    const array = arrays[figure.dataset.array];
    const places = taken.get(Number(figure.dataset.array))?.places ?? new Set();
    const columns = columnsOf(array);
    for (const cell of figure.querySelectorAll("[data-row]")) {
      const place = Number(cell.dataset.row) * columns + Number(cell.dataset.column);
      cell.classList.toggle("chosen", figure === chosen && place === entry);
      cell.classList.toggle("taken", places.has(place));
    }
    const map = figure.querySelector(".heat");
    if (map) lightMap(map, array, places, figure === chosen ? entry : null);
  }
}

/** Frames around cells of a heat map. */
function lightMap(map, array, places, entry) {
  map.querySelectorAll(".taken, .chosen").forEach((frame) => frame.remove());
  const columns = columnsOf(array);
  const frames = (name, all) => shape("path", { class: name, d: all.map((place) => [Math.floor(place / columns), place % columns])
    .filter(([r, c]) => array.rows[r]?.[c] !== undefined).map(([r, c]) => `M${c} ${r}h1v1h-1z`).join("") });
  map.append(frames("taken", [...places]), ...(entry === null ? [] : [frames("chosen", [entry])]));
}

/** No entry is chosen. */
function forget() {
  tell([], "");
  for (const figure of byId("arrays").children) light(new Map(), null, null);
}

/** Choose what has the focus; of a heat map, the entry that was chosen in it last. */
function chooseFocused(target) {
  const figure = target.closest(".array");
  if (target.matches("[data-row]")) choose(figure, Number(target.dataset.row), Number(target.dataset.column));
  else if (target.matches(".heat")) choose(figure, ...(target.at ?? [0, 0]));
}

/** Go to another entry of the same array; whether the key does that. */
function moveInArray(key, target) {
  const figure = target.closest(".array");
  const cell = target.matches("[data-row]") ? [Number(target.dataset.row), Number(target.dataset.column)] : target.at ?? [0, 0];
  const { rows } = arrays[figure.dataset.array];
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    Home: [0, -Infinity], End: [0, Infinity] }[key] ?? [];
  if (down === undefined) return false;
  const within = (i, n) => Math.max(0, Math.min(n - 1, i));
  const [r, c] = [within(cell[0] + down, rows.length), within(cell[1] + right, rows[0].length)];
  if (target.matches(".heat")) {
    target.at = [r, c];
    chooseFocused(target);
  } else {
    const next = figure.querySelector(`[data-row="${r}"][data-column="${c}"]`);
    for (const node of figure.querySelectorAll("td[tabindex='0']")) node.tabIndex = -1;
    if (next.matches("td")) next.tabIndex = 0;
    next.focus();
  }
  return true;
}

// ---- Going from step to step.

const where = () => say("where", { step: current, last, phase: say(steps[current].phase) });

/** Show the current step. */
function update(smooth) {
  const step = steps[current];
  document.querySelector("main").dataset.phase = step.phase;
  byId("where").textContent = where();
  byId("scrubber").value = current;
  byId("scrubber").setAttribute("aria-valuetext", `${where()}: ${step.title}`);
  showGraph(step);
  showNumbers(step);
  bringIntoView(step, smooth);
}

/** Go to a step. Whoever listens, and the address, get to know once it rests there. */
function go(number, smooth = true) {
  current = Math.max(0, Math.min(last, number));
  update(smooth);
  atRest(() => {
    announce(`${where()}: ${steps[current].title}`);
    if (location.protocol !== "about:") history.replaceState(null, "", `#step=${current}`); // a notebook has no address
  });
}

const player = { timer: null };

function play() {
  const pace = Number(byId("speed").value);
  go(current === last ? 0 : current + 1, pace > 500);
  player.timer = current === last ? null : setTimeout(play, pace);
  showPlaying();
}

function pause() {
  clearTimeout(player.timer);
  player.timer = null;
  showPlaying();
}

function showPlaying() {
  byId("play").classList.toggle("playing", player.timer !== null);
  byId("play").ariaLabel = say(player.timer === null ? "play" : "pause");
}

/** What the reader asks for ends the play. */
function goByHand(number) {
  pause();
  go(number);
}

const togglePlay = () => (player.timer === null ? play() : pause());

/** A box leads to the step that made it, and from there to the one that completes its gradient. */
function goToBox(node) {
  const { made, complete } = boxes[node.dataset.box];
  goByHand(current === made && complete !== null ? complete : made);
}

const ACTIONS = {
  first: () => goByHand(0), back: () => goByHand(current - 1), play: togglePlay,
  forward: () => goByHand(current + 1), last: () => goByHand(last),
};
const KEYS = { Home: "first", ArrowLeft: "back", " ": "play", ArrowRight: "forward", End: "last" };

// ---- Wiring.

for (const [id, action] of Object.entries(ACTIONS)) byId(id).addEventListener("click", action);
byId("scrubber").addEventListener("input", (event) => goByHand(event.target.valueAsNumber));
byId("digits").addEventListener("change", () => showNumbers(steps[current]));
graph.addEventListener("click", (event) => {
  const box = event.target.closest("[data-box]");
  if (box) goToBox(box);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const box = event.target.closest("[data-box]");
  const uses = event.key === " " ? "button, select, input[type=checkbox]" : "select";
  const entry = event.target.closest("[data-row], .heat");
  if (entry && event.key === "Escape") {
    entry.blur();
    forget();
  } else if (entry && event.key !== " ") {
    if (!moveInArray(event.key, entry)) return;
  } else if (box && [" ", "Enter"].includes(event.key)) goToBox(box);
  else if (event.key in KEYS && !event.target.closest(uses)) ACTIONS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});
byId("arrays").addEventListener("focusin", (event) => chooseFocused(event.target));
byId("arrays").addEventListener("click", (event) => {
  const map = event.target.closest(".heat");
  if (map) {
    map.at = atPointer(map, arrays[map.closest(".array").dataset.array], event);
    map.focus();
    chooseFocused(map);
  } else event.target.closest("[data-row]")?.focus(); // Safari gives a button that is clicked no focus
});
addEventListener("resize", scaleGraph);

function readAddress() {
  const number = Number(new URLSearchParams(location.hash.slice(1)).get("step"));
  return Number.isInteger(number) ? Math.max(0, Math.min(last, number)) : 0;
}

addEventListener("hashchange", () => { if (readAddress() !== current) goByHand(readAddress()); });
byId("scrubber").max = last;
byId("scrubber").style.setProperty("--turn", `${(100 * steps.findIndex((step) => step.phase === "turn")) / last}%`);
scaleGraph();
current = readAddress();
update(false);
showPlaying();
