/** `npm run lint`: formatting and lint rules, import direction among them (.oxlintrc.json). */
import { runSteps } from "./steps.ts";

runSteps([
  ["oxfmt", "--check", "."],
  [
    "oxlint",
    "--type-aware",
    "--deny-warnings",
    "--tsconfig",
    "tsconfig.node.json",
    "protocol",
    "policy",
    "link",
    "tunnel-agent",
    "runner",
    "dev",
    "bench",
    "scripts",
    "test/node",
    "test/e2e",
    "test/support",
  ],
  ["oxlint", "--type-aware", "--deny-warnings", "--tsconfig", "tsconfig.edge.json", "worker", "durable-objects", "store", "test/workerd"],
]);
