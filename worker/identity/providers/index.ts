/** The one table of providers: `gateway.yaml`'s `provider` of an issuer picks the adapter. */
import type { Provider } from "../../../protocol/provider-claims.ts";
import type { ProviderAdapter } from "./adapter.ts";
import { buildkite } from "./buildkite.ts";
import { circleci } from "./circleci.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";
import { kubernetes } from "./kubernetes.ts";
import { oidc } from "./oidc.ts";

export const ADAPTERS: Readonly<Record<Provider, ProviderAdapter>> = { github, gitlab, buildkite, circleci, kubernetes, oidc };
