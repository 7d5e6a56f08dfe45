// The editor of posts: autosave upon the version that was read, live preview, and the choice when two wrote at once.

import { call, Problem } from "./api.js";
import { say, showTrouble } from "./page.js";
import { pictures } from "./pictures.js";

const SAVE_AFTER = 1500; // ms without a key
const PREVIEW_AFTER = 300;

const place = document.querySelector("[data-post]");
const text = document.querySelector("#source");
const saved = document.querySelector("[data-saved]");
const trouble = document.querySelector("[data-trouble]");
const dialog = document.querySelector("#conflict");
const path = `/api/admin/posts/${place.dataset.post}`;

let version = Number(place.dataset.version);
let kept = text.value; // what the server has
let busy = null; // the save that is on its way
let conflict = null;
let saveTimer = 0;
let previewTimer = 0;

// The HTML comes from our own renderer, sanitised; this policy is the only way to a page's HTML here.
const preview = globalThis.trustedTypes?.createPolicy("preview", { createHTML: (html) => html }) ?? { createHTML: (html) => html };

const change = (method, where, body) => call(method, path + where, { body, ifMatch: `"${version}"` });

function tell(error) {
  const problem = error instanceof Problem ? error : new Problem({ title: "Something went wrong on this page." });
  const findings = problem.facts?.findings;
  showTrouble(trouble, findings ? `${problem.message} ${findings.join(" ")}` : problem.message);
  trouble.focus();
  if (!(error instanceof Problem)) throw error;
}

async function show() {
  try {
    const shown = await call("POST", `${path}/preview`, { body: { source: text.value } });
    document.querySelector("[data-preview]").innerHTML = preview.createHTML(shown.html);
    document.querySelector("[data-title]").textContent = shown.title || "A post";
    const findings = shown.findings.map((words) => Object.assign(document.createElement("li"), { textContent: words }));
    document.querySelector("[data-findings]").replaceChildren(...findings);
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // the next key tries again
  }
}

// True once the server has what is in the field; one save at a time, in order.
async function save() {
  clearTimeout(saveTimer);
  while (busy) await busy; // another that waited with us may have begun one
  if (conflict) return false;
  if (text.value === kept) return true;
  busy = saveNow().finally(() => (busy = null));
  const done = await busy;
  return done && text.value === kept ? true : done && save();
}

async function saveNow() {
  const source = text.value;
  saved.textContent = "Saving";
  try {
    version = (await change("PUT", "", { source })).version;
    kept = source;
    saved.textContent = "Saved";
    showTrouble(trouble, "");
    return true;
  } catch (error) {
    saved.textContent = "Not saved";
    if (error.code === "edited-meanwhile") ask(error.facts);
    else tell(error);
    return false;
  }
}

function ask(facts) {
  conflict = facts;
  const lines = [];
  const add = (kind, words) => {
    for (const word of words) lines.push(Object.assign(document.createElement("div"), { className: kind, textContent: word || " " }));
  };
  for (const part of facts.difference) {
    if (part.side === "same") add("same", part.base);
    else {
      add("base", part.base);
      if (part.side !== "theirs") add("mine", part.mine);
      if (part.side !== "mine") add("theirs", part.theirs);
    }
  }
  dialog.querySelector("[data-difference]").replaceChildren(...lines);
  if (!dialog.open) dialog.showModal();
}

for (const button of dialog.querySelectorAll("[data-take]")) {
  button.addEventListener("click", () => {
    const { version: newest, theirs, merged } = conflict;
    const takes = { merged, theirs, mine: text.value };
    text.value = takes[button.dataset.take];
    version = newest;
    kept = theirs;
    conflict = null;
    dialog.close();
    text.focus();
    changed();
  });
}
dialog.addEventListener("cancel", (event) => event.preventDefault()); // a choice is needed

function changed() {
  if (text.value !== kept) saved.textContent = "Not saved yet";
  clearTimeout(saveTimer);
  clearTimeout(previewTimer);
  saveTimer = setTimeout(save, SAVE_AFTER);
  previewTimer = setTimeout(show, PREVIEW_AFTER);
}

function wrap(before, after) {
  const { selectionStart: start, selectionEnd: end } = text;
  const words = text.value.slice(start, end);
  text.setRangeText(before + words + after, start, end, "end");
  if (!words) text.selectionStart = text.selectionEnd = start + before.length;
  changed();
}

// In a paragraph of its own: after the line of the cursor, or at the end if that is among the fields. Its alternative
// text is left to be written, and is selected for it: without one nothing is published.
function insert(picture) {
  const words = "what it shows";
  const fields = text.value.match(/^---\n[\s\S]*?\n---\n/)?.[0].length ?? 0;
  const line = text.value.indexOf("\n", text.selectionEnd);
  const start = text.selectionEnd < fields || line < 0 ? text.value.length : line;
  text.setRangeText(`\n\n![${words}](${picture.src})`, start, start, "end");
  text.focus();
  text.setSelectionRange(start + 4, start + 4 + words.length);
  changed();
}
pictures({ text, insert, tell });

const KEYS = { b: () => wrap("**", "**"), i: () => wrap("*", "*"), k: () => wrap("[", "](https://)"), s: () => save() };

text.addEventListener("input", changed);
text.addEventListener("keydown", (event) => {
  const act = (event.ctrlKey || event.metaKey) && !event.altKey && KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
window.addEventListener("beforeunload", (event) => {
  if (text.value !== kept) event.preventDefault();
});

async function moveTo(to) {
  const body = { to };
  if (to === "scheduled") {
    const at = document.querySelector("#at");
    if (!at.value) return at.focus();
    body.at = new Date(at.value).toISOString();
  }
  if (!(await save())) return undefined;
  try {
    await change("POST", "/state", body);
    return location.reload();
  } catch (error) {
    if (error.code === "edited-meanwhile") return location.reload();
    return tell(error);
  }
}

for (const button of document.querySelectorAll("[data-to]")) {
  button.addEventListener("click", () => moveTo(button.dataset.to));
}
document.querySelector("[data-call-off]")?.addEventListener("click", async () => {
  if (!(await save())) return;
  try {
    await call("DELETE", `${path}/schedule`);
    location.reload();
  } catch (error) {
    tell(error);
  }
});
for (const button of document.querySelectorAll("[data-restore]")) {
  button.addEventListener("click", async () => {
    if (!(await save())) return;
    try {
      await change("POST", "/restore", { revision: button.dataset.restore });
      location.reload();
    } catch (error) {
      tell(error);
    }
  });
}
say("");
