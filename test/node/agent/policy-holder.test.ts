/** Which bundle decides: digest, monotonic version (GW-27), staleness, restart, floor. With the real engine. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bundleDigestText, type BundleFiles } from "../../../protocol/agent-control.ts";
import { compileBundle } from "../../../policy/cedar.node.ts";
import { PolicyHolder } from "../../../tunnel-agent/policy-holder.ts";
import { StateDirectory } from "../../../tunnel-agent/state/directory.ts";
import { bundleOf, READ_ONLY, READ_WRITE } from "./support/bundles.ts";

let directory: string;
let state: StateDirectory;
let wall: number;
let monotonic: number;
let applied: number[];
let notKept: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-policy-"));
  state = StateDirectory.open(directory);
  wall = 1_790_000_000_000;
  monotonic = 5_000;
  applied = [];
  notKept = [];
});
afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true, force: true });
});

const digest = (files: BundleFiles): string => createHash("sha256").update(bundleDigestText(files)).digest("hex");
const bundle = (version: number, files: BundleFiles) => ({ version, digest: digest(files), files });
const open = (): PolicyHolder =>
  new PolicyHolder({
    state,
    compile: compileBundle,
    now: () => wall,
    monotonic: () => monotonic,
    onApplied: (version) => applied.push(version),
    onNotKept: (reason) => notKept.push(reason),
  });
const pass = (ms: number): void => {
  wall += ms;
  monotonic += ms;
};
const HOUR = 3_600_000;

describe("a bundle from the gateway", () => {
  test("decides from the moment it is applied", () => {
    const holder = open();
    expect(holder.standing()).toMatchObject({ kind: "none" });
    expect(holder.apply(bundle(3, READ_ONLY))).toMatchObject({ ok: true });
    expect(holder.standing()).toMatchObject({ kind: "active", version: 3 });
    expect(holder.apply(bundle(4, READ_WRITE))).toMatchObject({ ok: true });
    expect(holder.version).toBe(4);
    expect(applied).toEqual([3, 4]);
  });

  test("the same one again confirms it and applies nothing", () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    pass(1_000);
    expect(holder.apply(bundle(3, READ_ONLY))).toMatchObject({ ok: true });
    expect(holder.age).toBe(0);
    expect(applied).toEqual([3]);
  });

  test("with a wrong digest changes nothing, and the old one goes stale", () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    expect(holder.apply({ ...bundle(4, READ_WRITE), digest: digest(READ_ONLY) })).toMatchObject({ ok: false });
    expect(holder.standing()).toMatchObject({ kind: "active", version: 3 });
    pass(HOUR + 1);
    holder.confirm();
    expect(holder.standing()).toMatchObject({ kind: "none" });
    expect(holder.apply(bundle(4, READ_WRITE))).toMatchObject({ ok: true });
    expect(holder.standing()).toMatchObject({ kind: "active", version: 4 });
  });

  test("that does not compile denies everything: the old one is known to be out of date (invariant 3)", () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    const refused = holder.apply(bundle(4, { ...READ_ONLY, "policies/x.cedar": "forbid (principal, action, resource" }));
    expect(refused).toMatchObject({ ok: false, error: expect.stringContaining("policies/x.cedar:1:") as unknown });
    expect(holder.standing()).toMatchObject({ kind: "none", reason: expect.stringContaining("bundle 4") as unknown });
    expect(holder.apply(bundle(5, READ_ONLY))).toMatchObject({ ok: true });
    expect(holder.standing()).toMatchObject({ kind: "active", version: 5 });
  });
});

test("a state directory that cannot be written does not keep a bundle from deciding", () => {
  const holder = open();
  rmSync(directory, { recursive: true });
  expect(holder.apply(bundle(3, READ_ONLY))).toMatchObject({ ok: true });
  expect(holder.standing()).toMatchObject({ kind: "active", version: 3 });
  expect(notKept.length).toBeGreaterThan(0);
});

describe("GW-27: no way back", () => {
  test("an older version is refused, also after a restart", () => {
    open().apply(bundle(7, READ_ONLY));
    const again = open();
    expect(again.apply(bundle(6, READ_WRITE))).toEqual({ ok: false, error: "bundle 6 is older than 7, which this agent has seen" });
    expect(again.standing()).toMatchObject({ kind: "active", version: 7 });
  });

  test("another bundle under the version that was seen is refused", () => {
    const holder = open();
    holder.apply(bundle(7, READ_ONLY));
    expect(holder.apply(bundle(7, READ_WRITE))).toMatchObject({ ok: false, error: expect.stringContaining("differs") as unknown });
  });

  test("also when the seen version never compiled", () => {
    open().apply(bundle(7, { "gateway.yaml": "nonsense" }));
    expect(open().apply(bundle(6, READ_WRITE))).toMatchObject({ ok: false });
  });

  test("an older bundle put in the place of the kept one does not decide", () => {
    const holder = open();
    holder.apply(bundle(6, READ_WRITE));
    const old = readFileSync(state.file("bundle.json"), "utf8");
    holder.apply(bundle(7, READ_ONLY));
    writeFileSync(state.file("bundle.json"), old);
    expect(open().standing()).toMatchObject({ kind: "none" });
  });
});

describe("data classes", () => {
  const masking = (classes: string): BundleFiles => ({ ...READ_ONLY, "masking.yaml": `classes:\n${classes}` });
  const CARD = "  card: { columns: [orders-db/public.orders.card] }\n";
  const names = (holder: PolicyHolder, target: string) => holder.masking(target).classes.map((each) => each.name);

  test("are those of the target, by the bundle that decides", () => {
    const holder = open();
    expect(names(holder, "orders-db")).toEqual([]);
    holder.apply(bundle(1, masking(CARD)));
    expect([names(holder, "orders-db"), names(holder, "other-db")]).toEqual([["card"], []]);
    expect(holder.masking("orders-db")).toBe(holder.masking("orders-db"));
    holder.apply(bundle(2, masking("  token: { detectors: [token] }\n")));
    expect([names(holder, "orders-db"), names(holder, "other-db")]).toEqual([["token"], ["token"]]);
  });

  test("hold on when nothing decides any more: a stale bundle, and one that cannot be used", () => {
    const holder = open();
    holder.apply(bundle(1, masking(CARD)));
    pass(2 * HOUR);
    expect([holder.standing().kind, names(holder, "orders-db")]).toEqual(["none", ["card"]]);
    holder.apply(bundle(2, masking("  card: {}\n")));
    expect([holder.standing().kind, names(holder, "orders-db")]).toEqual(["none", ["card"]]);
  });
});

describe("staleness (invariant 3)", () => {
  test("a bundle that could not be confirmed for policy_max_stale denies; a confirmation brings it back", () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    pass(HOUR);
    expect(holder.standing()).toMatchObject({ kind: "active" });
    pass(1);
    expect(holder.standing()).toMatchObject({ kind: "none" });
    holder.confirm();
    expect(holder.standing()).toMatchObject({ kind: "active" });
  });

  test("a restart goes on with the kept bundle while it is fresh, and its age goes on too", () => {
    open().apply(bundle(3, READ_ONLY));
    pass(HOUR - 1_000);
    const again = open();
    expect(again.standing()).toMatchObject({ kind: "active", version: 3 });
    pass(1_001);
    expect(again.standing()).toMatchObject({ kind: "none" });
  });

  test("what was last confirmed is kept at a stop", () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    pass(30_000);
    holder.confirm();
    holder.save();
    const again = open();
    expect(again.age).toBe(0);
  });

  test("a clock that went back says nothing of the age: the kept bundle does not decide", () => {
    open().apply(bundle(3, READ_ONLY));
    wall -= 10_000;
    expect(open().standing()).toMatchObject({ kind: "none" });
  });

  test("a damaged kept bundle does not decide, and the gateway's own is taken again", () => {
    open().apply(bundle(3, READ_ONLY));
    writeFileSync(state.file("bundle.json"), readFileSync(state.file("bundle.json"), "utf8").replace("orders-ci", "orders-cx"));
    const again = open();
    expect(again.standing()).toMatchObject({ kind: "none" });
    expect(again.apply(bundle(3, READ_ONLY))).toMatchObject({ ok: true });
  });
});

describe("waiting for a push in flight", () => {
  test("resolves when the version comes, or says that it did not", async () => {
    const holder = open();
    holder.apply(bundle(3, READ_ONLY));
    await expect(holder.atLeast(3, 0)).resolves.toBe(true);
    await expect(holder.atLeast(4, 0)).resolves.toBe(false);
    const waiting = holder.atLeast(4, 10_000);
    holder.apply(bundle(4, bundleOf("pg:read, pg:insert")));
    await expect(waiting).resolves.toBe(true);
  });
});
