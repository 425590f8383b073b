/** Every mistake in a bundle's files is found at its place, with what to write instead. */
import { describe, expect, it } from "vitest";
import { splitPolicies } from "../../../policy/cedar/read.ts";
import { ADMIN, brief, bundle, ci, compiled, GATEWAY, problemsOf, READ } from "./bundles.ts";

/** Only what the change brought. */
const errors = (files: Parameters<typeof problemsOf>[0]) => problemsOf(files).filter((each) => each.severity === "error");
const withGateway = (text: string) => ({ ...bundle(READ), "gateway.yaml": text });
const withIdentity = (text: string) => ({ ...bundle(READ), "identities/ci.yaml": text });

describe("YAML", () => {
  const rows: readonly (readonly [name: string, text: string, place: string])[] = [
    ["a duplicate key", "audience: a\naudience: b\n", "gateway.yaml:2:1 error yaml-duplicate-key"],
    ["an alias", "audience: &a x\nissuers: [*a]\n", "gateway.yaml:1:14 error yaml-anchor"],
    ["a tag", "audience: !!binary x\n", "gateway.yaml:1:11 error yaml-syntax"],
    ["a custom tag", "audience: !js/function x\n", "gateway.yaml:1:11 error yaml-syntax"],
    ["a merge key", "<<: { audience: a }\naudience: b\n", "gateway.yaml:1:1 error unknown-key"],
    ["a key that objects lose", "__proto__: { audience: a }\n", "gateway.yaml:1:1 error unknown-key"],
    ["broken syntax", "audience: [a\n", "gateway.yaml:2:1 error yaml-syntax"],
    ["a second document", `${GATEWAY}---\n${GATEWAY}`, "gateway.yaml:7:1 error yaml-documents"],
    ["an empty file", "# nothing\n", "gateway.yaml:1:1 error file-empty"],
  ];
  for (const [name, text, place] of rows) it(`refuses ${name}`, () => expect(brief(errors(withGateway(text)))).toContain(place));

  it("refuses nesting without end, in few words", () => {
    for (const text of ["[".repeat(50_000), "{a: ".repeat(50_000), `${"[".repeat(3000)}${"]".repeat(3000)}`, "- ".repeat(20_000)]) {
      const found = errors(withGateway(text));
      expect(found[0]).toMatchObject({ file: "gateway.yaml" });
      expect(found.length).toBeLessThan(12);
    }
  });

  it("takes every scalar as it is written", () => {
    const policy = compiled(
      withIdentity(ci(READ).replace("repository_id: 123", "repository_id: 0123, ref_protected: true, run_attempt: 1e3")),
    );
    expect(policy.identities.get("orders-ci")?.match[0]?.claims).toEqual({
      repository_id: ["0123"],
      ref_protected: ["true"],
      run_attempt: ["1e3"],
    });
  });
});

describe("gateway.yaml", () => {
  const rows: readonly (readonly [change: string, text: string, message: string])[] = [
    ["no audience", "issuers:\n  - provider: github\n", "gateway.yaml:1:1 bundle-shape audience: missing: write the gateway's audience"],
    ["an unknown key", `${GATEWAY}sesion_max: 8h\n`, 'gateway.yaml:6:1 unknown-key unknown key "sesion_max": did you mean session_max?'],
    [
      "an unknown provider",
      "audience: a\nissuers:\n  - provider: gihub\n",
      'gateway.yaml:3:15 bundle-shape issuers.0.provider: unknown value "gihub": did you mean github?',
    ],
    [
      "a duration without unit",
      `${GATEWAY}session_max: 8\n`,
      "gateway.yaml:6:14 bundle-shape session_max: write a duration such as 90s, 15m, 8h or 30d, from 1m to 7d",
    ],
    ["a duration out of range", `${GATEWAY}session_max: 8d\n`, "gateway.yaml:6:14 bundle-shape session_max: out of range: from 1m to 7d"],
    ["an issuer without address", "audience: a\nissuers:\n  - provider: oidc\n", "gateway.yaml:3:5 issuer-missing"],
    ["http", "audience: a\nissuers:\n  - { provider: oidc, issuer: http://login.example.com }\n", "gateway.yaml:3:31 issuer-address"],
    [
      "a password",
      "audience: a\nissuers:\n  - { provider: oidc, issuer: https://u:p@login.example.com }\n",
      "gateway.yaml:3:31 issuer-address an address holds no user or password",
    ],
    ["an issuer twice", "audience: a\nissuers:\n  - provider: github\n  - provider: github\n", "gateway.yaml:4:5 issuer-twice"],
    [
      "a symmetric algorithm",
      `audience: a\nissuers:\n  - { provider: github, algorithms: [HS256] }\n`,
      'issuers.0.algorithms.0: unknown value "HS256": did you mean',
    ],
    [
      "an old token",
      "audience: a\nissuers:\n  - { provider: github, max_token_age: 2h }\n",
      "gateway.yaml:3:40 token-age github's jobs can get a fresh token",
    ],
  ];
  for (const [change, text, message] of rows) {
    it(`refuses ${change}`, () => {
      const said = errors(withGateway(text)).map((each) => `${each.file}:${each.line}:${each.column} ${each.rule} ${each.message}`);
      expect(
        said.some((line) => line.includes(message)),
        said.join("\n"),
      ).toBe(true);
    });
  }
  it("fills in what is left out", () => {
    const { gateway } = compiled(
      withGateway(
        `${GATEWAY}  - provider: gitlab\n  - { provider: kubernetes, issuer: http://127.0.0.1:9000, audience: other, algorithms: ES256 }\nretention: 30d\n`,
      ),
    );
    expect(gateway).toMatchObject({
      audience: "https://gate.example.com",
      session_max_s: 28_800,
      sessions_per_identity: 64,
      policy_max_stale_s: 3600,
      retention_days: 30,
    });
    expect(gateway.issuers.map((each) => [each.issuer, each.audience, each.algorithms, each.max_token_age_s])).toEqual([
      ["https://token.actions.githubusercontent.com", "https://gate.example.com", ["RS256", "ES256"], 600],
      ["https://login.example.com", "https://gate.example.com", ["RS256", "ES256"], 600],
      ["https://gitlab.com", "https://gate.example.com", ["RS256", "ES256"], 3600],
      ["http://127.0.0.1:9000", "other", ["ES256"], 3600],
    ]);
  });
});

