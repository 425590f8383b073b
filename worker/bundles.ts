/**
 * The active bundle, compiled. The pointer is read from D1 at every call, so a publication holds for the very next
 * request everywhere; the compiled policy is kept per isolate while its version stays active.
 *
 * A bundle that no longer compiles (an upgrade of the gateway made the schema stricter) is an exception: every
 * request fails until docs/storage.md's recovery was followed. It is never treated as no policy.
 */
import type { Env } from "../durable-objects/env.ts";
import type { Policy } from "../policy/types.ts";
import type { BundleFiles } from "../protocol/agent-control.ts";
import { activeVersion, readBundleFiles } from "../store/bundles.ts";
import { compileBundle } from "./cedar.ts";

export interface ActiveBundle {
  readonly version: number;
  readonly digest: string;
  readonly files: BundleFiles;
  readonly policy: Policy;
}

let cached: ActiveBundle | undefined;

/** Null while none is active. */
export async function activeBundle(env: Pick<Env, "DB">): Promise<ActiveBundle | null> {
  const active = await activeVersion(env.DB);
  if (active === null) return null;
  if (cached?.version === active.version && cached.digest === active.digest) return cached;
  const files = await readBundleFiles(env.DB, active.digest);
  if (files === null) throw new Error(`the files of active bundle ${active.version} are missing`);
  const compiled = compileBundle(files);
  if (!compiled.ok) {
    const [first] = compiled.error;
    throw new Error(`active bundle ${active.version} does not compile: ${first?.file}: ${first?.rule}`);
  }
  cached = { ...active, files, policy: compiled.value };
  return cached;
}
