/** Key, enrolment and state directory, against a real HTTP server: crashes, modes, one process at a time. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StateDirectory } from "../../../tunnel-agent/state/directory.ts";
import { openIdentity, type AgentIdentity } from "../../../tunnel-agent/state/identity.ts";
import { TestGateway } from "./support/gateway.ts";

let directory: string;
let state: StateDirectory;
let gateway: TestGateway;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-state-"));
  state = StateDirectory.open(directory);
  gateway = await TestGateway.start({ tokens: ["one", "two"] });
});
afterEach(async () => {
  state.close();
  await gateway.stop();
  rmSync(directory, { recursive: true, force: true });
});

const enrol = (token?: string): Promise<AgentIdentity> =>
  openIdentity(state, {
    gateway: gateway.origin,
    name: "dc1-a",
    token: token === undefined ? undefined : () => Promise.resolve(token),
    now: () => Date.now(),
  });
const mode = (name: string): number => statSync(join(directory, name)).mode & 0o777;

describe("enrolment", () => {
  test("keeps the id, and the key for its owner only; a restart needs no token", async () => {
    const first = await enrol("one");
    expect(first).toMatchObject({ site: "dc1", name: "dc1-a" });
    expect([mode("agent.key"), mode("agent.json"), mode("recording.key"), statSync(directory).mode & 0o777]).toEqual([
      0o600, 0o600, 0o600, 0o700,
    ]);
    const again = await enrol();
    expect(again.agent).toBe(first.agent);
    expect(again.digest("select 1")).toBe(first.digest("select 1"));
    expect(again.sign("x")).toBe(first.sign("x"));
    expect(gateway.keys.size).toBe(1);
  });

  test("without a token says what to write", async () => {
    await expect(enrol()).rejects.toThrow("write enrolment_token: env:NAME");
  });

  test("refused: the key goes, and the next token enrols a new one", async () => {
    await expect(enrol("wrong-token")).rejects.toThrow(
      "the gateway refused the enrolment: Refused: enrolment_invalid. (enrolment_invalid, reference ref_1)",
    );
    expect(existsSync(join(directory, "agent.key"))).toBe(false);
    await expect(enrol("two")).resolves.toMatchObject({ site: "dc1" });
  });

  test("a crash between making the key and enrolling: the key is enrolled at the next start", async () => {
    gateway.enrolStatus = 503;
    await expect(enrol("one")).rejects.toThrow("could not be reached for the enrolment");
    const key = readFileSync(join(directory, "agent.key"), "utf8");
    gateway.enrolStatus = undefined;
    await enrol("one");
    expect(readFileSync(join(directory, "agent.key"), "utf8")).toBe(key);
  });

  test("invariant 1: neither the token nor the key is in an error", async () => {
    const failure = await enrol("secret-token-value").catch((error: unknown) => error);
    expect(String((failure as Error).stack)).not.toContain("secret-token-value");
  });
});

describe("files that are not as they should be", () => {
  test("a key that others may read is refused", async () => {
    await enrol("one");
    chmodSync(join(directory, "agent.key"), 0o640);
    await expect(enrol()).rejects.toThrow("can be read by others");
  });

  test("a damaged key is refused without quoting it", async () => {
    await enrol("one");
    writeFileSync(join(directory, "agent.key"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", { mode: 0o600 });
    const failure = await enrol().catch((error: unknown) => error);
    expect(String((failure as Error).stack)).toContain("is not an Ed25519 private key");
    expect(String((failure as Error).stack)).not.toContain("c2VjcmV0");
  });

  test("an id without its key is refused rather than given another key", async () => {
    await enrol("one");
    rmSync(join(directory, "agent.key"));
    await expect(enrol("two")).rejects.toThrow("is damaged or missing");
  });

  test("a write that death cut short leaves the old file", async () => {
    await enrol("one");
    writeFileSync(join(directory, "agent.json.new"), '{"agent":"ag');
    await expect(enrol()).resolves.toMatchObject({ name: "dc1-a" });
    expect(readdirSync(directory)).toContain("agent.json");
  });
});

describe("one process at a time", () => {
  test("a second one is refused while the first lives, and gets it after kill -9", async () => {
    state.close();
    const program = `import { StateDirectory } from ${JSON.stringify(join(import.meta.dirname, "../../../tunnel-agent/state/directory.ts"))};
      StateDirectory.open(${JSON.stringify(directory)}); console.log("held"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    expect(() => StateDirectory.open(directory)).toThrow(`in use by the agent with process id ${child.pid}`);
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exited;
    state = StateDirectory.open(directory);
    expect(() => StateDirectory.open(directory)).toThrow("in use");
  });
});

test("the token of a dial: this agent's, for this gateway, short, never the same", async () => {
  const identity = await enrol("one");
  const [a, b] = [await identity.token(gateway.origin), await identity.token(gateway.origin)];
  const claims = JSON.parse(Buffer.from(a.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;
  expect(claims).toMatchObject({ iss: identity.agent, sub: identity.agent, aud: gateway.origin });
  expect(Number(claims["exp"]) - Number(claims["iat"])).toBe(60);
  expect(a).not.toBe(b);
});
