// A consultation: asks, follows the answer wherever it comes from, and shows what it costs.

import { Announcer } from "./announce.js";
import { call, Problem } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { credits } from "./format.js";
import { Live } from "./live.js";
import { say, showAvailable } from "./page.js";
import { soFar } from "./prices.js";

const root = document.querySelector("[data-consultation]");
const id = root.dataset.consultation;
const service = JSON.parse(root.dataset.service);
const limits = JSON.parse(root.dataset.limits);
const path = `/api/consultations/${id}`;
let available = JSON.parse(root.dataset.credits)?.available_mc ?? null;
let running = null; // {job, answer, hold, tokens}

const conversation = new Conversation(root);
const { said, waiting } = conversation.takeOver();
const announcer = new Announcer(root.querySelector("[data-spoken]"));
const composer = new Composer(root.querySelector("[data-composer]"), {
  id,
  service,
  limits,
  facts: () => ({ said, available }),
  send,
  stop,
});
const live = new Live({
  onWay: (way) => composer.way(way === "polling" ? "Your network blocks live connections; answers come in steps." : ""),
});

function here() {
  return encodeURIComponent(location.pathname);
}

function showProblem(problem) {
  const { status, code, facts } = problem;
  if (code === "not-enough-credits") {
    const { needed_mc: needed, available_mc: have } = facts;
    const missing = `you have ${credits(have ?? 0)}: ${credits((needed ?? 0) - (have ?? 0))} are missing.`;
    const needs = `This needs at least ${credits(needed ?? 0)} credits set aside, and ${missing}`;
    const words = needed === undefined ? problem.detail : needs;
    return composer.trouble(words, { href: `/credits?next=${here()}`, words: "Buy credits" });
  }
  if (status === 401) {
    const words = "You are signed out. Your question is kept in this tab.";
    return composer.trouble(words, { href: `/sign-in?next=${here()}`, words: "Sign in" });
  }
  if (code === "offline" || code === "slow") {
    return composer.trouble(`${problem.message} Your question is kept: send it again, it is not charged twice.`);
  }
  const wait = facts?.retry_after ? ` Try again in ${facts.retry_after} seconds.` : "";
  const number = status >= 500 && facts?.request_id ? ` (request ${facts.request_id})` : "";
  const words = problem.errors[0] ? `A question ${problem.errors[0].rule}.` : problem.message;
  return composer.trouble(`${words}${wait}${number} Your question is kept.`);
}

async function send(text, key) {
  composer.busy("sending");
  let taken;
  try {
    taken = await call("POST", `${path}/messages`, { body: { text }, key });
  } catch (error) {
    composer.busy("");
    if (!(error instanceof Problem)) throw error;
    // A refusal is final for this key; without an answer the question may have been taken, so the key stays.
    if (error.status >= 400 && error.status < 500) composer.refused();
    showProblem(error);
    return;
  }
  root.querySelector("[data-begin]")?.remove();
  composer.taken();
  conversation.addQuestion(text);
  said.push(text);
  follow(taken.job, taken.hold_mc, "Sent");
  say(`Sent. At most ${credits(taken.hold_mc)} credits are set aside.`);
  refreshCredits();
}

function follow(job, hold, words) {
  running = { job, hold, tokens: 0, answer: conversation.beginAnswer(words) };
  composer.busy("answering");
  composer.meter(soFar(service, limits, said, 0), hold);
  live.watch(job, { deliver: (event) => take(job, event), lost: (problem) => lost(job, problem) });
}

function take(job, { type, data }) {
  if (running?.job !== job) return;
  const { answer } = running;
  if (type === "queued") answer.state(waitingFor(data));
  if (type === "started") {
    answer.state("Thinking");
    say("The answer has begun.");
  }
  if (type === "delta") {
    answer.state("");
    answer.add(data.text);
    announcer.add(data.text);
    count(data.tokens);
  }
  if (type === "restarted") startAgain(data);
  if (type === "done" || type === "cancelled") end(data, type);
  if (type === "failed") end({ result: { state: "failed", cost_mc: 0 } }, type);
}

