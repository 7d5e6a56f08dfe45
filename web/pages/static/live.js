// Following jobs: one websocket for all of them, long polling where sockets do not get through. No DOM here.
//
// Both ways carry the same events with the same ids, "<attempt>-<n>". Each watch keeps the last id that it saw: it is
// what a reconnect asks from, and what a doubled event is known by, so changing the way loses and repeats nothing.

import { call, Problem } from "./api.js";

const HELLO_WITHIN = 4_000; // ms; then sockets are taken to be blocked
const SILENT_FOR = 45_000; // ms of a watched job without an event; then the socket may be dead without knowing
const POLL_WAIT = 25; // seconds that the server holds an empty poll
const FIRST_PAUSE = 500; // ms
const LONGEST_PAUSE = 30_000; // ms
const ENDS = new Set(["done", "failed", "cancelled"]);

// "notices" comes with the account's count of unread ones, whichever socket heard it.
export const news = new EventTarget();

const parts = (id) => String(id ?? "").split("-").map(Number);

// Whether event id `a` comes after `b`; what has no such id counts as new.
export function isAfter(a, b) {
  const [attempt, n] = parts(a);
  const [lastAttempt, last] = parts(b);
  if (Number.isNaN(attempt) || n === undefined || last === undefined) return true;
  return attempt > lastAttempt || (attempt === lastAttempt && n > last);
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = window.setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (window.clearTimeout(timer), resolve()), { once: true });
  });

export class Live {
  #watches = new Map(); // job -> {last, deliver, lost, polling: AbortController or null}
  #socket = null;
  #ready = false;
  #failures = 0;
  #timer = 0;
  #onWay;

