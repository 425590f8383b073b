/**
 * The policy room's door: what the Worker, the agent and the CLI call.
 */
export { createPolicyCompiler } from "./compile.ts";
export { parseResource, printResource } from "./resource.ts";
