/**
 * Whole CI jobs with the connector: steps that are processes of their own and share what `up` left for them, a token from
 * GitHub's endpoint or one that is good once, several targets, signals — and other users of the same machine, who get
 * nothing (GW-29). What the jobs print is kept, and searched for tokens at the end.
 */
import { execFile, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveActionsEndpoint, type ActionsEndpoint } from "../../dev/issuer/actions.ts";
import { eventually } from "../support/eventually.ts";
import { findProgram } from "../support/programs.ts";
import { finish, root, startWorld, type Finished, type World } from "../support/world.ts";

type Variables = Readonly<Record<string, string>>;

const psql = findProgram("psql");
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
const TARGETS = ["orders-db", "stock-db"];
let world: World;
let github: ActionsEndpoint;
/** What nobody may print, and everything that was printed. */
const secrets: string[] = [];
const printed: string[] = [];

beforeAll(async () => {
  const identity = readFileSync(join(root, "examples", "shop", "sallyport", "identities", "orders-ci.yaml"), "utf8");
  const grant = `${identity}  - target: stock-db\n    actions: [pg:read, pg:session]\n`;
  world = await startWorld({ targets: TARGETS, bundle: { "identities/orders-ci.yaml": grant } });
  await world.startAgent("one");
  github = await serveActionsEndpoint(async () => remembered(await world.token()));
  secrets.push(github.env.ACTIONS_ID_TOKEN_REQUEST_TOKEN);
});
afterAll(async () => {
  await github?.stop();
  await world?.stop();
});

/** Its header is no secret: all tokens of an issuer have the same. */
function remembered(token: string): string {
  const [, claims = "", signature = ""] = token.split(".");
  secrets.push(token, claims, signature);
  return token;
}

/** A job's token that is good once. */
const onceToken = async (): Promise<string> => remembered(await world.token());

/** One step: `sallyport` in a process of its own. */
async function step(args: readonly string[], env: Variables): Promise<Finished> {
  const finished = await world.sallyport(args, { SALLYPORT_TOKEN: "", ...env });
  printed.push(finished.stdout, finished.stderr);
  return finished;
}

/** A step without Sallyport, which has only what an earlier one left in the environment. */
function query(env: Variables, sql: string, options: { readonly url?: string; readonly uid?: number } = {}): Promise<Finished> {
  const args = ["-X", "-At", "-w", "-v", "VERBOSITY=verbose", ...(options.url === undefined ? [] : [options.url]), "-c", sql];
  const uid = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid };
  return finish(execFile(psql ?? "psql", args, { env: { PATH: process.env["PATH"] ?? "", HOME: "/", ...env }, ...uid }));
}

const COUNT = "select count(*) from orders";

/** What the runner makes of $GITHUB_ENV for the next step. */
function githubEnv(file: string): Variables {
  const env: Record<string, string> = {};
  for (const [, name = "", , value = ""] of readFileSync(file, "utf8").matchAll(/^(\w+)<<(\w+)\n(.*)\n\2$/gm)) env[name] = value;
  return env;
}

const stateOf = async (session: string): Promise<unknown> => {
  const { stdout } = await world.admin(["sessions", "show", session, "--json"]);
  return (JSON.parse(stdout) as { readonly state: unknown }).state;
};

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });

const firstLine = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) resolve(text.split("\n")[0] ?? "");
    });
    child.once("close", (code) => reject(new Error(`ended with ${code} before it said anything`)));
  });

describe.skipIf(psql === undefined)("a job on GitHub Actions", () => {
  test("opens its targets in one step, uses them in the next ones, and ends them in the last", async () => {
    const file = join(mkdtempSync(join(world.directory, "job-")), "github_env");
    writeFileSync(file, "EARLIER=1\n");
    const job = { ...github.env, GITHUB_ENV: file };
    const up = await step(["up", ...TARGETS], job);
    expect(up.code, up.stderr).toBe(0);
    expect(github.issued).toBe(1);
    const env = githubEnv(file);
    expect(readFileSync(file, "utf8")).toMatch(/^EARLIER=1\n/);
    expect(await query(env, COUNT)).toMatchObject({ code: 0, stdout: "5\n" });
    expect(await query({}, COUNT, { url: env["SALLYPORT_STOCK_DB_URL"] ?? "" })).toMatchObject({ code: 0, stdout: "5\n" });
    const refused = await query(env, "drop table orders");
    expect(refused.stderr).toContain("42501");
    // Other commands of the job get tokens of their own.
    expect(await step(["can", "stock-db"], job)).toMatchObject({ code: 0 });
    expect(github.issued).toBe(2);
    expect(await step(["down"], job)).toMatchObject({ code: 0, stderr: "sallyport: ended: orders-db, stock-db\n" });
    expect((await query(env, COUNT)).stderr).toContain("Connection refused");
    for (const name of ["SALLYPORT_ORDERS_DB_SESSION", "SALLYPORT_STOCK_DB_SESSION"])
      await eventually(async () => expect(await stateOf(env[name] ?? "")).toBe("ended"));
    // Masked, so that GitHub shows it nowhere; printed nowhere else.
    for (const password of [env["PGPASSWORD"] ?? "?", env["SALLYPORT_STOCK_DB_PASSWORD"] ?? "?"]) {
      expect(up.stdout).toContain(`::add-mask::${password}\n`);
      expect((up.stdout + up.stderr).split(password)).toHaveLength(2);
    }
  });

  test("without the permission is told which one, by run and by doctor", async () => {
    const env = { GITHUB_ACTIONS: "true" };
    expect(await step(["run", "orders-db", "--", "true"], env)).toMatchObject({
      code: 77,
      stderr: expect.stringContaining("id-token: write") as string,
    });
    expect(await step(["doctor"], env)).toMatchObject({ code: 1, stdout: expect.stringContaining("id-token: write") as string });
  });
});

