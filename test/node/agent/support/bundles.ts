/** Bundles for agent tests: small, real, compiled by the real engine. */
import type { BundleFiles } from "../../../../protocol/agent-control.ts";

const GATEWAY = `audience: https://gate.example.com
issuers:
  - provider: github
policy_max_stale: 1h
`;

const identity = (actions: string): string => `name: orders-ci
kind: non-human
owner: team@example.com
purpose: Deploys orders
environment: production
match:
  - provider: github
    claims:
      repository_id: "1"
      environment: production
      ref: refs/heads/main
gateway: [policy:publish]
grants:
  - target: orders-db
    actions: [${actions}]
    tables: ["public.*"]
  - target: other-db
    actions: [${actions}]
    tables: ["public.*"]
`;

/** `actions`: what orders-ci may do, e.g. `pg:read`. */
export const bundleOf = (actions: string, over: BundleFiles = {}): BundleFiles => ({
  "gateway.yaml": GATEWAY,
  "identities/orders-ci.yaml": identity(actions),
  ...over,
});

export const READ_ONLY: BundleFiles = bundleOf("pg:read");
export const READ_WRITE: BundleFiles = bundleOf("pg:read, pg:insert, pg:update, pg:delete");
