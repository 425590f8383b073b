/**
 * Reads a bundle directory into the form that policy/ compiles and the gateway takes: path relative to it → text.
 * Files and folders whose names begin with a dot are left out; everything else is taken, so that policy/ can say what
 * does not belong there. Refused: what is not UTF-8 text, symbolic links, and more than the gateway would accept.
 */
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BundleFiles } from "../protocol/agent-control.ts";
import { MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES } from "../protocol/limits.ts";
import { err, ok, type Result } from "../protocol/result.ts";

/** The error is a sentence that names the file. */
export async function readBundleDirectory(directory: string): Promise<Result<BundleFiles, string>> {
  const stat = await lstat(directory).catch(() => undefined);
  if (stat === undefined || !stat.isDirectory())
    return err(`${directory}: no such directory; a bundle is a directory with gateway.yaml in it`);
  const files: Record<string, string> = {};
  let bytes = 0;
  const queue = [""];
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    const entries = (await readdir(join(directory, at), { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const path = at === "" ? entry.name : `${at}/${entry.name}`;
      if (entry.isDirectory()) {
        queue.push(path);
        continue;
      }
      if (!entry.isFile()) return err(`${path}: not a regular file; put the file itself into the bundle`);
      const raw = await readFile(join(directory, path));
      bytes += raw.length;
      if (bytes > MAX_BUNDLE_BYTES)
        return err(`${path}: the bundle grows past ${MAX_BUNDLE_BYTES} bytes with it; keep only policy in this directory`);
      if (Object.keys(files).length >= MAX_BUNDLE_FILES)
        return err(`${path}: more than ${MAX_BUNDLE_FILES} files; keep only policy in this directory`);
      try {
        files[path] = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(raw);
      } catch {
        return err(`${path}: not UTF-8 text`);
      }
    }
  }
  return ok(files);
}
