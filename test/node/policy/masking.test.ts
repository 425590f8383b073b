/** masking.yaml: every form it may have, every mistake at its place, and which rules concern which target and column. */
import { describe, expect, it } from "vitest";
import { classOfColumn, rulesFor } from "../../../policy/index.ts";
import type { MaskingRules, MaskStrategy } from "../../../policy/types.ts";
import { brief, bundle, compiled, problemsOf, READ } from "./bundles.ts";

const withMasking = (text: string) => bundle(READ, "", { "masking.yaml": text });
const rulesOf = (text: string): MaskingRules => compiled(withMasking(text)).masking;
const one = (body: string) => `classes:\n  card:\n${body.replaceAll(/^/gm, "    ")}\n`;
const said = (text: string): readonly string[] =>
  problemsOf(withMasking(text))
    .filter((each) => each.file === "masking.yaml")
    .map((each) => `${each.line}:${each.column} ${each.severity} ${each.rule} ${each.message}`);

describe("data classes", () => {
  it("are read whole, in the file's order", () => {
    const rules = rulesOf(`classes:
  zip:
    description: Where customers live
    columns: orders-db/public.customers.zip
    mask: { generalise: { step: 1000 } }
  card:
    columns: ["orders-db/public.customers.card", '*-db/crm.*."Card*"', orders-db/public.events.body]
    names: ["*card*", pan]
    targets: [orders-db, "billing-*"]
    detectors: [card, iban]
    paths: [$.payment.card, '$.items[*]."card no"', "$.cards.*"]
    mask: { partial: { last: 4 } }
`);
    expect(rules.classes).toEqual([
      {
        name: "zip",
        columns: [{ target: "orders-db", schema: "public", table: "customers", column: "zip" }],
        names: [],
        targets: [],
        detectors: [],
        paths: [],
        mask: { kind: "generalise", to: { step: 1000 } },
      },
      {
        name: "card",
        columns: [
          { target: "orders-db", schema: "public", table: "customers", column: "card" },
          { target: "*-db", schema: "crm", table: "*", column: "Card*" },
          { target: "orders-db", schema: "public", table: "events", column: "body" },
        ],
        names: ["*card*", "pan"],
        targets: ["orders-db", "billing-*"],
        detectors: ["card", "iban"],
        paths: [
          [
            { kind: "member", name: "payment" },
            { kind: "member", name: "card" },
          ],
          [{ kind: "member", name: "items" }, { kind: "elements" }, { kind: "member", name: "card no" }],
          [{ kind: "member", name: "cards" }, { kind: "any-member" }],
        ],
        mask: { kind: "partial", keep: { first: 0, last: 4 } },
      },
    ]);
  });

  const masks: readonly (readonly [text: string, mask: MaskStrategy])[] = [
    ["", { kind: "redact" }],
    ["mask: redact", { kind: "redact" }],
    ["mask: null", { kind: "null" }],
    ["mask: zero", { kind: "zero" }],
    ["mask: hash", { kind: "hash" }],
    ["mask: { partial: domain }", { kind: "partial", keep: "domain" }],
    ["mask: { partial: { first: 2, last: 4 } }", { kind: "partial", keep: { first: 2, last: 4 } }],
    ["mask: { partial: { first: 1 } }", { kind: "partial", keep: { first: 1, last: 0 } }],
    ["mask:\n  generalise: year", { kind: "generalise", to: "year" }],
    ["mask: { generalise: month }", { kind: "generalise", to: "month" }],
    ["mask: { generalise: day }", { kind: "generalise", to: "day" }],
    ["mask: { generalise: network }", { kind: "generalise", to: "network" }],
    ["mask: { generalise: { step: 2 } }", { kind: "generalise", to: { step: 2 } }],
  ];
  for (const [text, mask] of masks)
    it(`${text === "" ? "no mask:" : text} is ${JSON.stringify(mask)}`, () =>
      expect(rulesOf(one(`names: card\n${text}`)).classes[0]?.mask).toEqual(mask));

  const faults: readonly (readonly [name: string, text: string, message: string])[] = [
    ["another key", "class:\n  email: {}\n", '1:1 error unknown-key unknown key "class": did you mean classes?'],
    ["a class that is a number", "classes:\n  '7': { names: x }\n", "error bundle-shape classes.7: name a data class"],
    [
      "an unknown key in a class",
      one("names: x\ndetector: [card]"),
      '4:5 error unknown-key classes.card: unknown key "detector": did you mean detectors?',
    ],
    ["nothing", one("mask: hash"), "3:5 error masking-class nothing belongs to card: write columns:, names: or detectors:"],
    [
      "targets of nothing",
      one("columns: [a/b.c.d]\ntargets: [a]"),
      "4:14 error masking-class targets: says where names: and detectors: look",
    ],
    ["paths into nothing", one("names: [x]\npaths: [$.a]"), "4:12 error masking-class paths: lead into the json columns"],
    [
      "a column without target",
      one("columns: [public.users.card]"),
      '3:15 error masking-column no target before the / in "public.users.card"',
    ],
    [
      "a column without schema",
      one("columns: [db/users.card]"),
      '3:15 error masking-column "db/users.card" lacks a part: write target/schema.table.column',
    ],
    ["a column of four parts", one("columns: [db/a.b.c.d]"), 'masking-column "db/a.b.c.d" has a part too many'],
    ["a column that SQL would fold", one("columns: [db/public.users.Card]"), '3:15 error masking-column "Card" has capitals: write card'],
    ["a column that cannot be read", one("columns: ['db/a.b.']"), "masking-column cannot read the name"],
    ["the second of two", one("columns: [db/a.b.c, db/a.b]"), "3:25 error masking-column"],
    ["a name longer than any", one(`columns: [db/a.b.${"é".repeat(32)}]`), "which have 63 bytes at most"],
    [
      "a name in capitals",
      one("names: [cardNumber]"),
      '3:13 error masking-column "cardNumber" has capitals: write cardnumber, which finds the name in any case',
    ],
    [
      "a name of two parts",
      one("names: [users.card]"),
      '3:13 error masking-column "users.card" has several parts: write it under columns:',
    ],
    [
      "an unknown detector",
      one("detectors: [cards]"),
      '3:17 error bundle-shape classes.card.detectors.0: unknown value "cards": did you mean card?',
    ],
    [
      "a path without $",
      one("columns: a/b.c.d\npaths: [a.b]"),
      '4:13 error masking-path no leading $ in "a.b": write $ and steps such as .name',
    ],
    ["the path to everything", one("columns: a/b.c.d\npaths: [$]"), "masking-path $ alone is the whole value: leave paths: out"],
    ["a position", one("columns: a/b.c.d\npaths: ['$.a[0]']"), "masking-path a single position, where [*] masks every element"],
    ["a path to any depth", one("columns: a/b.c.d\npaths: ['$..a']"), "masking-path a step to any depth"],
    ["a filter", one("columns: a/b.c.d\npaths: ['$.a ? (@ > 1)']"), 'masking-path something unreadable at " ? (@ > 1)"'],
    ["an unknown mask", one("names: x\nmask: hsah"), '4:11 error masking-mask unknown mask "hsah": did you mean hash?'],
    ["partial without more", one("names: x\nmask: partial"), "4:11 error masking-mask write mask: {partial: {last: 4}}"],
    [
      "American spelling",
      one("names: x\nmask: { generalize: year }"),
      '4:25 error masking-mask unknown mask "generalize": did you mean generalise?',
    ],
    ["a partial mask that keeps nothing", one("names: x\nmask: { partial: { last: 0 } }"), "masking-mask nothing would stay"],
    [
      "a partial mask that keeps all",
      one("names: x\nmask: { partial: { last: 99 } }"),
      "4:30 error masking-mask write how many characters stay, a whole number from 0 to 16",
    ],
    [
      "an unknown unit",
      one("names: x\nmask: { generalise: decade }"),
      'masking-mask unknown unit "decade": known here are year, month, day, network',
    ],
    [
      "a step that changes no number",
      one("names: x\nmask: { generalise: { step: 1 } }"),
      "4:33 error masking-mask write step: with a whole number of 2 or more",
    ],
    ["a mask with an argument too many", one("names: x\nmask: { hash: sha256 }"), "masking-mask hash takes nothing: write mask: hash"],
    ["two masks", one("names: x\nmask: { hash: a, partial: domain }"), "masking-mask write one mask"],
    [
      "more columns than a catalogue can be compared with",
      `classes:\n${["a", "b"].map((name) => `  ${name}: { names: [${Array.from({ length: 500 }, (_, at) => `${name}${at}`).join()}], columns: [${Array.from({ length: 501 }, (_, at) => `db/s.${name}.c${at}`).join()}] }\n`).join("")}`,
      "1:1 error bundle-size the classes list 2002 columns and names, and 2000 are the most",
    ],
    ["an empty mask", one("names: x\nmask:"), "masking-mask write one mask"],
  ];
  for (const [name, text, message] of faults)
    it(`refuses ${name}`, () => {
      const lines = said(text);
      expect(
        lines.some((line) => line.includes(message)),
        lines.join("\n"),
      ).toBe(true);
    });

  it("GW-19: a rule that could never apply is refused, and one that can is kept, without a word", () => {
    expect(said(one("columns: [orders-db/public.users.card]\ndetectors: [card]"))).toEqual([]);
    expect(rulesOf("classes: {}\n").classes).toEqual([]);
    expect(brief(problemsOf(withMasking(one("columns: []"))))).toContain("masking.yaml:3:14 error bundle-shape");
  });

  it("warn of what an earlier class has already", () => {
    const text = (first: string, second: string) => `classes:\n  a: { ${first} }\n  b: { ${second} }\n`;
    const rows: readonly (readonly [first: string, second: string, shadowed: boolean])[] = [
      ["columns: [db/public.*.email]", "columns: [db/public.users.email]", true],
      ["columns: [db/public.users.email]", "columns: [db/public.*.email]", false],
      ["columns: [db/public.u*.email]", "columns: [db/public.users_*.email]", true],
      ["columns: ['*/public.users.email']", "columns: [db/public.users.email]", true],
      ["columns: [db/public.users.email]", "columns: [other/public.users.email]", false],
      ["names: ['*mail*']", "names: [email]", true],
      ["names: ['*mail*'], targets: [x]", "names: [email]", false],
      ["detectors: [card]", "detectors: [card], targets: [x]", true],
      ["detectors: [card], targets: [x]", "detectors: [card], targets: [y]", false],
      ["detectors: [card]", "detectors: [iban]", false],
    ];
    for (const [first, second, shadowed] of rows)
      expect([first, second, said(text(first, second)).map((line) => line.split(" ")[2])]).toEqual([
        first,
        second,
        shadowed ? ["masking-shadowed"] : [],
      ]);
  });
});

