/** Runs one attempt through a gateway, as a client that keeps every byte, and says what came of it. */
import { fieldsOf, RawClient, serialize, type Message } from "../raw-client.ts";
import { isAnswered, type Attempt, type Step } from "./corpus.ts";

export interface Outcome {
  /** For each step that is answered: what its README's words are held against. */
  readonly answers: readonly Answer[];
  /** Everything that reached the client, in order, without what differs from one run to the next. */
  readonly transcript: string;
  /** The bytes. */
  readonly bytes: Buffer;
}

export interface Answer {
  readonly error: string | null;
  readonly message: string;
  readonly rows: number;
  /** The connection is gone. */
  readonly closed: boolean;
}

function bytesOf(step: Step): Buffer {
  if (typeof step === "string") return serialize.query(step);
  if ("extended" in step) {
    const { extended, params = [], binary = false, describe = true, rows } = step;
    return Buffer.concat([
      serialize.parse({ text: extended, types: [] }),
      serialize.bind({ values: [...params], binary, valueMapper: (value: unknown) => value }),
      ...(describe ? [serialize.describe({ type: "P", name: "" })] : []),
      ...(rows === undefined ? [] : [serialize.execute({ rows })]),
      serialize.execute({}),
      serialize.sync(),
    ]);
  }
  if ("parse" in step) return serialize.parse({ name: step.name, text: step.parse, types: [] });
  if ("bind" in step) {
    const { bind, portal, params = [], binary = false } = step;
    return serialize.bind({ statement: bind, portal, values: [...params], binary, valueMapper: (value: unknown) => value });
  }
  if ("describe" in step) return serialize.describe({ type: "P", name: step.describe });
  if ("execute" in step) return serialize.execute({ portal: step.execute, ...(step.rows === undefined ? {} : { rows: step.rows }) });
  if ("sync" in step) return serialize.sync();
  throw new Error("a step that is not said through the gateway");
}

/** `said(sql)`: by the owner, past the gateway. */
export async function attempt(port: number, { steps }: Attempt, said: (sql: string) => Promise<void>): Promise<Outcome> {
  const client = await RawClient.ready(port);
  const answers: Answer[] = [];
  const all: Message[] = [];
  try {
    for (const step of steps) {
      if (typeof step === "object" && "direct" in step) {
        await said(step.direct);
        continue;
      }
      client.send(bytesOf(step));
      if (!isAnswered(step)) continue;
      const messages = await untilReady(client);
      all.push(...messages);
      const error = messages.find(({ type }) => type === "E");
      const fields = error === undefined ? {} : fieldsOf(error.body);
      const rows = messages.filter(({ type }) => type === "D" || type === "d").length;
      answers.push({ error: fields["C"] ?? null, message: fields["M"] ?? "", rows, closed: messages.at(-1)?.type !== "Z" });
    }
  } finally {
    client.destroy();
  }
  return { answers, transcript: all.map(printed).join("\n"), bytes: Buffer.concat(all.map(({ body }) => body)) };
}

/** Up to ReadyForQuery; where the client was asked for copy data, it declines. */
async function untilReady(client: RawClient): Promise<Message[]> {
  const taken: Message[] = [];
  for (;;) {
    const one = await client.next();
    if (one === undefined) return taken;
    taken.push(one);
    if (one.type === "G") client.send(serialize.copyFail("no"));
    if (one.type === "Z") return taken;
  }
}

/** Table OIDs differ where an attempt made the table itself; nothing else may. */
function printed({ type, body }: Message): string {
  if (type !== "T") return `${type} ${body.toString("latin1")}`;
  const copy = Buffer.from(body);
  let at = 2;
  for (let field = copy.readInt16BE(0); field > 0; field--) {
    at = copy.indexOf(0, at) + 1;
    if (copy.readUInt32BE(at) > 16_384) copy.writeUInt32BE(1, at);
    if (copy.readUInt32BE(at + 6) > 16_384) copy.writeUInt32BE(1, at + 6);
    at += 18;
  }
  return `${type} ${copy.toString("latin1")}`;
}
