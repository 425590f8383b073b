/**
 * `sallyport pipe TARGET`: one connection to a target on stdin and stdout, in the target's own protocol. There is no
 * listener that anyone else could reach, so the client needs no password.
 */
import { Duplex } from "node:stream";
import type { Command } from "commander";
import { EXIT, exitOf } from "../exit.ts";
import { gatewayAddress, openGateway } from "../gateway.ts";
import { withTunnel, type TunnelOptions } from "../options.ts";
import { ERRORS } from "../../protocol/errors.ts";
import { createReporter, toStderr } from "../reporter.ts";
import { HeldCommands, holdMode } from "../tunnel/held.ts";
import { joinDuplexes } from "../tunnel/join.ts";
import { openSession } from "../tunnel/target.ts";

export function declare(command: Command): void {
  withTunnel(command)
    .argument("<target>")
    .addHelpText(
      "after",
      "\nExamples:\n  socat TCP-LISTEN:5432,bind=127.0.0.1,fork EXEC:'sallyport pipe orders-db'\n\nExit status: 0 when the connection ended; otherwise as sallyport run before its command runs.",
    )
    .action(async (target: string, options: TunnelOptions) => {
      const report = createReporter({ ...options, debug: process.env["SALLYPORT_DEBUG"] === "1" }, toStderr);
      const gateway = openGateway(gatewayAddress(options.gateway, process.env), process.env);
      const session = await openSession(gateway, target, report, { hold: holdMode(process.env), held: new HeldCommands(report) });
      report.info("open", `${target}: session ${session.id}; every command is decided and recorded`, { target, session: session.id });
      const stream = session.open({ kind: "tcp", auth: { method: "trust" } });
      const joined = joinDuplexes(Duplex.from({ readable: process.stdin, writable: process.stdout }), stream);
      const end = await Promise.race([joined, session.ended]);
      if (end === undefined) {
        await session.close();
        process.exit(EXIT.ok);
      }
      report.warn("ended", `${target}: the session has ended: ${end.message} [${end.code}]`, { target, session: session.id, ...end });
      process.exit(exitOf(end.code, ERRORS[end.code].status));
    });
}
