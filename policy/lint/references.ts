/**
 * What policies and identities name: identities and groups that do not exist, groups that nothing uses, issuers that
 * no identity uses, and whether anybody may publish the next bundle.
 */
import type { IdentityFile } from "../bundle/identity.ts";
import type { PolicyJson, TypeAndId } from "../cedar/module.ts";
import type { PolicySource } from "../cedar/source.ts";
import { actionEntry } from "../actions.ts";
import { principalMayMatch } from "../engine/sets.ts";
import { problem, suggestion } from "../problem.ts";
import type { GatewayConfig, Problem } from "../types.ts";

/** Every entity that a policy's JSON names, in scope and conditions. */
export function entitiesOf(value: unknown): readonly TypeAndId[] {
  if (Array.isArray(value)) return value.flatMap(entitiesOf);
  if (typeof value !== "object" || value === null) return [];
  const record = value as Readonly<Record<string, unknown>>;
  const own = typeof record["type"] === "string" && typeof record["id"] === "string" ? [{ type: record["type"], id: record["id"] }] : [];
  return [...own, ...Object.values(record).flatMap(entitiesOf)];
}

export function lintReferences(
  identities: readonly IdentityFile[],
  policies: readonly PolicySource[],
  gateway: GatewayConfig,
): readonly Problem[] {
  const problems: Problem[] = [];
  const names = identities.map((identity) => identity.declaration.name);
  const groups = new Set(identities.flatMap((identity) => identity.declaration.groups));
  const used = new Set(policies.flatMap((policy) => policy.approvals));
  for (const policy of policies) {
    const { annotations: _, ...rest } = policy.json;
    for (const entity of entitiesOf(rest)) {
      if (entity.type === "Group") used.add(entity.id);
      // The floor outlives bundles: it may speak of identities and groups that this one does not have.
      if (policy.origin !== "cedar") continue;
      if (entity.type === "Identity" && !names.includes(entity.id)) {
        problems.push(
          problem(
            "error",
            "identity-unknown",
            policy.file,
            `no identity is called ${entity.id}${suggestion(entity.id, names)}`,
            policy.place,
          ),
        );
      } else if (entity.type === "Group" && !groups.has(entity.id)) {
        problems.push(
          problem(
            "warning",
            "group-empty",
            policy.file,
            `nobody is in the group ${entity.id}${suggestion(entity.id, [...groups])}`,
            policy.place,
          ),
        );
      }
    }
  }
  for (const identity of identities) {
    const { declaration } = identity;
    for (const [index, group] of declaration.groups.entries()) {
      if (!used.has(group))
        problems.push(
          problem(
            "warning",
            "group-unused",
            declaration.file,
            `no policy and no approval uses the group ${group}`,
            identity.locate(["groups", index]),
          ),
        );
    }
    const reached = policies.some((policy) => policy.effect === "permit" && principalMayMatch(policy.json, declaration));
    const approves = declaration.groups.some((group) => policies.some((policy) => policy.approvals.includes(group)));
    if (!reached && !approves) {
      problems.push(
        problem(
          "warning",
          "identity-idle",
          declaration.file,
          `${declaration.name} may do nothing: write grants:, or remove it`,
          identity.place,
        ),
      );
    }
  }
  for (const issuer of gateway.issuers) {
    if (!identities.some((identity) => identity.declaration.match.some((entry) => entry.issuer === issuer.issuer))) {
      problems.push(
        problem("warning", "issuer-unused", "gateway.yaml", `no identity comes from ${issuer.issuer}: remove it until one does`),
      );
    }
  }
  return problems;
}

const PUBLISH = "policy:publish";

function actionMayMatch(json: PolicyJson, action: string): boolean {
  const groups = [action, ...(actionEntry(action)?.groups ?? [])];
  const scope = json.action;
  if (scope.op === "All") return true;
  return entitiesOf(scope).some((entity) => entity.type === "Action" && groups.includes(entity.id));
}

/** A published bundle that lets nobody publish could never be replaced, nor rolled back. */
export function lintPublishers(identities: readonly IdentityFile[], policies: readonly PolicySource[]): readonly Problem[] {
  const possible = identities.some((identity) =>
    policies.some(
      (policy) =>
        policy.effect === "permit" &&
        principalMayMatch(policy.json, identity.declaration) &&
        actionMayMatch(policy.json, PUBLISH) &&
        (policy.json.resource.op === "All" ||
          entitiesOf(policy.json.resource).some((entity) => entity.type === "Gateway") ||
          ("entity_type" in policy.json.resource && policy.json.resource.entity_type === "Gateway")),
    ),
  );
  if (possible) return [];
  const message = "nobody may publish the next bundle, so this one could never be replaced: give an identity gateway: [policy:publish]";
  const [first] = identities;
  return [
    problem("warning", "nobody-publishes", first?.declaration.file ?? "gateway.yaml", message, first?.place ?? { line: 1, column: 1 }),
  ];
}
