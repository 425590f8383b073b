/**
 * A protocol room for tests of the agent's core: one line is one command, decided and recorded as a real room does
 * it. `select orders` and the like need `pg:<verb>` on public.<table>. The rest make trouble: `hang` (recorded, no
 * outcome, ends with the session), `throw`, `throw-later`, `credential` (reads it), `leak` (throws it).
 */
import type { Duplex } from "node:stream";
import { z } from "zod";
import { CredentialReference } from "../../../../tunnel-agent/credentials/reference.ts";
import { RecordingUnavailable } from "../../../../tunnel-agent/recording/recorder.ts";
import type { Credential, SessionContext, SessionEndReason, TargetProtocol } from "../../../../tunnel-agent/session.ts";

const Config = z.strictObject({ password: CredentialReference.optional() });

function run(line: string, stream: number, session: SessionContext): string {
  const [verb = "", table = ""] = line.split(" ");
  const target = session.facts.target;
  const effects = [{ action: `pg:${verb}`, resource: `${target}/public.${table}` }];
  const decision = session.decideAll([{ action: `pg:${verb}`, resource: { type: "table", target, schema: "public", table } }]);
  const { outcome, policies, reason } = decision;
  const text = session.maskText(line);
  const common = { stream, via: "line", text, digest: session.digest(line), effects, decision: outcome, policies: [...policies] };
  try {
    const command = session.recorder.command({ ...common, ...(outcome === "allow" ? {} : { reason }) });
    if (outcome !== "allow") return `denied ${session.policyVersion()}`;
    session.recorder.outcome({ command, status: "ok", rows: 1 });
    return `ok ${line}`;
  } catch (error) {
    if (error instanceof RecordingUnavailable) return "unavailable";
    throw error;
  }
}

/** The stream's lines; a stream that is reset or whose session ends has no more. */
export async function* linesOf(stream: Duplex): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

async function serve(client: Duplex, stream: number, session: SessionContext, credential: Credential | undefined): Promise<void> {
  session.recorder.streamOpen({ stream, user: "ci" });
  const onAbort = (): void => {
    client.write(`ended ${(session.signal.reason as SessionEndReason).code}\n`);
    client.end();
  };
  session.signal.addEventListener("abort", onAbort, { once: true });
  let bytes = 0;
  try {
    for await (const line of linesOf(client)) {
      bytes += line.length + 1;
      if (line === "throw") throw new Error("thrown in a room");
      else if (line === "throw-later") setTimeout(() => void Promise.reject(new Error("thrown later")), 1);
      else if (line === "credential") client.write(`read ${(await credential?.read())?.length}\n`);
      else if (line === "leak") throw new Error(`target said: password ${await credential?.read()} is wrong`);
      else if (line.startsWith("hang ")) {
        run(`select ${line.slice(5)}`, stream, {
          ...session,
          recorder: { ...session.recorder, command: (e) => session.recorder.command(e), outcome: () => {} },
        });
        client.write("hanging\n");
      } else client.write(`${run(line, stream, session)}\n`);
    }
  } finally {
    session.signal.removeEventListener("abort", onAbort);
  }
  session.recorder.streamClose({ stream, bytes_in: bytes, bytes_out: 0 });
  client.end();
}

export const linesProtocol: TargetProtocol<z.infer<typeof Config>> = {
  config: Config,
  create: ({ password }, deps) => {
    const credential = password === undefined ? undefined : deps.credential(password);
    return {
      ready: { database: "shop", user: "sallyport" },
      serve: (client, open, session) => serve(client, open.streamId, session, credential),
    };
  },
};
