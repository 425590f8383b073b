/**
 * The connector's commands beside `run`, as a pipeline uses them: up, down, pipe, doctor, whoami, can, history; and who
 * gets through the listener on loopback (GW-29).
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { Client, type ClientConfig } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startWorld, type Finished, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld();
  await world.startAgent("one");
});
afterAll(() => world?.stop());
afterEach(async () => {
  // Whatever a failed test has left up.
  await world.sallyport(["down"]);
});

interface Printed {
  readonly targets: readonly { readonly target: string; readonly port: number; readonly session: string; readonly password: string }[];
  readonly env: Readonly<Record<string, string>>;
}

async function up(env: Readonly<Record<string, string>> = {}): Promise<Printed> {
  const { code, stdout, stderr } = await world.sallyport(["up", "orders-db", "--json"], env);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return JSON.parse(stdout) as Printed;
}

function clientOf(env: Readonly<Record<string, string>>, more: ClientConfig = {}): Client {
  const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = env;
  return new Client({ host: PGHOST, port: Number(PGPORT), user: PGUSER, password: PGPASSWORD, database: PGDATABASE, ...more });
}

async function ask(client: Client, sql: string): Promise<unknown[]> {
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}

const sessionState = async (id: string): Promise<unknown> => {
  const { stdout } = await world.admin(["sessions", "show", id, "--json"]);
  return (JSON.parse(stdout) as { state: unknown }).state;
};

describe("up and down", () => {
  test("a shell evaluates what up prints, later steps use it, down ends it", async () => {
    const { code, stdout, stderr } = await world.sallyport(["up", "orders-db"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^sallyport: orders-db: session ses_\w+ on 127\.0\.0\.1:\d+, until sallyport down\n$/);
    const printed = execFileSync("sh", ["-c", `${stdout}env`], { encoding: "utf8", env: {} });
    const env = Object.fromEntries(printed.split("\n").map((line) => line.split(/=(.*)/s) as [string, string]));
    expect(await ask(clientOf(env), "select count(*)::int as n from orders")).toEqual([{ n: 5 }]);
    expect(await ask(new Client({ connectionString: env["DATABASE_URL"] ?? "" }), "select 1 as one")).toEqual([{ one: 1 }]);
    const down = await world.sallyport(["down"]);
    expect(down).toMatchObject({ code: 0, stderr: "sallyport: ended: orders-db\n" });
    await expect(ask(clientOf(env), "select 1")).rejects.toThrow(/ECONNREFUSED/);
    await eventually(async () => expect(await sessionState(env["SALLYPORT_ORDERS_DB_SESSION"] ?? "")).toBe("ended"));
    expect(await world.sallyport(["down"])).toMatchObject({ code: 0, stderr: "sallyport: nothing was up\n" });
  });

  test("in GitHub Actions it writes GITHUB_ENV, after masking the password, and prints nothing else", async () => {
    const file = join(mkdtempSync(join(world.directory, "github-")), "env");
    const { code, stdout } = await world.sallyport(["up", "orders-db"], { GITHUB_ENV: file });
    expect(code).toBe(0);
    const written = readFileSync(file, "utf8");
    const env: Record<string, string> = {};
    for (const [, name = "", , value = ""] of written.matchAll(/^(\w+)<<(sallyport_[0-9a-f]{32})\n(.*)\n\2$/gm)) env[name] = value;
    expect(stdout).toBe(`::add-mask::${env["PGPASSWORD"] ?? "?"}\n`);
    expect(await ask(clientOf(env), "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("keeps no secret where others, or a later look, would find it", async () => {
    const { env } = await up();
    const password = env["PGPASSWORD"] ?? "";
    const directory = join(world.directory, `sallyport-${process.getuid?.() ?? ""}`);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    const left = readdirSync(directory).filter((name) => name.startsWith("up-"));
    expect(left.map((name) => name.replace(/[0-9a-f]{16}/, "ID")).sort()).toEqual(["up-ID.json", "up-ID.log", "up-ID.sock"]);
    for (const name of left.filter((name) => !name.endsWith(".sock"))) {
      expect(statSync(join(directory, name)).mode & 0o777, name).toBe(0o600);
      expect(readFileSync(join(directory, name), "utf8"), name).not.toContain(password);
    }
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      let line = "";
      try {
        line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        continue; // gone meanwhile
      }
      expect(line).not.toContain(password);
    }
  });

  test("down ends what is named, and says what is not up", async () => {
    await up();
    expect(await world.sallyport(["down", "stock-db"])).toMatchObject({ code: 1, stderr: "sallyport: not up: stock-db\n" });
    expect(await world.sallyport(["down", "orders-db", "--json"])).toMatchObject({ code: 0 });
  });

  test("a refusal is the parent's own, and leaves nothing behind", async () => {
    const { code, stderr } = await world.sallyport(["up", "no-such-db"]);
    expect(code).not.toBe(0);
    expect(stderr).toContain("no-such-db");
    expect(await world.sallyport(["down"])).toMatchObject({ stderr: "sallyport: nothing was up\n" });
  });

  test("ends by itself when its session is killed", async () => {
    const { targets } = await up();
    const [{ session } = { session: "" }] = targets;
    expect(await world.admin(["sessions", "kill", session])).toMatchObject({ code: 0 });
    await eventually(async () => expect(await world.sallyport(["down"])).toMatchObject({ stderr: "sallyport: nothing was up\n" }));
  });
});

describe("GW-29: the listener on loopback", () => {
  test("lets in whoever has the run's password, and nobody else", async () => {
    const first = await up();
    const second = await up();
    expect(await ask(clientOf(first.env), "select 1 as one")).toEqual([{ one: 1 }]);
    const wrong = [second.env["PGPASSWORD"] ?? "", `${first.env["PGPASSWORD"] ?? ""}x`, "guess"];
    for (const password of wrong) {
      await expect(ask(clientOf(first.env, { password }), "select 1")).rejects.toMatchObject({ code: "28P01" });
    }
    await expect(ask(clientOf(first.env, { password: "" }), "select 1")).rejects.toThrow();
    // The one who may is not disturbed by those who may not.
    expect(await ask(clientOf(first.env), "select 2 as two")).toEqual([{ two: 2 }]);
  });
});

describe("run", () => {
  const run = (options: readonly string[], script: string): Promise<Finished> =>
    world.sallyport(["run", ...options, "orders-db", "--", "sh", "-c", script]);

  test("says what it does on stderr alone: in words, as JSON, or not at all", async () => {
    const words = await run([], "echo out");
    expect(words).toMatchObject({ code: 0, stdout: "out\n" });
    expect(words.stderr).toMatch(/^sallyport: orders-db: session ses_\w+, as orders-ci; every command is decided and recorded\n$/);
    const json = await run(["--json"], "echo out");
    expect(json.stdout).toBe("out\n");
    expect(JSON.parse(json.stderr)).toMatchObject({ level: "info", event: "open", target: "orders-db", host: "127.0.0.1" });
    expect(await run(["--quiet"], "echo out")).toMatchObject({ stdout: "out\n", stderr: "" });
  });

  test("sets the variables, and takes away what would contradict them", async () => {
    const { stdout } = await world.sallyport(
      [
        "run",
        "--quiet",
        "orders-db",
        "--",
        "sh",
        "-c",
        'echo "$PGHOST $PGSSLMODE $PGDATABASE [$PGHOSTADDR]"; [ "$DATABASE_URL" = "$SALLYPORT_ORDERS_DB_URL" ] && echo same',
      ],
      {
        PGHOSTADDR: "192.0.2.1",
        PGDATABASE: "elsewhere",
      },
    );
    expect(stdout).toBe("127.0.0.1 disable shop []\nsame\n");
  });

  test("tells why a session ended early, and leaves the status to the command", async () => {
    const child = world.start(
      ["run", "orders-db", "--", "sh", "-c", 'echo "$SALLYPORT_ORDERS_DB_SESSION"; read line; exit 5'],
      { SALLYPORT_TOKEN: await world.token() },
      { stdio: "pipe" },
    );
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = new Promise((resolve) => child.once("close", resolve));
    const session = await new Promise<string>((resolve) => child.stdout?.once("data", (chunk: Buffer) => resolve(chunk.toString().trim())));
    expect(await world.admin(["sessions", "kill", session, "--reason", "enough"])).toMatchObject({ code: 0 });
    await eventually(() => expect(stderr).toContain("[session_killed]"));
    child.stdin?.end("go\n");
    expect(await ended).toBe(5);
  });

  test.each([
    [["orders-db", "orders-db", "--", "true"], 64, "named twice"],
    [["orders-db", "true"], 64, "run TARGET"],
    [["no-such-db", "--", "true"], 77, "no-such-db"],
  ])("%j is refused before anything runs", async (args, code, says) => {
    const refused = await world.sallyport(["run", ...args]);
    expect(refused.code).toBe(code);
    expect(refused.stderr).toContain(says);
  });
});

/** A child's standard streams as pg's socket. */
class PipeSocket extends Duplex {
  readonly #child: ReturnType<World["start"]>;
  constructor(child: ReturnType<World["start"]>) {
    super();
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => this.push(chunk));
    child.stdout?.on("end", () => this.push(null));
  }
  override _read(): void {}
  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#child.stdin?.write(chunk, done);
  }
  override _final(done: () => void): void {
    this.#child.stdin?.end(done);
  }
  connect(): void {
    process.nextTick(() => this.emit("connect"));
  }
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}
}

