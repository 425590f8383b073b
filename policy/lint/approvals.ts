/**
 * Approval in Cedar: the condition and the annotation must say the same. A permit that asks for consent names its
 * groups in `@approval`; it asks in plain `when { … context.approvals.contains("group") … }`, so that more consent can
 * never take a right away and none is wider than its annotation. A forbid is final: it asks nobody.
 */
import type { Rule } from "../rules.ts";
import type { PolicySource } from "../cedar/source.ts";
import type { PolicyJson } from "../cedar/module.ts";
import { problem } from "../problem.ts";
import type { IdentityDeclaration, Problem } from "../types.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const isRecord = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isApprovals = (value: Json | undefined): boolean => {
  const access = isRecord(value) ? value["."] : undefined;
  return isRecord(access) && access["attr"] === "approvals";
};

/** The strings of a literal or of a set of literals; undefined for anything computed. */
function literals(value: Json | undefined): readonly string[] | undefined {
  if (!isRecord(value)) return undefined;
  if (typeof value["Value"] === "string") return [value["Value"]];
  if (Array.isArray(value["Value"])) return value["Value"].every((each) => typeof each === "string") ? value["Value"] : undefined;
  if (!Array.isArray(value["Set"])) return undefined;
  const items = (value["Set"] as readonly Json[]).map(literals);
  return items.some((item) => item === undefined) ? undefined : items.flatMap((item) => item ?? []);
}

interface Use {
  readonly groups: Set<string>;
  /** Used in some other way than the plain one. */
  odd: boolean;
}

const ASKING = ["contains", "containsAll", "containsAny"] as const;

/** `plain`: under nothing but `&&` and `||` of a `when`. */
function collect(value: Json | undefined, plain: boolean, use: Use): void {
  if (Array.isArray(value)) {
    for (const item of value as readonly Json[]) collect(item, false, use);
    return;
  }
  if (!isRecord(value)) return;
  if (isApprovals(value)) use.odd = true;
  for (const [operator, operand] of Object.entries(value)) {
    if (isRecord(operand) && (ASKING as readonly string[]).includes(operator) && isApprovals(operand["left"])) {
      const groups = literals(operand["right"]);
      if (groups === undefined || !plain) use.odd = true;
      for (const group of groups ?? []) use.groups.add(group);
    } else if (isRecord(operand) && (operator === "&&" || operator === "||")) {
      collect(operand["left"], plain, use);
      collect(operand["right"], plain, use);
    } else collect(operand, false, use);
  }
}

export function lintApprovalUse(policy: PolicySource): readonly Problem[] {
  const use: Use = { groups: new Set(), odd: false };
  for (const clause of policy.json.conditions) collect(clause.body as unknown as Json, clause.kind === "when", use);
  const say = (rule: Rule, message: string): readonly Problem[] => [problem("error", rule, policy.file, message, policy.place)];
  const asks = use.odd || use.groups.size > 0;
  if (policy.effect === "forbid") {
    return asks || policy.approvals.length > 0
      ? say(
          "approval-in-forbid",
          "a forbid is final and asks nobody: ask for consent in a permit, and let the forbid say what no consent allows",
        )
      : [];
  }
  if (use.odd)
    return say(
      "approval-use",
      'ask for consent as `when { context.approvals.contains("group") }` with the group written out, not under `!`, `unless` or `if`',
    );
  const unnamed = [...use.groups].filter((group) => !policy.approvals.includes(group));
  if (unnamed.length > 0)
    return say(
      "approval-unnamed",
      `this permit waits for ${unnamed.join(" and ")}, whom nobody would ask: write @approval("${[...use.groups].join(", ")}") above it`,
    );
  const unasked = policy.approvals.filter((group) => !use.groups.has(group));
  if (unasked.length > 0)
    return say(
      "approval-unasked",
      `@approval names ${unasked.join(" and ")}, but the permit does not wait: add when { context.approvals.contains("${unasked[0]}") }`,
    );
  return [];
}

/** The one identity that a permit is for, if it names one. */
function requesterOf({ principal }: PolicyJson): string | undefined {
  if (principal.op !== "==" || !("entity" in principal)) return undefined;
  return "__entity" in principal.entity ? principal.entity.__entity.id : principal.entity.id;
}

/** Can the groups that must consent do so at all? Only humans vote, and nobody for themselves (GW-11). */
export function lintApprovalGroups(policy: PolicySource, identities: readonly IdentityDeclaration[]): readonly Problem[] {
  return policy.approvals.flatMap((group) => {
    const members = identities.filter((identity) => identity.groups.includes(group));
    const humans = members.filter((identity) => identity.kind === "human");
    const voters = humans.filter((identity) => identity.name !== requesterOf(policy.json));
    const say = (severity: Problem["severity"], rule: Rule, message: string): readonly Problem[] => [
      problem(severity, rule, policy.file, message, policy.place),
    ];
    if (members.length === 0)
      return say(
        "error",
        "approval-group",
        `nobody is in the group ${group}, so nobody could consent: add groups: [${group}] to somebody, or name another group`,
      );
    if (humans.length === 0)
      return say(
        "error",
        "approval-group",
        `no human is in the group ${group}, and only humans consent: add groups: [${group}] to somebody, or name another group`,
      );
    if (voters.length < policy.approvalMin) {
      const less = voters.length < humans.length ? ", for nobody consents to their own request" : "";
      const number = policy.approvalMin === 1 ? "one human" : `${policy.approvalMin} humans`;
      return say(
        "error",
        "approval-min",
        `${number} of ${group} must consent, but it has ${voters.length} who could${less}: add somebody to the group`,
      );
    }
    const machines = members.filter((identity) => identity.kind !== "human").map((identity) => identity.name);
    if (machines.length > 0)
      return say(
        "warning",
        "approval-group",
        `${machines.join(" and ")} of the group ${group} cannot consent, for only humans do: give the people who consent a group of their own`,
      );
    return [];
  });
}
