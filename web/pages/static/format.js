// How credits and times are written; web/pages/filters.py writes them the same way.

export function exact(mc) {
  const whole = Math.floor(Math.abs(mc) / 1000);
  const rest = String(Math.abs(mc) % 1000).padStart(3, "0");
  return `${mc < 0 ? "−" : ""}${whole.toLocaleString("en")}.${rest}`;
}

export function credits(mc) {
  return exact(mc).replace(/\.?0+$/, "");
}

const step = (mc) => (mc < 10_000 ? 10 : 100);

// For what is about so much: never smaller than it is.
export function rough(mc) {
  return credits(Math.ceil(mc / step(mc)) * step(mc));
}

// For what is at hand: never larger than it is.
export function roughDown(mc) {
  return credits(Math.floor(mc / step(mc)) * step(mc));
}

export function count(number) {
  return number.toLocaleString("en");
}

const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function when(iso, how) {
  return (how === "clock" ? CLOCK : DAY).format(new Date(iso));
}

// Characters as the server counts them: code points, not UTF-16 units.
export function length(text) {
  let points = 0;
  for (const _ of text) points += 1;
  return points;
}
