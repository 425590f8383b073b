/**
 * The pre-step of `npm run demo`, `npm test` and their like: `node scripts/prepare.mjs SCRIPT [ARG…]`.
 *
 * 1. Installs from package-lock.json when node_modules is missing or differs from it, and says so.
 * 2. Runs SCRIPT (a TypeScript file of this repository, or `bin:NAME` for a tool of node_modules/.bin) on
 *    the Node that came with the dev dependencies, whatever Node started this file.
 *
 * Needs nothing but Node ≥ 20 and npm. Signals and the exit status pass through.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const say = (text) => process.stderr.write(`sallyport: ${text}\n`);

function lockfilePackages(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), "utf8")).packages ?? {};
  } catch {
    return undefined;
  }
}

/** What npm wrote about the last install must name every package of the lockfile that this platform needs. */
function installedMatchesLockfile() {
  const wanted = lockfilePackages("package-lock.json");
  const installed = lockfilePackages("node_modules/.package-lock.json");
  if (wanted === undefined || installed === undefined) return false;
  return Object.entries(wanted).every(
    ([path, entry]) => path === "" || entry.optional === true || installed[path]?.version === entry.version,
  );
}

function install() {
  const why = existsSync(join(root, "node_modules")) ? "node_modules differs from package-lock.json" : "node_modules is missing";
  say(`${why}: installing from the lockfile (npm ci), about a minute the first time…`);
  const npm = process.env.npm_execpath;
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const run =
    npm !== undefined && npm.endsWith(".js")
      ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ["ignore", 2, 2] })
      : spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (run.status !== 0) {
    say("npm ci failed: see above. Check that the npm registry can be reached, then run the command again.");
    process.exit(run.status ?? 1);
  }
  say("installed.");
}

/** The dev dependency's Node, or the running one where it is new enough (e.g. install scripts are disabled). */
/** @returns {string} */
function findNode() {
  const bundled = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
  if (existsSync(bundled) && spawnSync(bundled, ["--version"]).status === 0) return bundled;
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  say(
    "the Node 24 of the dev dependencies is not there: npm's install scripts seem to be disabled. Run npm ci with --ignore-scripts=false, or use Node ≥ 24.",
  );
  return process.exit(1);
}

if (!installedMatchesLockfile()) install();
const node = findNode();
const [script, ...args] = process.argv.slice(2);
if (script === undefined) process.exit(0);

const env = { ...process.env, PATH: `${dirname(node)}${process.platform === "win32" ? ";" : ":"}${process.env.PATH ?? ""}` };
const entry = script.startsWith("bin:") ? join(root, "node_modules", ".bin", script.slice(4)) : join(root, script);
const child = spawn(node, [entry, ...args], { stdio: "inherit", env });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
