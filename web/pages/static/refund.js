// While a refund is on its way to Stripe: look again, and show the page anew when it has got there.

import { call } from "./api.js";

const root = document.querySelector("[data-under-way]");
const LOOKS = 15;

async function follow() {
  for (let look = 0; look < LOOKS; look += 1) {
    await new Promise((resolve) => window.setTimeout(resolve, 2000));
    const found = await call("GET", root.dataset.underWay).catch(() => null);
    if (found && found.refunds.every(({ state }) => state !== "requested")) {
      location.reload();
      return;
    }
  }
}

if (root) follow();
