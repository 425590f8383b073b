/**
 * A stand-in for Slack on loopback, for the demo and the tests: it takes the Web API's calls that approvals make, keeps the
 * messages as a workspace would, and plays people who press buttons, with interactions signed as Slack signs them.
 * The gateway speaks to it when SALLYPORT_SLACK_API names it; nothing in the gateway knows that it is not Slack.
 */
import { createHmac, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface SlackCall {
  readonly method: string;
  readonly body: Readonly<Record<string, unknown>>;
}

type Block = Readonly<Record<string, unknown>>;

/** A message as the workspace has it now. */
export interface SlackMessage {
  readonly channel: string;
  readonly ts: string;
  text: string;
  blocks: readonly Block[];
}

export interface SlackButton {
  readonly action_id: string;
  readonly value: string;
}

export interface SlackPerson {
  readonly user: string;
  readonly team?: string;
}

export interface SlackStandIn {
  /** For SALLYPORT_SLACK_API. */
  readonly api: string;
  /** The gateway's secret for a channel of this workspace. */
  readonly secret: string;
  readonly team: string;
  readonly calls: readonly SlackCall[];
  readonly messages: readonly SlackMessage[];
  /** The first message that fits, there or yet to come. Rejects after `ms`. */
  message(fits: (message: SlackMessage) => boolean, ms?: number): Promise<SlackMessage>;
  /** The first call of a method that fits, made or yet to be. Rejects after `ms`. */
  call(method: string, fits?: (call: SlackCall) => boolean, ms?: number): Promise<SlackCall>;
  /** Presses a message's button; resolves with the gateway's status. `to`: the gateway's origin. */
  press(to: string, message: SlackMessage, action: "approve" | "deny", person: SlackPerson): Promise<number>;
  /** Presses Deny, fills in the modal that the gateway opens, and submits it. */
  deny(to: string, message: SlackMessage, person: SlackPerson, reason: string): Promise<number>;
  /** Makes the next call of a method fail with Slack's error. */
  fail(method: string, error: string): void;
  stop(): Promise<void>;
}

export interface SlackOptions {
  /** 0: any free port. */
  readonly port?: number;
  readonly team?: string;
  readonly signingSecret?: string;
  readonly botToken?: string;
}

/** The headers of a request that Slack signs. `now` in ms since the epoch. */
export function slackHeaders(signingSecret: string, body: string, now: number): Record<string, string> {
  const timestamp = String(Math.floor(now / 1000));
  const mac = createHmac("sha256", signingSecret).update(`v0:${timestamp}:${body}`).digest("hex");
  return {
    "content-type": "application/x-www-form-urlencoded",
    "x-slack-request-timestamp": timestamp,
    "x-slack-signature": `v0=${mac}`,
  };
}

/** Buttons anywhere in a message's blocks. */
export const buttonsOf = ({ blocks }: Pick<SlackMessage, "blocks">): SlackButton[] =>
  blocks.flatMap((block) => (block["type"] === "actions" ? (block["elements"] as SlackButton[]) : []));

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

export async function startSlack(options: SlackOptions = {}): Promise<SlackStandIn> {
  const team = options.team ?? "T0SHOP001";
  const signingSecret = options.signingSecret ?? randomBytes(16).toString("hex");
  const botToken = options.botToken ?? `xoxb-${randomBytes(12).toString("hex")}`;
  const calls: SlackCall[] = [];
  const messages: SlackMessage[] = [];
  const failures = new Map<string, string[]>();
  const waiting = new Set<() => void>();
  let clock = 1_800_000_000;

  const act = (method: string, body: Record<string, unknown>): Record<string, unknown> => {
    const failure = failures.get(method)?.shift();
    if (failure !== undefined) return { ok: false, error: failure };
    const { channel, ts, text = "", blocks = [] } = body as { channel: string; ts: string; text?: string; blocks?: readonly Block[] };
    const shown = { text, blocks };
    if (method === "chat.postMessage") {
      clock += 1;
      const message: SlackMessage = { channel, ts: `${clock}.000100`, ...shown };
      messages.push(message);
      return { ok: true, channel, ts: message.ts };
    }
    if (method === "chat.update") {
      const found = messages.find((message) => message.channel === channel && message.ts === ts);
      if (found === undefined) return { ok: false, error: "message_not_found" };
      Object.assign(found, shown);
      return { ok: true, channel, ts };
    }
    return method === "views.open" || method === "chat.postEphemeral" ? { ok: true } : { ok: false, error: "unknown_method" };
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const method = /^\/api\/([\w.]+)$/.exec(request.url ?? "")?.[1];
    const answer = (body: unknown, status = 200) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (method === undefined || request.method !== "POST") return void answer({ ok: false, error: "unknown_method" }, 404);
    if (request.headers.authorization !== `Bearer ${botToken}`) return void answer({ ok: false, error: "invalid_auth" });
    const body = JSON.parse(await readBody(request)) as Record<string, unknown>;
    const result = act(method, body);
    calls.push({ method, body });
    answer(result);
    for (const look of waiting) look();
  };

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));

  const until = <T>(find: () => T | undefined, what: string, ms: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        waiting.delete(look);
      };
      const look = (): void => {
        const found = find();
        if (found === undefined) return;
        finish();
        resolve(found);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`Slack saw no ${what} within ${ms} ms`));
      }, ms);
      waiting.add(look);
      look();
    });

  const interact = async (to: string, payload: unknown): Promise<number> => {
    const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
    const url = new URL("/v1/chat/slack/actions", to);
    const response = await fetch(url, { method: "POST", body, headers: slackHeaders(signingSecret, body, Date.now()) });
    await response.arrayBuffer();
    return response.status;
  };
  const origin = (person: SlackPerson) => ({ team: { id: person.team ?? team }, user: { id: person.user, team_id: person.team ?? team } });

  const call: SlackStandIn["call"] = (method, fits = () => true, ms = 10_000) =>
    until(() => calls.find((each) => each.method === method && fits(each)), method, ms);
  const press: SlackStandIn["press"] = (to, message, action, person) => {
    const button = buttonsOf(message).find(({ action_id }) => action_id === `sallyport_${action}`);
    if (button === undefined) throw new Error(`the message has no button to ${action}`);
    const trigger_id = randomBytes(8).toString("hex");
    return interact(to, { type: "block_actions", ...origin(person), trigger_id, channel: { id: message.channel }, actions: [button] });
  };
  return {
    api: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
    secret: JSON.stringify({ bot_token: botToken, signing_secret: signingSecret }),
    team,
    calls,
    messages,
    message: (fits, ms = 10_000) => until(() => messages.find(fits), "message", ms),
    call,
    press,
    deny: async (to, message, person, reason) => {
      const seen = calls.length;
      const pressed = await press(to, message, "deny", person);
      if (pressed !== 200) return pressed;
      const { body } = await call("views.open", (each) => calls.indexOf(each) >= seen);
      const view = body["view"] as { callback_id: string; private_metadata: string };
      const state = { values: { reason: { reason: { value: reason } } } };
      return interact(to, { type: "view_submission", ...origin(person), view: { ...view, state } });
    },
    fail: (method, error) => void failures.set(method, [...(failures.get(method) ?? []), error]),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
