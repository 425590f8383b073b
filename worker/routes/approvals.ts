/**
 * `/v1/approvals`: list, one, vote; and the page that a chat's link leads to. One sees what one asked for and what one's
 * groups are asked; everybody's need `approval:read`. What one may not see answers like what does not exist (GW-24).
 *
 * A GET changes nothing, whoever follows it (GW-09): the id is no authority, a vote needs its voter's own token.
 */
import { Hono } from "hono";
import * as z from "zod";
import { ApprovalState, type Approval } from "../../protocol/approval.ts";
import { VoteRequest, type VoteAnswer } from "../../protocol/api.ts";
import { parseApprovalId } from "../../protocol/ids.ts";
import type { VoteVerdict } from "../../durable-objects/approval/facts.ts";
import { listApprovals } from "../../store/approvals.ts";
import { castVote, REFUSALS } from "../approvals.ts";
import { Filter, readJson, readQuery, Time } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admit, mayOnGateway, type Admitted } from "../guard.ts";
import { refuse } from "../refusal.ts";

export const approvals: Hono<GatewayEnv> = new Hono<GatewayEnv>();

const ApprovalFilters = z.object({
  state: ApprovalState.optional(),
  identity: Filter.optional(),
  target: Filter.optional(),
  session: Filter.optional(),
  since: Time.optional(),
  until: Time.optional(),
});

/** Groups that a human is asked as; a machine cannot consent, so it is asked nothing. */
const votingGroups = ({ caller }: Admitted): readonly string[] => (caller.identity.kind === "human" ? caller.identity.groups : []);

approvals.get("/v1/approvals", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, ApprovalFilters);
  if (!query.ok) return query.error;
  // The list holds no command, so who may read everybody's sessions may read it.
  const all = mayOnGateway(admitted.value, "approval:read") || mayOnGateway(admitted.value, "session:read");
  const visible = all ? null : { identity: admitted.value.caller.identity.name, groups: votingGroups(admitted.value) };
  return c.json(await listApprovals(c.env.DB, query.value.filters, visible, query.value.page, Date.now()));
});

/** What the caller may see of it; null: nothing. */
function shownTo(admitted: Admitted, approval: Approval): Approval | null {
  const groups = votingGroups(admitted);
  const asked = approval.needs.some(({ group }) => groups.includes(group));
  if (asked || mayOnGateway(admitted, "approval:read")) return approval;
  if (approval.identity !== admitted.caller.identity.name) return null;
  // Who asked sees who decided, not who tried, nor where the channels are.
  return { ...approval, votes: approval.votes.filter(({ refused }) => refused === undefined), refused_votes_not_kept: 0, notices: [] };
}

approvals.get("/v1/approvals/:id", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const id = parseApprovalId(c.req.param("id"));
  const approval = id.ok ? await c.env.APPROVALS.getByName(id.value).read() : null;
  const shown = approval === null ? null : shownTo(admitted.value, approval);
  if (shown !== null) return c.json(shown);
  const reason = approval === null ? "no such approval" : `approval ${approval.approval} of ${approval.identity}`;
  return refuse(c, "not_found", { reason, identity: admitted.value.caller.identity.name });
});

approvals.post("/v1/approvals/:id/votes", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const body = await readJson(c, VoteRequest);
  if (!body.ok) return body.error;
  const { identity, workload } = admitted.value.caller;
  const id = c.req.param("id");
  const verdict = await castVote(c.env, id, {
    voter: { kind: "identity", name: identity.name, workload },
    door: "api",
    vote: body.value.vote,
    digest: body.value.digest,
    reason: body.value.reason,
  });
  if (verdict === null) return refuse(c, "not_found", { reason: "a vote on no approval", identity: identity.name });
  const outsider = !verdict.counted && (verdict.refusal === "not_human" || verdict.refusal === "not_a_member");
  if (outsider && !mayOnGateway(admitted.value, "approval:read")) {
    return refuse(c, "not_found", { reason: `vote on ${id}: ${verdict.refusal}`, identity: identity.name });
  }
  return answerVote(c, id, verdict, identity.name);
});

/** An HTTP door's answer; a refused vote is audited with its reason. */
export function answerVote(c: GatewayContext, id: string, verdict: VoteVerdict, voter: string | undefined): Response | Promise<Response> {
  if (verdict.counted) return c.json({ approval: id, state: verdict.state, needs: [...verdict.missing] } satisfies VoteAnswer);
  const [code, sentence] = REFUSALS[verdict.refusal];
  const detail = code === "approval_over" ? `The approval has ended: it is ${verdict.state}.` : sentence;
  return refuse(c, code, { reason: `vote on ${id}: ${verdict.refusal}`, identity: voter }, { detail });
}

/** The same for every id, so that it tells nobody which ones exist. No script, no form, nothing of a request. */
const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="robots" content="noindex">
<title>Approval</title>
<h1>Somebody asks for an approval</h1>
<p>Opening this page changes nothing. Look at the request and decide with the command line, signed in as yourself:</p>
<pre>sallyport approvals show ID
sallyport approvals approve ID
sallyport approvals deny ID --reason "…"</pre>
<p>ID is the last part of this page's address. If your team has a chat channel for approvals, the buttons there do the same.</p>
</html>
`;

approvals.get("/approvals/:id", (c) => c.html(PAGE));
