/** The agent as a process: kill -9 and recovery (invariant 6), draining, faults, dismissal, secrets (invariant 1), health. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RecordingEvent } from "../../../protocol/recording/event.ts";
import { verifyRecording, type Verification } from "../../../protocol/recording/verify.ts";
import { connect, place, SECRET, startProcess, type Place, type Process } from "./support/agents.ts";
import { READ_ONLY } from "./support/bundles.ts";
import { TestGateway } from "./support/gateway.ts";

let gateway: TestGateway;
let where: Place;
let running: Process;

const welcomed = (times: number): Promise<void> =>
  gateway.until(() => gateway.heard("bundle_applied").length >= times, `the agent is connected: ${running.log()}`);

beforeEach(async () => {
  gateway = await TestGateway.start();
  gateway.push(1, READ_ONLY);
  where = place(gateway, "drain_grace_s: 20\n");
  running = startProcess(where);
  await welcomed(1);
});
afterEach(async () => {
  running.child.kill("SIGKILL");
  await running.exited;
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
  const [[agent, jwk] = ["", {}]] = [...gateway.keys];
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return verifyRecording(gateway.recording(session), {
    session,
    sha256: (text) => createHash("sha256").update(text).digest("hex"),
    verifySignature: (id, text, signature) => id === agent && verify(null, Buffer.from(text), key, Buffer.from(signature, "base64url")),
  });
}

describe("invariant 6: kill -9", () => {
  test("no event is missing: the next start closes the recording honestly and uploads it", async () => {
    const client = await connect(gateway);
    const { id } = client.session;
    expect(await client.ask("select orders")).toBe("ok select orders");
    expect(await client.ask("hang orders")).toBe("hanging");
    running.child.kill("SIGKILL");
    await running.exited;
    const spool = join(where.directory, "state/spool");
    expect(readdirSync(spool)).toEqual([`${id}.ndjson`]);
    running = startProcess(where);
    await sealed(id);
    expect(verified(id)).toMatchObject({ ok: true });
    const all = events(id);
    expect(all.filter((event) => event.type === "command")).toHaveLength(2);
    expect(all.filter((event) => event.type === "outcome").map(({ status }) => status)).toEqual(["ok", "unknown"]);
    expect(all.slice(-3).map(({ type }) => type)).toEqual(["gap", "session.end", "seal"]);
    await gateway.until(
      () => gateway.heard("ended").some((message) => message.session === id && message.code === "session_lost"),
      "the gateway hears the end",
    );
    await gateway.until(() => readdirSync(spool).length === 0, "the spool is empty");
    expect(gateway.heard("hello").at(-1)).toMatchObject({ sessions: [] });
    expect(gateway.keys.size).toBe(1);
  });

  test("in the middle of a stream of commands: every answered one is in the recording", async () => {
    const client = await connect(gateway);
    const answered: string[] = [];
    const writing = setInterval(() => client.stream.write("select orders\n".repeat(50)), 1);
    for (let n = 0; n < 300; n += 1) answered.push((await client.next()) ?? "");
    running.child.kill("SIGKILL");
    await running.exited;
    clearInterval(writing);
    running = startProcess(where);
    await sealed(client.session.id);
    expect(verified(client.session.id)).toMatchObject({ ok: true });
    const all = events(client.session.id);
    const commands = all.filter((event) => event.type === "command").map(({ command }) => command);
    expect(commands.length).toBeGreaterThanOrEqual(answered.length);
    // An outcome is written just after its answer left: what the kill came before is said to be unknown, and only at the end.
    const status = new Map(all.filter((event) => event.type === "outcome").map((event) => [event.command, event.status]));
    const statuses = commands.map((command) => status.get(command));
    const known = statuses.findIndex((one) => one !== "ok");
    expect(statuses.slice(known < 0 ? statuses.length : known).every((one) => one === "unknown")).toBe(true);
    expect(known < 0 ? statuses.length : known).toBeGreaterThan(0);
    void client.session.close();
  });
});

describe("SIGTERM drains", () => {
  test("says so, takes nothing new, lets live sessions end, seals, uploads, exits 0", async () => {
    const client = await connect(gateway);
    running.child.kill("SIGTERM");
    await gateway.until(() => gateway.heard("draining").length > 0, "draining is told");
    const pair = gateway.newPair();
    gateway.send(gateway.dispatchOf(pair));
    await gateway.until(() => gateway.heard("refused").length > 0, "a new session is refused");
    expect(gateway.heard("refused")[0]).toMatchObject({ session: pair.session, code: "agent_draining" });
    expect(await client.ask("select orders")).toBe("ok select orders");
    await client.session.close();
    await expect(running.exited).resolves.toBe(0);
    expect(verified(client.session.id)).toMatchObject({ ok: true });
    expect(gateway.heard("ended")).toMatchObject([{ session: client.session.id, code: "session_closed" }]);
    expect(existsSync(join(where.directory, "state/agent.lock"))).toBe(false);
  });

  test("a second one ends live sessions at once, and they hear why", async () => {
    const client = await connect(gateway);
    running.child.kill("SIGTERM");
    await gateway.until(() => gateway.heard("draining").length > 0, "draining is told");
    running.child.kill("SIGTERM");
    expect(await client.next()).toBe("ended agent_draining");
    await expect(running.exited).resolves.toBe(0);
    expect(verified(client.session.id)).toMatchObject({ ok: true });
    expect(gateway.heard("ended")).toMatchObject([{ session: client.session.id, code: "agent_draining" }]);
  });
});

describe("faults", () => {
  test("one that nobody caught ends its own session only", async () => {
    const client = await connect(gateway);
    const other = await connect(gateway, "other-db");
    client.stream.write("throw-later\n");
    expect(await client.next()).toBe("ended internal");
    await expect(client.session.ended).resolves.toMatchObject({ code: "internal" });
    expect(await other.ask("select orders")).toBe("ok select orders");
    await sealed(client.session.id);
    expect(events(client.session.id).find((event) => event.type === "gap")).toMatchObject({
      note: "The session failed inside the agent: Error.",
    });
    expect(running.child.exitCode).toBeNull();
    await other.session.close();
  });

  test("the gateway sends it away: it ends and says so with its exit status", async () => {
    gateway.send({ type: "bye", code: "agent_unknown", message: "The agent's key is not enrolled here, or was revoked." });
    await expect(running.exited).resolves.toBe(3);
    expect(running.log()).toContain("the gateway sent this agent away");
  });
});

test("a rotated credential is used by the next connection, without a restart", async () => {
  const client = await connect(gateway);
  expect(await client.ask("credential")).toBe(`read ${SECRET.length}`);
  writeFileSync(join(where.directory, "password"), "rotated-value\n");
  expect(await client.ask("credential")).toBe("read 13");
  await client.session.close();
});

test("invariant 1: the credential is in nothing that the agent emits, whatever goes wrong", async () => {
  for (const target of ["orders-db", "other-db"]) {
    const client = await connect(gateway, target);
    expect(await client.ask("credential")).toBe(`read ${SECRET.length}`);
    // A client that sends the value itself does not get it into the recording either.
    expect(await client.ask(`select ${SECRET}`)).toContain("ok");
    expect(await client.ask("leak")).toBe("closed");
    await client.session.close();
    await sealed(client.session.id);
    expect(gateway.recording(client.session.id)).toContain("[redacted credential]");
  }
  const metrics = await (await fetch(`http://${health()}/metrics`)).text();
  const healthz = await (await fetch(`http://${health()}/healthz`)).text();
  running.child.kill("SIGTERM");
  await running.exited;
  const state = readdirSync(join(where.directory, "state"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"));
  const uploaded = [...gateway.segments.values()].map((body) => body.toString());
  const everything = [gateway.raw, JSON.stringify(gateway.requests), running.log(), metrics, healthz, ...state, ...uploaded].join("\n");
  expect(everything.length).toBeGreaterThan(5_000);
  expect(everything).not.toContain(SECRET);
  expect(everything).not.toContain("enrolment-token-1");
  expect([gateway.raw, running.log(), ...uploaded].join("\n")).not.toContain("PRIVATE KEY");
});

function health(): string {
  const started = running
    .log()
    .split("\n")
    .find((line) => line.includes('"agent started"'));
  return (JSON.parse(started ?? "{}") as { health: string }).health;
}

test("health and metrics", async () => {
  const ok = await fetch(`http://${health()}/healthz`);
  expect(ok.status).toBe(200);
  expect(await ok.json()).toMatchObject({ status: "ok", reasons: [], control: { connected: true }, policy: { version: 1 } });
  const client = await connect(gateway);
  await client.ask("select orders");
  await client.ask("delete orders");
  await client.session.close();
  await sealed(client.session.id);
  const metrics = await (await fetch(`http://${health()}/metrics`)).text();
  expect(metrics).toContain('sallyport_agent_commands_total{target="orders-db",decision="allow"} 1');
  expect(metrics).toContain('sallyport_agent_commands_total{target="orders-db",decision="deny"} 1');
  expect(metrics).toContain('sallyport_agent_sessions_total{target="orders-db",code="session_closed"} 1');
  expect(metrics).toContain('sallyport_agent_bytes_total{target="orders-db",direction="received"} 28');
  expect(metrics).toMatch(/sallyport_agent_uploads_total\{kind="segment",result="stored"\} [1-9]/);
  expect(metrics).toContain("sallyport_agent_control_connected 1");
  gateway.cutControl();
  await gateway.stop();
  await gateway.until(() => running.log().includes("the control socket is down"), "the agent notices");
  const down = await fetch(`http://${health()}/healthz`);
  expect(down.status).toBe(503);
  expect(await down.json()).toMatchObject({ status: "degraded", reasons: ["The control socket to the gateway is down."] });
  expect((await fetch(`http://${health()}/else`)).status).toBe(404);
});
