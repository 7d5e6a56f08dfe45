// How good the password in a field is, told beside it while one types: <meter data-strength="field"> and its words.

import { call } from "./api.js";

const WAIT = 400; // ms after the last key; the answer is the server's, which also refuses
const WORDS = ["Guessed at once", "Easily guessed", "Not hard enough to guess", "Good", "Very good"];

for (const meter of document.querySelectorAll("[data-strength]")) {
  const input = document.getElementById(meter.dataset.strength);
  const words = meter.nextElementSibling;
  let timer = 0;
  let asked = 0;
  const measure = async () => {
    const mine = ++asked;
    const facts = { password: input.value };
    for (const name of ["email", "name", "company"]) {
      const value = input.form.elements.namedItem(name)?.value;
      if (value) facts[name] = value;
    }
    try {
      const { score, rule } = await call("POST", "/api/password-strength", { body: facts });
      if (mine !== asked) return;
      meter.value = rule ? Math.min(score, 2) : score;
      words.textContent = rule ? `${WORDS[Math.min(score, 2)]}: it ${rule}.` : `${WORDS[score]}.`;
      meter.hidden = words.hidden = false;
    } catch {
      if (mine === asked) meter.hidden = words.hidden = true; // no meter is no obstacle: the form is sent all the same
    }
  };
  input.addEventListener("input", () => {
    window.clearTimeout(timer);
    asked += 1;
    if (input.value) timer = window.setTimeout(measure, WAIT);
    else meter.hidden = words.hidden = true;
  });
}
