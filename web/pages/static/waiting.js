// Beside the field for a mailed code: where the mail is, asked until it has arrived or will not.

import { call, Problem } from "./api.js";

const EVERY = 2_000; // ms; twice as long after each question, as mail servers may take their time
const AT_MOST = 30_000;
const OVER = new Set(["accepted", "refused", "failed", "withheld"]);

const place = document.querySelector("[data-mail-state]");
let timer = 0;

function show({ state, words }) {
  if (place.textContent !== words) place.textContent = words;
  place.dataset.mailState = state;
  place.classList.toggle("warning", OVER.has(state) && state !== "accepted");
}

async function ask(pause) {
  try {
    show(await call("GET", "/api/mail-state"));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404) return;
  }
  follow(pause);
}

function follow(pause) {
  window.clearTimeout(timer);
  if (OVER.has(place.dataset.mailState)) return;
  timer = window.setTimeout(() => ask(Math.min(2 * pause, AT_MOST)), pause);
}

if (place) {
  follow(EVERY);
  for (const form of document.querySelectorAll("form.again")) {
    form.addEventListener("answered", () => ask(EVERY)); // another mail is on its way
  }
}
