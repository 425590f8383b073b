/**
 * Who may do this? Every route asks here: authenticate against the active bundle, then decide the gateway's own
 * actions by the same policy as everything else. A failure is already an audited answer, to be returned as it is.
 */
import type { ActionName } from "../policy/actions.ts";
import type { Decision } from "../policy/types.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { activeBundle, type ActiveBundle } from "./bundles.ts";
import type { GatewayContext } from "./env.ts";
import { authenticate } from "./identity/authenticate.ts";
import type { Caller } from "./identity/caller.ts";
import { devIssuer } from "./identity/dev-issuer.ts";
import { refuse } from "./refusal.ts";

export interface Admitted {
  readonly caller: Caller;
  readonly bundle: ActiveBundle;
}

/** Any identity of the active bundle. */
export async function admit(c: GatewayContext): Promise<Result<Admitted, Response>> {
  const bundle = await activeBundle(c.env);
  if (bundle === null) return err(await refuse(c, "no_bundle", { reason: "no bundle is active" }));
  const authenticated = await authenticate(c.req.raw, c.env, bundle, Date.now());
  if (authenticated.ok) return ok({ caller: authenticated.value, bundle });
  const { code, ...audit } = authenticated.error;
  return err(await refuse(c, code, audit));
}

export function decideGateway({ caller, bundle }: Admitted, action: ActionName): Decision {
  return bundle.policy.decide({
    identity: caller.identity.name,
    action,
    resource: { type: "gateway" },
    context: { approvals: [], workload: caller.workload, now: Date.now() },
  });
}

/** For things that the identity may see when they are its own and others only see by policy. */
export const mayOnGateway = (admitted: Admitted, action: ActionName): boolean => decideGateway(admitted, action).outcome === "allow";

/** An identity that policy allows `action` on the gateway. */
export async function admitTo(c: GatewayContext, action: ActionName): Promise<Result<Admitted, Response>> {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted;
  const decision = decideGateway(admitted.value, action);
  if (decision.outcome === "allow") return admitted;
  const { caller } = admitted.value;
  return err(
    await refuse(c, decision.outcome === "hold" ? "approval_required" : "denied", {
      reason: `${action} on gateway: ${decision.reason}`,
      identity: caller.identity.name,
      issuer: caller.workload.issuer,
      subject: caller.workload.subject,
      policies: decision.policies,
    }),
  );
}

const BOOTSTRAP = /^Bootstrap +([^ ]+)$/i;

/** Whether the request presents the bootstrap secret at all, right or wrong. */
export const presentsBootstrap = (c: GatewayContext): boolean => /^Bootstrap\b/i.test(c.req.header("authorization") ?? "");

/**
 * The bootstrap secret is accepted while no bundle is active, and a configured one must be worth guessing at. Under
 * `sallyport dev` it is accepted always: whoever runs that holds the whole gateway in one directory.
 */
export async function admitBootstrap(c: GatewayContext, active: number | null): Promise<Result<"bootstrap", Response>> {
  const refused = async (reason: string): Promise<Result<never, Response>> => err(await refuse(c, "bootstrap_invalid", { reason }));
  if (active !== null && devIssuer(c.env) === undefined)
    return refused(`the bootstrap secret was presented while bundle ${active} is active`);
  const expected = c.env.SALLYPORT_BOOTSTRAP_SECRET ?? "";
  if (expected.length < MIN_BOOTSTRAP_SECRET) {
    return refused(`SALLYPORT_BOOTSTRAP_SECRET is not set, or shorter than ${MIN_BOOTSTRAP_SECRET} characters`);
  }
  const presented = BOOTSTRAP.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  return (await equalSecrets(presented, expected)) ? ok("bootstrap") : refused("wrong bootstrap secret");
}

const MIN_BOOTSTRAP_SECRET = 16;

/** Compares digests, so that neither content nor length shows in the time it takes. */
async function equalSecrets(a: string, b: string): Promise<boolean> {
  const digest = (text: string): Promise<ArrayBuffer> => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return crypto.subtle.timingSafeEqual(await digest(a), await digest(b));
}
