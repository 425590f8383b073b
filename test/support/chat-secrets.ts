/** What the tests' gateway and the tests' Slack share. The port is fixed for one run: the Worker's bindings name it before the server starts. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Slack's published example ("Verifying requests from Slack"). */
export const SLACK_SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5";
export const SLACK_BOT_TOKEN = "xoxb-tests-only";
export const SLACK_TEAM = "T0TESTS1";
/** The example of the Standard Webhooks specification. */
export const WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

process.env["SALLYPORT_TEST_SLACK_PORT"] ??= String(await freePort());
export const SLACK_PORT = Number(process.env["SALLYPORT_TEST_SLACK_PORT"]);
