/** The job's credential over its life: exchanged once, renewed, shared by the commands of a job, lost, refused. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { holdCredential, type CredentialHolder } from "../../../runner/credential.ts";
import { TokenEndpoint } from "./support/token-endpoint.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2ln";
const MINUTE = 60_000;
let endpoint: TokenEndpoint;
let directory: string;
const temporary = process.env["TMPDIR"];
const path = process.env["PATH"];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-credential-"));
  endpoint = new TokenEndpoint();
  await endpoint.start();
});
afterEach(async () => {
  process.env["PATH"] = path;
  if (temporary === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporary;
  await endpoint.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface Command extends Pick<CredentialHolder, "current"> {
  /** What it would do in so many ms, the latest last. */
  readonly planned: { readonly ms: number; readonly action: () => void }[];
}

/** One command of the job, as a process of its own would be. */
function command(env: Readonly<Record<string, string>>): Command {
  const planned: Command["planned"] = [];
  const holder = holdCredential({
    origin: endpoint.origin,
    audience: endpoint.origin,
    env: { XDG_RUNTIME_DIR: directory, ...env },
    now: () => endpoint.now,
    later: (ms, action) => planned.push({ ms, action }),
  });
  return { current: () => holder.current(), planned };
}

/** A CI system that gives a new token each time it is asked: a program, as Buildkite's. */
function mintable(): Readonly<Record<string, string>> {
  const program = join(directory, "buildkite-agent");
  writeFileSync(program, `#!/bin/sh\necho x >> ${directory}/minted\necho "eyJh.$(wc -l < ${directory}/minted | tr -d ' ').c2ln"\n`, {
    mode: 0o755,
  });
  process.env["PATH"] = `${directory}:${path ?? ""}`;
  return { BUILDKITE: "true" };
}

describe("a token that can be minted again", () => {
  it("is exchanged once, also by requests that come at once; nothing is kept or planned", async () => {
    const job = command(mintable());
    const [first, second] = await Promise.all([job.current(), job.current()]);
    expect(second).toBe(first);
    expect(await job.current()).toBe(first);
    expect(first).toMatchObject({ access_token: "credential-1", identity: "orders-ci", expires_at: endpoint.now + 15 * MINUTE });
    expect(endpoint.asked).toEqual(["exchange eyJh.1.c2ln"]);
    expect(job.planned).toEqual([]);
    expect((await command(mintable()).current()).access_token).toBe("credential-2");
  });

  it("gives a credential that is renewed with its key before it expires", async () => {
    const job = command(mintable());
    const first = await job.current();
    endpoint.now += 11 * MINUTE;
    const second = await job.current();
    expect(endpoint.asked).toEqual(["exchange eyJh.1.c2ln", "renew credential-1"]);
    expect(second.key).toBe(first.key);
    expect(second.expires_at).toBe(endpoint.now + 15 * MINUTE);
  });

  it("is minted anew when the credential has expired, is refused, or is at the end of its line", async () => {
    const job = command(mintable());
    await job.current();
    endpoint.now += 16 * MINUTE;
    expect((await job.current()).access_token).toBe("credential-2");
    endpoint.lineEnds = endpoint.now + 16 * MINUTE;
    endpoint.now += 12 * MINUTE;
    endpoint.asked.length = 0;
    await job.current();
    expect(endpoint.asked).toEqual(["renew credential-2", "exchange eyJh.3.c2ln"]);
  });

  it("is not needed while the gateway is away for a moment and the credential is still good", async () => {
    const job = command(mintable());
    const first = await job.current();
    endpoint.now += 11 * MINUTE;
    endpoint.down = true;
    expect(await job.current()).toBe(first);
    endpoint.now += 4 * MINUTE;
    await expect(job.current()).rejects.toMatchObject({ name: "CommandFailed", status: 69 });
    endpoint.down = false;
    expect((await job.current()).access_token).toBe("credential-2");
  });
});

