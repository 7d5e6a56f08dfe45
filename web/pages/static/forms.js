// Forms that speak to the API, told by attributes:
//   data-api, data-method     where to; the fields are the JSON body, empty optional ones are left out
//   data-key                  send an Idempotency-Key; with a name it outlives the page, until the purchase is over
//   data-then="/x?e={email}"  where to go on success; names are fields of the answer, else of the form
//   data-leave="field"        go to the address in that field of the answer
//   data-done="words"         stay and say so · data-drop="li": remove what the form is in
//   data-on-<code>="/path"    where to go when that problem comes
//   data-then-<state>="/x"    where to go instead when the answer's `state` is that
//   data-rest="30"            seconds before it can be sent again
//   data-keep                 what was written waits in this tab while one proves who one is, and is there afterwards
//   data-return, data-forget  a path to come back to after paying · forget what this tab keeps

import { call, newKey, Problem } from "./api.js";
import { say, showTrouble } from "./page.js";

const KEY_LIVES = 30 * 60_000; // ms; going back and pressing again within it is the same purchase

// The server's rules in the words of this page; what is none of these is shown as it came.
const RULES = [
  [/required|missing|at least 1 character/i, () => "Please fill this in."],
  [/at least (\d+) characters/i, (n) => `This needs at least ${n} characters.`],
  [/at most (\d+) characters/i, (n) => `This may have at most ${n} characters.`],
  [/valid email/i, () => "This does not look like an e-mail address."],
];

function wordsFor(rule) {
  const text = String(rule ?? "").trim();
  for (const [pattern, words] of RULES) {
    const match = text.match(pattern);
    if (match) return words(match[1]);
  }
  if (!text) return "This does not fit here.";
  const sentence = /^(must|should|may|is) /.test(text) ? `This ${text}` : text;
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function showFault(input, words) {
  const place = document.getElementById(`${input.id}-error`);
  if (!place) return false;
  place.textContent = words;
  place.hidden = !words;
  if (words) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  return true;
}

// Each problem at its field if it has one, the rest above the form; the first is focused.
export function showProblem(form, problem) {
  const place = form.querySelector("[data-trouble]");
  const rest = [];
  let first = null;
  for (const { field, rule } of problem.errors) {
    const input = form.elements.namedItem(String(field).split(".").at(-1));
    if (input instanceof HTMLElement && input.type !== "hidden" && showFault(input, wordsFor(rule))) first ??= input;
    else rest.push(wordsFor(rule));
  }
  if (first && !rest.length) return first.focus();
  const wait = problem.facts?.retry_after;
  const words = problem.detail || rest[0] || problem.title;
  const number = problem.status >= 500 && problem.facts.request_id ? ` (request ${problem.facts.request_id})` : "";
  const link = problem.status === 401 && form.dataset.api !== "/api/session";
  const here = encodeURIComponent(location.pathname + location.search);
  const later = wait ? ` Try again in ${wait < 90 ? `${wait} seconds` : `${Math.ceil(wait / 60)} minutes`}.` : "";
  showTrouble(place, words + later + number, link ? { href: `/sign-in?next=${here}`, words: "Sign in" } : null);
  (first ?? place).focus();
}

export function faultsOf(form) {
  let first = null;
  for (const input of form.elements) {
    if (!input.willValidate || !input.name) continue;
    const { validity } = input;
    // Browsers report tooShort only for what was typed, not for what a password manager filled in.
    const isShort = validity.tooShort || (input.minLength > 0 && input.value.length < input.minLength);
    let words = "";
    if (validity.valueMissing) words = "Please fill this in.";
    else if (isShort) words = `This needs at least ${input.minLength} characters.`;
    else if (validity.patternMismatch) words = `Please give ${input.title || "what is asked for"}.`;
    else if (!validity.valid) words = input.validationMessage;
    showFault(input, words);
    if (words) first ??= input;
  }
  return first;
}

function bodyOf(form) {
  const body = {};
  for (const input of form.elements) {
    if (input.name && (input.value !== "" || input.required)) body[input.name] = input.value;
  }
  return Object.keys(body).length ? body : undefined;
}

const fill = (path, facts) => path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(facts[name] ?? ""));

