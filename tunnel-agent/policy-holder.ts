/**
 * The policy that decides now. Takes the bundles that the gateway pushes: checks the digest, refuses a version that
 * does not grow (GW-27; the highest one seen is on disk), compiles, keeps the last good bundle
 * for a restart without the gateway.
 *
 * What cannot be trusted to be current denies (invariant 3): no bundle, one that could not be confirmed for longer
 * than its `policy_max_stale_s`, and a newer one that this agent cannot compile, since the old one is then known to
 * be out of date. A push whose digest is wrong changes nothing, but stops the old bundle from being confirmed.
 */
import { createHash } from "node:crypto";
import * as z from "zod";
import { bundleDigestText, BundleFiles } from "../protocol/agent-control.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { rulesFor } from "../policy/masking.ts";
import type { CompileBundle, MaskingRules, Policy } from "../policy/types.ts";
import { StateError, type StateDirectory } from "./state/directory.ts";

const BUNDLE_FILE = "bundle.json";
const SEEN_FILE = "bundle-seen.json";
/** How often the time of the last confirmation goes to disk, ms. */
const SEEN_EVERY_MS = 60_000;

const Stored = z.object({ version: z.number().int().min(1), digest: z.string(), files: BundleFiles });
type Bundle = z.infer<typeof Stored>;
/** `confirmed_at`: ms since the epoch; when the gateway last stood by `version`. */
const Seen = z.object({ version: z.number().int().min(0), digest: z.string(), confirmed_at: z.number() });
type Seen = z.infer<typeof Seen>;

export interface PolicyHolderOptions {
  readonly state: StateDirectory;
  /** With the local floor in it. */
  readonly compile: CompileBundle;
  /** ms since the epoch. */
  readonly now: () => number;
  /** Monotonic, ms. */
  readonly monotonic: () => number;
  /** A new bundle decides from now on. */
  readonly onApplied: (version: number) => void;
  /** It decides, but could not be kept for a restart. */
  readonly onNotKept: (reason: string) => void;
}

/** What decides: a policy, or the reason why everything is denied. */
export type Standing =
  | { readonly kind: "active"; readonly version: number; readonly policy: Policy }
  | { readonly kind: "none"; readonly reason: string };

export class PolicyHolder {
  readonly #o: PolicyHolderOptions;
  #seen: Seen;
  #current: { readonly version: number; readonly policy: Policy } | undefined;
  /** Monotonic time of the last confirmation. */
  #confirmed = Number.NEGATIVE_INFINITY;
  #confirmable = true;
  #broken: string | undefined;
  #savedAt = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];
  /** Of the current policy, by target. */
  readonly #masking = new Map<string, MaskingRules>();

  /** Takes up what an earlier process left. @throws StateError */
  constructor(options: PolicyHolderOptions) {
    this.#o = options;
    this.#seen = read(options.state, SEEN_FILE, Seen) ?? { version: 0, digest: "", confirmed_at: 0 };
    const stored = read(options.state, BUNDLE_FILE, Stored);
    // Bound to what was last confirmed, so that an older file put in its place does not decide.
    if (
      stored === undefined ||
      stored.version !== this.#seen.version ||
      stored.digest !== this.#seen.digest ||
      digestOf(stored) !== stored.digest
    )
      return;
    const policy = this.#compile(stored.files);
    const age = options.now() - this.#seen.confirmed_at;
    // A clock that went back says nothing about the age.
    if (!policy.ok || age < 0) return;
    this.#current = { version: stored.version, policy: policy.value };
    this.#confirmed = options.monotonic() - age;
  }

  /** Version that decides, 0 while none does. */
  get version(): number {
    return this.#current?.version ?? 0;
  }

  /** ms since the gateway last stood by the bundle; Infinity when never. */
  get age(): number {
    return this.#o.monotonic() - this.#confirmed;
  }

