/**
 * The linter: everything that parses and type-checks but is unsafe, useless or unreachable. Part of compiling, so
 * what the gateway accepts is what `sallyport policy lint` accepts.
 */
import type { IdentityFile } from "../bundle/identity.ts";
import type { MaskingFile } from "../bundle/masking.ts";
import type { PolicySource } from "../cedar/source.ts";
import type { Place } from "../problem.ts";
import type { GatewayConfig, Problem } from "../types.ts";
import { lintApprovalGroups, lintApprovalUse } from "./approvals.ts";
import { lintChannels, lintChat } from "./channels.ts";
import { lintGrants } from "./grants.ts";
import { lintIdentity, lintOverlaps } from "./identity.ts";
import { lintClasses, lintClassNames, lintImpliedUnmask } from "./masking.ts";
import { lintPublishers, lintReferences } from "./references.ts";

/** A bundle as read, before it decides anything. */
export interface LintInput {
  readonly gateway: GatewayConfig | undefined;
  readonly identities: readonly IdentityFile[];
  readonly policies: readonly PolicySource[];
  readonly masking: MaskingFile | undefined;
  /** Where gateway.yaml lists the channels. */
  readonly channels: Place | undefined;
}

/** `whole`: nothing failed to be read, so what is missing is missing, and not only unreadable. */
export function lint({ gateway, identities, policies, masking, channels }: LintInput, whole: boolean): readonly Problem[] {
  const declarations = identities.map((identity) => identity.declaration);
  return [
    ...policies.flatMap((policy) => lintApprovalUse(policy)),
    ...identities.flatMap((identity) => lintGrants(identity, policies)),
    ...lintChat(identities),
    ...(masking === undefined ? [] : [...lintClasses(masking), ...policies.flatMap((policy) => lintImpliedUnmask(policy))]),
    ...(gateway === undefined ? [] : identities.flatMap((identity) => lintIdentity(identity, gateway))),
    ...(gateway === undefined || !whole
      ? []
      : [
          ...policies.flatMap((policy) => lintApprovalGroups(policy, declarations)),
          ...lintOverlaps(identities),
          ...lintChannels(identities, policies, gateway, channels),
          ...lintClassNames(identities, policies, masking?.rules.classes.map((each) => each.name) ?? []),
          ...lintReferences(identities, policies, gateway),
          ...lintPublishers(identities, policies),
        ]),
  ];
}
