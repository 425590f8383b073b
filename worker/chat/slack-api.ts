/**
 * The few methods of Slack's Web API that approvals need. A call never throws: what went wrong is a short code of Slack's
 * or of ours, without the token and without what was sent.
 */
import * as z from "zod";
import type { Env } from "../../durable-objects/env.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { parseJson, secretText } from "./door.ts";
import { post } from "./post.ts";

/** The secret that gateway.yaml names, as JSON: the bot's token and the app's signing secret. */
const SlackSecret = z.object({ bot_token: z.string().min(1).max(512), signing_secret: z.string().min(16).max(512) });
export type SlackSecret = z.infer<typeof SlackSecret>;

/** null: not set, or not of that form. */
export function slackSecret(env: Env, name: string): SlackSecret | null {
  const parsed = SlackSecret.safeParse(parseJson(secretText(env, name)));
  return parsed.success ? parsed.data : null;
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Slack's own, or SALLYPORT_SLACK_API: https, or http on loopback, so that the token never travels in clear. */
function methodUrl(env: Env, method: string): string | null {
  const base = env.SALLYPORT_SLACK_API ?? "";
  if (base === "") return `https://slack.com/api/${method}`;
  if (!URL.canParse(base)) return null;
  const { protocol, hostname } = new URL(base);
  const isProtected = protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname));
  return isProtected ? `${base.replace(/\/$/, "")}/${method}` : null;
}

export interface SlackFailure {
  /** Slack's `error`, or `http_503`, `unreachable`, … */
  readonly error: string;
  /** Trying again may help. */
  readonly retry: boolean;
  /** ms to wait, as Slack asks. */
  readonly after?: number | undefined;
}

const Answer = z.object({
  ok: z.boolean(),
  error: z.string().max(256).optional(),
  ts: z.string().max(64).optional(),
  channel: z.string().max(64).optional(),
});

/** Faults of Slack's own that pass; every other error is of the message or the set-up. */
const PASSING = new Set(["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"]);

export async function callSlack(
  env: Env,
  token: string,
  method: "chat.postMessage" | "chat.update" | "chat.postEphemeral" | "views.open",
  body: unknown,
): Promise<Result<{ readonly ts: string | undefined; readonly channel: string | undefined }, SlackFailure>> {
  const url = methodUrl(env, method);
  if (url === null) return err({ error: "SALLYPORT_SLACK_API is not an https address", retry: false });
  const posted = await post(
    url,
    { authorization: `Bearer ${token}`, "content-type": "application/json; charset=utf-8" },
    JSON.stringify(body),
  );
  if (posted === null) return err({ error: "unreachable", retry: true });
  const { status, after } = posted;
  const isBusy = status === 429 || status >= 500;
  const answer = Answer.safeParse(parseJson(posted.text));
  if (!answer.success) return err({ error: `http_${status}`, retry: isBusy, after });
  if (answer.data.ok) return ok({ ts: answer.data.ts, channel: answer.data.channel });
  const error = answer.data.error ?? `http_${status}`;
  return err({ error, retry: isBusy || PASSING.has(error), after });
}
