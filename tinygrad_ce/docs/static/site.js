// What can be scrolled can be reached by the keyboard, landmarks of one kind have names, and headings a level.
"use strict";

function reachable() {
  for (const node of document.querySelectorAll("pre, .table-wrapper, mjx-container, .math, .cell_output")) {
    if (node.scrollWidth > node.clientWidth && getComputedStyle(node).overflowX !== "visible") node.tabIndex = 0;
    else if (node.matches("[tabindex='0']:not(mjx-container)")) node.removeAttribute("tabindex");
  }
}

addEventListener("DOMContentLoaded", () => {
  for (const [name, label] of [["sidebar-drawer", "Site"], ["toc-drawer", "Page"]]) {
    document.querySelector(`.${name}`)?.setAttribute("aria-label", label);
  }
  for (const caption of document.querySelectorAll(".caption[role='heading']")) caption.ariaLevel = "2"; // Sphinx's own
  reachable();
});
addEventListener("load", reachable);
addEventListener("resize", reachable);
