// On every page: times in the reader's zone, the small menu, and what a sign-out must not leave behind.

import { roughDown, when } from "./format.js";

export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.textContent = when(time.dateTime, time.dataset.local);
  }
}

export function showAvailable(mc) {
  for (const place of document.querySelectorAll("[data-available]")) place.textContent = roughDown(mc);
  const purse = document.querySelector("[data-purse]");
  purse?.setAttribute("aria-label", `Credits: ${roughDown(mc)} available. Buy more`);
}

const status = document.querySelector("#status");

// For screen readers; the same words twice in a row are read twice.
export function say(words) {
  status.textContent = status.textContent === words ? `${words}\u00a0` : words;
}

localTimes();
for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
}
for (const button of document.querySelectorAll("dialog [data-closes]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
document.querySelector("#menu")?.addEventListener("click", (event) => {
  if (event.target.closest("a") && event.currentTarget.matches(":popover-open")) event.currentTarget.hidePopover();
});

export function showTrouble(place, words, link) {
  place.replaceChildren();
  place.hidden = !words;
  if (!words) return;
  place.append(words);
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link.href;
    anchor.textContent = link.words;
    place.append(" ", anchor);
  }
}
