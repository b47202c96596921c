// What every study page uses: elements, numbers as text, words to a screen reader, the theme button.
"use strict";

const pageData = JSON.parse(document.getElementById("data").textContent);
const pageTexts = JSON.parse(document.getElementById("texts").textContent);

/** A text of the page, with values in its holes: say("class", { i: 0 }). */
const say = (name, values = {}) => pageTexts[name].replace(/\{([\w-]+)\}/g, (_, hole) => values[hole]);

/** The element with an id. */
const byId = (id) => document.getElementById(id);

/** An HTML element. Children that are strings become text, never markup. */
function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A number as text: so many significant digits, but a whole number in full. */
function show(value, digits = 6) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "−inf";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e8) text = String(size);
  else text = size >= 1e-4 && size < 1e6 ? size.toPrecision(digits) : size.toExponential(digits - 1);
  return (value < 0 ? "−" : "") + text.replace("-", "−");
}

/** Do something once, when nothing has asked for it for 0.4 seconds: a slider on the move asks all the time. */
function atRest(action) {
  clearTimeout(atRest.timer);
  atRest.timer = setTimeout(action, 400);
}

/** Tell a screen reader. */
function announce(text) {
  byId("announcer").textContent = text;
}

(function themeButton() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = say(isDark() ? "light-theme" : "dark-theme"); };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
})();
