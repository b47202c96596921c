// The film of a training: each epoch's numbers, which Python has computed, drawn as the slider moves.

const { classes, frames, history, image, plane, rows, weights } = pageData;
const last = frames.length - 1;
let current = last;

const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7f7f7f", "#8c564b", "#6a3d9a"];
const colourOf = (k) => PALETTE[k % PALETTE.length];
const bytes = (text) => Uint8Array.from(atob(text ?? ""), (c) => c.charCodeAt(0));

const stored = {
  weights: bytes(weights?.bytes), pixels: bytes(pageData.pixels),
  regions: bytes(plane?.classes), sure: bytes(plane?.sure),
};

// ---- Pictures.

/** Paint cells with the red, green, blue and alpha that a function gives for each. */
function paint(canvas, height, width, colour) {
  Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  for (let i = 0; i < width * height; i += 1) picture.data.set(colour(i), 4 * i);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** A weight from blue over the paper's colour at 0 to red, for the bytes from first on. */
const signed = (from) => (i) => {
  const v = stored.weights[from + i] - 128;
  return [...(v < 0 ? [33, 102, 172] : [202, 40, 50]), Math.min(255, 2 * Math.abs(v))];
};

function showWeights() {
  if (!weights) return;
  const [height, width] = weights.size;
  const start = current * weights.units * height * width;
  [...byId("units").querySelectorAll("canvas")].forEach((canvas, k) => {
    paint(canvas, height, width, signed(start + k * height * width));
  });
  byId("scale").textContent = `Red is above 0, blue below; the fullest colour is ±${show(weights.most[current], 4)}, `
    + "in 255 steps."
    + (weights.units < weights.all ? ` Shown are ${weights.units} of ${weights.all} units.` : "");
}

function showRegions() {
  if (!plane) return;
  const { cells, low, high, points } = plane;
  const start = current * cells * cells;
  const rgb = (k) => [1, 3, 5].map((i) => parseInt(colourOf(k).slice(i, i + 2), 16));
  const small = paint(document.createElement("canvas"), cells, cells, (i) => (
    [...rgb(stored.regions[start + i]), 20 + (150 * stored.sure[start + i]) / 255]));
  const canvas = byId("regions");
  Object.assign(canvas, { width: 640, height: 640 });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, 640, 640);
  for (const [x, y, label] of points) {
    pen.beginPath();
    pen.arc((640 * (x - low[0])) / (high[0] - low[0]), 640 * (1 - (y - low[1]) / (high[1] - low[1])), 5, 0, 7);
    pen.fillStyle = colourOf(label);
    pen.fill();
    pen.strokeStyle = "#fff";
    pen.stroke();
  }
  canvas.ariaLabel = `What the model says of every place, after ${epochs(frames[current].epoch)}`;
}

// ---- Curves: the whole training, and where the slider is.

function drawCurve(svg, name) {
  const lines = [["training", "own", history[name] ?? []], ["validation", "held", history[`val_${name}`] ?? []]]
    .map(([word, kind, values]) => [word, kind, values.map(Number)]).filter(([, , values]) => values.length);
  const [width, height, left, top, bottom] = [Math.max(svg.clientWidth, 220), 150, 56, 24, 130];
  const all = lines.flatMap(([, , values]) => values).filter(Number.isFinite);
  if (!all.length) { svg.replaceChildren(); return; }
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const most = Math.max(2, ...lines.map(([, , values]) => values.length));
  const x = (epoch) => left + ((width - left - 8) * epoch) / most;
  const y = (v) => bottom - ((bottom - top) * (v - low)) / (high - low || 1);
  const now = frames[current].epoch;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label", `${name} by epoch: ${lines.map(([word, , values]) => `${word} ${show(values.at(-1), 4)} at the end`).join(", ")}`);
  const tick = (tx, ty, text) => shape("text", { x: tx, y: ty, "text-anchor": "end", class: "quiet" }, text);
  svg.replaceChildren(
    shape("line", { x1: left, x2: width - 8, y1: bottom, y2: bottom }),
    shape("line", { x1: x(now), x2: x(now), y1: top, y2: bottom, class: "now" }),
    ...lines.map(([, kind, values]) => shape("polyline", { class: `curve ${kind}`,
      points: values.map((v, i) => (Number.isFinite(v) ? `${x(i + 1)},${y(v)}` : "")).join(" ") })),
    shape("text", { x: 0, y: 14 }, name),
    ...lines.map(([word, kind, values], k) => shape("text", { x: width - 8 - 128 * (lines.length - 1 - k), y: 14,
      "text-anchor": "end", class: kind }, `${word} ${now && now <= values.length ? show(values[now - 1], 4) : ""}`)),
    tick(left - 6, y(high) + 4, show(high, 3)), tick(left - 6, y(low) + 4, show(low, 3)), tick(width - 8, height - 4, `epoch ${most}`),
  );
}

