/** Slack's door: its signature by its published example, messages whole and harmless, votes that are refused, the outcome where it stands. */
import { runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { listRefusals } from "../../../store/refusals.ts";
import { verifySlack } from "../../../worker/chat/slack-signature.ts";
import { asking, eventually, objectOf, ORIGIN, prepareApprovals, read, slackCalls, TEAM, vote, type Asking } from "./world.ts";

beforeAll(() => prepareApprovals("slack"));
afterEach(() => vi.restoreAllMocks());

const SECRET = "8f742231b10e8888abcd99yyyzzz85a5";
const utf8 = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(new TextEncoder().encode(text));

/** "Verifying requests from Slack", the page's own example. */
const PUBLISHED = {
  timestamp: "1531420618",
  signature: "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
  body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
};

describe("GW-10 the signature", () => {
  const at = Number(PUBLISHED.timestamp) * 1000;
  const check = (change: Partial<typeof PUBLISHED> = {}, now = at, secret = SECRET) => {
    const { signature, timestamp, body } = { ...PUBLISHED, ...change };
    return verifySlack({ signature, timestamp, body: utf8(body) }, secret, now);
  };

  test("Slack's published example", async () => {
    expect(await check()).toBe("ok");
  });

  test.each<[string, Partial<typeof PUBLISHED>, string]>([
    ["another body", { body: `${PUBLISHED.body}&` }, "forged"],
    ["another time", { timestamp: "1531420619" }, "forged"],
    ["another mac", { signature: `${PUBLISHED.signature.slice(0, -1)}4` }, "forged"],
    ["upper case", { signature: PUBLISHED.signature.toUpperCase().replace("V0", "v0") }, "malformed"],
    ["another version", { signature: PUBLISHED.signature.replace("v0", "v1") }, "malformed"],
    ["a short mac", { signature: PUBLISHED.signature.slice(0, -2) }, "malformed"],
    ["no mac", { signature: "" }, "malformed"],
    ["a time with a sign", { timestamp: "+1531420618" }, "malformed"],
    ["a time with a fraction", { timestamp: "1531420618.0" }, "malformed"],
  ])("%s", async (_, change, verdict) => {
    expect(await check(change)).toBe(verdict);
  });

  test("five minutes either way, and another secret", async () => {
    expect(await check({}, at + 300_000)).toBe("ok");
    expect(await check({}, at + 301_000)).toBe("stale");
    expect(await check({}, at - 300_000)).toBe("ok");
    expect(await check({}, at - 301_000)).toBe("stale");
    expect(await check({}, at, "another")).toBe("forged");
  });
});

async function sign(body: string, now = Date.now(), secret = SECRET): Promise<Record<string, string>> {
  const timestamp = String(Math.floor(now / 1000));
  const key = await crypto.subtle.importKey("raw", utf8(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(`v0:${timestamp}:${body}`)));
  const signature = `v0=${Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  return { "content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": timestamp, "x-slack-signature": signature };
}

const send = (body: string, headers: Record<string, string>): Promise<Response> =>
  exports.default.fetch(new Request(`${ORIGIN}/v1/chat/slack/actions`, { method: "POST", body, headers }));

const form = (payload: unknown): string => new URLSearchParams({ payload: JSON.stringify(payload) }).toString();

interface Press {
  readonly user?: string;
  readonly team?: string;
  readonly userTeam?: string;
  readonly action?: string;
  readonly digest?: string;
}

function pressed(
  made: { approval: string; digest: string },
  { user = "U0MIRA", team = TEAM, userTeam = team, action = "sallyport_approve", digest = made.digest }: Press = {},
) {
  return {
    type: "block_actions",
    team: { id: team },
    user: { id: user, team_id: userTeam },
    trigger_id: crypto.randomUUID(),
    channel: { id: "C0DBA" },
    actions: [{ action_id: action, value: `${made.approval}.${digest}` }],
  };
}

async function press(made: { approval: string; digest: string }, how: Press = {}): Promise<Response> {
  const body = form(pressed(made, how));
  return send(body, await sign(body));
}

/** What the audit says last of an approval, or of what names nothing. */
const audited = (about: string) =>
  eventually(async () => {
    const { rows } = await listRefusals(env.DB, {}, { limit: 50, cursor: null });
    return rows.find(({ reason }) => reason.includes(about));
  }, `an audit that says ${about}`);

async function pending(ask: Parameters<Asking["ask"]>[0] = {}) {
  const asks = await asking();
  const { request: made } = await asks.ask(ask);
  const call = await eventually(
    async () => (await slackCalls(made.approval)).find(({ method }) => method === "chat.postMessage"),
    "a message",
  );
  return { asks, made, blocks: call.body["blocks"] as Block[], body: call.body };
}

interface Block {
  readonly type: string;
  readonly text?: { readonly text: string };
  readonly elements?: readonly {
    readonly type?: string;
    readonly action_id?: string;
    readonly elements?: readonly { readonly text: string }[];
  }[];
}

/** The literal text of a message, in order. */
const literalOf = (blocks: readonly Block[]): string =>
  blocks
    .flatMap(({ type, elements = [] }) =>
      type === "rich_text" ? elements.flatMap(({ elements: texts = [] }) => texts.map(({ text }) => text)) : [],
    )
    .join("");
const markupOf = (blocks: readonly Block[]): string => blocks.map(({ text }) => text?.text ?? "").join("\n");

describe("the message", () => {
  test("shows the whole: command, parameters, who, where, digest, buttons; nothing can be made of its text", async () => {
    const text = "ALTER TABLE orders -- <!channel> ```*bold*``` <https://evil.test|ok>\n ADD \u202etxet eton\u202c";
    const { made, blocks } = await pending({
      text,
      subject: { statements: [{ text, parameters: ["a'b\u200b", null, { hex: "00ff" }] }] },
      more: { in_transaction: true, estimate: "Seq Scan (rows=12)" },
    });
    const literal = literalOf(blocks);
    expect(literal).toContain("ALTER TABLE orders -- <!channel> ```*bold*``` <https://evil.test|ok>\n ADD \\u{202e}txet eton\\u{202c}");
    expect(literal).toContain(String.raw`-- $1 = "a'b\u{200b}"`);
    expect(literal).toContain("-- $2 = NULL\n-- $3 = \\x00ff");
    expect(literal).toContain("search_path = public");
    expect(literal).toContain("Seq Scan (rows=12)");
    const markup = markupOf(blocks);
    expect(markup).toContain(made.digest);
    expect(markup).toContain("*ci* asks for one command");
    expect(markup).toContain("holds locks while it waits");
    expect(markup).toContain("control or invisible characters");
    expect(markup).not.toContain("<!channel>");
    expect(JSON.stringify(blocks)).not.toMatch(/\u202e|\u200b/);
    expect(blocks.flatMap(({ type, elements = [] }) => (type === "actions" ? elements.map(({ action_id }) => action_id) : []))).toEqual([
      "sallyport_approve",
      "sallyport_deny",
    ]);
    for (const each of blocks) expect((each.text?.text ?? literalOf([each])).length).toBeLessThanOrEqual(3000);
  });

  test("GW-13 a long one is shown in parts, and nothing of it is missing", async () => {
    const text = `${"SELECT 1 -- 😀字;\n".repeat(400)}DROP TABLE last`;
    const { blocks } = await pending({ text });
    expect(literalOf(blocks)).toContain(text);
    expect(blocks.length).toBeLessThanOrEqual(50);
    for (const each of blocks) expect(literalOf([each]).isWellFormed()).toBe(true);
  });

  test("GW-13 one that does not fit is not cut: it says so, leads to the whole, and cannot be approved there", async () => {
    const { made, blocks } = await pending({ text: `SELECT ${"1,".repeat(6000)}1; DROP TABLE last` });
    expect(literalOf(blocks)).toBe("");
    expect(markupOf(blocks)).toContain("too long for Slack");
    expect(markupOf(blocks)).toContain(`sallyport approvals show ${made.approval}`);
    expect(markupOf(blocks)).toContain(made.digest);
    expect(JSON.stringify(blocks)).not.toContain("sallyport_approve");
    expect(JSON.stringify(blocks)).toContain("sallyport_deny");
  });

  test("what Slack finds too long all the same is posted without the command", async () => {
    await fetch(`${inject("chatServer")}/slack/fail`, {
      method: "POST",
      body: JSON.stringify({ method: "chat.postMessage", error: "msg_blocks_too_long" }),
    });
    const asks = await asking();
    const { request: made } = await asks.ask();
    const posted = await eventually(async () => {
      const calls = (await slackCalls(made.approval)).filter(({ method }) => method === "chat.postMessage");
      return calls.length === 2 ? calls[1] : null;
    }, "a second message");
    expect(markupOf(posted.body["blocks"] as Block[])).toContain("too long for Slack");
  });

  test("is settled where it stands, by whom and why, without buttons", async () => {
    const { made, asks } = await pending();
    await vote("noor", made, "deny", "not <before> the backup");
    await asks.heard(made.approval, "approval_settled");
    const update = await eventually(
      async () => (await slackCalls(made.approval)).find(({ method }) => method === "chat.update"),
      "an update",
    );
    expect(update.body).toMatchObject({ channel: "C0DBA", ts: expect.stringMatching(/^\d+\.\d+$/) });
    const markup = markupOf(update.body["blocks"] as Block[]);
    expect(markup).toContain("*Denied* by `noor`");
    expect(markup).toContain("not &lt;before&gt; the backup");
    expect(JSON.stringify(update.body)).not.toContain("sallyport_deny");
    expect(literalOf(update.body["blocks"] as Block[])).toContain("ALTER TABLE orders ADD note text");
  });

  test("Slack's failures are tried again, and are shown", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await fetch(`${inject("chatServer")}/slack/fail`, {
      method: "POST",
      body: JSON.stringify({ method: "chat.postMessage", error: "internal_error" }),
    });
    const asks = await asking();
    const { request: made } = await asks.ask();
    await eventually(async () => (await read(made.approval)).notices[0]?.error === "internal_error", "the failure is shown");
    await eventually(async () => {
      await runDurableObjectAlarm(objectOf(made.approval));
      return (await read(made.approval)).notices[0]?.state === "sent";
    }, "sent in the end");
    expect((await read(made.approval)).notices).toEqual([{ channel: "slack C0DBA", event: "requested", state: "sent", attempts: 2 }]);
  });
});

describe("votes", () => {
  test("a press of Approve is the vote of the human whom the bundle maps the account to", async () => {
    const { asks, made } = await pending();
    const response = await press(made);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
    expect(await asks.heard(made.approval, "approval_settled")).toMatchObject({ outcome: { state: "approved", by: ["mira"] } });
    expect((await read(made.approval)).votes).toMatchObject([{ voter: "mira", door: "slack", vote: "approve" }]);
  });

  test("Deny asks for the reason in a modal, whose submission is the vote", async () => {
    const { asks, made } = await pending();
    expect((await press(made, { action: "sallyport_deny" })).status).toBe(200);
    const opened = await eventually(async () => (await slackCalls(made.approval)).find(({ method }) => method === "views.open"), "a modal");
    expect((await read(made.approval)).state).toBe("pending");
    const view = { ...(opened.body["view"] as object), state: { values: { reason: { reason: { value: " not now " } } } } };
    const body = form({ type: "view_submission", team: { id: TEAM }, user: { id: "U0MIRA", team_id: TEAM }, view });
    expect((await send(body, await sign(body))).status).toBe(200);
    expect(await asks.heard(made.approval, "approval_settled")).toMatchObject({
      outcome: { state: "denied", by: ["mira"], reason: "not now" },
    });
  });

  test("a forged, an old, an unsigned and a replayed message are each refused with 401, audited, and change nothing", async () => {
    const { made } = await pending();
    const body = form(pressed(made));
    const forged = await send(body, await sign(body, Date.now(), "not the secret"));
    const old = await send(body, await sign(body, Date.now() - 301_000));
    const unsigned = await send(body, {});
    for (const [response, why] of [
      [forged, "forged"],
      [old, "stale"],
      [unsigned, "malformed"],
    ] as const) {
      expect(response.status).toBe(401);
      const { ref, code } = await response.json<{ ref: string; code: string }>();
      expect(code).toBe("signature_invalid");
      const { rows } = await listRefusals(env.DB, { ref }, { limit: 1, cursor: null });
      expect(rows[0]?.reason).toContain(why);
    }
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [] });
    // Genuine once; the same bytes again are a replay.
    const other = await pending();
    const genuine = form(pressed(other.made, { user: "U0OTIS" }));
    const headers = await sign(genuine);
    expect((await send(genuine, headers)).status).toBe(200);
    const replay = await send(genuine, headers);
    expect(replay.status).toBe(401);
    const { ref } = await replay.json<{ ref: string }>();
    expect((await listRefusals(env.DB, { ref }, { limit: 1, cursor: null })).rows[0]?.reason).toContain("replayed");
  });

  test.each<[string, Press, string]>([
    ["an account that nobody has", { user: "U0NOBODY" }, "unmapped"],
    ["a human of no needed group", { user: "U0PIA" }, "not_a_member"],
    ["another command than the one shown", { digest: "0".repeat(64) }, "other_command"],
  ])("%s: refused, told to the voter alone, recorded, audited", async (_, how, refusal) => {
    const { made } = await pending();
    expect((await press(made, how)).status).toBe(200);
    await eventually(async () => (await read(made.approval)).votes.length > 0, "recorded");
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [{ refused: refusal, door: "slack" }] });
    expect(await audited(`vote on ${made.approval} by slack ${TEAM}/${how.user ?? "U0MIRA"}: ${refusal}`)).toMatchObject({
      code: "vote_refused",
    });
    const told = await eventually(
      async () => (await allCalls()).find(({ method, body }) => method === "chat.postEphemeral" && body["user"] === (how.user ?? "U0MIRA")),
      "told",
    );
    expect(told.body).toMatchObject({ channel: "C0DBA" });
  });

  test("twice and late: refused and recorded", async () => {
    const { made } = await pending({ more: { needs: [{ group: "dba", min: 2 }] } });
    await press(made);
    await eventually(async () => (await read(made.approval)).votes.length === 1, "one vote");
    await press(made);
    await eventually(async () => (await read(made.approval)).votes.length === 2, "two");
    await press(made, { user: "U0NOOR" });
    await eventually(async () => (await read(made.approval)).state === "approved", "approved");
    await press(made, { user: "U0NOOR", action: "sallyport_approve" });
    await eventually(async () => (await read(made.approval)).votes.length === 4, "four");
    expect((await read(made.approval)).votes.map(({ refused }) => refused)).toEqual([undefined, "duplicate", undefined, "late"]);
  });

  test("another workspace's message, though signed, and a guest of another workspace are refused", async () => {
    const { made } = await pending();
    expect((await press(made, { team: "T0OTHER" })).status).toBe(401);
    expect((await press(made, { userTeam: "T0OTHER" })).status).toBe(401);
    expect(await audited("from workspace T0OTHER")).toMatchObject({ code: "signature_invalid" });
    expect(await read(made.approval)).toMatchObject({ votes: [] });
  });

  test("what is no vote of ours is refused: another button, no button, another type, no JSON", async () => {
    const { made } = await pending();
    const shape = pressed(made);
    const bodies = [
      form({ ...shape, actions: [{ action_id: "other", value: shape.actions[0]?.value }] }),
      form({ ...shape, actions: [{ action_id: "sallyport_approve", value: "apr_x" }] }),
      form({ ...shape, actions: [] }),
      form({ ...shape, type: "message_action" }),
      "payload=%7B",
      "",
    ];
    for (const body of bodies) expect((await send(body, await sign(body))).status).toBe(401);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [] });
  });

  test("an approval that does not exist makes none", async () => {
    const made = { approval: `apr_${"z".repeat(26)}`, digest: "0".repeat(64) };
    expect((await press(made)).status).toBe(200);
    await audited(`vote on ${made.approval}`);
    expect(await objectOf(made.approval).read()).toBeNull();
  });

  test("a body over its limit is refused before it is read", async () => {
    const response = await send("x".repeat(300_000), {});
    expect(response.status).toBe(413);
  });
});

const allCalls = async (): Promise<{ method: string; body: Record<string, unknown> }[]> =>
  (await fetch(`${inject("chatServer")}/slack/calls`)).json();