describe.skipIf(psql === undefined)("a job whose token is good once", () => {
  test("uses it in every command: the first exchanges it, the others have its credential", async () => {
    const job = { SALLYPORT_TOKEN: await onceToken() };
    for (const args of [
      ["whoami"],
      ["run", "orders-db", "--", psql ?? "", "-XAt", "-c", COUNT],
      ["up", "stock-db"],
      ["can", "orders-db"],
      ["down"],
    ]) {
      const { code, stderr } = await step(args, job);
      expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
    }
    // The negative control: where the credential is not found, the token is spent.
    const elsewhere = mkdtempSync(join(world.directory, "other-runner-"));
    expect(await step(["whoami"], { ...job, XDG_RUNTIME_DIR: elsewhere })).toMatchObject({
      code: 77,
      stderr: expect.stringContaining("token_replayed") as string,
    });
  });

  test("may start several commands at once", async () => {
    const job = { SALLYPORT_TOKEN: await onceToken() };
    const both = await Promise.all(
      ["orders-db", "stock-db"].map((target) => step(["run", target, "--", psql ?? "", "-XAt", "-c", COUNT], job)),
    );
    expect(both.map(({ code, stdout }) => ({ code, stdout }))).toEqual([
      { code: 0, stdout: "5\n" },
      { code: 0, stdout: "5\n" },
    ]);
  });
});

describe.skipIf(psql === undefined)("several targets in one run", () => {
  test("each have their variables, and the first PostgreSQL one has libpq's", async () => {
    const script = `psql -XAt -c "${COUNT}" && psql -XAt "$SALLYPORT_STOCK_DB_URL" -c "${COUNT}" && [ "$PGPORT" = "$SALLYPORT_ORDERS_DB_PORT" ] && [ "$PGPORT" != "$SALLYPORT_STOCK_DB_PORT" ]`;
    expect(await step(["run", ...TARGETS, "--", "sh", "-c", script], github.env)).toMatchObject({ code: 0, stdout: "5\n5\n" });
  });

  test("are opened together or not at all: nothing runs, and what was opened is ended", async () => {
    const { code, stdout, stderr } = await step(["run", "orders-db", "no-such-db", "--", "echo", "ran"], github.env);
    expect({ code, stdout }).toEqual({ code: 77, stdout: "" });
    expect(stderr).toContain("no-such-db");
    await eventually(async () => {
      const { stdout: listed } = await world.admin(["sessions", "list", "--json", "--limit", "5"]);
      expect((JSON.parse(listed) as { rows: { state: string }[] }).rows.every((row) => row.state === "ended")).toBe(true);
    });
  });
});

describe("signals", () => {
  const SCRIPT = 'trap "exit 9" TERM; trap "exit 10" INT; echo "$SALLYPORT_ORDERS_DB_SESSION"; while :; do sleep 0.1; done';

  test.each([
    ["SIGTERM", 9],
    ["SIGINT", 10],
  ] as const)("%s reaches the command, whose status is ours; then the session is ended", async (signal, status) => {
    const child = world.start(["run", "orders-db", "--", "sh", "-c", SCRIPT], { SALLYPORT_TOKEN: await onceToken() });
    const session = await firstLine(child);
    const ended = finish(child);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: status, signal: null });
    await eventually(async () => expect(await stateOf(session)).toBe("ended"));
  });

  test("a background process that is told to end, or killed, leaves nothing that is up", async () => {
    const job = { SALLYPORT_TOKEN: await onceToken() };
    const directory = join(world.directory, `sallyport-${process.getuid?.() ?? ""}`);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const up = await step(["up", "orders-db", "--json"], job);
      const { targets } = JSON.parse(up.stdout) as { readonly targets: readonly { readonly session: string; readonly port: number }[] };
      const [{ session, port } = { session: "", port: 0 }] = targets;
      const states = readdirSync(directory).filter((name) => /^up-.*\.json$/.test(name));
      expect(states).toHaveLength(1);
      const { pid } = JSON.parse(readFileSync(join(directory, states[0] ?? ""), "utf8")) as { readonly pid: number };
      process.kill(pid, signal);
      if (signal === "SIGTERM") {
        await eventually(async () => expect(await stateOf(session)).toBe("ended"));
      } else {
        await eventually(async () => expect(await isOpen(port)).toBe(false));
        // Nobody ends its session in its place: it might come back. An administrator can.
        await world.admin(["sessions", "kill", session]);
      }
      expect(await step(["down"], job)).toMatchObject({ code: 0, stderr: "sallyport: nothing was up\n" });
      expect(readdirSync(directory).filter((name) => name.startsWith("up-"))).toEqual([]);
    }
  });
});