describe("identities", () => {
  const rows: readonly (readonly [change: string, text: string, message: string])[] = [
    [
      "no owner",
      ci(READ).replace("owner: team-orders\n", ""),
      "identities/ci.yaml:1:1 bundle-shape owner: missing: write who answers for this identity",
    ],
    [
      "an empty purpose",
      ci(READ).replace("purpose: reads orders", 'purpose: ""'),
      "bundle-shape purpose: empty: write what this identity is for",
    ],
    [
      "a capital in the name",
      ci(READ).replace("name: orders-ci", "name: Orders"),
      "identities/ci.yaml:1:7 bundle-shape name: write the identity's name: 1–63",
    ],
    [
      "an unknown key in a grant",
      ci("  - { target: orders-db, action: [pg:read] }\n"),
      'unknown-key grants.0: unknown key "action": did you mean actions?',
    ],
    [
      "an unknown action",
      ci("  - { target: orders-db, actions: [pg:selct] }\n"),
      'identities/ci.yaml:7:36 unknown-action unknown action "pg:selct": did you mean pg:select?',
    ],
    [
      "an action on the gateway in a grant",
      ci("  - { target: orders-db, actions: [policy:publish] }\n"),
      "action-place policy:publish is an action on the gateway: write it under gateway:",
    ],
    ["a grant on nothing named", ci("  - { actions: [pg:read] }\n"), "identities/ci.yaml:7:5 grant-target"],
    ["a grant on everything", ci("  - { targets: {}, actions: [pg:read] }\n"), "grant-target an empty selector would be every target"],
    [
      "a table without schema",
      ci("  - { target: orders-db, actions: [pg:read], tables: [orders] }\n"),
      "identities/ci.yaml:7:55 grant-name write tables as schema.name or schema.*",
    ],
    [
      "a wildcard for a schema",
      ci("  - { target: orders-db, actions: [pg:read], tables: ['*.orders'] }\n"),
      "grant-name write tables as schema.name",
    ],
    [
      "capitals that SQL would fold",
      ci("  - { target: orders-db, actions: [pg:read], tables: [public.Orders] }\n"),
      'grant-name "Orders" has capitals: write orders',
    ],
    ["a minimum of consent without a group", ci("  - { target: orders-db, actions: [pg:read], approval_min: 2 }\n"), "approval-min"],
    [
      "a date that does not exist",
      ci("  - { target: orders-db, actions: [pg:read], expires: 2026-02-30 }\n"),
      "grants.0.expires: this date does not exist",
    ],
    [
      "an id twice",
      ci("  - { id: a, target: x, actions: [pg:read] }\n  - { id: a, target: y, actions: [pg:read] }\n"),
      "identities/ci.yaml:8:11 policy-id the id a is there twice",
    ],
    [
      "an issuer that the gateway does not have",
      ci(READ).replace("provider: github", "issuer: https://token.actions.githubusercontent.co"),
      "match-issuer no issuer in gateway.yaml fits https://token.actions.githubusercontent.co: did you mean https://token.actions.githubusercontent.com?",
    ],
    [
      "a provider that the gateway does not have",
      ci(READ).replace("provider: github", "provider: gitlab"),
      "match-issuer no issuer in gateway.yaml fits gitlab: add it under issuers:",
    ],
    [
      "a match of no claims",
      ci(READ).replace("claims: { repository_id: 123 }", "claims: {}"),
      "match-weak no claims: every token of the issuer would match",
    ],
    ["no match", ci(READ).replace(/match.*\n/, ""), "match: missing: write how its tokens are recognised"],
    ["the same name again", ADMIN, "identity-twice the identity mira is declared twice: also in identities/ci.yaml"],
  ];
  for (const [change, text, message] of rows) {
    it(`refuses ${change}`, () => {
      const said = errors(withIdentity(text)).map((each) => `${each.file}:${each.line}:${each.column} ${each.rule} ${each.message}`);
      expect(
        said.some((line) => line.includes(message)),
        said.join("\n"),
      ).toBe(true);
    });
  }
});

