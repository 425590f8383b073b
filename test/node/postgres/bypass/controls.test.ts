/**
 * The oracle itself: what the attempts are held against does find leaks where nothing masks. Straight to the server,
 * every class of attack must show a difference or a sentinel somewhere, or its attempts would prove nothing.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { attempt } from "./attempt.ts";
import { corpus } from "./corpus.ts";
import { startDatabases, type Databases } from "./databases.ts";
import { leaked } from "./sentinels.ts";
import { startGateway, type Gateway } from "../support.ts";

let databases: Databases;
beforeAll(async () => {
  databases = await startDatabases();
}, 60_000);
afterAll(async () => databases.stop());

async function openGateway(database: string): Promise<Gateway> {
  const { owner, server } = databases;
  return await startGateway({ postgres: { ...server, superuser: owner }, config: { database } });
}

it("the corpus is as large as it says", () => {
  expect(corpus.flatMap(({ attempts }) => attempts).length).toBeGreaterThan(400);
});

it.each(corpus.filter(({ hazard }) => hazard !== "PG-36"))(
  "without masking, $file leaks",
  async ({ attempts }) => {
    const names = await databases.pair();
    const gateways = [await openGateway(names[0]), await openGateway(names[1])] as const;
    let found = 0;
    for (const one of attempts) {
      if (one.steps.some((step) => typeof step === "object" && "direct" in step)) continue;
      const said = one.title;
      const first = await attempt(gateways[0].port, one, async () => undefined);
      const second = await attempt(gateways[1].port, one, async () => undefined);
      if (first.transcript !== second.transcript || leaked(first.bytes, said) !== undefined) found += 1;
    }
    expect(found).toBeGreaterThan(attempts.length / 6);
    for (const gateway of gateways) await gateway.stop();
    await databases.drop(names);
  },
  60_000,
);
