/**
 * What agent.yaml may say, but for the targets' own keys, which each protocol room states. Pure: no files, no
 * environment. Every message says what to write instead and none repeats a value.
 */
import * as z from "zod";
import { TARGET_PROTOCOLS } from "../../protocol/agent-control.ts";
import { CredentialReference } from "../credentials/reference.ts";

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
const name = (example: string) =>
  z
    .string({ error: `write a name, such as ${example}` })
    .regex(NAME, `write 1–63 of a–z, 0–9, '-', '_', '.', beginning and ending with a letter or digit, such as ${example}`);

const LOOPBACK = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
export const isLoopbackHost = (host: string): boolean => LOOPBACK.test(host);

const gateway = z.string({ error: "write the gateway's address, such as https://sallyport.example.com" }).superRefine((text, context) => {
  const problem = gatewayProblem(text);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem, input: undefined });
});

function gatewayProblem(text: string): string | undefined {
  if (!URL.canParse(text)) return "write the gateway's address, such as https://sallyport.example.com";
  const url = new URL(text);
  if (url.username !== "" || url.password !== "")
    return "write the address without a user or password: the agent signs in with its own key";
  if ((url.pathname !== "/" && url.pathname !== "") || url.search !== "" || url.hash !== "") {
    return "write only scheme, host and port, such as https://sallyport.example.com";
  }
  if (url.protocol === "https:") return undefined;
  if (url.protocol !== "http:") return "write an https:// address";
  return isLoopbackHost(url.hostname) ? undefined : "write https://: plain http is for a gateway on loopback only";
}

/** host:port; IPv6 in brackets. */
const listen = z
  .string({ error: "write host:port, such as 127.0.0.1:9464" })
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):\d{1,5}$/, "write host:port, such as 127.0.0.1:9464");

const health = z
  .strictObject(
    { listen: listen.default("127.0.0.1:9464"), allow_remote: z.boolean({ error: "write true or false" }).default(false) },
    { error: "write a mapping, such as { listen: 127.0.0.1:9464 }" },
  )
  .superRefine((value, context) => {
    const host = value.listen.slice(0, value.listen.lastIndexOf(":"));
    if (value.allow_remote || isLoopbackHost(host)) return;
    const message = "listen on loopback, such as 127.0.0.1:9464, or add `allow_remote: true`: health and metrics answer without a login";
    context.addIssue({ code: "custom", path: ["listen"], message, input: undefined });
  });

const SIZE = /^(\d{1,9})\s*(MiB|GiB)$/;
/** Bytes. */
const size = z
  .string({ error: "write a size in MiB or GiB, such as 512 MiB" })
  .regex(SIZE, "write a size in MiB or GiB, such as 512 MiB")
  .transform((text) => {
    const [, digits = "0", unit] = SIZE.exec(text) ?? [];
    return Number(digits) * (unit === "GiB" ? 1024 ** 3 : 1024 ** 2);
  });

const recording = z.strictObject(
  { fsync: z.boolean({ error: "write true or false" }).default(false), spool_max: size.default(1024 ** 3) },
  { error: "write a mapping, such as { spool_max: 1 GiB, fsync: true }" },
);

/** The keys that every target has; the rest belongs to its protocol. */
export const TargetCommon = z.looseObject(
  {
    name: name("orders-db"),
    protocol: z.enum(TARGET_PROTOCOLS, { error: "write a protocol that this agent speaks, such as postgres" }),
    environment: z.string({ error: "write the environment as text, such as production" }).min(1).max(63).optional(),
    labels: z
      .array(z.string({ error: "write labels as text" }).min(1).max(63), { error: "write a list, such as [pci, eu]" })
      .max(32)
      .default([]),
  },
  { error: "write a mapping with name, protocol and the protocol's keys" },
);
export const TARGET_COMMON_KEYS = ["name", "protocol", "environment", "labels"] as const;

export const AgentYaml = z.strictObject(
  {
    gateway,
    name: name("dc1-a").optional(),
    site: name("dc1").optional(),
    state_dir: z.string({ error: "write a directory, such as /var/lib/sallyport" }).min(1).default("/var/lib/sallyport"),
    enrolment_token: CredentialReference.optional(),
    health: health.prefault({}),
    log_level: z
      .enum(["fatal", "error", "warn", "info", "debug", "trace"], { error: "write one of fatal, error, warn, info, debug, trace" })
      .default("info"),
    policy_floor: z.string({ error: "write the path of a .cedar file" }).min(1).optional(),
    drain_grace_s: z.number({ error: "write seconds as a number, such as 30" }).min(0).max(3600).default(30),
    recording: recording.prefault({}),
    masking_key: CredentialReference.optional(),
    targets: z.array(TargetCommon, { error: "write a list of targets" }).min(1, "name at least one target").max(500),
  },
  { error: "write a mapping with at least gateway and targets" },
);
export type AgentYaml = z.infer<typeof AgentYaml>;
