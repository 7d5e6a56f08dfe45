// The conversation on the page: questions, answers as they grow, and the receipt under each.

import { count, credits, exact, length, when } from "./format.js";
import { markdown } from "./markdown.js";

const NEAR_END = 120; // px from the end of the page within which it follows the words

const OUTCOMES = {
  done: "Answered",
  stopped: "Stopped by you",
  filtered: "Withheld by the content filter",
  failed: "Did not succeed",
};

function noteOf({ state, end_reason: reason, usage_estimated: estimated, cost_mc: cost, completion_tokens: written }) {
  if (state === "filtered") return "The content filter of the model’s host withheld the answer. Nothing was charged.";
  if (state === "failed") return "This was our fault or the model’s host’s. Nothing was charged; you can ask again.";
  const counted = estimated
    ? "Tokens were counted by us, as the model did not report them."
    : "Tokens as the model reported them.";
  if (state === "stopped" && !written) return "Stopped before anything was written. Nothing was charged.";
  if (state === "stopped") return `Charged for what had been written. ${counted}`;
  if (!cost) return "Nothing was charged.";
  return reason === "length" ? `It reached the longest answer that was paid for. ${counted}` : counted;
}

// generation: {state, end_reason, prompt_tokens, completion_tokens, usage_estimated, hold_mc, cost_mc, ended_at}; ended_at is missing of one that ends right now
export function fillReceipt(node, generation) {
  if (!node || !(generation.state in OUTCOMES)) return;
  const cost = generation.cost_mc ?? 0;
  const slots = {
    outcome: OUTCOMES[generation.state],
    cost: cost ? `${credits(cost)} credits` : "free",
    prompt: count(generation.prompt_tokens ?? 0),
    completion: count(generation.completion_tokens ?? 0),
    hold: exact(generation.hold_mc ?? 0),
    total: exact(cost),
    back: exact(Math.max(0, (generation.hold_mc ?? 0) - cost)),
    ended: when(generation.ended_at ?? new Date().toISOString(), "clock"),
    note: noteOf(generation),
  };
  for (const [name, words] of Object.entries(slots)) node.querySelector(`[data-slot="${name}"]`).textContent = words;
  node.dataset.state = generation.state;
  node.hidden = false;
}

export class Conversation {
  #root;
  #log;
  #newest;

  constructor(root) {
    this.#root = root;
    this.#log = root.querySelector("[data-log]");
    this.#newest = root.querySelector("[data-newest]");
    this.#newest.addEventListener("click", () => this.toEnd());
    // A receipt that is opened must not stay behind the composer. `toggle` does not bubble.
    const show = ({ target }) => target.open && target.scrollIntoView({ block: "nearest" });
    this.#log.addEventListener("toggle", show, true);
    window.addEventListener("scroll", () => this.#nearEnd() && (this.#newest.hidden = true), { passive: true });
  }

  // Make of the server's text what the browser shows; returns the texts in order and the generation that still waits.
  takeOver() {
    const said = [];
    let waiting = null;
    let generation = null;
    for (const message of this.#log.querySelectorAll("[data-message]")) {
      const text = message.querySelector("[data-text]");
      if (!text.classList.contains("gone")) said.push(text.textContent);
      if (message.matches(".question")) {
        this.#closeQuestion(generation);
        generation = JSON.parse(message.dataset.generation);
        if (generation) generation.after = message;
      } else {
        if (text.hasAttribute("data-markdown")) text.replaceChildren(markdown(text.textContent));
        if (generation) fillReceipt(message.querySelector("[data-receipt]"), generation);
        if (generation?.state !== "waiting") generation = null;
      }
    }
    if (generation?.state === "waiting") waiting = generation;
    else this.#closeQuestion(generation);
    return { said, waiting };
  }

  // A question that ended without an answer still has a receipt.
  #closeQuestion(generation) {
    if (!generation || generation.state === "waiting") return;
    const place = this.#fromTemplate("answer");
    place.querySelector("[data-state]").remove();
    place.querySelector("[data-text]").remove();
    fillReceipt(place.querySelector("[data-receipt]"), generation);
    generation.after.after(place);
  }

  #fromTemplate(name) {
    const template = this.#root.querySelector(`[data-${name}-template]`);
    return template.content.firstElementChild.cloneNode(true);
  }

  addQuestion(text) {
    const node = this.#fromTemplate("question");
    node.querySelector("[data-text]").textContent = text;
    node.querySelector(".meta").textContent = when(new Date().toISOString(), "clock");
    this.#log.append(node);
  }

  beginAnswer(words) {
    const node = this.#fromTemplate("answer");
    this.#log.append(node);
    const answer = new Answer(node, () => this.#grown());
    answer.state(words);
    this.toEnd();
    return answer;
  }

  #nearEnd() {
    return document.documentElement.scrollHeight - window.scrollY - window.innerHeight < NEAR_END;
  }

  // Follow the words only for who is reading at the end; for others, offer the way there.
  #grown() {
    const grew = document.documentElement.scrollHeight - (this.height ?? 0);
    const wasNear = document.documentElement.scrollHeight - grew - window.scrollY - window.innerHeight < NEAR_END;
    this.height = document.documentElement.scrollHeight;
    if (wasNear || this.#nearEnd()) this.#scrollToEnd();
    else this.#newest.hidden = false;
  }

  toEnd() {
    this.#newest.hidden = true;
    this.#scrollToEnd();
    this.height = document.documentElement.scrollHeight;
  }

  #scrollToEnd() {
    window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }
}

// One answer in the making. Words are gathered and put on the page once a frame.
class Answer {
  #node;
  #text;
  #whole = "";
  #pending = "";
  #frame = 0;
  #grown;

  constructor(node, grown) {
    this.#node = node;
    this.#text = node.querySelector("[data-text]");
    this.#grown = grown;
  }

  get text() {
    return this.#whole;
  }

  get length() {
    return length(this.#whole);
  }

  state(words) {
    const line = this.#node.querySelector("[data-state]");
    if (!line) return;
    line.hidden = !words;
    line.querySelector("[data-state-text]").textContent = words;
  }

  add(text) {
    this.#whole += text;
    this.#pending += text;
    this.#frame ||= window.requestAnimationFrame(() => this.#paint());
  }

  replace(text) {
    this.#whole = text;
    this.#pending = "";
    this.#text.textContent = text;
    this.#grown();
  }

  #paint() {
    this.#frame = 0;
    if (!this.#pending) return;
    const last = this.#text.lastChild;
    if (last instanceof Text) last.appendData(this.#pending);
    else this.#text.append(this.#pending);
    this.#pending = "";
    this.#grown();
  }

  // The finished answer: formatted, with its receipt.
  end(generation) {
    window.cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#node.querySelector("[data-state]")?.remove();
    this.#text.classList.remove("live");
    if (this.#whole) this.#text.replaceChildren(markdown(this.#whole));
    else this.#text.remove();
    fillReceipt(this.#node.querySelector("[data-receipt]"), generation);
    this.#grown();
  }
}
