// A copy of one's data while it is made: how far it is, and at its end the page as it is then.

import { Live } from "./live.js";
import { say } from "./page.js";

const place = document.querySelector("[data-copy]");
const UNITS = ["kB", "MB", "GB"];

// Bytes as people read them; the server says it the same way.
function inWords(size) {
  if (size < 1000) return `${size} bytes`;
  let value = size / 1000;
  let unit = 0;
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(1)} ${UNITS[unit]}`;
}

function show({ type, data }) {
  const bar = place.querySelector("progress");
  const far = place.querySelector("[data-far]");
  if (type === "progress") {
    bar.max = data.of;
    bar.value = data.done;
    far.textContent = `Part ${data.done} of ${data.of}, ${inWords(data.bytes)} so far`;
  } else if (type === "queued" && data.again_in) {
    far.textContent = "Something is in our way. We try again in a moment.";
  } else if (["done", "failed", "cancelled"].includes(type)) {
    say(type === "done" ? "Your copy is ready." : "Your copy could not be made.");
    location.reload();
  }
}

function lose() {
  place.querySelector("[data-far]").textContent = "Reload this page to see how far it is.";
}

if (place) new Live().watch(place.dataset.copy, { deliver: show, lost: lose });
