/**
 * identities/*.yaml → identity declarations and their grants. One YAML document is one identity; a file may hold
 * several, separated by `---`. What the grants mean is bundle/grants.ts; whether the match is strong is lint/identity.ts.
 */
import type { Rule } from "../rules.ts";
import * as z from "zod";
import { actionEntry, ACTION_GROUPS, ACTIONS, isActionGroup } from "../actions.ts";
import { problem, suggestion, type Place } from "../problem.ts";
import { PROVIDER_NAMES, PROVIDERS } from "../providers.ts";
import type { GatewayConfig, IdentityDeclaration, Problem } from "../types.ts";
import { Chat, readChat } from "./chat.ts";
import { boolean, duration, instant, integer, list, mapping, name, oneOf, text } from "./fields.ts";
import { shaped, type YamlDocument } from "./yaml.ts";

const CLAIM = "the claim's value, or a list of accepted values";
const claims = z.record(text("a claim's name", 256), list(text(CLAIM), CLAIM, 64), { error: "write the claims as `name: value` lines" });

const Match = mapping({
  provider: oneOf(PROVIDER_NAMES).optional(),
  issuer: text("the exact issuer, as in gateway.yaml").optional(),
  claims,
  allow_weak_match: boolean.default(false),
});

/** Every key given must hold: an environment, and all the labels. */
const Selector = mapping({
  environment: text("an environment's name", 63).optional(),
  labels: list(text("a label", 63), "a label or a list of labels", 32).optional(),
});

const targets = list(name("a target's name"), "a target's name or a list of them", 64);
const names = (what: string) => list(text(what, 256), what, 500);

const Grant = mapping({
  id: name("a short id").optional(),
  target: targets.optional(),
  targets: Selector.optional(),
  actions: list(text("an action such as pg:select", 64), "an action such as pg:select, or a list of them", 64),
  tables: names("a table as schema.table, or schema.*").optional(),
  schemas: names("a schema's name").optional(),
  functions: names("a function as schema.function, or schema.*").optional(),
  classes: list(name("a data class's name"), "a data class of masking.yaml or a list of them", 500).optional(),
  approval: list(name("a group's name"), "the group that must consent, or a list of them", 8).optional(),
  approval_min: integer(1, 20).optional(),
  approval_ttl: duration(60, 7 * 86_400, "from 1m to 7d").optional(),
  hold_in_transaction: oneOf(["allow", "refuse"]).optional(),
  expires: instant.optional(),
  reason: text("a sentence for the refusal and the record", 500).optional(),
});
export type Grant = z.infer<typeof Grant>;

const Identity = mapping({
  name: name("the identity's name"),
  kind: oneOf(["non-human", "human"]).default("non-human"),
  owner: text("who answers for this identity: a person or a team", 256),
  purpose: text("what this identity is for, in a sentence", 1024),
  environment: text("the environment this identity works in, such as production", 63).optional(),
  groups: list(name("a group's name"), "a group's name or a list of them", 64).default([]),
  match: list(Match, "how its tokens are recognised: provider or issuer, and claims", 32),
  hold: oneOf(["wait", "fail"]).default("wait"),
  chat: Chat.optional(),
  grants: list(Grant, "a grant or a list of them", 256).default([]),
  gateway: list(
    text("an action on the gateway such as policy:publish", 64),
    "actions on the gateway, such as policy:publish",
    32,
  ).optional(),
});

export interface IdentityFile {
  readonly declaration: IdentityDeclaration;
  readonly grants: readonly (Grant & { readonly place: Place })[];
  readonly gateway: readonly string[];
  readonly place: Place;
  /** Place of a value inside the document, for the linter. */
  locate(path: readonly PropertyKey[]): Place;
}

type Fault = (path: readonly PropertyKey[], rule: Rule, message: string) => void;

function checkActions(actions: readonly string[], path: readonly PropertyKey[], onGateway: boolean, fault: Fault): void {
  const fits = (action: string) => (actionEntry(action)?.on[0] === "gateway" || action.startsWith("gateway:")) === onGateway;
  const known = [...Object.keys(ACTIONS), ...Object.keys(ACTION_GROUPS)];
  for (const [index, action] of actions.entries()) {
    if (actionEntry(action) === undefined && !isActionGroup(action)) {
      fault([...path, index], "unknown-action", `unknown action ${JSON.stringify(action)}${suggestion(action, known.filter(fits))}`);
    } else if (!fits(action)) {
      fault(
        [...path, index],
        "action-place",
        onGateway
          ? `${action} is an action on targets: write it under grants`
          : `${action} is an action on the gateway: write it under gateway:`,
      );
    }
  }
}

