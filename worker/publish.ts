/**
 * Publishing a bundle: check its size and paths, compile it, see that somebody may publish the next one, number and
 * activate it, tell every site. Nothing is stored unless all of it holds; the sites are told last, since what they
 * miss they get when their agents connect.
 */
import type { Env } from "../durable-objects/env.ts";
import type { Policy, Problem } from "../policy/types.ts";
import { bundleDigestText, type BundleFiles } from "../protocol/agent-control.ts";
import type { BundlePushAnswer } from "../protocol/api.ts";
import { MAX_AGENT_CONTROL, MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES } from "../protocol/limits.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { Workload } from "../protocol/workload.ts";
import { listSites } from "../store/agents.ts";
import { publishBundle } from "../store/bundles.ts";
import { compileBundle } from "./cedar.ts";
import { logError } from "./refusal.ts";
import { hex } from "./segment.ts";

export interface Proposal {
  readonly files: BundleFiles;
  readonly note: string | null;
  readonly rollback: boolean;
  /** The version that was active when the publisher was admitted; null: none. */
  readonly replaces: number | null;
  /** From the request; 0: none may be active. */
  readonly expectActive: number | undefined;
  readonly allowLockout: boolean;
  readonly publisher: { readonly name: string; readonly workload: Workload | null };
}

export type PublishFailure =
  | { readonly code: "conflict" | "too_large"; readonly reason: string }
  | { readonly code: "bundle_invalid"; readonly reason: string; readonly problems: readonly Problem[] };

export async function publish(env: Env, proposal: Proposal, now: number): Promise<Result<BundlePushAnswer, PublishFailure>> {
  const { files, replaces, expectActive, publisher } = proposal;
  if (expectActive !== undefined && expectActive !== (replaces ?? 0)) {
    return err({ code: "conflict", reason: `expected bundle ${expectActive} to be active, it is ${replaces ?? 0}` });
  }
  const tooLarge = measure(files);
  if (tooLarge !== null) return err({ code: "too_large", reason: tooLarge });
  const paths = checkPaths(files);
  if (paths.length > 0) return err({ code: "bundle_invalid", reason: "paths", problems: paths });
  const compiled = compileBundle(files);
  if (!compiled.ok) return err({ code: "bundle_invalid", reason: "it does not compile", problems: compiled.error });
  if (!proposal.allowLockout && !someoneMayPublish(compiled.value, publisher, now)) {
    return err({ code: "bundle_invalid", reason: "it would let nobody publish", problems: [LOCKOUT] });
  }
  const digest = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(bundleDigestText(files))));
  const published = await publishBundle(env.DB, {
    digest,
    files,
    published_at: now,
    published_by: publisher.name,
    note: proposal.note,
    replaces,
    rollback: proposal.rollback,
  });
  if (!published.ok) return err({ code: "conflict", reason: `bundle ${replaces ?? 0} was replaced meanwhile` });
  const sites = await deliver(env, published.value.version, digest, files);
  return ok({ ...published.value, warnings: [...compiled.value.warnings], sites });
}

/** A sentence, or null when the bundle fits. */
function measure(files: BundleFiles): string | null {
  const encoder = new TextEncoder();
  const count = Object.keys(files).length;
  if (count > MAX_BUNDLE_FILES) return `${count} files, the limit is ${MAX_BUNDLE_FILES}`;
  let bytes = 0;
  for (const [path, content] of Object.entries(files)) bytes += encoder.encode(path).length + encoder.encode(content).length;
  if (bytes > MAX_BUNDLE_BYTES) return `${bytes} bytes, the limit is ${MAX_BUNDLE_BYTES}`;
  // It travels to agents as JSON in one control message, with a little around it.
  const message = encoder.encode(JSON.stringify(files)).length + 1024;
  return message > MAX_AGENT_CONTROL ? `${message} bytes as JSON, the limit is ${MAX_AGENT_CONTROL}` : null;
}

const PATH = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._ -]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._ -]+)*$/;

function checkPaths(files: BundleFiles): Problem[] {
  return Object.keys(files)
    .filter((path) => !PATH.test(path))
    .map((path) => ({
      file: path,
      severity: "error",
      rule: "path",
      message: "not a path inside the bundle: use letters, digits, '.', '_', '-' and spaces, '/' between folders, no '..'",
    }));
}

const LOCKOUT: Problem = {
  file: "gateway.yaml",
  severity: "error",
  rule: "publish-lockout",
  message:
    "with this bundle nobody may publish the next one: grant policy:publish on gateway to an identity, or push with --allow-lockout if that is meant",
};

/**
 * The publisher is tried as it is now, others with a workload that holds only what their match says. So an identity
 * whose grant depends on more (a branch, an environment) does not count: the answer errs towards asking.
 */
function someoneMayPublish(policy: Policy, publisher: Proposal["publisher"], now: number): boolean {
  const may = (identity: string, workload: Workload): boolean =>
    policy.decide({ identity, action: "policy:publish", resource: { type: "gateway" }, context: { approvals: [], workload, now } })
      .outcome === "allow";
  for (const identity of policy.identities.values()) {
    if (identity.name === publisher.name && publisher.workload !== null && may(identity.name, publisher.workload)) return true;
    for (const { issuer } of identity.match) {
      const provider = policy.gateway.issuers.find((config) => config.issuer === issuer)?.provider ?? "oidc";
      if (may(identity.name, { provider, issuer, subject: "" })) return true;
    }
  }
  return false;
}

/** Waits between tries, ms. */
const RETRY_AFTER_MS = [100, 300];
/** How long the publisher waits for the sites, ms. */
const DELIVERY_MS = 3000;

/** Tells all sites at once; says of each whether it was told in time. */
async function deliver(env: Env, version: number, digest: string, files: BundleFiles): Promise<BundlePushAnswer["sites"]> {
  const sites = await listSites(env.DB);
  const deadline = new Promise<false>((resolve) => {
    setTimeout(() => resolve(false), DELIVERY_MS);
  });
  return Promise.all(
    sites.map(async (site) => ({ site, delivered: await Promise.race([deliverTo(env, site, version, digest, files), deadline]) })),
  );
}

async function deliverTo(env: Env, site: string, version: number, digest: string, files: BundleFiles): Promise<boolean> {
  for (const wait of [...RETRY_AFTER_MS, null]) {
    try {
      // A new stub each time: one that threw may be broken for good.
      await env.SITES.getByName(site).pushBundle(version, digest, files);
      return true;
    } catch (error) {
      if (wait === null) logError("a site was not told of the new bundle", error, { site, version });
      else await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return false;
}
