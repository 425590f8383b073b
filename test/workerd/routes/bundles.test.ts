/** Publishing through the API: bootstrap, versions, conflicts, refusals of bad bundles, rollback (GW-27). */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import type { ActiveBundleAnswer, BundlePushAnswer, BundleRow } from "../../../protocol/api.ts";
import { MAX_BUNDLE_BYTES } from "../../../protocol/limits.ts";
import { startIssuer } from "../identity/issuer.ts";
import { BOOTSTRAP, bundleFiles, Gateway } from "./gateway.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = new Gateway(await startIssuer());
});

const bootstrap = `Bootstrap ${BOOTSTRAP}`;
const files = (more: Record<string, string> = {}): Record<string, string> => bundleFiles(gateway.issuer, more);

describe("before the first bundle", () => {
  it("everything that needs an identity says so", async () => {
    expect(await gateway.refused("GET", "/v1/sessions", { as: "admin" })).toMatchObject({ status: 503, code: "no_bundle" });
  });

  it("a wrong or missing bootstrap secret publishes nothing", async () => {
    for (const as of ["Bootstrap wrong", `Bootstrap ${BOOTSTRAP}x`, `Bootstrap ${BOOTSTRAP.slice(0, -1)}`, "Bootstrap "]) {
      expect((await gateway.refused("POST", "/v1/bundles", { as, json: { files: files() } })).code).toBe("bootstrap_invalid");
    }
    expect((await gateway.refused("POST", "/v1/bundles", { json: { files: files() } })).code).toBe("no_bundle");
  });

  it("a bundle that does not compile is refused with file and line, and stores nothing", async () => {
    const broken = files({
      "identities/broken.yaml": "name: broken\nowner: x\npurpose: y\nmatch: []\ngrants:\n  - actions: [pg:nonsense]\n",
    });
    const problem = await gateway.refused("POST", "/v1/bundles", { as: bootstrap, json: { files: broken } });
    expect(problem).toMatchObject({ status: 422, code: "bundle_invalid" });
    expect(problem.problems).toContainEqual(
      expect.objectContaining({ file: "identities/broken.yaml", severity: "error", line: expect.any(Number) }),
    );
    expect((await env.DB.prepare("SELECT COUNT(*) AS n FROM bundles").first<{ n: number }>())?.n).toBe(0);
  });

  it("paths outside the bundle and too much content are refused", async () => {
    for (const path of ["../gateway.yaml", "/etc/passwd", "a/../b.yaml", "a//b", "policies/\u202ex.cedar", "a\\b"]) {
      const problem = await gateway.refused("POST", "/v1/bundles", { as: bootstrap, json: { files: files({ [path]: "x" }) } });
      expect(problem.problems?.[0]).toMatchObject({ rule: "path", file: path });
    }
    const large = { as: bootstrap, json: { files: files({ "big.txt": "x".repeat(MAX_BUNDLE_BYTES) }) } };
    expect(await gateway.refused("POST", "/v1/bundles", large)).toMatchObject({ status: 413, code: "too_large" });
  });

  it("the bootstrap secret publishes version 1, and is worth nothing afterwards", async () => {
    const pushed = await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles", { as: bootstrap, json: { files: files(), note: "first" } });
    expect(pushed).toMatchObject({ version: 1, active: true, published_by: "bootstrap", note: "first", sites: [] });
    expect(await gateway.refused("POST", "/v1/bundles", { as: bootstrap, json: { files: files() } })).toMatchObject({
      code: "bootstrap_invalid",
    });
    expect(await gateway.refused("POST", "/v1/agents/enrolment-tokens", { as: bootstrap, json: { site: "s" } })).toMatchObject({
      code: "bootstrap_invalid",
    });
  });
});

