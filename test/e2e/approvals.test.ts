/**
 * Consent by people, with nothing but real parts and a stand-in for Slack: a held statement in an unmodified psql is decided
 * by a press in the channel, or on the command line. Also that votes forged in Slack's name, or one's own, run nothing.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Client } from "pg";
import { buttonsOf, slackHeaders, startSlack, type SlackMessage, type SlackStandIn } from "../../dev/slack.ts";
import { connectTo } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { findProgram } from "../support/programs.ts";
import { finish, startWorld, type Finished, type World } from "../support/world.ts";

const psql = findProgram("psql");
let slack: SlackStandIn;
let world: World;
let direct: Client;

beforeAll(async () => {
  slack = await startSlack();
  world = await startWorld({ secrets: { SLACK_DBA: slack.secret, SALLYPORT_SLACK_API: slack.api } });
  await world.startAgent("one");
  direct = await connectTo(world.postgres, "shop");
}, 60_000);
afterAll(async () => {
  await direct?.end();
  await world?.stop();
  await slack?.stop();
});

const ALTER = "alter table orders add column note text";
beforeEach(async () => {
  await direct.query("alter table orders drop column if exists note; alter table orders owner to sallyport");
});

const altered = async (): Promise<boolean> =>
  (await direct.query("select 1 from information_schema.columns where table_name = 'orders' and column_name = 'note'")).rows.length > 0;

/** psql with a statement that is held, and Slack's message about it. */
async function held(sql = ALTER): Promise<{ finished: Promise<Finished>; message: SlackMessage; approval: string; kill: () => void }> {
  const before = slack.messages.length;
  const args = ["run", "orders-db", "--", psql ?? "psql", "-X", "-At", "-v", "VERBOSITY=verbose", "-c", sql, "-c", "select 'still here'"];
  const child = world.start(args, { SALLYPORT_TOKEN: await world.token() });
  const finished = finish(child);
  const message = await slack.message((each) => slack.messages.indexOf(each) >= before, 30_000);
  const approval = /apr_[0-9a-z]{26}/.exec(message.text)?.[0] ?? "";
  return { finished, message, approval, kill: () => child.kill() };
}

const dana = async (args: readonly string[]): Promise<Finished> =>
  world.sallyport(args, { SALLYPORT_TOKEN: await world.token("oidc", ["sub=00u2dana"]) });

describe.skipIf(psql === undefined)("in Slack", () => {
  test("the DBA presses Approve: the statement runs in the waiting session, and the message says so", async () => {
    const { finished, message } = await held();
    expect(JSON.stringify(message.blocks)).toContain(ALTER);
    expect(await altered()).toBe(false);
    expect(await slack.press(world.gateway.origin, message, "approve", { user: "U0DANA001" })).toBe(200);
    expect(await finished).toMatchObject({ code: 0, stdout: expect.stringContaining("still here") });
    expect(await altered()).toBe(true);
    await eventually(async () => expect(JSON.stringify(message.blocks)).toContain("*Approved* by `dana`"));
    expect(buttonsOf(message)).toEqual([]);
  });

  test("denies with a reason: the client is told who and why, and goes on", async () => {
    const { finished, message } = await held();
    expect(await slack.deny(world.gateway.origin, message, { user: "U0DANA001" }, "not before the backup")).toBe(200);
    const { stdout, stderr } = await finished;
    expect(stderr).toContain("42501");
    expect(stderr).toContain("dana");
    expect(stderr).toContain("not before the backup");
    expect(stdout).toContain("still here");
    expect(await altered()).toBe(false);
  });

  test("a stranger's press, and messages that Slack did not sign, run nothing", async () => {
    const { finished, message, approval } = await held();
    expect(await slack.press(world.gateway.origin, message, "approve", { user: "U0NOBODY1" })).toBe(200);
    await slack.call("chat.postEphemeral", ({ body }) => body["user"] === "U0NOBODY1");
    const [button] = buttonsOf(message);
    const payload = {
      type: "block_actions",
      team: { id: slack.team },
      user: { id: "U0DANA001" },
      trigger_id: "t",
      channel: { id: message.channel },
      actions: [button],
    };
    const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
    const forged = await fetch(new URL("/v1/chat/slack/actions", world.gateway.origin), {
      method: "POST",
      body,
      headers: slackHeaders("a guess at the secret", body, Date.now()),
    });
    expect(forged.status).toBe(401);
    // The link that the message carries, followed by whoever scans it.
    expect((await fetch(new URL(`/approvals/${approval}`, world.gateway.origin))).status).toBe(200);
    const shown = await dana(["approvals", "show", approval]);
    expect(shown.stdout).toMatch(/^state: +pending$/m);
    expect(shown.stdout).toContain("does not count: unmapped");
    expect(await altered()).toBe(false);
    expect((await dana(["approvals", "deny", approval, "--yes", "--reason", "done"])).code).toBe(0);
    await finished;
  });
});

describe.skipIf(psql === undefined)("on the command line", () => {
  test("list, show, approve", async () => {
    const { finished, approval } = await held();
    const listed = await dana(["approvals", "list", "--state", "pending"]);
    expect(listed.stdout).toContain(approval);
    const shown = await dana(["approvals", "show", approval]);
    expect(shown.stdout).toContain(`  | ${ALTER}`);
    expect(shown.stdout).toMatch(/^identity: +orders-ci$/m);
    expect(shown.stdout).toMatch(/slack C0DBAREQ1 requested: sent/);
    // Nobody can be asked back where there is no terminal.
    expect(await dana(["approvals", "approve", approval])).toMatchObject({ code: 64, stderr: expect.stringContaining("--yes") });
    expect(await altered()).toBe(false);
    const other = await dana(["approvals", "approve", approval, "--yes", "--digest", "0".repeat(64)]);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining("another command") });
    expect(await dana(["approvals", "approve", approval, "--yes"])).toMatchObject({ code: 0, stdout: `${approval} is approved\n` });
    expect((await finished).code).toBe(0);
    expect(await altered()).toBe(true);
    expect(await dana(["approvals", "deny", approval, "--yes"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("approval_over"),
    });
  });

  test("the job itself sees its own request and cannot consent; others see nothing", async () => {
    const { finished, approval } = await held();
    const own = await world.sallyport(["approvals", "show", approval]);
    expect(own.stdout).toContain(ALTER);
    const vote = await world.sallyport(["approvals", "approve", approval, "--yes"]);
    expect(vote).toMatchObject({ code: 77, stderr: expect.stringContaining("Whoever asks cannot consent") });
    expect(await altered()).toBe(false);
    const stranger = await world.admin(["approvals", "show", approval]);
    expect(stranger).toMatchObject({ code: 1, stdout: "" });
    await dana(["approvals", "deny", approval, "--yes"]);
    await finished;
    const audited = await world.admin(["refusals", "--code", "vote_refused"]);
    expect(audited.stdout).toContain(`vote on ${approval}: requester`);
  });
});