describe("a token that is good once", () => {
  const env = { SALLYPORT_TOKEN: TOKEN };

  it("serves every command of the job: one exchanges it, the others use what is kept, key and all", async () => {
    const first = await command(env).current();
    const second = await command(env).current();
    expect(endpoint.asked).toEqual([`exchange ${TOKEN}`]);
    expect(second.access_token).toBe(first.access_token);
    endpoint.now += 11 * MINUTE;
    // Renewing proves that the key is the same: the endpoint checks.
    const third = await command(env).current();
    expect(third.access_token).toBe("credential-2");
    expect((await command(env).current()).access_token).toBe("credential-2");
    expect(endpoint.asked).toEqual([`exchange ${TOKEN}`, "renew credential-1"]);
  });

  it("serves commands that start at once: those that lose the race take what the winner keeps", async () => {
    const got = await Promise.all([command(env), command(env), command(env)].map((job) => job.current()));
    expect(new Set(got.map(({ access_token }) => access_token))).toEqual(new Set(["credential-1"]));
    expect(endpoint.asked).toEqual([`exchange ${TOKEN}`, `exchange ${TOKEN}`, `exchange ${TOKEN}`]);
  });

  it("is refused as replayed where nothing can be kept", async () => {
    process.env["TMPDIR"] = "/dev/null";
    const nowhere = { ...env, XDG_RUNTIME_DIR: "/dev/null" };
    await command(nowhere).current();
    await expect(command(nowhere).current()).rejects.toMatchObject({ problem: { code: "token_replayed" }, status: 77 });
  });

  it("is renewed by a command that runs for long, for those that come after", async () => {
    const long = command(env);
    await long.current();
    for (let hour = 0; hour < 4; hour += 1) {
      const { ms, action } = long.planned.at(-1) ?? { ms: 0, action: () => {} };
      expect(ms).toBe(10 * MINUTE);
      endpoint.now += ms;
      action();
      // Renewed, if the action began it; else this does.
      await long.current();
    }
    expect(endpoint.asked).toHaveLength(5);
    expect((await command(env).current()).access_token).toBe("credential-5");
  });

  it("is tried again soon when the gateway is away, and given up when the identity is revoked", async () => {
    const long = command(env);
    await long.current();
    endpoint.now += 10 * MINUTE;
    endpoint.down = true;
    long.planned.at(-1)?.action();
    await long.current();
    expect(long.planned.map(({ ms }) => ms)).toEqual([10 * MINUTE, 30_000]);
    endpoint.down = false;
    endpoint.revoked = true;
    long.planned.at(-1)?.action();
    await expect(long.current()).rejects.toMatchObject({ problem: { code: "identity_revoked" } });
    expect(long.planned).toHaveLength(2);
  });

  it("takes the newer of its own credential and what another command has kept", async () => {
    const long = command(env);
    await long.current();
    endpoint.now += 11 * MINUTE;
    await command(env).current();
    expect((await long.current()).access_token).toBe("credential-2");
    expect(endpoint.asked).toHaveLength(2);
  });

  it("may be replaced in its file, which may also go away: what was exchanged is still renewed", async () => {
    const file = join(directory, "token");
    writeFileSync(file, TOKEN);
    const job = command({ SALLYPORT_TOKEN_FILE: file });
    await job.current();
    endpoint.now += 11 * MINUTE;
    rmSync(file);
    await job.current();
    endpoint.now += 11 * MINUTE;
    writeFileSync(file, `${TOKEN}2`);
    await job.current();
    expect(endpoint.asked).toEqual([`exchange ${TOKEN}`, "renew credential-1", `exchange ${TOKEN}2`]);
  });

  it("that is missing or malformed is said in words, with the status of a refusal", async () => {
    await expect(command({}).current()).rejects.toMatchObject({ name: "CommandFailed", status: 77 });
    const failure: unknown = await command({ SALLYPORT_TOKEN: "hunter2" })
      .current()
      .catch((error: unknown) => error);
    expect((failure as Error).message).toContain("SALLYPORT_TOKEN");
    expect((failure as Error).message).not.toContain("hunter2");
  });
});
