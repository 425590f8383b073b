/** Who is asked, where, and on which terms: channels, chat accounts, voters, and what policies say of holding. */
import { describe, expect, it } from "vitest";
import { approverFor, membersOf } from "../../../policy/index.ts";
import { ADMIN, bundle, ci, compiled, FACTS, GATEWAY, NOW, problemsOf, READ, request, table } from "./bundles.ts";

const DROP = "  - { target: orders-db, actions: [pg:drop], approval: dba }\n";
const SLACK = "slack: { team: T0ACME, channel: C0DBA, secret: SLACK_DBA }";
const channels = (...entries: string[]) => `${GATEWAY}approvals:\n  channels:\n${entries.map((entry) => `    - { ${entry} }\n`).join("")}`;
const person = (name: string, more: string, kind = "human") =>
  `name: ${name}\nkind: ${kind}\nowner: ${name}\npurpose: consents\nmatch: { provider: oidc, claims: { sub: ${name}, org_id: acme } }\n${more}`;
const said = (files: Parameters<typeof problemsOf>[0]): readonly string[] =>
  problemsOf(files).map((each) => `${each.file}:${each.line}:${each.column} ${each.severity} ${each.rule} ${each.message}`);
const withGateway = (text: string, more: Record<string, string> = {}) => ({ ...bundle(DROP), "gateway.yaml": text, ...more });