// ---- Tables.

function showConfusion() {
  const counts = frames[current].confusion;
  const cell = (n, i, j) => element("td", n ? { class: i === j ? "good" : "bad" } : {}, n ? String(n) : "·");
  byId("confusion").replaceChildren(
    element("thead", {}, element("tr", {}, element("td"), ...classes.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...counts.map((row, i) => element("tr", {}, element("th", { scope: "row" }, classes[i]),
      ...row.map((n, j) => cell(n, i, j))))),
  );
}

function showWorst() {
  byId("worst").replaceChildren(...frames[current].worst.map(({ row, predicted, loss, p }) => {
    const { place, label } = rows[row];
    const words = `row ${place}: is ${classes[label]}, called ${classes[predicted]}`;
    return element("figure", { class: predicted === label ? "" : "wrong" }, picture(row, words),
      element("figcaption", {}, words, element("br"), `p = ${show(p, 4)}, loss ${show(Number(loss), 4)}`));
  }));
}

function picture(row, words) {
  if (!image) return element("div", { class: "numbers" }, pageData.features[row].map((v) => show(v, 4)).join(" "));
  const [height, width] = image;
  const canvas = element("canvas", { role: "img", "aria-label": words });
  return paint(canvas, height, width, (i) => {
    const v = 255 - stored.pixels[row * height * width + i];
    return [v, v, v, 255];
  });
}

// ---- Going from epoch to epoch.

const epochs = (n) => (n === 1 ? "1 epoch" : `${n} epochs`);

function where() {
  const { epoch, loss, right } = frames[current];
  return `After ${epochs(epoch)}: loss ${show(Number(loss))}, ${right} of ${pageData.count} right`;
}

function update() {
  byId("where").textContent = where();
  byId("scrubber").value = current;
  byId("scrubber").setAttribute("aria-valuetext", where());
  [showWeights, showRegions, showConfusion, showWorst].forEach((draw) => draw());
  drawCurve(byId("losses"), "loss");
  drawCurve(byId("accuracies"), "accuracy");
}

function go(number) {
  current = Math.max(0, Math.min(last, number));
  update();
  atRest(() => announce(where()));
}

let timer = null;

function stop() {
  clearTimeout(timer);
  timer = null;
  byId("play").textContent = "Play";
}

function play() {
  go(current === last ? 0 : current + 1);
  byId("play").textContent = "Pause";
  if (current === last) stop();
  else timer = setTimeout(play, 250);
}

const ACTIONS = {
  Home: () => go(0), End: () => go(last), ArrowLeft: () => go(current - 1), ArrowRight: () => go(current + 1),
};
const toggle = () => (timer === null ? play() : stop());

byId("play").addEventListener("click", toggle);
byId("scrubber").addEventListener("input", (event) => { stop(); go(event.target.valueAsNumber); });
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.key === " " && !event.target.closest("button")) toggle();
  else if (event.key in ACTIONS && !event.target.closest(".scroll")) { stop(); ACTIONS[event.key](); }
  else return;
  event.preventDefault();
});
addEventListener("resize", update);
byId("scrubber").max = last;
byId("measured").textContent = `Measured are ${pageData.count} of the rows ${pageData.measured}. `
  + "Row numbers count from 0 in the data that they come from.";
byId("plane").hidden = !plane;
byId("weights").hidden = !weights;
if (weights) {
  byId("weights-title").textContent = `Weights of each unit: ${weights.name}`;
  byId("units").append(...Array.from({ length: weights.units }, (_, k) => element("figure", {},
    element("canvas", { role: "img", "aria-label": `the weights of unit ${k}` }),
    element("figcaption", {}, weights.all === classes.length ? classes[k] : `unit ${k}`))));
}
update();
