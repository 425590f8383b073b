/** Runs its arguments as `sallyport run` runs a command: a process of its own, so that signals can be sent to it. */
import { runChild } from "../../../runner/tunnel/child.ts";

const [program = "", ...args] = process.argv.slice(2);
const outcome = await runChild(program, args, process.env);
if (outcome.failure !== undefined) process.stderr.write(`${outcome.failure}\n`);
process.exit(outcome.status);
