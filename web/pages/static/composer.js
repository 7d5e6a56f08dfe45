// Where the question is written: the draft, the price before sending, the meter while an answer is written, Stop.

import { newKey } from "./api.js";
import { credits, length, rough, roughDown } from "./format.js";
import { showTrouble } from "./page.js";
import { before } from "./prices.js";

const touch = window.matchMedia("(pointer: coarse)");

export class Composer {
  #form;
  #input;
  #draftName;
  #key = null;
  #part = (name) => this.#form.querySelector(`[data-${name}]`);

  // service: prices and limits · facts(): {said, available} now · send(text, key), stop() are called for the buttons
  constructor(form, { id, service, limits, facts, send, stop }) {
    this.#form = form;
    this.#input = this.#part("question");
    this.#draftName = `draft-${id}`;
    this.service = service;
    this.limits = limits;
    this.facts = facts;
    // The draft is in this tab alone and goes with it, with the sign-out, or with the question's being taken.
    const draft = JSON.parse(sessionStorage.getItem(this.#draftName) ?? "null");
    if (draft && !this.#input.value) {
      this.#input.value = draft.text;
      this.#key = draft.key;
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(send);
    });
    this.#part("stop").addEventListener("click", stop);
    this.#input.addEventListener("input", () => this.#changed());
    this.#input.addEventListener("keydown", (event) => this.#pressed(event));
    if (touch.matches) form.querySelector("#keys").hidden = true;
    this.#input.enterKeyHint = touch.matches ? "enter" : "send";
    this.showPrice();
    this.#grow();
  }

  // On a keyboard of glass, Enter is for lines and the button is for sending.
  #pressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch.matches) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  #changed() {
    this.#key = null; // another text is another question
    this.trouble("");
    this.#keepDraft();
    this.showPrice();
    this.#grow();
  }

  #keepDraft() {
    const text = this.#input.value;
    if (text.trim()) sessionStorage.setItem(this.#draftName, JSON.stringify({ text, key: this.#key }));
    else sessionStorage.removeItem(this.#draftName);
  }

  // For browsers that do not grow the field themselves (field-sizing).
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }

  #submit(send) {
    const text = this.#input.value.trim();
    if (this.#form.dataset.busy || !text) return this.#input.focus();
    const limit = this.service.max_question_chars;
    if (length(text) > limit) {
      return this.trouble(`This is ${length(text) - limit} characters longer than a question may be.`);
    }
    this.#key ??= newKey(); // kept until the question is taken: sent again, it is still one question
    this.#keepDraft();
    return send(text, this.#key);
  }

  showPrice() {
    const { said, available } = this.facts();
    const { about, most } = before(this.service, this.limits, said, this.#input.value);
    const left = this.service.max_question_chars - length(this.#input.value);
    const room = left < 200 ? ` ${left} characters left.` : "";
    let have = "";
    if (available !== null) {
      let enough = available < most ? ": the answer may be cut short" : "";
      if (available < about) enough = ", which may be too little";
      have = ` You have ${roughDown(available)}${enough}.`;
    }
    this.#part("price").textContent = `About ${rough(about)}, at most ${rough(most)} credits.${have}${room}`;
  }

  fill(text) {
    this.#input.value = text;
    this.#changed();
    this.#input.focus();
  }

  // The question was taken: the draft has done its work.
  taken() {
    this.#input.value = "";
    this.#key = null;
    sessionStorage.removeItem(this.#draftName);
    this.trouble("");
    this.#grow();
  }

  refused() {
    this.#key = null;
    this.#keepDraft();
  }

  busy(phase) {
    // phase: "" to write, "sending", or "answering"
    if (phase) this.#form.dataset.busy = phase;
    else delete this.#form.dataset.busy;
    const answering = phase === "answering";
    const hadFocus = [this.#part("send"), this.#part("stop")].includes(document.activeElement);
    this.#part("send").hidden = answering;
    this.#part("send").setAttribute("aria-disabled", String(phase === "sending"));
    this.#part("stop").hidden = !answering;
    this.#part("stop").removeAttribute("aria-disabled");
    this.#part("stop").textContent = "Stop";
    this.#part("meter").hidden = !answering;
    this.#part("price").hidden = answering;
    if (hadFocus) (answering ? this.#part("stop") : this.#input).focus();
    if (!answering) this.showPrice();
  }

  stopping() {
    this.#part("stop").textContent = "Stopping";
    this.#part("stop").setAttribute("aria-disabled", "true");
  }

  meter(soFar, hold) {
    const shown = hold ? Math.min(soFar, hold) : soFar;
    this.#part("so-far").textContent = hold
      ? `about ${credits(shown)} of at most ${credits(hold)} credits`
      : `about ${credits(shown)} credits so far`;
    this.#part("gauge").style.inlineSize = hold ? `${Math.min(100, (100 * shown) / hold)}%` : "0";
  }

  way(words) {
    this.#part("way").textContent = words;
    this.#part("way").hidden = !words;
  }

  trouble(words, link) {
    showTrouble(this.#part("trouble"), words, link);
  }
}
