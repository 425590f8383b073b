/** The npm package as a user gets it: packed by `npm pack`, installed into an empty folder without a network. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "..", "..");
const execute = promisify(execFile);

export interface InstalledPackage {
  /** The folder that `npm install` was run in. */
  readonly directory: string;
  /** Paths in the tarball, without npm's leading `package/`. */
  readonly files: readonly string[];
  /** The installed package. */
  readonly path: string;
  /** `node_modules/.bin/sallyport`. */
  readonly bin: string;
  remove(): Promise<void>;
}

export async function packAndInstall(): Promise<InstalledPackage> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-package-"));
  const packed = join(directory, "packed");
  const installed = join(directory, "installed");
  await mkdir(packed);
  await mkdir(installed);
  await execute("npm", ["pack", "--pack-destination", packed], { cwd: root, maxBuffer: 16 * 1024 * 1024 });
  const [tarball, ...others] = await readdir(packed);
  if (tarball === undefined || others.length > 0) throw new Error("npm pack made no tarball, or several");
  const listed = execFileSync("tar", ["-tzf", join(packed, tarball)], { encoding: "utf8" });
  await writeFile(join(installed, "package.json"), '{ "private": true }');
  // A cache of its own, empty: what could be installed from a cache is not in the tarball.
  const cache = join(directory, "cache");
  await execute("npm", ["install", "--offline", "--no-audit", "--no-fund", "--cache", cache, join(packed, tarball)], { cwd: installed });
  return {
    directory: installed,
    files: listed
      .trim()
      .split("\n")
      .map((path) => path.replace(/^package\//, "")),
    path: join(installed, "node_modules", "sallyport"),
    bin: join(installed, "node_modules", ".bin", "sallyport"),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** The oldest Node that the package promises to run on, where PATH has one; else the one running this. */
export function oldestNode(): string {
  const candidates = (process.env["PATH"] ?? "").split(":").map((directory) => join(directory, "node"));
  const found = candidates.find((path) => existsSync(path) && execFileSync(path, ["--version"], { encoding: "utf8" }).startsWith("v20."));
  return found ?? process.execPath;
}

/** The text of `entry` and of what it imports before it runs, as one. */
export async function loadedText(entry: string): Promise<string> {
  const texts = new Map<string, string>();
  const visit = async (path: string): Promise<void> => {
    if (texts.has(path)) return;
    const text = await readFile(path, "utf8");
    texts.set(path, text);
    for (const [, imported = ""] of text.matchAll(/(?:\bfrom|\bimport) ?"(\.\/[^"]+)"/g)) await visit(join(dirname(path), imported));
  };
  await visit(entry);
  return [...texts.values()].join("\n");
}
