/** What the agent's core says to policy of its targets, and the answer where there is no policy. Pure. */
import type { Decision, MaskingRules, TargetFacts } from "../policy/types.ts";
import type { TargetAnnouncement } from "../protocol/agent-control.ts";
import type { SessionEndReason, TargetServer } from "./session.ts";

export const targetFactsOf = ({ name, protocol, environment, labels }: TargetAnnouncement): TargetFacts => ({
  name,
  protocol,
  environment,
  labels,
});

export const denied = (reason: string): Decision => ({ outcome: "deny", policies: [], approvals: [], reason });

/** Why there can be no session: data classes of a target whose protocol does not mask (GW-19). */
export function unmasked(
  target: TargetAnnouncement,
  server: Pick<TargetServer, "masks">,
  rules: MaskingRules,
): SessionEndReason | undefined {
  const [dataClass] = rules.classes;
  if (dataClass === undefined || server.masks === true) return undefined;
  const message = `masking.yaml has the data class ${dataClass.name} for ${target.name}, and the protocol ${target.protocol} does not mask: nothing is shown at all.`;
  return { code: "denied", message };
}
