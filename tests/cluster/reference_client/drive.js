// Drives the compiled reference client: node drive.js URL ALICE_TOKEN BOB_TOKEN
//
// Prints one JSON line {step: {ms, result} or {ms, error}} and exits with 1 if a step failed.
// A step has failed when it did not resolve in time, or resolved with an error, or with nothing
// where the server owed an acknowledgement.
"use strict";

const { randomUUID } = require("node:crypto");

globalThis.WebSocket ??= require("ws"); // Node has its own from 22 on
console.log = console.error; // the client talks; standard output is for the result

const { RealtimeProtocolClient } = require("./reference-client");

const DEADLINE_MS = 1000;
const [url, aliceToken, bobToken] = process.argv.slice(2);
const steps = {};

async function step(name, action, check = () => undefined) {
  const start = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not resolved in ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  let outcome;
  try {
    const result = await Promise.race([action(), late]);
    check(result);
    outcome = { result: result ?? null };
  } catch (error) {
    outcome = { error: error.message ?? String(error) };
  } finally {
    clearTimeout(timer);
  }
  steps[name] = { ms: Math.round(performance.now() - start), ...outcome };
}

function acknowledged(result) {
  if (!result) throw new Error("resolved without an acknowledgement");
  if (result.error) throw new Error(result.error);
}

// connect() resolves before the server said Welcome; only from then on is a user online.
async function connectAndWaitForWelcome(client) {
  const welcome = new Promise((resolve) => {
    client.on("Status", (data) => data.status === "connected" && resolve());
  });
  await client.connect();
  await welcome;
}

function userOf(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sub;
}

async function main() {
  const alice = new RealtimeProtocolClient(url, aliceToken);
  const bob = new RealtimeProtocolClient(url, bobToken);
  const received = new Promise((resolve) => bob.on("DirectMessage", resolve));
  const payload = { message: "Hello from TypeScript client!" };

  await step("bob_connect", () => connectAndWaitForWelcome(bob));
  await step("connect", () => alice.connect());
  await step("subscribe", () => alice.subscribe(["chat.general", "notifications"]), acknowledged);
  await step("broadcast", () => alice.broadcast("chat.general", payload), acknowledged);
  await step(
    "direct_message_online",
    () => alice.sendDirectMessage(userOf(bobToken), payload),
    acknowledged,
  );
  await step("direct_message_received", () => received);
  await step(
    "direct_message_offline",
    () => alice.sendDirectMessage(`nobody-${randomUUID()}`, payload),
    acknowledged,
  );
}

main()
  .catch((error) => {
    steps.harness = { ms: 0, error: String(error) };
  })
  .then(() => {
    const failed = Object.values(steps).some((outcome) => "error" in outcome);
    // The client's own timers would keep the process for 30 s more.
    process.stdout.write(`${JSON.stringify(steps)}\n`, () => process.exit(failed ? 1 : 0));
  });
