/** Bundle versions in real D1: monotonic, atomic, compare-and-set. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { activeVersion, findBundle, listBundles, publishBundle, readBundleFiles, type Publication } from "../../../store/bundles.ts";

const publication = (replaces: number | null, more: Partial<Publication> = {}): Publication => ({
  digest: `digest-${replaces}`,
  files: { "gateway.yaml": `after ${replaces}` },
  published_at: 100,
  published_by: "ann",
  note: null,
  replaces,
  rollback: false,
  ...more,
});

describe("bundles", () => {
  it("are numbered from 1, and of two that replace the same version one conflicts", async () => {
    expect(await activeVersion(env.DB)).toBeNull();
    expect(await publishBundle(env.DB, publication(null))).toMatchObject({ ok: true, value: { version: 1, active: true } });
    expect(await publishBundle(env.DB, publication(null))).toEqual({ ok: false, error: "conflict" });
    const pushes = await Promise.all(Array.from({ length: 6 }, (_, n) => publishBundle(env.DB, publication(1, { digest: `race-${n}` }))));
    expect(pushes.filter((push) => push.ok)).toHaveLength(1);
    expect((await activeVersion(env.DB))?.version).toBe(2);
    // What lost left no version behind.
    expect((await listBundles(env.DB, { limit: 10, cursor: null })).rows.map((row) => row.version)).toEqual([2, 1]);
  });

  it("a rollback is a new version with the old files (GW-27)", async () => {
    const rolled = await publishBundle(
      env.DB,
      publication(2, { digest: "digest-null", files: {}, rollback: true, note: "files of version 1" }),
    );
    expect(rolled).toMatchObject({ ok: true, value: { version: 3, rolled_back_from: 2, active: true } });
    expect(await readBundleFiles(env.DB, "digest-null")).toEqual({ "gateway.yaml": "after null" });
    expect(await findBundle(env.DB, 2)).toMatchObject({ active: false });
  });

  it("go on counting after the pointer was removed by hand", async () => {
    await env.DB.prepare("DELETE FROM active_bundle").run();
    expect(await publishBundle(env.DB, publication(3))).toEqual({ ok: false, error: "conflict" });
    expect(await activeVersion(env.DB)).toBeNull();
    expect(await publishBundle(env.DB, publication(null))).toMatchObject({ ok: true, value: { version: 4 } });
  });

  it("are paged newest first", async () => {
    const first = await listBundles(env.DB, { limit: 3, cursor: null });
    expect(first.rows.map((row) => row.version)).toEqual([4, 3, 2]);
    expect(first.cursor).not.toBeNull();
    const rest = await listBundles(env.DB, { limit: 3, cursor: { at: 0, key: "2" } });
    expect(rest).toMatchObject({ rows: [{ version: 1 }], cursor: null });
  });
});
