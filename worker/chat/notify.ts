/** Which channel is told how. A channel of a kind that is not here does not compile. */
import type { Approval } from "../../protocol/approval.ts";
import type { Notice, Told } from "../../durable-objects/approval/facts.ts";
import type { Env } from "../../durable-objects/env.ts";
import { unreachable } from "../../protocol/result.ts";
import { tellSlack } from "./slack.ts";
import { tellWebhook } from "./webhook.ts";

/** Never throws. `gateway`: its public origin. */
export async function tellChannel(env: Env, notice: Notice, approval: Approval, gateway: string): Promise<Told> {
  const url = `${gateway}/approvals/${approval.approval}`;
  const { kind } = notice.channel;
  try {
    switch (kind) {
      case "slack":
        return await tellSlack(env, notice, approval, url);
      case "webhook":
        return await tellWebhook(env, notice, approval, url);
      default:
        return unreachable(kind);
    }
  } catch (thrown) {
    // A fault of ours in making the message: it would fail the same way again.
    return { ok: false, retry: false, error: `the message could not be made: ${thrown instanceof Error ? thrown.name : typeof thrown}` };
  }
}
