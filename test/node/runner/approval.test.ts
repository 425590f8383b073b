/** What an approver reads on a terminal: whole, harmless, and what was hashed. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { approvalDigestText, type Approval, type ApprovalSubject } from "../../../protocol/approval.ts";
import { visibleLines, warningsOf } from "../../../protocol/visible.ts";
import { checkDigest, describeApproval } from "../../../runner/approval.ts";

function approval(subject: Partial<ApprovalSubject> = {}, more: Partial<Approval> = {}): Approval {
  const whole: ApprovalSubject = {
    kind: "command",
    target: "orders-db",
    protocol: "postgres",
    statements: [{ text: "ALTER TABLE orders ADD note text" }],
    environment: { database: "shop", role: "low", search_path: "public" },
    objects: [],
    ...subject,
  };
  return {
    approval: `apr_${"0".repeat(26)}`,
    session: "ses_1",
    command: 3,
    mode: "wait",
    subject: whole,
    digest: createHash("sha256").update(approvalDigestText(whole)).digest("hex"),
    effects: [{ action: "pg:alter", resource: "orders-db/public.orders" }],
    needs: [{ group: "dba", min: 2 }],
    policies: ["ddl-held"],
    reason: "Changes of tables wait for a DBA.",
    bundle: 2,
    ttl: 60_000,
    in_transaction: false,
    identity: "orders-ci",
    workload: { provider: "github", issuer: "https://i", subject: "s", pipeline: "shop/orders / deploy", run_id: "1001", actor: "lena" },
    site: "north",
    agent: "agt_1",
    state: "pending",
    requested_at: 0,
    expires_at: 60_000,
    votes: [],
    refused_votes_not_kept: 0,
    notices: [],
    ...more,
  };
}

describe("GW-13 the whole and nothing but the whole", () => {
  test("every statement to its last character, with every parameter", () => {
    const long = `${"SELECT 1;\n".repeat(5000)}DROP TABLE last`;
    const shown = describeApproval(
      approval({ statements: [{ text: long, parameters: ["it's", null, { hex: "00ff" }] }, { text: "SELECT 2" }] }),
    );
    expect(shown.match(/^ {2}\| SELECT 1;$/gm)).toHaveLength(5000);
    expect(shown).toContain('  | DROP TABLE last\n  $1 = "it\'s"\n  $2 = NULL\n  $3 = \\x00ff\nstatement 2 of 2:\n  | SELECT 2');
  });

  test.each<[string, string, string]>([
    ["a reordering of direction", "DELETE /*\u202e*/ FROM t", "DELETE /*\\u{202e}*/ FROM t"],
    ["an erased line of a terminal", "DROP TABLE t\u001b[2K\rSELECT 1", "DROP TABLE t\\x1b[2K\\x0dSELECT 1"],
    ["a C1 control", "x\u009b2Jy", "x\\x9b2Jy"],
    ["a zero-width character", "or\u200bders", "or\\u{200b}ders"],
    ["a blank that is none", "a\u3164b\u2800c", "a\\u{3164}b\\u{2800}c"],
    ["tags", "a\u{e0041}b", "a\\u{e0041}b"],
    ["a lone surrogate", "a\ud800b", "a\\u{d800}b"],
  ])("%s is shown as an escape, and warned of", (_, text, visible) => {
    expect(visibleLines(text)).toBe(visible);
    expect(warningsOf(text)).toHaveLength(1);
    const shown = describeApproval(approval({ statements: [{ text, parameters: [text] }], environment: { role: text } }));
    expect(shown).toContain(`  | ${visible}`);
    expect(shown).toContain("warning:   It holds control or invisible characters");
    expect(shown).not.toMatch(/[\u001b\u009b\u200b\u202e\u3164\u2800\r]|\p{Cs}/u);
  });

  test("text that cannot be mistaken for the frame: every line of a statement is marked", () => {
    const shown = describeApproval(approval({ statements: [{ text: "SELECT 1\nvotes:\n  mira approve\n\ncommand:\n  | SELECT 2" }] }));
    expect(shown.split("\n").filter((line) => line.startsWith("command:"))).toHaveLength(1);
    expect(shown).toContain("  |   | SELECT 2");
  });

  test("blanks that push the rest out of sight are warned of; plain text is not", () => {
    expect(warningsOf(`SELECT 1;${" ".repeat(300)}DROP TABLE t`)).toHaveLength(1);
    expect(warningsOf(`SELECT 1;${"\n".repeat(40)}DROP TABLE t`)).toHaveLength(1);
    expect(warningsOf("SELECT 'été, 字, 😀';\n\n\tSELECT 2")).toEqual([]);
  });

  test("blanks are looked at in linear time", () => {
    expect(warningsOf(`${" ".repeat(199)}x`.repeat(20_000))).toEqual([]);
  });
});

test("who asks, from where, what is missing, who voted, and which channels heard of it", () => {
  const shown = describeApproval(
    approval(
      {},
      {
        in_transaction: true,
        estimate: "Seq Scan\n  rows=12",
        votes: [
          { at: 0, voter: "mira", door: "slack", vote: "approve", groups: ["dba"] },
          { at: 0, voter: "slack T1/U9", door: "slack", vote: "deny", groups: [], refused: "unmapped" },
        ],
        notices: [{ channel: "slack C1", event: "requested", state: "failed", attempts: 8, error: "channel_not_found" }],
      },
    ),
  );
  for (const part of [
    "identity:    orders-ci",
    "pipeline:    shop/orders / deploy",
    "actor:       lena",
    "search_path: public",
    "needs:       2 of dba",
    "pg:alter orders-db/public.orders",
    "ddl-held: Changes of tables wait for a DBA.",
    "holds locks while it waits",
    "  rows=12",
    "mira approve (slack)",
    "slack T1/U9 deny (slack) – does not count: unmapped",
    "slack C1 requested: failed after 8 attempts (channel_not_found)",
  ])
    expect(shown).toContain(part);
});

test("a command that is not the one of the digest is not shown to be voted on", () => {
  const right = approval();
  expect(() => checkDigest(right)).not.toThrow();
  expect(() => checkDigest({ ...right, subject: { ...right.subject, target: "billing-db" } })).toThrow(
    "the digest is not that of the command shown",
  );
});
