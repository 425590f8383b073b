/**
 * The table of commands: adding one is one entry. A command's module is loaded only when it is called, so that
 * `sallyport run` does not pay for the agent.
 */
import type { Command } from "commander";

/** What a command's module exports: it declares its arguments and its action on the program. */
export interface CommandModule {
  declare(command: Command): void;
}

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly group: "In a pipeline" | "About yourself" | "Operating a gateway" | "On premises" | "On this machine";
  readonly load: () => Promise<CommandModule>;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: "run", group: "In a pipeline", summary: "run a command with its targets at hand", load: () => import("./commands/run.ts") },
  {
    name: "up",
    group: "In a pipeline",
    summary: "open targets in the background, for later steps",
    load: () => import("./commands/up.ts"),
  },
  { name: "down", group: "In a pipeline", summary: "end what up began", load: () => import("./commands/down.ts") },
  {
    name: "pipe",
    group: "In a pipeline",
    summary: "one connection to a target on stdin and stdout",
    load: () => import("./commands/pipe.ts"),
  },
  {
    name: "plan",
    group: "In a pipeline",
    summary: "decide a file of SQL without running it, and ask for the approvals it needs",
    load: () => import("./commands/plan.ts"),
  },
  { name: "doctor", group: "In a pipeline", summary: "say in words what is wrong", load: () => import("./commands/doctor.ts") },
  { name: "whoami", group: "About yourself", summary: "the identity that the gateway sees", load: () => import("./commands/whoami.ts") },
  { name: "can", group: "About yourself", summary: "what policy would say", load: () => import("./commands/can.ts") },
  { name: "plans", group: "About yourself", summary: "list and show plans", load: () => import("./commands/plans.ts") },
  { name: "history", group: "About yourself", summary: "what you have done", load: () => import("./commands/history.ts") },
  {
    name: "targets",
    group: "About yourself",
    summary: "the targets, and which you may connect to",
    load: () => import("./commands/targets.ts"),
  },
  {
    name: "sessions",
    group: "Operating a gateway",
    summary: "list, search, show, replay, verify, export and kill sessions",
    load: () => import("./commands/sessions.ts"),
  },
  {
    name: "approvals",
    group: "Operating a gateway",
    summary: "list, show, approve and deny what waits for consent",
    load: () => import("./commands/approvals.ts"),
  },
  {
    name: "refusals",
    group: "Operating a gateway",
    summary: "what was refused at the edge, and why",
    load: () => import("./commands/refusals.ts"),
  },
  {
    name: "policy",
    group: "Operating a gateway",
    summary: "lint, test, explain, push and roll back bundles",
    load: () => import("./commands/policy.ts"),
  },
  {
    name: "identities",
    group: "Operating a gateway",
    summary: "list, revoke and restore identities",
    load: () => import("./commands/identities.ts"),
  },
  { name: "agents", group: "Operating a gateway", summary: "enrol, list and revoke agents", load: () => import("./commands/agents.ts") },
  { name: "agent", group: "On premises", summary: "the agent, beside your targets", load: () => import("./commands/agent.ts") },
  {
    name: "dev",
    group: "On this machine",
    summary: "a whole gateway on this machine, for trying and testing",
    load: () => import("../dev/command.ts"),
  },
];
