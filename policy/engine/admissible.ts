/**
 * What never reaches Cedar: requests that the schema does not know, names that are no text, targets without facts.
 * Everything that passes can be built into entities without a throw.
 */
import { actionEntry } from "../actions.ts";
import type { DecisionRequest, TargetFacts } from "../types.ts";

/** ms; ECMAScript's range of times (ECMA-262 section 21.4.1.1). */
const MAX_TIME = 8.64e15;

/** Characters of a name that a reason repeats. */
export const show = (text: string): string => (text.length <= 200 ? text : `${text.slice(0, 200)}…`);

const textsOf = ({ resource, context }: DecisionRequest, target: TargetFacts | undefined): readonly string[] => [
  ...Object.values<string>(resource),
  ...context.approvals,
  ...Object.values(context.workload).filter((value) => value !== undefined),
  ...(target === undefined ? [] : [target.name, target.protocol, target.environment ?? "", ...target.labels]),
];

/** What cannot reach Cedar. Undefined when the request is well formed. */
export function refuse(request: DecisionRequest, target: TargetFacts | undefined): string | undefined {
  const { action, resource } = request;
  const entry = actionEntry(action);
  if (entry === undefined) return `unknown action ${JSON.stringify(show(action))}`;
  if (!entry.on.includes(resource.type)) return `${action} is not asked of a ${resource.type}`;
  // A lone surrogate would become U+FFFD on its way into the module, and one name another.
  if (!textsOf(request, target).every((text) => text.isWellFormed())) return "a name is not well-formed text";
  if (!(Math.abs(request.context.now) <= MAX_TIME)) return "the time is not one";
  if (resource.type === "gateway") return undefined;
  // Without the facts a forbid on an environment or a label would not be satisfied.
  if (target === undefined || target.name !== resource.target) return `nothing is known of the target ${show(resource.target)}`;
  return undefined;
}