describe("the directory", () => {
  it("warns of files that it ignores and refuses policy in the wrong place", () => {
    const files = bundle(READ, "", {
      "README.md": "x",
      "identity/x.yaml": "x",
      "policies/x.yml": "x",
      "x.cedar": "x",
      "policies/../x.cedar": "x",
    });
    expect(brief(problemsOf(files)).filter((line) => /file-/.test(line))).toEqual([
      "README.md:0:0 warning file-unknown",
      "identity/x.yaml:0:0 error file-place",
      "policies/../x.cedar:0:0 error file-place",
      "policies/x.yml:0:0 error file-place",
      "x.cedar:0:0 error file-place",
    ]);
  });
  it("needs gateway.yaml, and has a largest size", () => {
    const { "gateway.yaml": _, ...rest } = bundle(READ);
    expect(brief(errors(rest))).toContain("gateway.yaml:0:0 error file-missing");
    expect(brief(errors(bundle(READ, `// ${"x".repeat(600_000)}`)))).toEqual(["gateway.yaml:0:0 error bundle-size"]);
  });
});

describe("Cedar files", () => {
  const at = (cedar: string) => errors(bundle(READ, cedar)).map((each) => `${each.line}:${each.column} ${each.rule} ${each.message}`);
  it("are split at semicolons, not at those in strings and comments", () => {
    const text =
      '// a; b\nforbid (principal, action, resource) when { context.workload.subject == "x;\\"y" }; // end;\npermit\n(principal, action, resource);';
    expect(splitPolicies(text).map((part) => [part.offset, part.text.slice(0, 6), part.text.at(-1)])).toEqual([
      [8, "forbid", ";"],
      [99, "permit", ";"],
    ]);
  });
  it("report syntax and type errors in the user's line and column, also after other policies and wide characters", () => {
    const lead = '// naïve — 🚪\n@reason("später 🚪") forbid (principal, action == Action::"pg:drop", resource);\n\n';
    expect(at(`${lead}forbid (principal, action, resource) when { resorce };`)).toEqual([
      expect.stringMatching(/^4:45 cedar-syntax .*resorce/),
    ]);
    expect(at(`${lead}@reason("🚪")\nforbid (principal, action == Action::"pg:selct", resource);`)).toEqual([
      '5:30 cedar-type unrecognized action `Action::"pg:selct"`: did you mean `Action::"pg:select"`?',
    ]);
    expect(at(`${lead}forbid (principal, action, resource) when { context.workload.ref == "x" };`)).toEqual([
      expect.stringMatching(/^4:45 cedar-type .*optional attribute `workload.ref`.*and \d+ more like it/),
    ]);
  });
  it("refuse what can never apply, templates, unknown annotations and ids that are taken", () => {
    expect(at('forbid (principal, action == Action::"pg:select", resource is Function);')).toEqual([
      expect.stringMatching(/^1:1 policy-never-applies/),
    ]);
    expect(at("forbid (principal == ?principal, action, resource);")).toEqual([
      expect.stringMatching(/cedar-syntax .*templates are not accepted/),
    ]);
    expect(at('@aproval("dba") forbid (principal, action, resource);')).toEqual([
      "1:1 annotation unknown annotation @aproval: did you mean @approval?",
    ]);
    expect(
      at(
        '@id("a") forbid (principal, action == Action::"pg:do", resource);\n@id("a") forbid (principal, action == Action::"pg:load", resource);',
      ),
    ).toEqual([expect.stringMatching(/^2:1 policy-id the policy id a is there twice/)]);
    expect(at('@id("identity/mira#gateway") forbid (principal, action, resource);')).toContainEqual(
      expect.stringMatching(/policy-id @id is 1–128/),
    );
  });
  it("name their policies by @id, else by file and number", () => {
    const policy = compiled(
      bundle(
        READ,
        'forbid (principal, action == Action::"pg:do", resource);\n@id("no-load") forbid (principal, action == Action::"pg:load", resource);',
      ),
    );
    expect(
      [...policy.policies.values()].filter((each) => each.origin === "cedar").map((each) => [each.id, each.file, each.place.line]),
    ).toEqual([
      ["policies/p.cedar#policy0", "policies/p.cedar", 1],
      ["no-load", "policies/p.cedar", 2],
    ]);
  });
});
