/** Several targets opened together: all of them, or none. */
import { CommandFailed, EXIT } from "../exit.ts";
import type { GatewayClient } from "../gateway.ts";
import type { Reporter } from "../reporter.ts";
import { checkNames } from "./environment.ts";
import { openTarget, type OpenTarget, type SessionWishes, type TargetAddress } from "./target.ts";

export interface OpenTargets {
  readonly addresses: readonly TargetAddress[];
  /** Resolves when every session has ended. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** @throws CommandFailed of the first that could not be opened; the others are closed again. */
export async function openTargets(
  gateway: GatewayClient,
  targets: readonly string[],
  report: Reporter,
  wishes: SessionWishes,
): Promise<OpenTargets> {
  const names = checkNames(targets);
  if (!names.ok) throw new CommandFailed(EXIT.usage, names.error);
  const results = await Promise.allSettled(targets.map((target) => openTarget(gateway, target, report, wishes)));
  const opened: OpenTarget[] = [];
  for (const result of results) if (result.status === "fulfilled") opened.push(result.value);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    await Promise.all(opened.map((target) => target.close()));
    throw failed.reason;
  }
  for (const { address } of opened) {
    const { target, session, host, port, protocol } = address;
    report.info("open", `${target}: session ${session}, as ${gateway.identity ?? "unknown"}; every command is decided and recorded`, {
      target,
      session,
      protocol,
      host,
      port,
    });
  }
  return {
    addresses: opened.map(({ address }) => address),
    ended: Promise.all(opened.map(({ ended }) => ended)).then(() => undefined),
    close: async () => {
      await Promise.all(opened.map((target) => target.close()));
    },
  };
}
