// What an answer may cost, before and while it is written. The server's own figures replace these as soon as there are any.

const BYTES_PER_TOKEN = 4; // of English, by rule of thumb: for "about" alone, never for the cap
const TYPICAL_QUESTION = 534; // bytes: the question that `typical_answer_mc` is for (core/consultations/pricing.py)
const MOST_BYTES = 4; // of a character in UTF-8

const bytes = (text) => new TextEncoder().encode(text).length;
const together = (texts) => texts.reduce((sum, text) => sum + bytes(text), 0);

// service: its prices · said: the texts of the consultation so far · question: what is being written
// A token is at least one byte, so bytes bound the tokens that are read: "most" is not exceeded. `max_answer_mc` is for
// the longest question; what this one is shorter by is taken off.
export function before(service, said, question) {
  const cost = (tokens) => (tokens * service.input_mc_per_1k) / 1000;
  const earlier = together(said);
  const asked = bytes(question);
  const longer = Math.max(0, asked - TYPICAL_QUESTION);
  const spared = service.max_question_chars * MOST_BYTES - asked;
  const most = Math.ceil(service.max_answer_mc + cost(earlier - spared));
  const about = Math.ceil(service.typical_answer_mc + cost((earlier + longer) / BYTES_PER_TOKEN));
  return { about: Math.min(about, most), most };
}

// While it streams: what was read is known only at the end, so it is taken as in `before`.
export function soFar(service, said, tokens) {
  const read = together(said) / BYTES_PER_TOKEN;
  return Math.ceil((read * service.input_mc_per_1k + tokens * service.output_mc_per_1k) / 1000);
}
