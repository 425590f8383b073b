/**
 * Who may consent: the humans that the bundle declares, by their groups and by their accounts in chat. A channel proves
 * only the messenger; that the messenger's user is this person is the bundle's word.
 */
import type { IdentityDeclaration } from "./types.ts";

type Identities = ReadonlyMap<string, IdentityDeclaration>;

/** The humans of a group, in the bundle's order. Machines are never among them: they cannot consent. */
export const membersOf = (identities: Identities, group: string): readonly IdentityDeclaration[] =>
  [...identities.values()].filter((identity) => identity.kind === "human" && identity.groups.includes(group));

/**
 * The human whose account it is, compared exactly. `team`: Slack's workspace id, which must be the declared one; a webhook
 * has none. Undefined: nobody known, and nobody's vote.
 */
export const approverFor = (
  identities: Identities,
  kind: "slack" | "webhook",
  team: string | undefined,
  user: string,
): IdentityDeclaration | undefined =>
  [...identities.values()].find(
    (identity) =>
      identity.kind === "human" &&
      identity.chat.some((account) => account.kind === kind && account.user === user && (kind === "webhook" || account.team === team)),
  );
