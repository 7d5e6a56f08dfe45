// Calls to our own API: CSRF token, JSON, time limit, and problem documents as errors.

export class Problem extends Error {
  // code: the stable name; "offline" when there was no answer, "slow" when it took too long
  constructor({ status = 0, code = "unknown", title = "Something went wrong", detail = "", errors = [], ...facts }) {
    super(detail || title);
    Object.assign(this, { status, code, title, detail, errors, facts });
  }
}

const meta = document.querySelector('meta[name="csrf-token"]');

async function fetchToken() {
  const answer = await fetch("/api/session", { credentials: "same-origin", cache: "no-store" });
  const token = answer.headers.get("X-CSRF-Token") ?? (await answer.json().catch(() => ({}))).csrf_token;
  if (token) meta.content = token;
  return Boolean(token);
}

// What a page cannot settle itself: where one proves who one is, and comes back.
const ELSEWHERE = {
  "sign-in-again": () => `/sign-in?again&next=${encodeURIComponent(location.pathname + location.search)}`,
  "second-factor-needed": () => "/security",
  "not-agreed": () => "/account/policies",
};

async function problemOf(answer) {
  const document = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("Retry-After"));
  const elsewhere = ELSEWHERE[document.code];
  if (elsewhere) location.assign(elsewhere());
  return new Problem({ ...document, status: answer.status, ...(wait > 0 && { retry_after: wait }) });
}

async function send(method, path, { body, key, ifMatch, signal, timeout }) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = meta.content;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (ifMatch) headers["If-Match"] = ifMatch;
  const limit = AbortSignal.timeout(timeout);
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (limit.aborted) throw new Problem({ code: "slow", title: "There was no answer in time." });
    throw new Problem({ code: "offline", title: "We cannot be reached. Are you online?" });
  }
}

// The parsed answer, or null where there is none. Throws Problem; AbortError when `signal` was used.
// After a token that has aged (the page was open long, or signed in elsewhere) it fetches one and tries once more.
export async function call(method, path, { body, key, ifMatch, signal, timeout = 20_000 } = {}) {
  const options = { body, key, ifMatch, signal, timeout };
  let answer = await send(method, path, options);
  if (answer.status === 403 && method !== "GET") {
    const problem = await problemOf(answer);
    if (problem.code !== "foreign-request" || !(await fetchToken().catch(() => false))) throw problem;
    answer = await send(method, path, options);
  }
  if (!answer.ok) throw await problemOf(answer);
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => null);
  if (told?.csrf_token) meta.content = told.csrf_token; // the session goes on under a fresh id
  return told;
}

export function newKey() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4)), String).join("-");
}
