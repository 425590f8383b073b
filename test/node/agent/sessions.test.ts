/** Sessions of a running agent, over real sockets: decisions, recordings, kills, deadlines, refusals, resumption. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RecordingEvent } from "../../../protocol/recording/event.ts";
import { verifyRecording, type Verification } from "../../../protocol/recording/verify.ts";
import { connect, openStream, place, SECRET, start, type Client, type Place, type Started } from "./support/agents.ts";
import { READ_ONLY, READ_WRITE } from "./support/bundles.ts";
import { TestGateway } from "./support/gateway.ts";

let gateway: TestGateway;
let where: Place;
let started: Started;

async function boot(more = ""): Promise<void> {
  where = place(gateway, more);
  started = await start(where);
  await started.agent.ready;
}

beforeEach(async () => {
  gateway = await TestGateway.start();
  gateway.push(1, READ_ONLY);
});
afterEach(async () => {
  await started.agent.stop({ graceMs: 0 });
  await gateway.stop();
  where.remove();
});

const sealed = (session: string): Promise<void> =>
  gateway.until(() => gateway.recording(session).includes('"type":"seal"'), "the recording is sealed and uploaded");

const events = (session: string): RecordingEvent[] =>
  gateway
    .recording(session)
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RecordingEvent);

function verified(session: string): Verification {
  const jwk = gateway.keys.get(started.agent.agent) ?? {};
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return verifyRecording(gateway.recording(session), {
    session,
    sha256: (text) => createHash("sha256").update(text).digest("hex"),
    verifySignature: (agent, text, signature) =>
      agent === started.agent.agent && verify(null, Buffer.from(text), key, Buffer.from(signature, "base64url")),
  });
}

test("a session from dispatch to seal: decided, recorded, uploaded, ended", async () => {
  await boot();
  await gateway.until(() => gateway.heard("hello").length > 0, "hello");
  expect(gateway.heard("hello")[0]).toMatchObject({
    version: "test",
    bundle: 0,
    sessions: [],
    targets: [{ name: "orders-db", protocol: "tunnel", environment: "production", database: "shop" }, { name: "other-db" }],
  });
  const client = await connect(gateway);
  expect(client.session.ready).toEqual({ target: "orders-db", protocol: "tunnel", database: "shop", user: "sallyport" });
  expect(await client.ask("select orders")).toBe("ok select orders");
  expect(await client.ask("delete orders")).toBe("denied 1");
  expect(await client.ask("nonsense orders")).toBe("denied 1");
  client.stream.end();
  await client.session.close();
  const { id } = client.session;
  await sealed(id);
  expect(verified(id)).toMatchObject({ ok: true, agent: started.agent.agent });
  expect(
    events(id)
      .filter(({ type }) => type !== "checkpoint")
      .map(({ type }) => type),
  ).toEqual([
    "session.start",
    "stream.open",
    "command",
    "outcome",
    "command",
    "command",
    "stream.close",
    "outcome",
    "outcome",
    "session.end",
    "seal",
  ]);
  expect(events(id)[0]).toMatchObject({ identity: "orders-ci", target: "orders-db", site: "dc1", bundle: 1 });
  expect(
    events(id)
      .filter((event) => event.type === "command")
      .map(({ decision, bundle }) => [decision, bundle]),
  ).toEqual([
    ["allow", 1],
    ["deny", 1],
    ["deny", 1],
  ]);
  await gateway.until(
    () => gateway.heard("ended").some((message) => message.session === id && message.code === "session_closed"),
    "ended is told",
  );
});

test("a new bundle decides in live sessions at once, and their recordings say so (GW-18)", async () => {
  await boot();
  const client = await connect(gateway);
  expect(await client.ask("delete orders")).toBe("denied 1");
  gateway.push(2, READ_WRITE);
  await gateway.until(() => gateway.heard("bundle_applied").some(({ version }) => version === 2), "bundle 2 is applied");
  expect(await client.ask("delete orders")).toBe("ok delete orders");
  gateway.push(3, READ_ONLY);
  await gateway.until(() => gateway.heard("bundle_applied").some(({ version }) => version === 3), "bundle 3 is applied");
  expect(await client.ask("delete orders")).toBe("denied 3");
  await client.session.close();
  await sealed(client.session.id);
  expect(events(client.session.id).flatMap((event) => (event.type === "policy" ? [event.bundle] : []))).toEqual([2, 3]);
});

test("invariant 3: a newer bundle that the agent cannot compile denies everything in live sessions, and new ones are refused", async () => {
  await boot();
  const client = await connect(gateway);
  expect(await client.ask("select orders")).toBe("ok select orders");
  gateway.push(2, { ...READ_ONLY, "policies/x.cedar": "forbid (" });
  await gateway.until(
    () => gateway.heard("bundle_applied").some(({ version, error }) => version === 2 && error !== undefined),
    "bundle 2 is refused",
  );
  expect(await client.ask("select orders")).toBe("denied 1");
  const pair = gateway.newPair();
  gateway.send(gateway.dispatchOf(pair, { bundle: 1 }));
  await gateway.until(() => gateway.heard("refused").length > 0, "a new session is refused");
  expect(gateway.heard("refused")[0]).toMatchObject({ session: pair.session, code: "policy_stale" });
  gateway.push(3, READ_ONLY);
  await gateway.until(() => gateway.heard("bundle_applied").some(({ version }) => version === 3), "bundle 3 is applied");
  expect(await client.ask("select orders")).toBe("ok select orders");
});

describe("GW-19: data classes of a target whose protocol does not mask", () => {
  const masking = (target: string) => ({ ...READ_ONLY, "masking.yaml": `classes:\n  card: { columns: [${target}/public.orders.card] }\n` });
  const refused = (session: string) => gateway.heard("refused").find((message) => message.session === session);

  test("no session begins, and those of other targets do", async () => {
    gateway.push(2, masking("orders-db"));
    await boot();
    const pair = gateway.newPair();
    gateway.send(gateway.dispatchOf(pair, { bundle: 2 }));
    await gateway.until(() => refused(pair.session) !== undefined, "the session is refused");
    expect(refused(pair.session)).toMatchObject({ code: "denied", message: expect.stringContaining("data class card for orders-db") });
    gateway.push(3, masking("other-db"));
    expect(await (await connect(gateway)).ask("select orders")).toBe("ok select orders");
  });

  test("a live session ends when the first class comes", async () => {
    await boot();
    const client = await connect(gateway);
    expect(await client.ask("select orders")).toBe("ok select orders");
    gateway.push(2, masking("orders-db"));
    await gateway.until(() => gateway.heard("ended").some((message) => message.session === client.session.id), "the session is ended");
    expect(gateway.heard("ended")[0]).toMatchObject({ code: "denied", message: expect.stringContaining("does not mask") });
  });
});

test("GW-27: an older bundle is refused, reported, and does not decide", async () => {
  await boot();
  gateway.push(5, READ_ONLY);
  gateway.push(4, READ_WRITE);
  await gateway.until(() => gateway.heard("bundle_applied").some(({ version }) => version === 4), "the answer to bundle 4");
  expect(gateway.heard("bundle_applied").find(({ version }) => version === 4)?.error).toContain("older than 5");
  gateway.push(5, READ_ONLY);
  const client = await connect(gateway);
  expect(await client.ask("delete orders")).toBe("denied 5");
});

describe("ends", () => {
  test("a kill: the client hears why, the open command's outcome is unknown, the gateway hears the end", async () => {
    await boot();
    const client = await connect(gateway);
    expect(await client.ask("hang orders")).toBe("hanging");
    const { id } = client.session;
    gateway.send({ type: "kill", session: id, code: "session_killed", message: "The session was ended by an administrator." });
    expect(await client.next()).toBe("ended session_killed");
    await expect(client.session.ended).resolves.toMatchObject({ code: "session_killed" });
    await gateway.until(() => gateway.heard("ended").some(({ session }) => session === id), "ended is told");
    await sealed(id);
    expect(verified(id)).toMatchObject({ ok: true });
    expect(events(id).find((event) => event.type === "outcome")).toMatchObject({ command: 1, status: "unknown" });
    expect(events(id).find((event) => event.type === "session.end")).toMatchObject({ code: "session_killed" });
  });

  test("the deadline, by the agent's own timer", async () => {
    await boot();
    const pair = gateway.newPair();
    gateway.send(gateway.dispatchOf(pair, { deadline: Date.now() + 300 }));
    await gateway.until(() => gateway.heard("ended").length > 0, "the session ends");
    expect(gateway.heard("ended")[0]).toMatchObject({ session: pair.session, code: "session_expired" });
    await sealed(pair.session);
  });

  test("a kill for a session that is not here is answered, so that nobody waits", async () => {
    await boot();
    const { session } = gateway.newPair();
    gateway.send({ type: "kill", session, code: "session_killed", message: "x" });
    await gateway.until(() => gateway.heard("ended").some((message) => message.session === session), "ended is told");
  });

  test("an end that was said into a dying control socket is said again after the reconnect, and then no more", async () => {
    await boot();
    const client = await connect(gateway);
    // Nothing of it is read any more, so no ping is answered either.
    gateway.control?.pause();
    await client.session.close();
    await sealed(client.session.id);
    expect(gateway.heard("ended")).toEqual([]);
    gateway.cutControl();
    await gateway.until(() => gateway.heard("ended").length > 0 && gateway.heard("bundle_applied").length === 2, "ended is told again");
    expect(gateway.heard("ended")).toMatchObject([{ session: client.session.id, code: "session_closed" }]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    gateway.cutControl();
    await gateway.until(() => gateway.heard("hello").length === 3, "another reconnect");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(gateway.heard("ended")).toHaveLength(1);
  });
});

describe("a session is not taken", () => {
  const refusal = async (over: Parameters<TestGateway["dispatchOf"]>[1]): Promise<unknown> => {
    const pair = gateway.newPair();
    gateway.send(gateway.dispatchOf(pair, over));
    await gateway.until(() => gateway.heard("refused").some(({ session }) => session === pair.session), "the dispatch is refused");
    expect(pair.agent).toBeUndefined();
    return gateway.heard("refused").find(({ session }) => session === pair.session)?.code;
  };

  test.each([
    ["of an unknown target", { target: "nowhere" }, "target_unknown"],
    ["past its deadline", { deadline: 1 }, "session_expired"],
    ["that it should know but does not", { redial: true }, "session_lost"],
    ["of an identity that its own policy does not let in", { identity: "stranger" }, "denied"],
    ["whose id is none", { session: "../../etc/passwd" }, "bad_request"],
  ])("%s", async (_what, over, code) => {
    await boot();
    const pair = gateway.newPair();
    const session = "session" in over ? over.session : pair.session;
    gateway.send(gateway.dispatchOf(pair, over));
    await gateway.until(() => gateway.heard("refused").some((message) => message.session === session), "the dispatch is refused");
    expect(gateway.heard("refused")[0]?.code).toBe(code);
    expect(pair.agent).toBeUndefined();
  });

  test("decided with a bundle that has not come: waits for it, then refuses", async () => {
    await boot();
    const waiting = refusal({ bundle: 2 });
    await expect(waiting).resolves.toBe("policy_stale");
    const pair = gateway.newPair();
    gateway.send(gateway.dispatchOf(pair, { bundle: 2 }));
    gateway.push(2, READ_ONLY);
    await gateway.until(() => pair.agent !== undefined, "the agent dials back");
  });

  test("that the site's floor forbids, whatever the bundle allows", async () => {
    where = place(gateway, "policy_floor: floor.cedar\n");
    writeFileSync(
      join(where.directory, "floor.cedar"),
      '@id("floor") forbid (principal, action == Action::"connect", resource == Target::"other-db");\n@id("no-deletes") forbid (principal, action == Action::"pg:delete", resource);\n',
    );
    started = await start(where);
    await started.agent.ready;
    gateway.push(2, READ_WRITE);
    await expect(refusal({ target: "other-db" })).resolves.toBe("denied");
    const client = await connect(gateway);
    expect(await client.ask("update orders")).toBe("ok update orders");
    expect(await client.ask("delete orders")).toBe("denied 2");
  });

  test("GW-20: whose recording cannot be begun; in a live one commands are refused, and it still ends sealed", async () => {
    await boot("recording: { spool_max: 1 MiB }\n");
    gateway.uploadStatus = 503;
    const client = await connect(gateway);
    for (const size of [60_000, 1]) {
      let answer = "";
      while (answer !== "unavailable") answer = await client.ask(`select ${"x".repeat(size)}`);
    }
    await expect(refusal({})).resolves.toBe("recording_unavailable");
    await client.session.close();
    gateway.uploadStatus = undefined;
    gateway.cutControl();
    await sealed(client.session.id);
    expect(verified(client.session.id)).toMatchObject({ ok: true });
    // With the spool empty again, sessions are taken again.
    await gateway.until(() => gateway.heard("bundle_applied").length === 2, "the agent is connected again");
    const next = await connect(gateway);
    expect(await next.ask("select orders")).toBe("ok select orders");
  });
});

describe("sockets that come and go", () => {
  test("the session's socket is cut: resumed, no line lost or repeated, one recording", async () => {
    await boot();
    const client = await connect(gateway);
    const answers: string[] = [];
    for (let n = 0; n < 20; n += 1) {
      client.stream.write(`select orders${n}\n`);
      if (n % 5 === 4) gateway.sessions.get(client.session.id)?.agent?.terminate();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (let n = 0; n < 20; n += 1) answers.push((await client.next()) ?? "");
    expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => `ok select orders${n}`));
    await client.session.close();
    await sealed(client.session.id);
    expect(events(client.session.id).filter(({ type }) => type === "command")).toHaveLength(20);
  });

  test("a redial dispatch with a new secret", async () => {
    await boot();
    const client = await connect(gateway);
    const pair = gateway.sessions.get(client.session.id);
    if (pair === undefined) throw new Error("no pair");
    pair.dialSecret = "n".repeat(43);
    pair.agent?.terminate();
    gateway.send(gateway.dispatchOf(pair, { redial: true }));
    expect(await client.ask("select orders")).toBe("ok select orders");
  });

  test("the control socket is cut: the session goes on, and the next hello lists it", async () => {
    await boot();
    const client = await connect(gateway);
    gateway.cutControl();
    expect(await client.ask("select orders")).toBe("ok select orders");
    await gateway.until(() => gateway.heard("hello").length === 2, "the agent reconnects");
    expect(gateway.heard("hello")[1]).toMatchObject({ sessions: [client.session.id], bundle: 1 });
  });
});

describe("one session's trouble is its own", () => {
  let other: Client;
  test("a stream that fails ends alone; the gap is recorded without the error's text", async () => {
    await boot();
    const client = await connect(gateway);
    other = await connect(gateway, "other-db");
    expect(await client.ask("leak")).toBe("closed");
    expect(await other.ask("select orders")).toBe("ok select orders");
    const second = openStream(client.session);
    expect(await second.ask("select orders")).toBe("ok select orders");
    await client.session.close();
    await sealed(client.session.id);
    expect(events(client.session.id).find((event) => event.type === "gap")).toMatchObject({
      note: "Stream 1 failed inside the agent: Error.",
    });
    expect(gateway.recording(client.session.id) + started.log()).not.toContain(SECRET);
  });
});