describe("rulesFor and classOfColumn", () => {
  const rules = rulesOf(`classes:
  card:
    columns: [orders-db/public.customers.card, "*/public.events.body"]
    names: ["*card*"]
    targets: [orders-db, "billing-*"]
    paths: [$.card]
  email:
    columns: [crm-db/public.*.email]
  anything:
    detectors: [token]
  id:
    names: ["*_id"]
    targets: [orders-db]
`);
  it("keep of the classes what concerns the target, in their order", () => {
    const brief = (target: string) =>
      rulesFor(rules, target).classes.map((each) => [each.name, each.columns.length, each.names.length, each.detectors.length]);
    expect(brief("orders-db")).toEqual([
      ["card", 2, 1, 0],
      ["anything", 0, 0, 1],
      ["id", 0, 1, 0],
    ]);
    expect(brief("billing-eu")).toEqual([
      ["card", 1, 1, 0],
      ["anything", 0, 0, 1],
    ]);
    expect(brief("crm-db")).toEqual([
      ["card", 1, 0, 0],
      ["email", 1, 0, 0],
      ["anything", 0, 0, 1],
    ]);
  });
  const classOf = (table: string, column: string, target = "orders-db", schema = "public") => {
    const found = classOfColumn(rulesFor(rules, target), { schema, table, column });
    return found === undefined ? undefined : [found.dataClass.name, found.paths.length];
  };
  it("find a column by its exact name, by a pattern, and by its name in any case", () => {
    expect(classOf("customers", "card")).toEqual(["card", 1]);
    expect(classOf("customers", "Card")).toEqual(["card", 0]);
    expect(classOf("customers", "holderCardNumber")).toEqual(["card", 0]);
    expect(classOf("customers", "discard")).toEqual(["card", 0]);
    expect(classOf("customers", "car")).toBeUndefined();
    expect(classOf("events", "body", "any-db")).toEqual(["card", 1]);
    expect(classOf("events", "body", "any-db", "Public")).toBeUndefined();
    expect(classOf("users", "email", "crm-db")).toEqual(["email", 0]);
    expect(classOf("users", "email", "orders-db")).toBeUndefined();
  });
  it("filtered once are filtered for good", () => {
    for (const target of ["orders-db", "billing-eu", "crm-db"])
      expect(rulesFor(rulesFor(rules, target), target)).toEqual(rulesFor(rules, target));
  });
  it("give a column of two classes to the first of the file", () => {
    expect(classOf("x", "card_id")).toEqual(["card", 0]);
    expect(classOf("x", "order_id")).toEqual(["id", 0]);
  });
});
