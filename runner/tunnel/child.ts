/**
 * Runs the user's command in our place: same standard streams, its exit status as ours, and signals passed on. What a
 * terminal sends to the whole foreground group (SIGINT, SIGQUIT) the command gets from the terminal, so it is not sent twice.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { isatty } from "node:tty";

const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
const FROM_TERMINAL: readonly string[] = ["SIGINT", "SIGQUIT"];
/** POSIX shells' statuses for a command that was not found, or could not be run. */
const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;

export interface ChildOutcome {
  /** The command's own status; 128 + n when it ended by signal n. */
  readonly status: number;
  /** Why it could not be started. */
  readonly failure?: string;
}

export function runChild(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<ChildOutcome> {
  return new Promise((resolve) => {
    // Before the command exists: a signal in between would end us and leave it behind.
    const early: NodeJS.Signals[] = [];
    let pass = (signal: NodeJS.Signals): void => void early.push(signal);
    const listeners = PASSED_ON.map((signal) => {
      const received = (): void => {
        if (!(FROM_TERMINAL.includes(signal) && isatty(0))) pass(signal);
      };
      process.on(signal, received);
      return () => process.off(signal, received);
    });
    const done = (outcome: ChildOutcome): void => {
      for (const remove of listeners) remove();
      resolve(outcome);
    };
    const child = spawn(command, [...args], { stdio: "inherit", env });
    pass = (signal) => void child.kill(signal);
    for (const signal of early) pass(signal);
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT";
      const failure = missing ? `${command}: command not found` : `${command} cannot be run (${error.code ?? error.message})`;
      done({ status: missing ? NOT_FOUND : NOT_RUNNABLE, failure });
    });
    child.once("exit", (code, signal) => done({ status: signal === null ? (code ?? 0) : 128 + constants.signals[signal] }));
  });
}