// data: {again_in, reason} when an attempt has failed and another one waits; nothing at first.
function waitingFor({ again_in: wait, reason }) {
  if (wait === undefined) return "Waiting for a free place";
  const what = reason === "model-busy" ? "The model is busy" : "That did not work";
  const words = `${what}, trying again in ${Math.max(1, Math.round(wait))} s`;
  say(`${words}.`);
  return words;
}

// Another attempt begins with nothing; a stream that was lost is told again with all that had been written.
function startAgain({ text, tokens }) {
  const { answer } = running;
  const shown = answer.text;
  if (text.startsWith(shown)) {
    announcer.add(text.slice(shown.length));
    answer.state(text ? "" : "Thinking");
  } else {
    announcer.restart();
    answer.state("Interrupted; it is being written anew");
    say("The answer was interrupted and is being written anew.");
  }
  answer.replace(text);
  count(tokens);
}

function count(tokens) {
  running.tokens = tokens ?? running.tokens;
  composer.meter(soFar(service, limits, said, running.tokens), running.hold);
}

// data: {result: the generation's outcome, with `chars` of its text}; null where the job was cancelled before any of it.
async function end(data, type) {
  const { answer, hold } = running;
  let result = data.result;
  running = null;
  if (!result || (result.chars > 0 && answer.length !== result.chars)) {
    const found = await fetchOutcome(result?.message);
    result ??= found?.generation;
    if (found?.text) answer.replace(found.text);
  }
  if (result?.state === "filtered") answer.replace(""); // what was withheld is not kept, here either
  result ??= { state: type === "cancelled" ? "stopped" : "failed", cost_mc: 0 };
  const outcome = { hold_mc: hold, ...result };
  answer.end(outcome);
  if (answer.text) said.push(answer.text);
  announcer.end();
  sayOutcome(outcome);
  composer.busy("");
  refreshCredits();
}

function sayOutcome({ state, cost_mc: cost }) {
  const price = cost ? `It cost ${credits(cost)} credits.` : "Nothing was charged.";
  const words = { done: "The answer is complete.", stopped: "Stopped.", filtered: "The answer was withheld." };
  say(`${words[state] ?? "There was no answer."} ${price}`);
}

// The rows know what a lost or trimmed stream does not: the newest question's outcome and the text of its answer.
async function fetchOutcome(message) {
  const found = await call("GET", path).catch(() => null);
  if (!found) return null;
  const questions = found.messages.filter((one) => one.role === "question");
  const answer = found.messages.findLast((one) => one.role === "answer" && (!message || one.id === message));
  const last = questions.at(-1);
  const isLast = answer && found.messages.indexOf(answer) > found.messages.indexOf(last);
  return { generation: last?.generation, text: isLast || message ? answer?.text : null };
}

async function lost(job, problem) {
  if (running?.job !== job) return;
  if (problem.status === 401) {
    running.answer.state("You are signed out. The answer goes on and will be here when you come back.");
    showProblem(problem);
    return;
  }
  const found = await fetchOutcome();
  if (running?.job !== job) return;
  if (found?.generation && found.generation.state !== "waiting") {
    if (found.text) running.answer.replace(found.text);
    end({ result: found.generation }, "done");
  } else {
    running.answer.state("We lost sight of this answer. Reload the page to look again.");
  }
}

async function stop() {
  if (!running) return;
  const { job } = running;
  composer.stopping();
  say("Stopping.");
  try {
    await call("DELETE", `/api/jobs/${job}`);
  } catch (error) {
    // Over already: its end is on its way.
    if (running?.job !== job || error.status === 404 || error.status === 409) return;
    composer.busy("answering");
    composer.meter(soFar(service, limits, said, running.tokens), running.hold);
    showProblem(error);
  }
}

async function refreshCredits() {
  const have = await call("GET", "/api/credits").catch(() => null);
  if (!have) return;
  available = have.available_mc;
  showAvailable(available);
  if (!running) composer.showPrice();
}

for (const button of root.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => composer.fill(button.textContent));
}
live.open();
if (waiting) follow(waiting.job, waiting.hold_mc, "Catching up with your answer");
else if (said.length) conversation.toEnd();
