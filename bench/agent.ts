/**
 * The agent of the benchmark, in a process of its own: the product's, with one protocol more. `tunnel` passes bytes
 * through unread; it is the yardstick that shows what terminating the protocol costs, and is in no agent that is
 * installed. Usage: `agent.ts agent.yaml`; prints `ready` when the gateway has welcomed it.
 */
import { connect } from "node:net";
import { pipeline } from "node:stream/promises";
import * as z from "zod";
import { startAgent } from "../tunnel-agent/agent.ts";
import { loadAgentConfig, printProblem } from "../tunnel-agent/config/load.ts";
import { PROTOCOLS } from "../tunnel-agent/protocols/registry.ts";
import type { TargetProtocol } from "../tunnel-agent/session.ts";

const TunnelConfig = z.strictObject({ address: z.string().regex(/^[^:]+:\d+$/) });

const tunnel: TargetProtocol<z.infer<typeof TunnelConfig>> = {
  config: TunnelConfig,
  create: ({ address }) => {
    const [host = "", port = ""] = address.split(":");
    return {
      ready: {},
      async serve(client, _open, session) {
        const target = connect({ host, port: Number(port), noDelay: true });
        session.signal.addEventListener("abort", () => target.destroy(), { once: true });
        await Promise.all([pipeline(client, target), pipeline(target, client)]).catch(() => undefined);
      },
    };
  },
};

const file = process.argv[2] ?? "agent.yaml";
const protocols = { ...PROTOCOLS, tunnel: tunnel as TargetProtocol };
const config = loadAgentConfig(file, protocols);
if (!config.ok) {
  process.stderr.write(`${config.error.map(printProblem).join("\n")}\n`);
  process.exit(1);
}
const agent = await startAgent({ config: config.value, protocols, env: process.env, log: process.stderr, version: "bench" });
await agent.ready;
process.stdout.write("ready\n");
process.once("SIGTERM", () => void agent.stop({ graceMs: 0 }).then(() => process.exit(0)));
