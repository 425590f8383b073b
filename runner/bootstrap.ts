/** Requests with the bootstrap secret, which the gateway takes only while no bundle is active. */
import type { z } from "zod";
import { CommandFailed, EXIT } from "./exit.ts";
import { answerOf, ask } from "./ask.ts";
import { gatewayAddress } from "./gateway.ts";

/** POSTs `body`. The secret comes from the environment, never from an argument. @throws CommandFailed */
export async function bootstrapRequest<T>(gateway: string | undefined, path: string, answer: z.ZodType<T>, body: unknown): Promise<T> {
  const secret = process.env["SALLYPORT_BOOTSTRAP_SECRET"];
  if (secret === undefined || secret === "")
    throw new CommandFailed(EXIT.usage, "--bootstrap needs SALLYPORT_BOOTSTRAP_SECRET, the secret that the gateway was deployed with");
  const answered = await ask(new URL(path, gatewayAddress(gateway, process.env)), {
    method: "POST",
    headers: { authorization: `Bootstrap ${secret}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return answerOf(answered, answer);
}
