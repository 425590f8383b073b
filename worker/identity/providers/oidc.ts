/**
 * Any other OpenID Connect issuer (an identity provider's humans, cloud metadata tokens, HCP Terraform, …). Only iss
 * and sub are read into the vocabulary; a match may name any claim of the token.
 *
 * It has no guards: what such a token must not be is for the identity's match to say.
 */
import { presentText, type ProviderAdapter } from "./adapter.ts";

export const oidc: ProviderAdapter = {
  provider: "oidc",
  required: [],
  read: (claims) => ({
    actor: presentText(claims, "email") ?? presentText(claims, "preferred_username") ?? presentText(claims, "sub"),
    actor_id: presentText(claims, "oid") ?? presentText(claims, "sub"),
  }),
  guards: [],
};
