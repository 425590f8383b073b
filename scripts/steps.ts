/** Runs the tools of a check one after another, all of them even when one fails; exits 1 if any did. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

export function runSteps(steps: readonly (readonly [tool: string, ...args: string[]])[]): never {
  let failed = false;
  for (const [tool, ...args] of steps) {
    process.stdout.write(`> ${tool} ${args.join(" ")}\n`);
    const run = spawnSync(process.execPath, [join(root, "node_modules", ".bin", tool), ...args], { cwd: root, stdio: "inherit" });
    if (run.status !== 0) failed = true;
  }
  process.exit(failed ? 1 : 0);
}
