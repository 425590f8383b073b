/** `npm run types`: the two programs, Node's and the edge's, whose global types must never meet. */
import { runSteps } from "./steps.ts";

runSteps([
  ["tsc", "-p", "tsconfig.node.json"],
  ["tsc", "-p", "tsconfig.edge.json"],
]);
