// What an answer may cost, before and while it is written; web/pages/prices.py has the same rule. The server's own
// figures replace these as soon as there are any.

const BYTES_PER_TOKEN = 4; // of English, by rule of thumb: for "about" alone, never for the cap
const TYPICAL = { question: 133, answer: 333 }; // tokens that `typical_answer_mc` is for (core/consultations/pricing.py)
const PER_MESSAGE = 8; // tokens of the model's format
const MOST_BYTES = 4; // of a character in UTF-8

const bytes = (text) => new TextEncoder().encode(text).length;
const together = (texts) => texts.reduce((sum, text) => sum + bytes(text), 0);

// service: its prices · limits: {history} of what is read, {question} of 100 words, in bytes · said: the texts so far · question: being written
// A token is at least one byte, so bytes bound the tokens that are read: "most" is not exceeded. `max_answer_mc` is for
// the longest question; what this one is shorter by is taken off.
export function before(service, limits, said, question) {
  const cost = (tokens) => (tokens * service.input_mc_per_1k) / 1000;
  const earlier = Math.min(together(said), limits.history);
  const asked = bytes(question);
  const spared = service.max_question_chars * MOST_BYTES - (question ? asked : limits.question);
  const longer = Math.max(0, asked - limits.question);
  const most = Math.ceil(service.max_answer_mc + cost(earlier - spared));
  const about = Math.ceil(service.typical_answer_mc + cost((earlier + longer) / BYTES_PER_TOKEN));
  return { about: Math.min(about, most), most };
}

// While it streams: what was read is known only at the end, so it is estimated; the service's own instructions too.
export function soFar(service, limits, said, tokens) {
  const { input_mc_per_1k: reading, output_mc_per_1k: writing, typical_answer_mc: typical } = service;
  const known = TYPICAL.question * reading + TYPICAL.answer * writing;
  const instructions = Math.max(0, typical * 1000 - known);
  const read = Math.min(together(said), limits.history) / BYTES_PER_TOKEN + said.length * PER_MESSAGE;
  return Math.ceil((instructions + read * reading + tokens * writing) / 1000);
}
