// After paying: ask until the credits are there, say what is happening meanwhile.

import { call } from "./api.js";
import { credits } from "./format.js";
import { showAvailable } from "./page.js";

const root = document.querySelector("[data-purchase]");
const part = (name) => root.querySelector(`[data-${name}]`);
const ASK_FOR = 180_000; // ms; later the statement tells

const ENDS = {
  paid: ["Thank you", "received", "Your credits are there. We have mailed you a receipt."],
  expired: ["Not paid", "expired", "The page to pay on was open too long and has ended. Nothing was charged: choose a bundle again."],
  failed: ["Not paid", "failed", "Your bank did not pay, so nothing was credited. Try again, with another way to pay if it lets you down again."],
};

async function end(state) {
  const [title, payment, words] = ENDS[state];
  part("title").textContent = title;
  part("payment").textContent = payment;
  tell(words);
  part("waiting").hidden = true;
  sessionStorage.removeItem(root.dataset.key);
  part(state === "paid" ? "next" : "again").hidden = false;
  if (state !== "paid") return;
  const back = sessionStorage.getItem("return");
  sessionStorage.removeItem("return");
  if (back?.startsWith("/") && !back.startsWith("//")) {
    const first = part("next").querySelector("a");
    first.href = back;
    first.textContent = "Back to your consultation";
  }
  const have = await call("GET", "/api/credits").catch(() => null);
  if (!have) return;
  showAvailable(have.available_mc);
  part("balance-row").hidden = false;
  part("balance-row").querySelector("[data-available]").textContent = credits(have.available_mc);
}

// The region is live: the same words again are not said again.
function tell(words) {
  if (part("progress").textContent !== words) part("progress").textContent = words;
}

function waiting(since) {
  const seconds = (Date.now() - since) / 1000;
  if (seconds < 8) return "Stripe is telling us about your payment.";
  if (seconds < 40) return "This takes a little longer than usual. You need not stay: the credits come by themselves.";
  return "Your bank may still be confirming. You can close this page: the credits come by themselves, and a mail with them.";
}

async function follow() {
  let state = root.dataset.state;
  const since = Date.now();
  for (let pause = 1000; !(state in ENDS) && Date.now() - since < ASK_FOR; pause = Math.min(pause * 1.3, 8000)) {
    const found = await call("GET", `/api/purchases/${root.dataset.purchase}`).catch((problem) => problem);
    state = found.state ?? state;
    if (state in ENDS) break;
    if (found.status === 401) {
      return tell("You are signed out here. Your payment is not lost: sign in and look at your statement.");
    }
    tell(found.code === "offline" ? "We cannot be reached just now; trying again." : waiting(since));
    await new Promise((resolve) => window.setTimeout(resolve, pause));
  }
  if (state in ENDS) return end(state);
  part("waiting").hidden = true;
  return tell("Still not confirmed. The credits come by themselves once it is; your statement will show them.");
}

follow();
