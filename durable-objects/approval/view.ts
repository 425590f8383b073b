/** An approval as `GET /v1/approvals/:id` and the channels show it: everything that was said, nothing cut. Pure. */
import type { Approval } from "../../protocol/approval.ts";
import { channelName, type ApprovalFacts, type ApprovalRecord, type Notice } from "./facts.ts";
import { stateOf } from "./machine.ts";

export function viewOf(
  { request, asker, requested_at, expires_at }: ApprovalFacts,
  record: ApprovalRecord,
  notices: readonly Notice[],
): Approval {
  const { identity, workload, site, agent } = asker;
  const { outcome, votes, notKept, use, consentOf } = record;
  return {
    ...request,
    identity,
    workload,
    site,
    agent,
    state: stateOf(record),
    requested_at,
    expires_at,
    votes: [...votes],
    refused_votes_not_kept: notKept,
    ...(outcome === null ? {} : { outcome }),
    ...(use === null ? {} : { used_at: use.at, used_by: use.by }),
    ...(consentOf === null ? {} : { consent_of: consentOf }),
    notices: notices.map(({ channel, event, state, attempts, error }) => ({
      channel: channelName(channel),
      event,
      state,
      attempts,
      ...(error === null ? {} : { error }),
    })),
  };
}