describe("channels", () => {
  it("are read, several of a group too, and votes are taken for an hour at most unless it says more", () => {
    const text = channels(`group: dba, ${SLACK}`, "group: dba, webhook: { url: http://127.0.0.1:9/hook, secret: DBA_HOOK }");
    expect(compiled(withGateway(text)).gateway).toMatchObject({
      approval_ttl_max_s: 3600,
      channels: [
        { group: "dba", kind: "slack", team: "T0ACME", channel: "C0DBA", secret: "SLACK_DBA" },
        { group: "dba", kind: "webhook", url: "http://127.0.0.1:9/hook", secret: "DBA_HOOK" },
      ],
    });
    expect(compiled(withGateway(`${GATEWAY}approvals: { ttl_max: 7d }\n`)).gateway).toMatchObject({
      approval_ttl_max_s: 604_800,
      channels: [],
    });
    expect(compiled(bundle(READ)).gateway).toMatchObject({ approval_ttl_max_s: 3600, channels: [] });
  });

  const faults: readonly (readonly [name: string, text: string, message: string])[] = [
    ["a channel of nothing", channels("group: dba"), "gateway.yaml:8:7 error channel-form write slack: or webhook: beside group:"],
    [
      "a channel's name",
      channels("group: dba, slack: { team: T0ACME, channel: '#dba', secret: A }"),
      "channel: write the channel's id, such as C0123ABCD",
    ],
    [
      "a workspace's name",
      channels("group: dba, slack: { team: acme, channel: C0DBA, secret: A }"),
      "team: write the workspace's id, such as T0123ABCD",
    ],
    ["Slack without a workspace", channels("group: dba, slack: { channel: C0DBA, secret: A }"), "team: missing: write the workspace's id"],
    [
      "no secret's name",
      channels("group: dba, slack: { team: T0ACME, channel: C0DBA }"),
      "secret: write the NAME of one of the gateway's secrets, such as SLACK_DBA",
    ],
    [
      "http",
      channels("group: dba, webhook: { url: http://hooks.example.com, secret: A }"),
      "gateway.yaml:8:37 error channel-form write an https address",
    ],
    [
      "a password in the address",
      channels("group: dba, webhook: { url: 'https://u:p@hooks.example.com', secret: A }"),
      "channel-form write an https address without user and password",
    ],
    [
      "Slack's own webhooks",
      channels("group: dba, webhook: { url: https://hooks.slack.com/services/T0/B0/x, secret: A }"),
      "channel-form Slack's incoming webhooks take no votes",
    ],
    [
      "the same again",
      channels(`group: dba, ${SLACK}`, `group: dba, ${SLACK}`),
      "gateway.yaml:9:7 error channel-twice dba is announced there already",
    ],
    ["an unknown messenger", channels("group: dba, teams: {}"), 'unknown-key approvals.channels.0: unknown key "teams"'],
    ["votes for longer than a week", `${GATEWAY}approvals: { ttl_max: 8d }\n`, "approvals.ttl_max: out of range: from 1m to 7d"],
  ];
  for (const [name, text, message] of faults)
    it(`refuse ${name}`, () => {
      const lines = said(withGateway(text));
      expect(
        lines.some((line) => line.includes(message)),
        lines.join("\n"),
      ).toBe(true);
    });

  it("refuse a secret's value, and do not repeat it", () => {
    for (const value of [
      "xoxb-1234-abcdef",
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      "8f742231b10e8888abcd99eeee222a85",
      "{bot_token: xoxb-1}",
      "slack_dba",
      "S3cret!",
    ]) {
      const lines = said(withGateway(channels(`group: dba, slack: { team: T0ACME, channel: C0DBA, secret: "${value}" }`)));
      expect(lines.some((line) => line.includes("write the NAME of one of the gateway's secrets"))).toBe(true);
      expect(lines.join("\n")).not.toContain(value);
    }
    const urls = said(
      withGateway(channels("group: dba, webhook: { url: 'https://hooks.slack.com/services/T0/B0/verysecret', secret: A }")),
    );
    expect(urls.join("\n")).not.toContain("verysecret");
  });

  const warned = (text: string, more: Record<string, string> = {}) =>
    said(withGateway(text, more)).filter((line) => /channel|voters/.test(line));
  it("warn of who would not be reached", () => {
    expect(warned(GATEWAY)).toEqual([
      expect.stringMatching(/^identities\/ci.yaml:7:5 warning approval-channel approvals of dba are announced nowhere/),
    ]);
    expect(warned(channels(`group: dba, ${SLACK}`))).toEqual([
      expect.stringMatching(/^gateway.yaml:8:5 warning channel-voters nobody of dba could vote in Slack's T0ACME: write chat:/),
    ]);
    const chat = { "identities/mira.yaml": ADMIN.replace("groups", "chat: { slack: { team: T0ACME, user: U0MIRA } }\ngroups") };
    expect(warned(channels(`group: dba, ${SLACK}`), chat)).toEqual([]);
    expect(warned(channels(`group: dba, ${SLACK.replace("T0ACME", "T0OTHER")}`), chat)).toEqual([
      expect.stringContaining("channel-voters"),
    ]);
    expect(warned(channels(`group: dba, ${SLACK}`, `group: dbas, ${SLACK}`), chat)).toEqual([
      expect.stringContaining("channel-unused nothing asks the group dbas, so nothing is announced to it: did you mean dba?"),
    ]);
  });
});

describe("chat accounts", () => {
  const people = (...texts: string[]) => bundle(READ, "", { "identities/people.yaml": texts.join("---\n") });
  it("belong to humans, one mapping or a list", () => {
    const files = people(
      person(
        "dana",
        "chat:\n  - { slack: { team: T0ACME, user: U0DANA }, webhook: { user: dana@example.com } }\n  - { slack: { team: T0OTHER, user: W0DANA } }\n",
      ),
      person("eve", "chat: { webhook: { user: eve } }\n"),
    );
    expect(compiled(files).identities.get("dana")?.chat).toEqual([
      { kind: "slack", team: "T0ACME", user: "U0DANA" },
      { kind: "webhook", user: "dana@example.com" },
      { kind: "slack", team: "T0OTHER", user: "W0DANA" },
    ]);
    expect(compiled(files).identities.get("eve")?.chat).toEqual([{ kind: "webhook", user: "eve" }]);
    expect(compiled(files).identities.get("mira")?.chat).toEqual([]);
  });

  const faults: readonly (readonly [name: string, texts: readonly string[], message: string])[] = [
    [
      "of a machine",
      [person("bot", "chat: { webhook: { user: bot } }\n", "non-human")],
      "error chat-machine only humans vote: remove chat:",
    ],
    ["of no messenger", [person("dana", "chat: {}\n")], "error chat-form write slack: or webhook:"],
    [
      "by a display name",
      [person("dana", "chat: { slack: { team: T0ACME, user: '@dana' } }\n")],
      "user: write the member's id, such as U0456EFGH",
    ],
    ["without a workspace", [person("dana", "chat: { slack: { user: U0DANA } }\n")], "team: missing: write the workspace's id"],
    ["with invisible characters", [person("dana", 'chat: { webhook: { user: "dana\\u200B" } }\n')], "without invisible characters"],
    [
      "of two people",
      [
        person("dana", "chat: { slack: { team: T0ACME, user: U0DANA } }\n"),
        person("eve", "chat: { slack: { team: T0ACME, user: U0DANA } }\n"),
      ],
      "identities/people.yaml:13:7 error chat-twice the slack account U0DANA is dana's already (identities/people.yaml)",
    ],
    [
      "of two people, but for capitals",
      [person("dana", "chat: { webhook: { user: dana } }\n"), person("eve", "chat: { webhook: { user: Dana } }\n")],
      "error chat-twice the webhook account Dana is dana's already",
    ],
  ];
  for (const [name, texts, message] of faults)
    it(`refuse one ${name}`, () => {
      const lines = said(people(...texts));
      expect(
        lines.some((line) => line.includes(message)),
        lines.join("\n"),
      ).toBe(true);
    });

  it("are no account in another workspace, and may be listed twice by their owner", () => {
    const files = people(
      person("dana", "chat: [{ slack: { team: T0ACME, user: U1 } }, { slack: { team: T0ACME, user: U1 } }]\n"),
      person("eve", "chat: { slack: { team: T0OTHER, user: U1 } }\n"),
    );
    const { identities } = compiled(files);
    expect(approverFor(identities, "slack", "T0ACME", "U1")?.name).toBe("dana");
    expect(approverFor(identities, "slack", "T0OTHER", "U1")?.name).toBe("eve");
  });
});

describe("who consents", () => {
  const { identities } = compiled(
    bundle(DROP, "", {
      "identities/people.yaml": person("dana", "groups: [dba]\nchat: { slack: { team: T0ACME, user: U0DANA }, webhook: { user: dana } }\n"),
      "identities/bot.yaml": person("bot", "groups: [dba]\n", "non-human"),
    }),
  );
  it("is a human of the group, never a machine in it", () => {
    expect(membersOf(identities, "dba").map((each) => each.name)).toEqual(["mira", "dana"]);
    expect(membersOf(identities, "ci")).toEqual([]);
    expect(membersOf(identities, "nobody")).toEqual([]);
  });
  it("is known by the account of that messenger in that workspace, and nothing less", () => {
    expect(approverFor(identities, "slack", "T0ACME", "U0DANA")?.name).toBe("dana");
    expect(approverFor(identities, "webhook", undefined, "dana")?.name).toBe("dana");
    for (const [kind, team, user] of [
      ["slack", "T0OTHER", "U0DANA"],
      ["slack", undefined, "U0DANA"],
      ["slack", "T0ACME", "u0dana"],
      ["slack", "T0ACME", "dana"],
      ["webhook", undefined, "U0DANA"],
      ["webhook", undefined, "Dana"],
      ["webhook", undefined, ""],
    ] as const)
      expect([kind, team, user, approverFor(identities, kind, team, user)]).toEqual([kind, team, user, undefined]);
  });

  const lint = (grant: string, ...people: string[]) =>
    said(bundle(grant, "", { "identities/people.yaml": people.join("---\n") })).filter((line) => / approval-(?:group|min) /.test(line));
  it("is enough people, who are not the requester", () => {
    const two = "  - { target: orders-db, actions: [pg:drop], approval: sec, approval_min: 2 }\n";
    const member = (name: string, kind?: string) => person(name, "groups: [sec]\n", kind);
    expect(lint(two, member("a"), member("b"))).toEqual([]);
    expect(lint(two, member("a"))).toEqual([
      expect.stringContaining("error approval-min 2 humans of sec must consent, but it has 1 who could"),
    ]);
    expect(lint(two, member("a"), member("b", "non-human"))).toEqual([expect.stringContaining("error approval-min 2 humans")]);
    expect(lint(two, member("a"), member("b"), member("c", "non-human"))).toEqual([
      expect.stringContaining("warning approval-group c of the group sec cannot consent, for only humans do"),
    ]);
    const own = "groups: [sec]\ngrants:\n  - { target: orders-db, actions: [pg:drop], approval: sec }\n";
    expect(lint(READ, person("a", own))).toEqual([
      expect.stringContaining(
        "error approval-min one human of sec must consent, but it has 0 who could, for nobody consents to their own request",
      ),
    ]);
    expect(lint(READ, person("a", own), member("b"))).toEqual([]);
  });
});

describe("hold:", () => {
  it("waits unless the identity says fail", () => {
    const holdOf = (more: string) => compiled({ ...bundle(READ), "identities/ci.yaml": ci(READ, more) }).identities.get("orders-ci")?.hold;
    expect([holdOf(""), holdOf("hold: wait\n"), holdOf("hold: fail\n")]).toEqual(["wait", "wait", "fail"]);
    expect(said({ ...bundle(READ), "identities/ci.yaml": ci(READ, "hold: fial\n") })).toContainEqual(
      expect.stringContaining('hold: unknown value "fial": did you mean fail?'),
    );
  });
});

describe("terms of holding", () => {
  const terms = (
    annotations: string,
  ) => `@id("t") ${annotations} @approval("dba") permit (principal, action == Action::"pg:truncate", resource)
when { context.approvals.contains("dba") };`;
  const holdOf = (cedar: string, grants = READ) => compiled(bundle(grants, cedar)).decide(request("pg:truncate", table("a")), FACTS).hold;

  it("are a quarter of an hour and no open transaction, unless the permit says more", () => {
    expect(holdOf(terms(""))).toEqual({ inTransaction: false, ttl: 900_000 });
    expect(holdOf(terms('@approval_ttl("90s") @hold_in_transaction("allow")'))).toEqual({ inTransaction: true, ttl: 90_000 });
    expect(holdOf(terms('@approval_ttl("7d") @hold_in_transaction("refuse")'))).toEqual({ inTransaction: false, ttl: 604_800_000 });
    const grant = "  - { target: orders-db, actions: [pg:truncate], approval: dba, approval_ttl: 1h, hold_in_transaction: allow }\n";
    expect(holdOf("", grant)).toEqual({ inTransaction: true, ttl: 3_600_000 });
  });
  it("are said only where the answer is hold", () => {
    const policy = compiled(bundle(READ, terms("")));
    for (const [action, approvals, outcome] of [
      ["pg:truncate", ["dba"], "allow"],
      ["pg:drop", [], "deny"],
      ["pg:select", [], "allow"],
    ] as const) {
      const decision = policy.decide(request(action, table("a"), { approvals }), FACTS);
      expect([action, decision.outcome, Object.hasOwn(decision, "hold")]).toEqual([action, outcome, false]);
    }
  });
  it("are refused when they mean nothing", () => {
    for (const [annotation, message] of [
      ['@approval_ttl("15")', '@approval_ttl is how long votes are taken: write a duration such as "15m"'],
      ['@approval_ttl("59s")', "@approval_ttl is how long votes are taken"],
      ['@approval_ttl("8d")', "@approval_ttl is how long votes are taken"],
      ["@approval_ttl", "@approval_ttl is how long votes are taken"],
      ['@hold_in_transaction("yes")', 'write @hold_in_transaction("allow")'],
      ['@hold_in_transaction("Allow")', 'write @hold_in_transaction("allow")'],
    ] as const)
      expect(said(bundle(READ, terms(annotation)))).toContainEqual(expect.stringContaining(`error approval-terms ${message}`));
    for (const annotation of ['@approval_ttl("15m")', '@hold_in_transaction("allow")'])
      expect(said(bundle(READ, `${annotation} permit (principal, action == Action::"pg:drop", resource);`))).toContainEqual(
        expect.stringContaining("error approval-terms @"),
      );
    expect(said(bundle("  - { target: a, actions: [pg:drop], approval_ttl: 15m }\n"))).toContainEqual(
      expect.stringContaining("identities/ci.yaml:7:52 error approval-terms approval_ttl needs approval:"),
    );
    expect(said(bundle("  - { target: a, actions: [pg:drop], approval: dba, approval_ttl: 8d }\n"))).toContainEqual(
      expect.stringContaining("grants.0.approval_ttl: out of range: from 1m to 7d"),
    );
  });
  it("that last longer than the gateway allows are worth a warning", () => {
    const long = terms('@approval_ttl("2h")');
    expect(said(bundle(READ, long))).toContainEqual(
      expect.stringContaining("policies/p.cedar:1:1 warning approval-ttl votes would be taken for 2h, but the gateway takes none after 1h"),
    );
    const raised = { ...bundle(READ, long), "gateway.yaml": `${GATEWAY}approvals: { ttl_max: 2h }\n` };
    expect(said(raised).filter((line) => line.includes("approval-ttl"))).toEqual([]);
  });

  const cedar = `@id("drop") @approval("dba") @approval_ttl("1h") @hold_in_transaction("allow")
permit (principal, action == Action::"pg:drop", resource) when { context.approvals.contains("dba") };
@id("truncate") @approval("sec") @approval_ttl("5m") @approval_min("2") @hold_in_transaction("allow")
permit (principal, action == Action::"pg:truncate", resource) when { context.approvals.contains("sec") };
@id("alter") @approval("dba")
permit (principal, action == Action::"pg:alter", resource) when { context.approvals.contains("dba") };`;
  const people = ["a", "b"].map((name) => person(name, "groups: [sec]\n")).join("---\n");
  const policy = compiled(bundle(READ, cedar, { "identities/people.yaml": people }));
  const all = (approvals: readonly string[], ...actions: readonly string[]) =>
    policy.decideAll(
      actions.map((action) => request(action, table("a"), { approvals, now: NOW })),
      FACTS,
    );
  it("of several held actions are the strictest of them", () => {
    expect(all([], "pg:drop", "pg:select")).toMatchObject({ outcome: "hold", hold: { inTransaction: true, ttl: 3_600_000 } });
    expect(all([], "pg:drop", "pg:truncate")).toMatchObject({ outcome: "hold", hold: { inTransaction: true, ttl: 300_000 } });
    expect(all([], "pg:drop", "pg:alter")).toMatchObject({ outcome: "hold", hold: { inTransaction: false, ttl: 900_000 } });
    expect(all([], "pg:alter", "pg:truncate").hold).toEqual({ inTransaction: false, ttl: 300_000 });
  });
  it("of several permits that ask the same, any of which would do, are the strictest one's", () => {
    const same = (id: string, terms: string) => `@id("${id}") @approval("dba") ${terms}
permit (principal, action == Action::"pg:drop", resource) when { context.approvals.contains("dba") };`;
    const chosen = (...policies: string[]) =>
      compiled(bundle(READ, policies.join("\n"))).decide(request("pg:drop", table("a")), FACTS).policies;
    const allow = '@hold_in_transaction("allow")';
    expect(chosen(same("a", allow), same("b", ""))).toEqual(["b"]);
    expect(chosen(same("a", '@approval_ttl("1h")'), same("b", '@approval_ttl("5m")'), same("c", `@approval_ttl("1m") ${allow}`))).toEqual([
      "b",
    ]);
    expect(chosen(same("a", ""), same("b", ""))).toEqual(["a"]);
    const grants = (terms: string) => `${DROP}  - { target: orders-db, actions: [pg:drop], tables: [public.a], approval: dba${terms} }\n`;
    const shadowed = (terms: string) => said(bundle(grants(terms))).some((line) => line.includes("grant-shadowed"));
    expect([shadowed(""), shadowed(", approval_ttl: 1h"), shadowed(", hold_in_transaction: allow")]).toEqual([true, false, false]);
  });
  it("are gone once all that was asked for is given: of several actions where one was held, and of several held ones", () => {
    expect(all(["dba"], "pg:select", "pg:drop", "pg:select")).toMatchObject({ outcome: "allow", approvals: [] });
    expect(all(["dba"], "pg:drop", "pg:truncate")).toMatchObject({
      outcome: "hold",
      approvals: [{ group: "sec", min: 2 }],
      hold: { ttl: 300_000 },
    });
    expect(all(["dba", "sec"], "pg:drop", "pg:truncate", "pg:select")).toMatchObject({ outcome: "allow" });
    expect(all(["sec"], "pg:drop")).toMatchObject({ outcome: "hold", approvals: [{ group: "dba", min: 1 }] });
    expect(all(["dba", "sec"], "pg:drop", "pg:delete").outcome).toBe("deny");
  });
});
