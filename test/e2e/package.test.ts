/**
 * The npm package: what `npm pack` makes is installed into an empty folder without a network, and does the main job
 * there — connector, agent and the local gateway — on the oldest Node that it promises to run on.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMMANDS } from "../../runner/commands.ts";
import { loadedText, oldestNode, packAndInstall, type InstalledPackage } from "../support/package.ts";
import { findProgram } from "../support/programs.ts";
import { finish, JOB_CLAIMS, root, startWorld, type Finished, type World } from "../support/world.ts";

const psql = findProgram("psql");
const node = oldestNode();
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly version: string;
  readonly dependencies?: unknown;
  readonly devDependencies: Readonly<Record<string, string>>;
};
let installed: InstalledPackage;

beforeAll(async () => {
  installed = await packAndInstall();
});
afterAll(() => installed?.remove());

const sallyport = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> =>
  finish(
    spawn(node, [installed.bin, ...args], {
      cwd: installed.directory,
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );

const textOf = (path: string): string => readFileSync(join(installed.path, path), "latin1");

describe("the tarball", () => {
  test("holds the program, its WebAssembly and the papers; no sources, no tests, no source maps", () => {
    const expected =
      /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/([\w-]+\.(js|wasm)|THIRD_PARTY_LICENSES\.txt|edge\/(worker\.js|manifest\.json)))$/;
    expect(installed.files.filter((path) => !expected.test(path))).toEqual([]);
    expect(installed.files).toEqual(
      expect.arrayContaining(["README.md", "LICENSE", "CHANGELOG.md", "dist/sallyport.js", "dist/edge/worker.js", "dist/libpg-query.wasm"]),
    );
  });

  test("installs nothing else", () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(readdirSync(join(installed.directory, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["sallyport"]);
    expect(readdirSync(installed.path)).not.toContain("node_modules");
  });

  test("holds no path of the machine that built it, and nothing of what built it", () => {
    const code = installed.files.filter((path) => /\.(js|json|txt)$/.test(path)).map((path) => [path, textOf(path)] as const);
    const holding = (needle: string): readonly string[] => code.filter(([, text]) => text.includes(needle)).map(([path]) => path);
    for (const needle of [
      `${root}/`,
      homedir() === "/" ? root : `${homedir()}/`,
      "sourceMappingURL",
      "unstable_readConfig",
      "readD1Migrations",
    ])
      expect({ needle, in: holding(needle) }).toEqual({ needle, in: [] });
    // The negative control: the same search finds what is there.
    expect(holding("SALLYPORT_GATEWAY").length).toBeGreaterThan(0);
  });

  test("names the licence of everything it bundles", () => {
    const licences = textOf("dist/THIRD_PARTY_LICENSES.txt");
    for (const name of ["@cedar-policy/cedar-wasm", "commander", "hono", "jose", "libpg-query", "pino", "ws", "yaml", "zod"])
      expect(licences).toContain(`${name} ${manifest.devDependencies[name]} (`);
  });

  test("loads the agent, the parser and the policy engine only where they are needed", async () => {
    const chunk = (name: string): string => {
      const found = installed.files.find((path) => path.startsWith(`dist/${name}-`));
      return join(installed.path, found ?? "missing");
    };
    const start = await loadedText(join(installed.path, "dist", "sallyport.js"));
    const run = await loadedText(chunk("run"));
    const everything = installed.files.filter((path) => path.endsWith(".js")).map(textOf);
    for (const part of ["cedar_wasm_bg.wasm", "libpg-query.wasm", "YAMLParseError", "sonic-boom"]) {
      expect({ part, start: start.includes(part), run: run.includes(part) }).toEqual({ part, start: false, run: false });
      expect({ part, bundled: everything.some((text) => text.includes(part)) }).toEqual({ part, bundled: true });
    }
    // fetch, and an import of node:http, each load an HTTP stack that a session does not need (runner/http.ts).
    expect(start + run).not.toMatch(/(?<![\w$.])fetch\(|\bfrom ?"node:https?"/);
    // zod's forty languages come along when it is imported as `{ z }`.
    expect(start.length + run.length).toBeLessThan(500_000);
  });
});

describe("the command", () => {
  test("says its version, as an executable of its own", () => {
    const PATH = `${dirname(node)}${delimiter}${process.env["PATH"] ?? ""}`;
    expect(execFileSync(installed.bin, ["--version"], { encoding: "utf8", env: { PATH } })).toBe(`${manifest.version}\n`);
  });

  test("has help, of itself and of every command and subcommand", async () => {
    const overview = await sallyport(["--help"]);
    expect(overview.code).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(overview.stdout).toContain(`  ${name} `);
      expect(overview.stdout).toContain(summary);
      const help = await sallyport([name, "--help"]);
      expect({ name, code: help.code, stderr: help.stderr }).toEqual({ name, code: 0, stderr: "" });
      expect(help.stdout).toContain(`Usage: sallyport ${name}`);
      const nested = help.stdout.split("\nCommands:\n")[1]?.split("\n\n")[0] ?? "";
      for (const [, subcommand = ""] of nested.matchAll(/^ {2}(\w+)/gm)) {
        if (subcommand === "help") continue;
        const deeper = await sallyport([name, subcommand, "--help"]);
        expect({ subcommand, code: deeper.code, stderr: deeper.stderr }).toEqual({ subcommand, code: 0, stderr: "" });
        expect(deeper.stdout).toContain(`Usage: sallyport ${name} ${subcommand}`);
      }
    }
  });

  test.each(["examples/bundle", "examples/shop/sallyport"])("lints and tests the bundle %s", async (directory) => {
    const linted = await sallyport(["policy", "lint", join(root, directory)]);
    expect({ code: linted.code, errors: /error:/.test(linted.stdout + linted.stderr) }).toEqual({ code: 0, errors: false });
    const tested = await sallyport(["policy", "test", join(root, directory)]);
    expect(tested.code).toBe(0);
    expect(tested.stdout + tested.stderr).toMatch(/\d+ passed|\d+ tests?|no tests in/);
  });
});

describe.skipIf(psql === undefined)("the main job from the package", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ command: [node, installed.bin] });
    await world.startAgent("packaged");
  });
  afterAll(() => world?.stop());

  test("its agent serves its connector: a query of psql is answered, a DROP refused, both recorded", async () => {
    const query = ["run", "orders-db", "--", psql ?? "", "-X", "-At", "-c", "select count(*) from orders", "-c", "drop table orders"];
    const { code, stdout, stderr } = await world.sallyport(query);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "5\n" });
    expect(stderr).toContain("no-destruction");
    const session = /session (\w+),/.exec(stderr)?.[1] ?? "";
    const shown = await world.admin(["sessions", "replay", session]);
    expect(shown.stdout).toContain("drop table orders");
  });

  describe("sallyport dev", () => {
    const directory = mkdtempSync(join(tmpdir(), "sallyport-dev-"));
    const start = ["dev", "--config", directory, "--port", "0", "--json"];
    const env = () => ({ SHOP_DB_PASSWORD: world.targetPassword });
    beforeAll(() => {
      cpSync(join(root, "examples", "shop", "sallyport"), join(directory, "sallyport"), { recursive: true });
      const yaml = readFileSync(join(root, "examples", "shop", "agent.yaml"), "utf8");
      writeFileSync(join(directory, "agent.yaml"), yaml.replace("127.0.0.1:5432", `${world.postgres.host}:${world.postgres.port}`));
    });
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    test("without workerd says what to install", async () => {
      const { code, stdout, stderr } = await sallyport(start, env());
      expect({ code, stdout }).toEqual({ code: 69, stdout: "" });
      expect(stderr).toContain(`npm install miniflare@${manifest.devDependencies["miniflare"]}`);
      expect(stderr.trim().split("\n")).toHaveLength(1);
    });

    test("with workerd beside it is a whole gateway", async () => {
      symlinkSync(join(root, "node_modules", "miniflare"), join(installed.directory, "node_modules", "miniflare"));
      const dev = spawn(node, [installed.bin, ...start], {
        env: { PATH: process.env["PATH"] ?? "", ...env() },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise<number | null>((resolve) => dev.once("exit", (code) => resolve(code)));
      try {
        const line = await new Promise<string>((resolve, reject) => {
          createInterface(dev.stdout).once("line", resolve);
          dev.once("exit", (code) => reject(new Error(`sallyport dev ended with ${code}`)));
        });
        const { gateway } = JSON.parse(line) as { readonly gateway: string };
        const claims = JOB_CLAIMS.flatMap((claim) => ["--claim", claim]);
        const token = await sallyport(["dev", "token", "--config", directory, "--provider", "github", ...claims]);
        expect(token.stderr).toBe("");
        const answer = await sallyport(["run", "orders-db", "--", psql ?? "", "-X", "-At", "-c", "select count(*) from orders"], {
          SALLYPORT_GATEWAY: gateway,
          SALLYPORT_TOKEN: token.stdout.trim(),
          XDG_RUNTIME_DIR: directory,
        });
        expect({ code: answer.code, stdout: answer.stdout }).toEqual({ code: 0, stdout: "5\n" });
      } finally {
        dev.kill("SIGTERM");
      }
      expect(await ended).toBe(0);
    });
  });
});
