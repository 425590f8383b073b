/** Whatever comes in whatever order: a held command reaches the target only by consent to it or by a policy that allows it, and once. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { messagesOf, Rig, say } from "../machine/rig.ts";
import { serialize } from "../raw-client.ts";
import { ScriptedApprovals } from "./scripted.ts";

const step = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("query", "pipeline") },
  { weight: 8, arbitrary: fc.constantFrom("inspected", "inspected", "inspected", "approved") },
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      "unreadable",
      "changed",
      "denied",
      "other group",
      "opened",
      "late",
      "cancel",
      "hold",
      "allow",
      "deny",
      "wait",
      "old news",
    ),
  },
);

/** One command a number, so that what reaches the target can be told apart. */
const textOf = (n: number): string => `alter table held add column c${n} int`;

test("nothing unapproved runs, and nothing twice", () => {
  let [ran, late] = [0, 0];
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 80 }), fc.boolean(), (steps, waits) => {
      const approvals = new ScriptedApprovals();
      approvals.mode = waits ? "wait" : "fail";
      const rig = new Rig({ rule: () => "hold", approvals });
      let commands = 0;
      let allowed = false;
      let expired = false;
      /** Texts that somebody of dba consented to. */
      const consented = new Set<string>();
      const requests = () => rig.events.flatMap((event) => (event.type === "request-approval" ? [event] : []));
      const news = (state: "approved" | "denied", group: string, back = 0): void => {
        const request = requests().at(-1 - back);
        if (request === undefined) return;
        const text = request.request.subject.statements[0]?.text ?? "";
        if (state === "approved" && group === "dba") consented.add(text);
        rig.do((machine) =>
          machine.approvalNews(request.approval, { type: "settled", outcome: { state, at: 1, groups: [group], by: ["anna"] } }),
        );
      };
      const inspected = (answer: { ok: false } | { ok: true; objects: { name: string; definition: string }[] }): void => {
        const question = rig.events.flatMap((event) => (event.type === "inspect" ? [event.question] : [])).at(-1);
        if (question !== undefined) rig.do((machine) => machine.inspected(question, answer));
      };
      const seen = new Map<string, number>();
      /** The target answers everything at once, and what it was told is looked at. */
      const settle = (): void => {
        for (let bytes = rig.toTarget(); bytes.length > 0; bytes = rig.toTarget()) {
          let failed = false;
          for (const { type, body } of messagesOf(bytes)) {
            const text = /alter table held add column c\d+ int/.exec(body.toString())?.[0];
            if (text !== undefined && type === "Q") seen.set(text, (seen.get(text) ?? 0) + 1);
            if (type === "Q") rig.backend(say.complete("ALTER TABLE"), say.ready());
            else if (type === "S") {
              failed = false;
              rig.backend(say.ready());
            } else if (failed) continue;
            else if (type === "P") rig.backend(say.parsed);
            else if (type === "B") {
              ran += 1;
              expect(allowed || consented.size > 0).toBe(true);
              rig.backend(say.bound);
            } else if (type === "E") rig.backend(say.complete("ALTER TABLE"));
            else if (type === "D") {
              failed = true;
              rig.backend(say.error("26000"));
            }
          }
        }
      };
      for (const one of steps) {
        if (rig.end !== undefined) break;
        switch (one) {
          case "query":
            rig.client(serialize.query(textOf((commands += 1))));
            break;
          case "pipeline":
            rig.client(serialize.parse({ text: textOf((commands += 1)) }), serialize.bind({}), serialize.execute({}), serialize.sync());
            break;
          case "inspected":
            inspected({ ok: true, objects: [] });
            break;
          case "changed":
            inspected({ ok: true, objects: [{ name: "public.held", definition: "b".repeat(64) }] });
            break;
          case "unreadable":
            inspected({ ok: false });
            break;
          case "approved":
            news("approved", "dba");
            break;
          case "old news":
            news("approved", "dba", 1);
            break;
          case "denied":
            news("denied", "dba");
            break;
          case "other group":
            news("approved", "interns");
            break;
          case "opened": {
            const request = requests().at(-1);
            if (request === undefined) break;
            rig.do((machine) => machine.approvalNews(request.approval, { type: "opened", expiresAt: Date.now() + 60_000, url: "u" }));
            break;
          }
          case "cancel":
            rig.do((machine) => machine.cancel());
            // Aimed at the backend where nothing is held: the shell says when it was taken.
            if (rig.cancels > 0) rig.do((machine) => machine.cancelDone());
            break;
          case "hold":
          case "deny":
            rig.setRule(() => one);
            break;
          case "allow":
            rig.setRule(() => "allow");
            allowed = true;
            break;
          case "late":
            expired = true;
            rig.now += 3_600_000;
            rig.do((machine) => machine.expire());
            break;
          case "wait":
            rig.now += 1_000;
            rig.do((machine) => machine.expire());
            break;
          default:
            throw new Error(`no step ${String(one)}`);
        }
        settle();
        for (const [text, times] of seen) {
          expect(times, text).toBe(1);
          expect(allowed || consented.has(text), text).toBe(true);
        }
        ran += seen.size;
      }
      if (expired) late += 1;
    }),
    { numRuns: 150 },
  );
  // The walk gets that far.
  expect([ran > 0, late > 0]).toEqual([true, true]);
});