describe.skipIf(psql === undefined)("GW-29: others on the same machine", () => {
  let env: Variables;
  beforeAll(async () => {
    const up = await step(["up", "orders-db", "--json"], github.env);
    env = (JSON.parse(up.stdout) as { readonly env: Variables }).env;
  });
  afterAll(async () => void (await step(["down"], github.env)));

  test("know the port, and are refused without the password; the job goes on", async () => {
    const { PGPASSWORD: password = "", ...known } = env;
    expect((await query(known, "select 1")).stderr).toContain("no password supplied");
    expect((await query({ ...known, PGPASSWORD: "guess" }, "select 1")).stderr).toMatch(/password authentication failed/);
    expect(await query({ ...known, PGPASSWORD: password }, "select 1")).toMatchObject({ code: 0, stdout: "1\n" });
  });

  test("cannot skip the password: a query sent in place of it is not answered", async () => {
    const socket = connect(Number(env["PGPORT"]), "127.0.0.1");
    const startup = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${env["PGUSER"] ?? ""}\0database\0shop\0\0`, "latin1");
    startup.writeUInt32BE(startup.length, 0);
    const text = Buffer.from("Q\0\0\0\0select 'let in'\0", "latin1");
    text.writeUInt32BE(text.length - 1, 1);
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.write(Buffer.concat([startup, text]));
    await new Promise((resolve) => socket.once("close", resolve));
    expect(answer).toContain("SCRAM-SHA-256");
    expect(answer).toMatch(/C(28P01|28000|08P01)\0/);
    expect(answer).not.toContain("let in");
  });

  test.skipIf(!isRoot)("of another user cannot read it from the process or its files either, nor get in", async () => {
    const job = world.start(["run", "orders-db", "--", "sh", "-c", "echo $$; exec sleep 60"], { SALLYPORT_TOKEN: await onceToken() });
    const ended = finish(job);
    const pid = await firstLine(job);
    const directory = join(world.directory, `sallyport-${process.getuid?.() ?? ""}`);
    const read = (path: string, uid: number): Promise<Finished> => finish(execFile("cat", [path], { uid, gid: uid, encoding: "buffer" }));
    const states = readdirSync(directory);
    for (const path of [`/proc/${pid}/environ`, ...states.map((name) => join(directory, name))]) {
      const { code, stdout } = await read(path, NOBODY);
      expect({ path, refused: code !== 0, stdout }).toEqual({ path, refused: true, stdout: "" });
    }
    // The negative control: it is there for the user whose it is.
    expect((await read(`/proc/${pid}/environ`, 0)).stdout).toContain("PGPASSWORD=");
    const { PGPASSWORD: _, ...known } = env;
    expect((await query({ ...known, PGPASSWORD: "guess" }, "select 1", { uid: NOBODY })).stderr).toMatch(/password authentication failed/);
    job.kill("SIGTERM");
    await ended;
  });
});

describe("when the site is away", () => {
  test("run says so and runs nothing; doctor says so too", async () => {
    for (const { child } of world.agents) {
      child.kill("SIGTERM");
      if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    }
    const run = await step(["run", "orders-db", "--", "echo", "ran"], github.env);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 69, stdout: "" });
    expect(run.stderr).toContain("site_offline");
    const doctor = await step(["doctor", "orders-db"], github.env);
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toMatch(/offline: no agent of its site is connected/);
  });
});

test("none of all this printed a token", () => {
  const texts = [...printed, ...world.edgeLog, ...world.agents.map((agent) => agent.log())];
  expect(secrets.length).toBeGreaterThan(10);
  expect(secrets.filter((secret) => secret.length < 20 || texts.some((text) => text.includes(secret)))).toEqual([]);
  // The session credentials that they were exchanged for (docs/identity.md).
  expect(texts.filter((text) => /sallyport~[\w-]+~/.test(text))).toEqual([]);
  // The negative control: what was printed is what is searched.
  expect(texts.some((text) => text.includes("id-token: write"))).toBe(true);
});
