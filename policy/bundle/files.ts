/**
 * Which file of a bundle is what. A file that would be silently ignored is an error when it looks like policy
 * (.yaml, .yml, .cedar) and a warning otherwise.
 */
import { MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES } from "../../protocol/limits.ts";
import type { BundleFiles } from "../../protocol/agent-control.ts";
import { problem } from "../problem.ts";
import type { Problem } from "../types.ts";

export type FileKind = "gateway" | "identity" | "cedar" | "masking" | "test";

export interface BundleFile {
  readonly kind: FileKind;
  readonly path: string;
  readonly text: string;
}

const PLACES = "gateway.yaml, identities/*.yaml, policies/*.cedar, masking.yaml, tests/*.yaml";
const SEGMENT = "[A-Za-z0-9][A-Za-z0-9._-]*";
const KINDS: readonly (readonly [RegExp, FileKind])[] = [
  [/^gateway\.yaml$/, "gateway"],
  [/^masking\.yaml$/, "masking"],
  [new RegExp(`^identities/(?:${SEGMENT}/)*${SEGMENT}\\.yaml$`), "identity"],
  [new RegExp(`^policies/(?:${SEGMENT}/)*${SEGMENT}\\.cedar$`), "cedar"],
  [new RegExp(`^tests/(?:${SEGMENT}/)*${SEGMENT}\\.yaml$`), "test"],
];

/** In the paths' order, so that ids and reports do not depend on the file system. */
export function classify(files: BundleFiles, problems: Problem[]): readonly BundleFile[] {
  const paths = Object.keys(files).sort();
  const encoder = new TextEncoder();
  const bytes = paths.reduce((sum, path) => sum + encoder.encode(files[path] ?? "").length, 0);
  if (paths.length > MAX_BUNDLE_FILES || bytes > MAX_BUNDLE_BYTES) {
    const message = `a bundle holds at most ${MAX_BUNDLE_FILES} files and ${MAX_BUNDLE_BYTES / 1024} KiB; this one has ${paths.length} files and ${Math.ceil(bytes / 1024)} KiB`;
    problems.push(problem("error", "bundle-size", paths[0] ?? "gateway.yaml", message));
    return [];
  }
  const known: BundleFile[] = [];
  for (const path of paths) {
    const kind = KINDS.find(([pattern]) => pattern.test(path))?.[1];
    if (kind !== undefined) known.push({ kind, path, text: files[path] ?? "" });
    else if (/\.ya?ml$/i.test(path))
      problems.push(problem("error", "file-place", path, `this file would not be read: move or rename it; a bundle has ${PLACES}`));
    else if (/\.cedar$/i.test(path))
      problems.push(problem("error", "file-place", path, "this file would not be read: Cedar policies live in policies/*.cedar"));
    else problems.push(problem("warning", "file-unknown", path, `this file is no part of a bundle and is ignored; a bundle has ${PLACES}`));
  }
  if (!known.some((file) => file.kind === "gateway")) {
    problems.push(problem("error", "file-missing", "gateway.yaml", "missing: write gateway.yaml with audience: and issuers:"));
  }
  return known;
}
