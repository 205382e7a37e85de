// One published Node client sends events that carry a marker, and says what went wrong.
// `node drive.cjs segment|rudder URL COUNT gzip|plain NAME PATIENCE`; prints {"sent": n, "errors": [...]}.
// The packages are found through NODE_PATH. Message ids are the client's own. PATIENCE: retries.
"use strict";

const [library, url, countText, packing, name, patienceText] = process.argv.slice(2);
const count = Number(countText);
const patience = Number(patienceText);
const errors = [];
const failed = (error) => errors.push(String((error && error.message) || error).slice(0, 200));
process.on("unhandledRejection", failed);

function sendAll(client, callback) {
  for (let i = 0; i < count; i++) {
    const userId = `${name}-c${i % 50}`;
    const n = `${name}:${i}`;
    const one = (kind, rest) => client[kind]({ userId, ...rest }, callback);
    switch (i % 25) {
      case 0: one("identify", { traits: { n, email: `${userId}@example.com` } }); break;
      case 1: one("page", { category: "Shop", name: "Home", properties: { n, url: "https://shop.example" } }); break;
      case 2: one("group", { groupId: "acme", traits: { n, plan: "pro" } }); break;
      case 3: one("screen", { category: "Shop", name: "Basket", properties: { n } }); break;
      case 4: one("track", { event: "Order Completed", properties: { n, order_id: n, revenue: 10.0 } }); break;
      default: one("track", { event: "Product Viewed", properties: { n, product_id: `p${i % 7}`, price: 12.5 } });
    }
  }
}

async function segment() {
  const { Analytics } = require("@segment/analytics-node");
  const client = new Analytics({ writeKey: "wk", host: url, flushAt: 100, flushInterval: 200, maxRetries: patience });
  client.on("error", (problem) => failed(problem.reason || problem.code));
  sendAll(client);
  await client.closeAndFlush({ timeout: 600_000 });
}

async function rudder() {
  const Analytics = require("@rudderstack/rudder-sdk-node");
  let left = count;
  const client = new Analytics("wk", {
    dataPlaneUrl: url, flushAt: 100, flushInterval: 200, gzip: packing === "gzip", logLevel: "error",
    retryCount: patience, errorHandler: failed, maxInternalQueueSize: 100_000, maxQueueSize: 1e9,
    axiosRetryConfig: { retryDelay: (attempt) => Math.min(2000, 50 * 2 ** attempt) },
  });
  client.logger.error = () => {};
  sendAll(client, () => { left--; });
  while (left > 0) {
    await client.flush().catch(failed);
    await new Promise((resume) => setTimeout(resume, 5));
  }
}

(library === "segment" ? segment() : rudder()).catch(failed).finally(() => {
  console.log(JSON.stringify({ sent: count, errors }));
  process.exit(0);
});