  standing(): Standing {
    if (this.#broken !== undefined) return { kind: "none", reason: this.#broken };
    if (this.#current === undefined) return { kind: "none", reason: "The agent has no policy yet." };
    if (this.age > this.#current.policy.gateway.policy_max_stale_s * 1000) {
      return { kind: "none", reason: "The agent's policy could not be refreshed for longer than policy_max_stale_s." };
    }
    return { kind: "active", ...this.#current };
  }

  /**
   * Data classes that concern a target, by the newest bundle that compiled. They hold while nothing decides any more, too:
   * what is still on its way to a client stays masked.
   */
  masking(target: string): MaskingRules {
    const known = this.#masking.get(target);
    if (known !== undefined) return known;
    const rules = this.#current === undefined ? { classes: [] } : rulesFor(this.#current.policy.masking, target);
    this.#masking.set(target, rules);
    return rules;
  }

  /** The control socket is alive, so a newer bundle would have come. */
  confirm(): void {
    if (!this.#confirmable || this.#current === undefined) return;
    this.#confirmed = this.#o.monotonic();
    if (this.#confirmed - this.#savedAt >= SEEN_EVERY_MS) this.#saveSeen();
  }

  /** A bundle from the control socket. The error is for the gateway's operator. */
  apply(bundle: Bundle): Result<void, string> {
    if (digestOf(bundle) !== bundle.digest) {
      if (bundle.version > this.#seen.version) this.#confirmable = false;
      return err(`bundle ${bundle.version} does not fit its digest`);
    }
    if (bundle.version < this.#seen.version)
      return err(`bundle ${bundle.version} is older than ${this.#seen.version}, which this agent has seen`);
    if (bundle.version === this.#seen.version && bundle.digest !== this.#seen.digest) {
      return err(`bundle ${bundle.version} differs from the one of the same version that this agent has seen`);
    }
    const isNew = this.#current?.version !== bundle.version;
    if (isNew) {
      this.#seen = { version: bundle.version, digest: bundle.digest, confirmed_at: this.#o.now() };
      const policy = this.#compile(bundle.files);
      if (!policy.ok) {
        this.#broken = `The agent could not use bundle ${bundle.version}.`;
        this.#saveSeen();
        return err(policy.error);
      }
      this.#current = { version: bundle.version, policy: policy.value };
      this.#masking.clear();
      this.#keep(BUNDLE_FILE, { version: bundle.version, digest: bundle.digest, files: bundle.files });
      this.#savedAt = Number.NEGATIVE_INFINITY;
    }
    this.#broken = undefined;
    this.#confirmable = true;
    this.confirm();
    if (isNew) this.#o.onApplied(bundle.version);
    for (const resolve of this.#waiting.splice(0)) resolve();
    return ok(undefined);
  }

  /** Waits up to `ms` for a bundle of at least `version`: its push may be in flight. */
  async atLeast(version: number, ms: number): Promise<boolean> {
    const until = this.#o.monotonic() + ms;
    while (this.version < version) {
      const left = until - this.#o.monotonic();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return true;
  }

  /** Keeps the time of the last confirmation for the next start. */
  save(): void {
    if (this.#current !== undefined) this.#saveSeen();
  }

  #compile(files: BundleFiles): Result<Policy, string> {
    const compiled = this.#o.compile(files);
    if (compiled.ok) return compiled;
    const problems = compiled.error.filter((problem) => problem.severity === "error");
    const lines = problems.slice(0, 20).map((problem) => `${problem.file}:${problem.line ?? 1}:${problem.column ?? 1}: ${problem.message}`);
    return err(lines.join("\n").slice(0, 4000));
  }

  #saveSeen(): void {
    this.#savedAt = this.#o.monotonic();
    const confirmed_at = Number.isFinite(this.#confirmed) ? this.#o.now() - this.age : 0;
    this.#keep(SEEN_FILE, { ...this.#seen, confirmed_at: Math.round(confirmed_at) });
  }

  /** A full disk must not keep a bundle from deciding: it costs the next start without a gateway. */
  #keep(name: string, value: object): void {
    try {
      this.#o.state.write(name, JSON.stringify(value));
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      this.#o.onNotKept(error.message);
    }
  }
}

const digestOf = (bundle: Bundle): string => createHash("sha256").update(bundleDigestText(bundle.files)).digest("hex");

/** Undefined when missing or damaged: the gateway sends it again. */
function read<T>(state: StateDirectory, name: string, schema: z.ZodType<T>): T | undefined {
  const text = state.read(name);
  if (text === null) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