test("pipe carries one connection on stdin and stdout, without a password, and exits 0 when it ends", async () => {
  const child = world.start(["pipe", "orders-db", "--quiet"], { SALLYPORT_TOKEN: await world.token() }, { stdio: "pipe" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const stream = new PipeSocket(child);
  const client = new Client({ user: "sallyport", database: "shop", stream: () => stream });
  expect(await ask(client, "select count(*)::int as n from orders")).toEqual([{ n: 5 }]);
  expect(await ended).toBe(0);
});

describe("doctor", () => {
  const findings = (stdout: string): Record<string, string> => {
    const parsed = JSON.parse(stdout) as { findings: { check: string; status: string }[] };
    return Object.fromEntries(parsed.findings.map(({ check, status }) => [check, status]));
  };

  test("finds nothing wrong where nothing is, to the agent and back, and shows no token", async () => {
    const token = await world.token();
    const { code, stdout, stderr } = await world.sallyport(["doctor", "orders-db", "--json"], { SALLYPORT_TOKEN: token });
    expect(findings(stdout)).toEqual({
      gateway: "ok",
      clock: "ok",
      "token source": "ok",
      audience: expect.stringMatching(/ok|warn/) as string,
      age: "ok",
      claims: "ok",
      identity: "ok",
      "target orders-db": "ok",
      "session orders-db": "ok",
      "posture orders-db": "ok",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const part of token.split(".")) expect(stdout).not.toContain(part);
  });

  test("says in words what is wrong, each with what to do", async () => {
    const nothing = await world.sallyport(["doctor"], { SALLYPORT_TOKEN: "" });
    expect(nothing.code).toBe(1);
    expect(nothing.stdout).toContain("no token source found");
    const away = await world.sallyport(["doctor", "--gateway", "http://127.0.0.1:8"]);
    expect(away.code).toBe(1);
    expect(away.stdout).toContain("could not be reached");
    const stranger = await world.sallyport(["doctor"], { SALLYPORT_TOKEN: await world.token("github", ["repository_id=1"]) });
    expect(stranger.code).toBe(1);
    expect(stranger.stdout).toMatch(/FAIL identity: .*identity_unmatched/);
    expect(stranger.stdout).toContain("identities/*.yaml");
    const old = await world.sallyport(["doctor"], { SALLYPORT_TOKEN: await world.token("github", ["iat:=1000", "exp:=2000"]) });
    expect(old.stdout).toMatch(/FAIL age: .*expired/);
  });
});

describe("about oneself", () => {
  test("whoami names the identity and where it comes from", async () => {
    const { code, stdout } = await world.sallyport(["whoami"]);
    expect(code).toBe(0);
    expect(stdout).toContain("orders-ci (non-human, owner team-orders@shop.example)");
    expect(JSON.parse((await world.sallyport(["whoami", "--json"])).stdout)).toMatchObject({ identity: "orders-ci" });
  });

  test("can answers by status too", async () => {
    expect(await world.sallyport(["can", "orders-db"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^yes: connect on orders-db/) as string,
    });
    expect(await world.sallyport(["can", "orders-db", "pg:delete", "public.orders"])).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^no: /) as string,
    });
  });

  test("history shows what was done", async () => {
    const { env } = await up();
    await ask(clientOf(env), "select 'found in history' as here");
    const { stdout } = await eventually(async () => {
      const got = await world.sallyport(["history", "history", "--target", "orders-db"]);
      expect(got.stdout).toContain("history");
      return got;
    });
    expect(stdout.split("\n")[0]).toMatch(/^WHEN +TARGET +DECISION/);
  });
});
