/** SCRAM-SHA-256 by the vector of RFC 7677 section 3, and both of our roles against each other. */
import { describe, expect, test } from "vitest";
import { makeVerifier, ScramClient, ScramServer } from "../../../../tunnel-agent/protocols/postgres/scram.ts";

const text = (value: string): Buffer => Buffer.from(value, "latin1");

test("RFC 7677's exchange", async () => {
  const verifier = await makeVerifier("pencil", 4096, Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
  const server = new ScramServer(verifier, () => "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
  expect(server.first(text("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))).toEqual({
    ok: true,
    value: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  });
  const final = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
  expect(server.final(text(final))).toEqual({ ok: true, value: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" });
});

async function exchange(clientPassword: string, serverPassword: string) {
  const server = new ScramServer(await makeVerifier(serverPassword));
  const client = new ScramClient();
  const first = server.first(client.first());
  if (!first.ok) return "first";
  const answer = await client.final(text(first.value), () => Promise.resolve(clientPassword));
  if (!answer.ok) return "client";
  const final = server.final(answer.value);
  if (!final.ok) return final.error.reason;
  return client.verify(text(final.value)).ok ? "both" : "server";
}

describe("our client and our server", () => {
  test.each(["secret", "pä§§wörd", "\u00AA", "with,comma=and"])("agree on %j", async (password) => {
    expect(await exchange(password, password)).toBe("both");
  });

  test("disagree on different passwords", async () => {
    expect(await exchange("a", "b")).toBe("wrong-password");
  });
});

describe("the server refuses", () => {
  test.each([
    ["a binding that was not offered", "p=tls-unique,,n=,r=abc", "channel-binding"],
    ["an authorization identity", "n,a=admin,n=,r=abc", "malformed"],
    ["no nonce", "n,,n=,r=", "malformed"],
    ["an extension", "n,,m=x,n=,r=abc", "malformed"],
    ["a control character", "n,,n=,r=a\u0001c", "malformed"],
    ["garbage", "", "malformed"],
  ])("%s", async (_what, first, reason) => {
    expect(new ScramServer(await makeVerifier("x")).first(text(first))).toMatchObject({ ok: false, error: { reason } });
  });

  test.each([
    ["another binding than it began with (a downgrade)", (nonce: string) => `c=eSws,r=${nonce},p=${"A".repeat(43)}=`, "channel-binding"],
    ["another nonce", (nonce: string) => `c=biws,r=${nonce}x,p=${"A".repeat(43)}=`, "malformed"],
    ["a proof of another length", (nonce: string) => `c=biws,r=${nonce},p=AAAA`, "malformed"],
    ["a zero proof", (nonce: string) => `c=biws,r=${nonce},p=${"A".repeat(43)}=`, "wrong-password"],
  ])("%s", async (_what, final, reason) => {
    const server = new ScramServer(await makeVerifier("x"), () => "server");
    server.first(text("n,,n=,r=client"));
    expect(server.final(text(final("clientserver")))).toMatchObject({ ok: false, error: { reason } });
  });

  test("`y` is honest here: the client could bind, and was not offered it", async () => {
    const server = new ScramServer(await makeVerifier("x"), () => "server");
    expect(server.first(text("y,,n=,r=client")).ok).toBe(true);
    expect(server.final(text(`c=eSws,r=clientserver,p=${"A".repeat(43)}=`))).toMatchObject({ error: { reason: "wrong-password" } });
  });
});