  // onWay("socket" | "polling" | "none") tells which way is in use, whenever it changes.
  constructor({ onWay = () => {} } = {}) {
    this.#onWay = onWay;
    window.addEventListener("online", () => (this.#watches.size ? this.#drop(this.#socket) : undefined, this.#hurry()));
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
    window.addEventListener("pageshow", (event) => event.persisted && this.#hurry());
  }

  // Open the socket early, so that the first answer need not wait for it.
  open() {
    if (!this.#socket) this.#connect();
  }

  // Deliver each event of `job` after the id `after`, in order, once, until its end. Returns a function that stops.
  // lost(problem) is called when it cannot be followed any more: signed out, or over without our having seen the end.
  watch(job, { after = "", deliver, lost = () => {} }) {
    const watch = { last: after, deliver, lost, polling: null, guard: 0 };
    this.#watches.set(job, watch);
    if (this.#ready) this.#ask(job, watch);
    else if (this.#failures) this.#poll(job, watch);
    this.open();
    return () => this.#forget(job);
  }

  #listen(watch) {
    window.clearTimeout(watch.guard);
    watch.guard = window.setTimeout(() => this.#drop(this.#socket), SILENT_FOR);
  }

  #forget(job) {
    const watch = this.#watches.get(job);
    if (!watch) return;
    window.clearTimeout(watch.guard);
    this.#watches.delete(job);
    watch.polling?.abort();
    if (this.#ready) this.#socket.send(JSON.stringify({ unwatch: job }));
  }

  #take(job, { id, type, data }) {
    const watch = this.#watches.get(job);
    if (!watch || (watch.last && id && !isAfter(id, watch.last))) return;
    if (this.#ready) this.#listen(watch);
    if (id) watch.last = id;
    if (ENDS.has(type)) this.#forget(job);
    watch.deliver({ id, type, data: data ?? {} });
  }

  #refused({ job, data }) {
    const watch = this.#watches.get(job);
    this.#forget(job);
    watch?.lost(new Problem({ status: 404, code: data?.code, title: "There is no such answer, or it is not yours." }));
  }

  // --- the socket

  async #connect() {
    const socket = (this.#socket = {}); // holds the place while the ticket is fetched
    let ticket;
    try {
      ({ ticket } = await call("POST", "/api/live-ticket", { timeout: HELLO_WITHIN }));
    } catch (problem) {
      if (this.#socket === socket) this.#fell(problem);
      return;
    }
    if (this.#socket !== socket) return;
    let opened;
    try {
      opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    } catch {
      this.#fell();
      return;
    }
    this.#socket = opened;
    const late = window.setTimeout(() => this.#drop(opened), HELLO_WITHIN);
    opened.addEventListener("open", () => opened.send(JSON.stringify({ hello: ticket })));
    opened.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "hello") {
        window.clearTimeout(late);
        this.#greeted();
      } else if (message.type === "notices") news.dispatchEvent(new CustomEvent("notices", { detail: message.data }));
      else if (message.type === "refused") this.#refused(message);
      else if (message.job) this.#take(message.job, message);
    });
    opened.addEventListener("close", () => {
      window.clearTimeout(late);
      this.#drop(opened);
    });
  }

  #greeted() {
    this.#ready = true;
    this.#failures = 0;
    this.#onWay("socket");
    for (const [job, watch] of this.#watches) {
      watch.polling?.abort();
      watch.polling = null;
      this.#ask(job, watch);
    }
  }

  #ask(job, watch) {
    this.#socket.send(JSON.stringify({ watch: job, after: watch.last }));
    this.#listen(watch);
  }

  // The socket is of no use any more, whether or not it knows.
  #drop(socket) {
    if (!this.#ready && !(socket instanceof WebSocket)) return; // not open yet: nothing to end
    if (this.#socket !== socket) return;
    socket.close();
    this.#fell();
  }

  #fell(problem) {
    const wasReady = this.#ready;
    this.#socket = null;
    this.#ready = false;
    if (problem?.status === 401) {
      for (const [job, watch] of this.#watches) {
        this.#forget(job);
        watch.lost(problem);
      }
      this.#onWay("none");
      return;
    }
    this.#failures += 1;
    // One that had worked is tried again first; what cannot be reached is polled meanwhile.
    if (!wasReady || this.#failures > 1) this.#pollAll();
    const longest = Math.min(FIRST_PAUSE * 2 ** (this.#failures - 1), LONGEST_PAUSE);
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
  }

  #hurry() {
    if (this.#socket || !this.#failures) return;
    window.clearTimeout(this.#timer);
    this.#connect();
  }

  // --- polling

  #pollAll() {
    if (this.#watches.size) this.#onWay("polling");
    for (const [job, watch] of this.#watches) if (!watch.polling) this.#poll(job, watch);
  }

  async #poll(job, watch) {
    const polling = (watch.polling = new AbortController());
    this.#onWay("polling");
    let wait = FIRST_PAUSE;
    while (!polling.signal.aborted) {
      const since = Date.now();
      try {
        const path = `/api/jobs/${job}/events?after=${encodeURIComponent(watch.last)}&wait=${POLL_WAIT}`;
        const { events, done } = await call("GET", path, {
          signal: polling.signal,
          timeout: (POLL_WAIT + 15) * 1000,
        });
        if (polling.signal.aborted) return; // the socket has taken over, from `last`
        for (const event of events) this.#take(job, event);
        if (done) {
          if (this.#watches.get(job) !== watch) return; // its end was among them
          this.#forget(job);
          return watch.lost(new Problem({ code: "ended", title: "It is over." }));
        }
        wait = FIRST_PAUSE;
        // A server that does not hold the poll must not be asked in a tight ring.
        if (!events.length && Date.now() - since < 1000) await pause(1000, polling.signal);
      } catch (problem) {
        if (polling.signal.aborted) return;
        if ([401, 403, 404].includes(problem.status)) {
          this.#forget(job);
          return watch.lost(problem);
        }
        await pause((problem.facts?.retry_after ?? 0) * 1000 || wait, polling.signal);
        wait = Math.min(wait * 2, LONGEST_PAUSE);
      }
    }
    return undefined;
  }
}
