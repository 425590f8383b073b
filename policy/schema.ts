/**
 * The one Cedar schema, made from the action table and the workload vocabulary. Strict: a policy that names an
 * action, attribute or type that is not here does not compile.
 *
 *     Identity in Group
 *     Target in Environment, Label  ←  Schema in Target  ←  Table, Function in Schema
 *     DataClass in Target
 *     Gateway
 *
 * A target's environment and labels are both attributes and parents, so `resource in Environment::"production"`
 * covers the target, its schemas, its tables and its functions alike.
 */
import { Workload } from "../protocol/workload.ts";
import { ACTION_GROUPS, ACTIONS, type ActionEntry, type ResourceType } from "./actions.ts";

export const ENTITY_TYPE: Readonly<Record<ResourceType, string>> = {
  gateway: "Gateway",
  target: "Target",
  schema: "Schema",
  table: "Table",
  function: "Function",
  class: "DataClass",
};

/** Every workload field is a string; the first three always exist. */
const REQUIRED_WORKLOAD: ReadonlySet<string> = new Set(["provider", "issuer", "subject"]);

function schemaText(): string {
  const workload = Object.keys(Workload.shape).map((field) => `  ${field}${REQUIRED_WORKLOAD.has(field) ? "" : "?"}: String,`);
  const groups = Object.keys(ACTION_GROUPS).map((group) => `action ${JSON.stringify(group)};`);
  const actions = Object.entries<ActionEntry>(ACTIONS).map(([name, entry]) => {
    const parents = entry.groups.length === 0 ? "" : ` in [${entry.groups.map((group) => JSON.stringify(group)).join(", ")}]`;
    const resources = entry.on.map((type) => ENTITY_TYPE[type]).join(", ");
    return `action ${JSON.stringify(name)}${parents} appliesTo { principal: [Identity], resource: [${resources}], context: RequestContext };`;
  });
  return `entity Group;
entity Environment;
entity Label;
entity Identity in [Group] { name: String, kind: String, owner: String, environment?: String };
entity Gateway;
entity Target in [Environment, Label] { name: String, protocol: String, environment?: String, labels: Set<String> };
entity Schema in [Target] { name: String, target: Target };
entity Table in [Schema] { name: String, schema: String, target: Target };
entity Function in [Schema] { name: String, schema: String, target: Target };
entity DataClass in [Target] { name: String, target: Target };

type Workload = {
${workload.join("\n")}
};
type RequestContext = { approvals: Set<String>, workload: Workload, now: datetime };

${groups.join("\n")}
${actions.join("\n")}
`;
}

/** In Cedar's schema syntax. */
export const CEDAR_SCHEMA: string = schemaText();
