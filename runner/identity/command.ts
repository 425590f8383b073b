/** Providers whose token comes from a program on PATH: its standard output is the token; its arguments never hold one. */
import { execFile } from "node:child_process";
import { TokenUnavailable } from "./types.ts";

const TIMEOUT_MS = 30_000;
const MAX_OUTPUT = 64 * 1024;

/** @throws TokenUnavailable; its message has the program's stderr, which providers write for people. */
export function tokenFrom(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT, encoding: "utf8" }, (error, stdout, stderr) => {
      const token = stdout.trim();
      if (error === null && token !== "") resolve(token);
      else if (error !== null && error.code === "ENOENT") reject(new TokenUnavailable(`${command} is not on PATH`));
      else reject(new TokenUnavailable(`${command} gave no token${stderr.trim() === "" ? "" : `: ${stderr.trim().slice(0, 500)}`}`));
    });
  });
}
