/** What the agent's core says to policy of its targets, and the answer where there is no policy. Pure. */
import type { Decision, TargetFacts } from "../policy/types.ts";
import type { TargetAnnouncement } from "../protocol/agent-control.ts";

export const targetFactsOf = ({ name, protocol, environment, labels }: TargetAnnouncement): TargetFacts => ({
  name,
  protocol,
  environment,
  labels,
});

export const denied = (reason: string): Decision => ({ outcome: "deny", policies: [], approvals: [], reason });