function resolveMatch(entries: z.infer<typeof Match>[], gateway: GatewayConfig | undefined, fault: Fault): IdentityDeclaration["match"] {
  return entries.flatMap((entry, index) => {
    const path = ["match", index];
    if (Object.keys(entry.claims).length === 0)
      fault([...path, "claims"], "match-weak", "no claims: every token of the issuer would match; write the claims that name this job");
    if (entry.issuer === undefined && entry.provider === undefined) {
      fault(path, "match-issuer", "missing: write provider: or issuer: as in gateway.yaml");
      return [];
    }
    if (gateway === undefined) return [];
    const found = gateway.issuers.filter(
      (issuer) =>
        (entry.issuer === undefined || issuer.issuer === entry.issuer) &&
        (entry.provider === undefined || issuer.provider === entry.provider),
    );
    const only =
      found.length > 1 && entry.provider !== undefined
        ? found.filter((issuer) => issuer.issuer === PROVIDERS[issuer.provider].issuer)
        : found;
    const [issuer] = only;
    if (issuer === undefined || only.length > 1) {
      const listed = gateway.issuers.map((each) => each.issuer);
      fault(
        path,
        "match-issuer",
        found.length > 1
          ? `gateway.yaml has several issuers of ${entry.provider}: write issuer: with one of ${found.map((each) => each.issuer).join(", ")}`
          : `no issuer in gateway.yaml fits ${entry.issuer ?? entry.provider}${entry.issuer === undefined ? ": add it under issuers:" : suggestion(entry.issuer, listed)}`,
      );
      return [];
    }
    return [{ issuer: issuer.issuer, claims: entry.claims, allow_weak_match: entry.allow_weak_match }];
  });
}

/** Undefined when the document's shape is wrong. Problems are pushed. */
export function readIdentity(
  file: string,
  document: YamlDocument,
  gateway: GatewayConfig | undefined,
  problems: Problem[],
): IdentityFile | undefined {
  const raw = shaped(file, document, Identity, problems);
  if (raw === undefined) return undefined;
  const fault: Fault = (path, rule, message) => problems.push(problem("error", rule, file, message, document.locate(path)));
  const ids = new Set<string>();
  for (const [index, grant] of raw.grants.entries()) {
    const path = ["grants", index];
    if ((grant.target === undefined) === (grant.targets === undefined)) {
      fault(path, "grant-target", "write either target: with names, or targets: with environment and labels");
    } else if (grant.targets !== undefined && grant.targets.environment === undefined && grant.targets.labels === undefined) {
      fault([...path, "targets"], "grant-target", "an empty selector would be every target: write environment: or labels:");
    }
    if (grant.approval_min !== undefined && grant.approval === undefined) {
      fault([...path, "approval_min"], "approval-min", "approval_min needs approval: with the group that must consent");
    }
    for (const key of ["approval_ttl", "hold_in_transaction"] as const) {
      if (grant[key] !== undefined && grant.approval === undefined)
        fault([...path, key], "approval-terms", `${key} needs approval: with the group that must consent`);
    }
    if (grant.actions.includes("unmask") && grant.classes === undefined) {
      fault(
        path,
        "unmask-classes",
        "unmask without classes: would show whatever masking.yaml ever hides: write classes: with the ones that may be seen",
      );
    }
    if (grant.id !== undefined && (ids.has(grant.id) || grant.id.startsWith("grant-"))) {
      fault(
        [...path, "id"],
        "policy-id",
        ids.has(grant.id)
          ? `the id ${grant.id} is there twice in this identity`
          : "ids that begin with grant- are the numbered ones: choose another",
      );
    }
    if (grant.id !== undefined) ids.add(grant.id);
    checkActions(grant.actions, [...path, "actions"], false, fault);
  }
  if (raw.gateway !== undefined) checkActions(raw.gateway, ["gateway"], true, fault);
  const declaration: IdentityDeclaration = {
    name: raw.name,
    kind: raw.kind,
    owner: raw.owner,
    purpose: raw.purpose,
    environment: raw.environment,
    groups: [...new Set(raw.groups)],
    hold: raw.hold,
    chat: readChat(raw.chat, raw.kind, fault),
    match: resolveMatch(raw.match, gateway, fault),
    file,
  };
  return {
    declaration,
    grants: raw.grants.map((grant, index) => Object.assign(grant, { place: document.locate(["grants", index]) })),
    gateway: raw.gateway ?? [],
    place: document.locate([]),
    locate: (path) => document.locate(path),
  };
}