function keyOf(form) {
  if (form.dataset.key === undefined) return undefined;
  if (!form.dataset.key) return (form.key ??= newKey());
  const [since, kept] = (sessionStorage.getItem(form.dataset.key) ?? "").split("|");
  if (kept && Date.now() - Number(since) < KEY_LIVES) return kept;
  const key = newKey();
  sessionStorage.setItem(form.dataset.key, `${Date.now()}|${key}`);
  return key;
}

function forgetKey(form) {
  form.key = undefined;
  if (form.dataset.key) sessionStorage.removeItem(form.dataset.key);
}

function succeed(form, answer, body) {
  const { then, leave, done, drop, forget } = form.dataset;
  form.dispatchEvent(new CustomEvent("answered", { detail: answer }));
  const other = answer?.state && form.getAttribute(`data-then-${answer.state.replace("_", "-")}`);
  if (other) return location.assign(fill(other, { ...body, ...answer }));
  if (forget !== undefined) sessionStorage.clear();
  if (leave) {
    const target = new URL(answer[leave]);
    if (!/^https?:$/.test(target.protocol)) throw new Problem({ title: "The address to pay at is not one." });
    if (form.dataset.return) sessionStorage.setItem("return", form.dataset.return);
    return location.assign(target);
  }
  if (then) return location.assign(fill(then, { ...body, ...answer }));
  if (done) say(done);
  if (drop) form.closest(drop).remove();
  else if (done) form.querySelector("[data-trouble]")?.insertAdjacentElement("afterend", notice(form, done));
  return undefined;
}

function notice(form, words) {
  form.querySelector(".notice")?.remove();
  const place = document.createElement("p");
  place.className = "notice good";
  place.textContent = words;
  return place;
}

const keptAs = (form) => `written:${form.dataset.api}`;

// Once: what is sent then is not to come back.
function restore(form) {
  const kept = JSON.parse(sessionStorage.getItem(keptAs(form)) ?? "{}");
  sessionStorage.removeItem(keptAs(form));
  for (const [name, value] of Object.entries(kept)) form.elements.namedItem(name).value = value;
}

async function submit(event) {
  const form = event.currentTarget;
  event.preventDefault();
  if (form.getAttribute("aria-busy") === "true") return;
  showTrouble(form.querySelector("[data-trouble]"), "");
  const first = faultsOf(form);
  if (first) return first.focus();
  const button = form.querySelector("button:not([type=button])");
  const body = bodyOf(form);
  form.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  let rest = 0;
  try {
    const answer = await call(form.dataset.method ?? "POST", form.dataset.api, { body, key: keyOf(form) });
    succeed(form, answer, body);
    rest = Number(form.dataset.rest ?? 0);
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem({ title: "Something went wrong on this page." });
    const elsewhere = form.getAttribute(`data-on-${problem.code}`);
    if (problem.code === "sign-in-again" && form.dataset.keep !== undefined) {
      sessionStorage.setItem(keptAs(form), JSON.stringify(body));
    }
    if (elsewhere) location.assign(fill(elsewhere, body ?? {}));
    else showProblem(form, problem);
    // A refusal is an end; without an answer the same attempt may have been taken, so its key is kept for the next try.
    if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) forgetKey(form);
    if (!(error instanceof Problem)) throw error;
  } finally {
    const free = () => {
      form.removeAttribute("aria-busy");
      button.removeAttribute("aria-disabled");
    };
    if (rest) window.setTimeout(free, rest * 1000);
    else free();
  }
}

for (const form of document.querySelectorAll("form[data-api]")) {
  form.noValidate = true;
  if (form.dataset.keep !== undefined) restore(form);
  form.addEventListener("submit", submit);
  form.addEventListener("input", ({ target }) => {
    if (target.matches("[data-digits]")) {
      const digits = target.value.replace(/[\s-]/g, "");
      if (digits !== target.value) target.value = digits;
    }
    if (target.getAttribute("aria-invalid")) showFault(target, "");
  });
}

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    const input = document.getElementById(button.dataset.show);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-pressed", String(shown));
  });
}
