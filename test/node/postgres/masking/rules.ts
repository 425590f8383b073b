/** masking.yaml as the tests write it, read by the product's own reader. */
import { compileBundle } from "../../../../policy/cedar.node.ts";
import { rulesFor } from "../../../../policy/masking.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import { TARGET, type Rule } from "../support.ts";

const GATEWAY = "audience: https://gate.test\nissuers:\n  - provider: oidc\n    issuer: https://issuer.test\n";

export function rulesOf(yaml: string): MaskingRules {
  const compiled = compileBundle({ "gateway.yaml": GATEWAY, "masking.yaml": yaml });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return rulesFor(compiled.value.masking, TARGET);
}

/** Everything is allowed but to see what is masked. */
export const masked: Rule = (action) => (action === "unmask" ? "deny" : "allow");

/** The same, and these classes may be seen. */
export const unmasking =
  (...classes: readonly string[]): Rule =>
  (action, resource) =>
    action !== "unmask" || (resource.type === "class" && classes.includes(resource.name)) ? "allow" : "deny";
