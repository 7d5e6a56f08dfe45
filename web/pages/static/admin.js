// An adjustment of somebody's credits: what will change is said before it is made.

import { call, newKey, Problem } from "./api.js";
import { faultsOf, showProblem } from "./forms.js";
import { credits } from "./format.js";
import { showTrouble } from "./page.js";

const form = document.querySelector("[data-adjust]");
const dialog = document.querySelector("#confirm");
let asked = null; // what was shown, and is sent if it is confirmed

// "12.5" is 12500; the field's pattern has let nothing else through.
function millicredits(text) {
  const [whole, rest = ""] = text.split(".");
  return Number(whole) * 1000 + Number(rest.padEnd(3, "0"));
}

function change({ amount_mc, expires_at }) {
  const { name, balance, free, owed } = form.dataset;
  const amount = credits(Math.abs(amount_mc));
  const parts = [amount_mc > 0 ? `${name} gets ${amount} credits.` : `${amount} credits are taken from ${name}.`];
  if (expires_at) parts.push(`They expire at the end of ${expires_at.slice(0, 10)} (UTC).`);
  parts.push(`The balance goes from ${credits(Number(balance))} to ${credits(Number(balance) + amount_mc)}.`);
  if (amount_mc > 0 && Number(owed)) parts.push(`${credits(Math.min(amount_mc, Number(owed)))} of them pay what is owed.`);
  if (-amount_mc > Number(free)) {
    parts.push(`Only ${credits(Number(free))} are free: ${credits(-amount_mc - Number(free))} will be owed, and nothing can be asked until they are paid.`);
  }
  return parts.join(" ");
}

async function send() {
  form.setAttribute("aria-busy", "true");
  try {
    await call("POST", form.dataset.adjust, asked);
    location.reload();
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem({ title: "Something went wrong on this page." });
    showProblem(form, problem);
    // Without an answer it may have been made: the same attempt again is made once.
    if (problem.status >= 400 && problem.status < 500) asked = null;
    if (!(error instanceof Problem)) throw error;
  } finally {
    form.removeAttribute("aria-busy");
  }
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.getAttribute("aria-busy") === "true") return;
  showTrouble(form.querySelector("[data-trouble]"), "");
  const first = faultsOf(form);
  if (first) {
    first.focus();
    return;
  }
  const { way, amount_mc, reason, expires_at } = Object.fromEntries(new FormData(form));
  const body = { amount_mc: millicredits(amount_mc) * (way === "take" ? -1 : 1), reason };
  if (expires_at) body.expires_at = `${expires_at}T23:59:59Z`;
  const same = asked && JSON.stringify(asked.body) === JSON.stringify(body);
  asked = { body, key: same ? asked.key : newKey() };
  dialog.querySelector("[data-change]").textContent = change(body);
  dialog.returnValue = "";
  dialog.showModal();
});

dialog?.addEventListener("close", () => {
  if (dialog.returnValue === "yes") send();
});
if (form) form.noValidate = true;
