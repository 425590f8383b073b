/**
 * Chat for the tests in workerd, started once by vitest in Node: the Slack stand-in of dev/slack.ts, and a receiver of
 * webhooks. Tests run in another process, so what was received is asked for over HTTP:
 *
 *   GET  /slack/calls                     SlackCall[]
 *   POST /slack/fail    { method, error } the next call of the method fails
 *   POST /hooks/NAME                      a webhook; kept with its headers
 *   GET  /hooks/NAME                      { headers, body }[]
 *   PUT  /hooks/NAME    number[]          statuses of the next answers; then 204
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import { startSlack } from "../../dev/slack.ts";
import { SLACK_BOT_TOKEN, SLACK_PORT, SLACK_SIGNING_SECRET, SLACK_TEAM } from "./chat-secrets.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly chatServer: string;
  }
}

interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const slack = await startSlack({ port: SLACK_PORT, team: SLACK_TEAM, signingSecret: SLACK_SIGNING_SECRET, botToken: SLACK_BOT_TOKEN });
  const received = new Map<string, Received[]>();
  const statuses = new Map<string, number[]>();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const path = request.url ?? "";
    const json = (value: unknown) => void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (path === "/slack/calls") return json(slack.calls);
    if (path === "/slack/fail") {
      const { method, error } = JSON.parse(body) as { method: string; error: string };
      slack.fail(method, error);
      return json({});
    }
    if (request.method === "GET") return json(received.get(path) ?? []);
    if (request.method === "PUT") {
      statuses.set(path, JSON.parse(body) as number[]);
      return json({});
    }
    received.set(path, [...(received.get(path) ?? []), { headers: request.headers, body }]);
    response.writeHead(statuses.get(path)?.shift() ?? 204).end();
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("chatServer", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    await slack.stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}
