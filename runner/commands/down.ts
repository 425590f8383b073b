/** `sallyport down [TARGET…]` */
import type { Command } from "commander";
import { askToEnd, backgroundDirectory, listStates, removeState, type Background } from "../background/state.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import { json, note } from "../print.ts";

export function declare(command: Command): void {
  command
    .argument("[target...]", "end only what was opened for these; default everything")
    .option("--json", "what was ended, on stdout")
    .addHelpText(
      "after",
      "\nExamples:\n  sallyport down\n  sallyport down orders-db\n\nTargets that were opened by one `up` are ended together.",
    )
    .action(async (targets: string[], options: { readonly json?: boolean }) => {
      const directory = backgroundDirectory(process.env);
      const concerned = ({ state }: Background): boolean =>
        targets.length === 0 || state.targets.some(({ target }) => targets.includes(target));
      const all = listStates(directory).filter(concerned);
      const missing = targets.filter((name) => !all.some(({ state }) => state.targets.some(({ target }) => target === name)));
      if (missing.length > 0) throw new CommandFailed(EXIT.failed, `not up: ${missing.join(", ")}`);
      const ended: { readonly target: string; readonly session: string }[] = [];
      for (const { id, state } of all) {
        const alive = await askToEnd(directory, id);
        // One that was killed leaves its files.
        removeState(directory, id);
        if (alive) ended.push(...state.targets.map(({ target, session }) => ({ target, session })));
      }
      if (options.json === true) return json({ ended });
      return note(ended.length === 0 ? "nothing was up" : `ended: ${ended.map(({ target }) => target).join(", ")}`);
    });
}
