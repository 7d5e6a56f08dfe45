// An answer for ears: whole sentences into a log region, never single tokens (a screen reader would stutter).

const KEEP_FOR = 20_000; // ms; then the words are only where they are read, in the answer itself
const GATHER = 1_200; // ms; sentences that end within it are one announcement

const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "sentence" }) : null;

// The part of `text` that is whole sentences or lines: what is after it may still grow.
function whole(text) {
  const line = text.lastIndexOf("\n") + 1;
  if (!segmenter) return text.slice(0, Math.max(line, text.search(/[.!?][^.!?]*$/) + 1));
  let last = 0;
  for (const { index } of segmenter.segment(text)) last = index;
  return text.slice(0, Math.max(line, last));
}

export class Announcer {
  #region;
  #unread = "";
  #timer = 0;

  constructor(region) {
    this.#region = region;
  }

  add(text) {
    this.#unread += text;
    this.#timer ||= window.setTimeout(() => this.#speak(), GATHER);
  }

  // Read out what is left, finished sentence or not.
  end() {
    window.clearTimeout(this.#timer);
    this.#speak(true);
  }

  // What was written is being written anew.
  restart() {
    window.clearTimeout(this.#timer);
    this.#timer = 0;
    this.#unread = "";
  }

  #speak(all = false) {
    this.#timer = 0;
    const words = all ? this.#unread : whole(this.#unread);
    this.#unread = this.#unread.slice(words.length);
    const plain = words.replace(/[*_`#>|]+/g, "").trim();
    if (plain) {
      const line = document.createElement("p");
      line.textContent = plain;
      this.#region.append(line);
      window.setTimeout(() => line.remove(), KEEP_FOR);
    }
  }
}
