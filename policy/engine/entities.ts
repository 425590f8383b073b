/**
 * One request → Cedar's principal, action, resource, context and entities. Built from the identity's declaration and
 * the agent's facts about the target, never from the client's word.
 */
import { actionEntry } from "../actions.ts";
import type { Context, EntityJson, TypeAndId } from "../cedar/module.ts";
import { ENTITY_TYPE } from "../schema.ts";
import { printIdentifier, printResource } from "../resource.ts";
import type { DecisionRequest, IdentityDeclaration, Resource, TargetFacts } from "../types.ts";

export interface CedarRequest {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Context;
  readonly entities: EntityJson[];
}

const uid = (type: string, id: string): TypeAndId => ({ type, id });

function identityEntity(identity: IdentityDeclaration): EntityJson {
  return {
    uid: uid("Identity", identity.name),
    attrs: {
      name: identity.name,
      kind: identity.kind,
      owner: identity.owner,
      ...(identity.environment === undefined ? {} : { environment: identity.environment }),
    },
    parents: identity.groups.map((group) => uid("Group", group)),
  };
}

/** The target and, below it, the resource. */
function resourceEntities(resource: Resource, facts: TargetFacts | undefined): EntityJson[] {
  if (resource.type === "gateway" || facts === undefined) return [{ uid: uid("Gateway", "gateway"), attrs: {}, parents: [] }];
  const targetUid = uid("Target", facts.name);
  const target: EntityJson = {
    uid: targetUid,
    attrs: {
      name: facts.name,
      protocol: facts.protocol,
      labels: [...facts.labels],
      ...(facts.environment === undefined ? {} : { environment: facts.environment }),
    },
    parents: [
      ...(facts.environment === undefined ? [] : [uid("Environment", facts.environment)]),
      ...facts.labels.map((label) => uid("Label", label)),
    ],
  };
  if (resource.type === "target") return [target];
  if (resource.type === "class") {
    const attrs = { name: resource.name, target: { __entity: targetUid } };
    return [target, { uid: resourceUid(resource), attrs, parents: [targetUid] }];
  }
  const schemaUid = uid("Schema", `${facts.name}/${printIdentifier(resource.schema)}`);
  const inTarget = { target: { __entity: targetUid } };
  const schema: EntityJson = { uid: schemaUid, attrs: { name: resource.schema, ...inTarget }, parents: [targetUid] };
  if (resource.type === "schema") return [target, schema];
  const name = resource.type === "table" ? resource.table : resource.name;
  const member: EntityJson = {
    uid: resourceUid(resource),
    attrs: { name, schema: resource.schema, ...inTarget },
    parents: [schemaUid],
  };
  return [target, schema, member];
}

/** A class is one entity in whichever target it is found: `DataClass::"card"`. */
const resourceUid = (resource: Resource): TypeAndId =>
  uid(ENTITY_TYPE[resource.type], resource.type === "class" ? resource.name : printResource(resource));

/** Cedar's `datetime` to the second: `context.now` has no finer grain, so a decision holds for its second. */
const datetime = (now: number): string => new Date(Math.floor(now / 1000) * 1000).toISOString();

/** Throws on a `now` that is no time; the engine turns that into a deny. */
export function cedarRequest(
  request: DecisionRequest,
  identity: IdentityDeclaration,
  facts: TargetFacts | undefined,
  approvals: readonly string[],
): CedarRequest {
  const action = uid("Action", request.action);
  const groups = actionEntry(request.action)?.groups ?? [];
  const workload = Object.fromEntries(
    Object.entries(request.context.workload).filter((field): field is [string, string] => field[1] !== undefined),
  );
  return {
    principal: uid("Identity", identity.name),
    action,
    resource: resourceUid(request.resource),
    context: { approvals: [...approvals], workload, now: { __extn: { fn: "datetime", arg: datetime(request.context.now) } } },
    entities: [
      identityEntity(identity),
      ...resourceEntities(request.resource, facts),
      { uid: action, attrs: {}, parents: groups.map((group) => uid("Action", group)) },
    ],
  };
}
