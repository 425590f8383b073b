/**
 * The rules that a `Problem` may name: stable, so that a CI job can look for one. docs/policy.md repeats this table.
 */
export const RULES = {
  // ── files and YAML ──
  "bundle-size": "the bundle has too many files or bytes",
  "file-missing": "a file that every bundle has is not there",
  "file-place": "a .yaml or .cedar file lies where nothing reads it",
  "file-unknown": "a file that is no part of a bundle",
  "file-empty": "a file without content",
  "yaml-syntax": "not valid YAML, or a tag",
  "yaml-duplicate-key": "a key is there twice",
  "yaml-anchor": "an anchor or alias",
  "yaml-tag": "a tag on a value",
  "yaml-documents": "a second document in a file that holds one",
  "unknown-key": "a key that is not known there",
  "bundle-shape": "a value is missing or of the wrong form",
  // ── gateway.yaml, masking.yaml ──
  "issuer-missing": "a provider without one public issuer needs issuer:",
  "issuer-address": "an issuer or key set that is not https (http on loopback)",
  "issuer-twice": "the same issuer again",
  "issuer-unused": "an issuer that no identity comes from",
  "token-age": "tokens older than this provider needs",
  "masking-unenforced": "data classes that are checked but not enforced",
  // ── identities: who ──
  "identity-twice": "two identities of one name",
  "identity-unknown": "a policy names an identity that does not exist",
  "identity-idle": "an identity that may do nothing",
  "match-issuer": "a match whose issuer gateway.yaml does not have, or has several of",
  "match-weak": "a match by sub alone, display names, a wildcard or no immutable id",
  "match-strong": "allow_weak_match where it is not needed",
  "match-overlap": "one token fits two identities",
  "ref-unpinned": "a production identity that any branch can take",
  "event-outsider": "a match lists an event that strangers cause",
  "group-empty": "a policy names a group that nobody is in",
  "group-unused": "a group that nothing uses",
  // ── grants ──
  "grant-target": "a grant without target, or with a selector of everything",
  "grant-name": "a table, schema or function that cannot be read",
  "grant-nothing": "an action that never applies to what the grant names",
  "grant-shadowed": "a grant that another one covers",
  "grant-forbidden": "a grant that a forbid takes away from everybody",
  "grant-compile": "a grant that Cedar does not accept",
  "unknown-action": "an action that does not exist",
  "action-place": "an action of the gateway under grants:, or of a target under gateway:",
  "nobody-publishes": "nobody could publish the next bundle",
  // ── Cedar ──
  "cedar-syntax": "not valid Cedar, or a template",
  "cedar-type": "Cedar that does not fit the schema",
  "cedar-warning": "what Cedar's validator remarks",
  "policy-never-applies": "a policy that can never apply",
  "policy-id": "an id that is taken, reserved or malformed",
  annotation: "an annotation that is not known",
  "floor-permit": "a permit in an agent's floor",
  // ── approvals ──
  "approval-form": "@approval that names no groups",
  "approval-use": "consent asked for in a way that cannot be checked",
  "approval-unnamed": "a permit waits for a group that @approval does not name",
  "approval-unasked": "@approval names a group that the permit does not wait for",
  "approval-in-forbid": "a forbid that asks for consent",
  "approval-group": "an approving group without members, or without humans",
  "approval-min": "a minimum of people that cannot be reached, or has no group",
  // ── tests ──
  "test-form": "a test that asks nothing, or something that does not exist",
} as const satisfies Record<string, string>;

export type Rule = keyof typeof RULES;