describe("afterwards", () => {
  it("only an identity that policy allows may publish", async () => {
    const push = { json: { files: files() } };
    expect(await gateway.refused("POST", "/v1/bundles", { ...push, as: "orders" })).toMatchObject({ status: 403, code: "denied" });
    expect(await gateway.refused("POST", "/v1/bundles", { ...push, as: "stranger" })).toMatchObject({ code: "identity_unmatched" });
    expect(await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles", { ...push, as: "admin" })).toMatchObject({
      version: 2,
      published_by: "admin",
    });
  });

  it("of pushes at once one wins and the others are told of the conflict", async () => {
    const pushes = await Promise.all(
      Array.from(
        { length: 4 },
        async () => (await gateway.fetch("POST", "/v1/bundles", { as: "admin", json: { files: files(), expect_active: 2 } })).status,
      ),
    );
    expect(pushes.filter((status) => status === 201)).toHaveLength(1);
    expect(pushes.filter((status) => status === 409)).toHaveLength(3);
    expect(await gateway.refused("POST", "/v1/bundles", { as: "admin", json: { files: files(), expect_active: 2 } })).toMatchObject({
      status: 409,
      code: "conflict",
    });
  });

  it("a bundle that lets nobody publish is refused unless that is said to be meant; then rollback needs the right it took", async () => {
    const freeze = '@id("freeze")\nforbid (principal, action == Action::"policy:publish", resource);\n';
    const locked = { files: files({ "policies/freeze.cedar": freeze }) };
    const problem = await gateway.refused("POST", "/v1/bundles", { as: "admin", json: locked });
    expect(problem).toMatchObject({ code: "bundle_invalid", problems: [{ rule: "publish-lockout" }] });
    expect(
      await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles", { as: "admin", json: { ...locked, allow_lockout: true } }),
    ).toMatchObject({
      version: 4,
    });
    expect((await gateway.refused("POST", "/v1/bundles/rollback", { as: "admin", json: { to: 3 } })).code).toBe("denied");
    // docs/storage.md's way back: the pointer is removed by hand, and the bootstrap secret counts again.
    await env.DB.prepare("DELETE FROM active_bundle").run();
    expect(await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles/rollback", { as: bootstrap, json: { to: 3 } })).toMatchObject({
      version: 5,
    });
  });

  it("a rollback publishes the old files as a new version", async () => {
    const { "identities/auditor.yaml": auditor = "" } = files();
    const changed = files({ "identities/orders.yaml": auditor.replace("auditor", "orders").replace('"2"', '"3"') });
    const { version } = await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles", { as: "admin", json: { files: changed } });
    expect(await gateway.ok("GET", "/v1/sessions", { as: "orders" })).toBeDefined();
    const rolled = await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles/rollback", { as: "admin", json: { to: 1 } });
    expect(rolled).toMatchObject({ version: version + 1, rolled_back_from: version, note: "rollback to version 1" });
    const active = await gateway.ok<ActiveBundleAnswer>("GET", "/v1/bundles/active", { as: "auditor" });
    expect(active).toMatchObject({ version: version + 1, files: files() });
    expect(await gateway.refused("POST", "/v1/bundles/rollback", { as: "admin", json: { to: 99 } })).toMatchObject({ status: 404 });
  });

  it("are listed newest first, to those who may read them", async () => {
    const { rows, cursor } = await gateway.ok<{ rows: BundleRow[]; cursor: string | null }>("GET", "/v1/bundles?limit=3", {
      as: "auditor",
    });
    expect(rows.map((row) => row.version)).toEqual([7, 6, 5]);
    expect(rows.map((row) => row.active)).toEqual([true, false, false]);
    const next = await gateway.ok<{ rows: BundleRow[] }>("GET", `/v1/bundles?limit=3&cursor=${cursor}`, { as: "auditor" });
    expect(next.rows.map((row) => row.version)).toEqual([4, 3, 2]);
    expect((await gateway.refused("GET", "/v1/bundles", { as: "orders" })).code).toBe("denied");
  });
});
