/** `/v1/bundles`: publish, list, read the active one, roll back. */
import { Hono } from "hono";
import * as z from "zod";
import { BundlePush, BundleRollback, type ActiveBundleAnswer } from "../../protocol/api.ts";
import { MAX_AGENT_CONTROL } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import type { Workload } from "../../protocol/workload.ts";
import { activeVersion, findBundle, listBundles, readBundleFiles } from "../../store/bundles.ts";
import { readJson, readQuery } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admitBootstrap, admitTo, presentsBootstrap } from "../guard.ts";
import { publish, type Proposal } from "../publish.ts";
import { refuse } from "../refusal.ts";

export const bundles: Hono<GatewayEnv> = new Hono<GatewayEnv>();

interface Publisher {
  readonly name: string;
  readonly workload: Workload | null;
  /** The version that was active when it was admitted. */
  readonly active: number | null;
}

async function admitPublisher(c: GatewayContext): Promise<Result<Publisher, Response>> {
  if (presentsBootstrap(c)) {
    const active = (await activeVersion(c.env.DB))?.version ?? null;
    const admitted = await admitBootstrap(c, active);
    return admitted.ok ? ok({ name: admitted.value, workload: null, active }) : err(admitted.error);
  }
  const admitted = await admitTo(c, "policy:publish");
  if (!admitted.ok) return admitted;
  const { caller, bundle } = admitted.value;
  return ok({ name: caller.identity.name, workload: caller.workload, active: bundle.version });
}

async function answer(c: GatewayContext, proposal: Proposal): Promise<Response> {
  const published = await publish(c.env, proposal, Date.now());
  if (published.ok) return c.json(published.value, 201);
  const failure = published.error;
  const audit = { reason: `publishing a bundle: ${failure.reason}`, identity: proposal.publisher.name };
  if (failure.code === "bundle_invalid") return refuse(c, failure.code, audit, { problems: failure.problems.slice(0, 100) });
  return refuse(c, failure.code, audit, { detail: failure.reason });
}

bundles.post("/v1/bundles", async (c) => {
  const publisher = await admitPublisher(c);
  if (!publisher.ok) return publisher.error;
  const body = await readJson(c, BundlePush, { limit: 2 * MAX_AGENT_CONTROL });
  if (!body.ok) return body.error;
  const { files, note, expect_active, allow_lockout } = body.value;
  return answer(c, {
    files,
    note: note ?? null,
    rollback: false,
    replaces: publisher.value.active,
    expectActive: expect_active,
    allowLockout: allow_lockout ?? false,
    publisher: publisher.value,
  });
});

bundles.post("/v1/bundles/rollback", async (c) => {
  const publisher = await admitPublisher(c);
  if (!publisher.ok) return publisher.error;
  const body = await readJson(c, BundleRollback);
  if (!body.ok) return body.error;
  const { to, note, expect_active, allow_lockout } = body.value;
  const old = await findBundle(c.env.DB, to);
  const files = old === null ? null : await readBundleFiles(c.env.DB, old.digest);
  if (files === null) {
    const audit = { reason: `rollback to bundle ${to}, which does not exist`, identity: publisher.value.name };
    return refuse(c, "not_found", audit, { detail: `There is no bundle ${to}.` });
  }
  return answer(c, {
    files,
    note: note ?? `rollback to version ${to}`,
    rollback: true,
    replaces: publisher.value.active,
    expectActive: expect_active,
    allowLockout: allow_lockout ?? false,
    publisher: publisher.value,
  });
});

bundles.get("/v1/bundles", async (c) => {
  const admitted = await admitTo(c, "policy:read");
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, z.object({}));
  return query.ok ? c.json(await listBundles(c.env.DB, query.value.page)) : query.error;
});

bundles.get("/v1/bundles/active", async (c) => {
  const admitted = await admitTo(c, "policy:read");
  if (!admitted.ok) return admitted.error;
  const { version, files } = admitted.value.bundle;
  const row = await findBundle(c.env.DB, version);
  if (row === null) throw new Error(`bundle ${version} is active and has no row`);
  return c.json({ ...row, files } satisfies ActiveBundleAnswer);
});
